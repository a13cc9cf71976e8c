"""Sort real models out of Debian's package `sweethome3d-furniture`: what may be trained on, and what only measures.

`python -m trellis.training.furniture --package usr/share/sweethome3d/furniture --output furniture` writes mesh files to
`furniture/known` (CC0, for training) and `furniture/test` (never trained on: a fifth by hash of every licence's).
"""

import argparse
import logging
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from trellis.dataset.local import file_sha
from trellis.errors import InvalidInputError
from trellis.training.program import program

FREE = "BlendSwap-CC-0.sh3f"  # the others are CC-BY: for tests alone
HELD_OUT = 0.2  # share, by the first 32 bits of the sha
# A branded good, and models of families that are left out of training.
NEVER = {"iphone", "iphone5", "truck", "chicken"}

logger = logging.getLogger(__name__)


def is_held_out(sha: str) -> bool:
    """Whether a model is for measuring alone."""
    return int(sha[:8], 16) < HELD_OUT * 16**8


def sort_models(package: Path, output: Path) -> dict[str, int]:
    """Copy the models to `output`/known and `output`/test, each with the files beside it; how many of each.

    Raises InvalidInputError for a folder without the package's libraries.
    """
    libraries = sorted(package.glob("*.sh3f"))
    if not any(library.name == FREE for library in libraries):
        raise InvalidInputError(f"{package} has no {FREE}: unpack the package sweethome3d-furniture there.")
    counts = {"known": 0, "test": 0}
    for library in libraries:
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(library) as archive:
            archive.extractall(folder)
            for path in sorted(Path(folder).rglob("*.obj")):
                kind = _kind(path, library)
                if kind is not None:
                    counts[kind] += 1
                    place = output / kind / library.stem / path.parent.name
                    shutil.copytree(path.parent, place, dirs_exist_ok=True)
    return counts


def _kind(path: Path, library: Path) -> str | None:
    """Which folder a model belongs to, None for neither."""
    try:
        sha = file_sha(path)
    except InvalidInputError as error:
        logger.warning("%s is left out: %s", path.name, error)
        return None
    if is_held_out(sha):
        return "test"
    return "known" if library.name == FREE and path.stem.lower() not in NEVER else None


@program
def main(arguments: list[str] | None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, required=True, help="folder of the package's .sh3f files")
    parser.add_argument("--output", type=Path, required=True, help="folder for the folders known and test")
    chosen = parser.parse_args(arguments)
    logger.info("%s", sort_models(chosen.package, chosen.output))


if __name__ == "__main__":
    sys.exit(main())
