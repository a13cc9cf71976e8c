"""Check this library against reference numbers: python -m tests.parity.run [--goldens FILE] [--renders FILE].

Any file of the schema of tests/parity/data works: salt, shapes, arguments and cases are read from it. One line per
case; the exit status is 1 on a miss, on a case without a recipe, and on a file without cases. A file that is not given
is the one of tests/parity/data.

With --backend NAME ... only the images are checked, drawn by each of those renderers, on --device, and a table of their
errors follows. --other-inputs FILE writes another file of images, of other inputs of the same recipes, drawn by the
reference back end; every back end must agree with it: --backend warp --renders FILE.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.parity.cases import TOLERANCES, References, UnknownCaseError, rebuild
from tests.parity.compare import Check, Tolerance, compare, missing
from tests.parity.renders import CPU, LEVEL, compare_render, kind_of, kinds_of, other_images
from trellis.errors import TrellisError
from trellis.ops.rasterize import BACKENDS

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


def check_render(
    images: dict[str, torch.Tensor], key: str, *, backend: str = "auto", device: torch.device = CPU
) -> list[Check]:
    """The checks of one rendered reference, drawn by a back end on a device."""
    try:
        return list(compare_render(key, images, backend=backend, device=device))
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


def check_backends(images: dict[str, torch.Tensor], backends: Sequence[str], device: torch.device) -> list[bool]:
    """Report every image on every back end that draws its kind, then the table of largest errors in 1/255."""
    results: list[bool] = []
    table: dict[str, dict[str, str]] = {}
    keys = [key for key in sorted(images) if kind_of(key) in ("gs", "rf", "mesh")]
    for key in keys:
        table[key] = {}
        for backend in backends:
            if kind_of(key) not in kinds_of(backend):
                table[key][backend] = "-"
                continue
            checks = check_render(images, key, backend=backend, device=device)
            good = report(f"{key} [{backend}]", checks)
            results.append(good)
            worst = max((check.error for check in checks), default=float("inf"))
            table[key][backend] = f"{worst / LEVEL:.4f}{'' if good else ' MISS'}"
    print(f"\nLargest errors in 1/255 on device {device.type} (limits: 2, meshes off their edges 1; - is not drawn):")
    print(f"{'image':16}" + "".join(f"{backend:>14}" for backend in backends))
    for key in keys:
        print(f"{key:16}" + "".join(f"{table[key][backend]:>14}" for backend in backends))
    return results


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.parity.run", description="Check against reference numbers.")
    parser.add_argument("--goldens", type=Path, default=GOLDENS, help="numbers (JSON)")
    parser.add_argument("--renders", type=Path, default=RENDERS, help="images (safetensors)")
    parser.add_argument("--backend", nargs="+", choices=BACKENDS, help="check only the images, with these renderers")
    parser.add_argument("--device", default="cpu", help="where --backend draws: cpu or cuda")
    parser.add_argument(
        "--other-inputs", type=Path, metavar="FILE", help="write images of other inputs there, and stop"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.other_inputs:
        save_file({key: image.contiguous() for key, image in other_images().items()}, options.other_inputs)
        print(f"Images of other inputs, drawn by the reference back end, are in {options.other_inputs}.")
        return 0
    images = load_file(options.renders)
    if options.backend:
        results = check_backends(images, options.backend, torch.device(options.device))
        print(f"{sum(results)} of {len(results)} images agree.")
        return 0 if results and all(results) else 1
    refs = load_references(options.goldens)
    results = [report(case, check_case(refs, case)) for case in refs.cases]
    results += [report(key, check_render(images, key)) for key in sorted(images)]
    print(f"{sum(results)} of {len(results)} cases agree.")
    return 0 if refs.cases and images and all(results) else 1


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
