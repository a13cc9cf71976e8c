"""Check the shape networks against reference numbers: python -m tests.parity.hunyuan [--goldens FILE.json]

Any file of the schema of tests/parity/data/hunyuan-golden.json works, its arrays in the .npz beside it; `about.salt`
goes before each key in the rule of weights. One line per array; the exit status is 1 on a miss, on an array without a
recipe, and on a file without arrays.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from tests.parity.compare import Check, UnknownCaseError, missing
from tests.parity.hunyuan_cases import ShapeReferences, check, check_statistics
from tests.parity.render_table import FAILURES, report

GOLDENS = Path(__file__).parent / "data" / "hunyuan-golden.json"


TOKENS = "all tokens"  # whose mean and deviation stand in the JSON file


@torch.inference_mode()
def checks_of(refs: ShapeReferences, name: str) -> list[Check]:
    """The checks of one array, or of TOKENS; an error on the way is a miss, and is shown."""
    try:
        return check_statistics(refs) if name == TOKENS else [check(refs, name)]
    except (UnknownCaseError, *FAILURES) as error:
        return [missing("", f"{type(error).__name__}: {error}")]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.parity.hunyuan", description="Check against references.")
    parser.add_argument("--goldens", type=Path, default=GOLDENS, help="numbers (JSON, with an .npz beside it)")
    refs = ShapeReferences.read(parser.parse_args(arguments).goldens)
    results = [report(name, checks_of(refs, name)) for name in (*refs.arrays, TOKENS)]
    print(f"{sum(results)} of {len(results)} cases agree.")
    return 0 if refs.arrays and all(results) else 1


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
