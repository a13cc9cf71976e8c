"""`python -m trellis`: see trellis.cli."""

import sys

from trellis.cli import main

if __name__ == "__main__":
    sys.exit(main())
