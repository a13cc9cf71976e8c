"""Stands for Windows' curl.exe: `--output FILE URL`, from a folder in place of the network.

The first call of an empty folder `C:\\stubs\\broken` breaks off in the middle, to be resumed by the next.
"""

import sys
from pathlib import Path

if "--version" in sys.argv:
    sys.exit(0)
source = (Path(r"C:\stubs\files") / sys.argv[-1].split("/")[-1]).read_bytes()
target = Path(sys.argv[sys.argv.index("--output") + 1])
have = target.stat().st_size if "--continue-at" in sys.argv and target.exists() else 0
marker = Path(r"C:\stubs\broken")
with target.open("ab" if have else "wb") as file:
    if marker.exists():
        marker.unlink()
        file.write(source[: len(source) // 2])
        sys.exit(18)
    file.write(source[have:])
with Path(r"C:\stubs\curl.log").open("a") as log:
    log.write(f"{have} of {len(source)} were there\n")
