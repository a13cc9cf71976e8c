"""`python -m trellis`: see trellis.cli."""

import signal
import sys


def start() -> int:
    """Run the command line. Ctrl+C while libraries are imported ends the program without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from trellis.cli import build_parser, main

    build_parser()  # makes the schemas of all options, which takes a moment the first time
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return main()


if __name__ == "__main__":
    sys.exit(start())
