"""Check this library against reference numbers: python -m tests.parity.run [--goldens FILE] [--renders FILE]
[--device cuda].

Any file of the schema of tests/parity/data works: salt, shapes, arguments and cases are read from it. One line per
case; the exit status is 1 on a miss, on a case without a recipe, and on a file without cases. A file that is not given
is the one of tests/parity/data.

With --backend NAME ... only the images are checked, drawn by each of those renderers, and a table of their errors
follows. --other-inputs FILE writes another file of images, of other inputs of the same recipes, drawn by the
reference back end; every back end must agree with it: --backend warp --renders FILE.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.parity.cases import TOLERANCES, References, rebuild
from tests.parity.compare import Check, Tolerance, compare, missing
from tests.parity.render_table import FAILURES, RENDERS, check_backends, check_render, report
from tests.parity.renders import CPU, other_images
from trellis.ops.rasterize import BACKENDS

GOLDENS = RENDERS.parent / "goldens.json"


def load_references(path: Path, device: torch.device = CPU) -> References:
    content = json.loads(path.read_text(encoding="utf-8"))
    return References(content["salt"], content["cases"], device)


def check_case(refs: References, case: str, tolerance: Tolerance | None = None) -> list[Check]:
    """The checks of one numeric case, by its own tolerance or another; an error on the way is a miss, and is shown."""
    try:
        computed = rebuild(refs, case)
    except FAILURES as error:
        return [missing("", f"{type(error).__name__}: {error}")]
    return list(compare(refs.cases[case], computed, tolerance or TOLERANCES.get(case, Tolerance())))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.parity.run", description="Check against reference numbers.")
    parser.add_argument("--goldens", type=Path, default=GOLDENS, help="numbers (JSON)")
    parser.add_argument("--renders", type=Path, default=RENDERS, help="images (safetensors)")
    parser.add_argument("--backend", nargs="+", choices=BACKENDS, help="check only the images, with these renderers")
    parser.add_argument("--device", default="cpu", help="what computes and draws: cpu or cuda")
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
    images, device = load_file(options.renders), torch.device(options.device)
    torch.backends.cudnn.allow_tf32 = False  # the numbers are those of full precision
    if options.backend:
        results = check_backends(images, options.backend, device)
        print(f"{sum(results)} of {len(results)} images agree.")
        return 0 if results and all(results) else 1
    refs = load_references(options.goldens, device)
    results = [report(case, check_case(refs, case)) for case in refs.cases]
    results += [report(key, check_render(images, key, device=device)) for key in sorted(images)]
    print(f"{sum(results)} of {len(results)} cases agree.")
    return 0 if refs.cases and images and all(results) else 1


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
