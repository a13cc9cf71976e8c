"""Starts the page, and the interface for programs behind it, on one port of this computer: wiring only."""

import logging
import signal
import sys


def main(argv: list[str] | None = None) -> int:
    """Serve until told to end: 0 then, 2 for arguments that cannot be used."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl+C while libraries are imported leaves no traceback
    from trellis.app.command_parser import CommandParser
    from trellis.app.server_options import add_server_options
    from trellis.errors import STARTER, TrellisError

    parser = CommandParser(
        prog=f"{STARTER} ui",
        usage=f"{STARTER} ui [OPTION...]",
        description="Open the page that turns a picture into a textured 3D model.",
    )
    add_server_options(parser)
    parser.add_argument("--no-browser", action="store_true", help="do not open the browser")
    arguments = parser.parse_args(argv)

    from trellis.app.serve import serve  # the server's libraries take most of a second to import

    try:
        return serve(arguments, open_browser=not arguments.no_browser)
    except TrellisError as error:
        logging.error("%s", error)
        return 2


if __name__ == "__main__":
    sys.exit(main())
