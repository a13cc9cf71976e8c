"""Check this library against reference numbers: python -m tests.parity.run [--goldens FILE] [--renders FILE].

Any file of the schema of tests/parity/data works: salt, shapes, arguments and cases are read from it. One line per
case; the exit status is 1 on a miss, on a case without a recipe, and on a file without cases. A file that is not given
is the one of tests/parity/data.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.parity.cases import TOLERANCES, References, UnknownCaseError, rebuild
from tests.parity.compare import Check, Tolerance, compare, missing
from tests.parity.renders import compare_render
from trellis.errors import TrellisError

DATA = Path(__file__).parent / "data"
GOLDENS = DATA / "goldens.json"
RENDERS = DATA / "render_goldens.safetensors"
# What a wrong shape, name or argument in one case raises: the other cases are still to be reported.
FAILURES = (UnknownCaseError, TrellisError, RuntimeError, KeyError, IndexError, TypeError, ValueError)


def load_references(path: Path) -> References:
    content = json.loads(path.read_text(encoding="utf-8"))
    return References(content["salt"], content["cases"])


def check_case(refs: References, case: str) -> list[Check]:
    """The checks of one numeric case; an error on the way counts as a miss and is shown."""
    try:
        computed = rebuild(refs, case)
    except FAILURES as error:
        return [missing("", f"{type(error).__name__}: {error}")]
    return list(compare(refs.cases[case], computed, TOLERANCES.get(case, Tolerance())))


def check_render(images: dict[str, torch.Tensor], key: str) -> list[Check]:
    """The checks of one rendered reference."""
    try:
        return list(compare_render(key, images))
    except FAILURES as error:
        return [missing("", f"{type(error).__name__}: {error}")]


def report(case: str, checks: Sequence[Check]) -> bool:
    """Print the line of a case, and its misses; true when every check holds."""
    good = bool(checks) and all(check.ok for check in checks)
    measured = [check for check in checks if check.limit > 0]
    worst = max(measured, key=lambda check: check.error / check.limit, default=None)
    figure = f"error {worst.error:.2e} (limit {worst.limit:.2e})" if worst else "exact values"
    print(f"{'ok  ' if good else 'MISS'} {case:32} {figure}, {len(checks)} checks", flush=True)
    for check in checks:
        if not check.ok:
            print(f"       {check.path or case}: error {check.error:.3e}, limit {check.limit:.1e} {check.note}")
    return good


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.parity.run", description="Check against reference numbers.")
    parser.add_argument("--goldens", type=Path, default=GOLDENS, help="numbers (JSON)")
    parser.add_argument("--renders", type=Path, default=RENDERS, help="images (safetensors)")
    options = parser.parse_args(arguments)
    results: list[bool] = []
    refs = load_references(options.goldens)
    results += [report(case, check_case(refs, case)) for case in refs.cases]
    images = load_file(options.renders)
    results += [report(key, check_render(images, key)) for key in sorted(images)]
    print(f"{sum(results)} of {len(results)} cases agree.")
    return 0 if refs.cases and images and all(results) else 1


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
