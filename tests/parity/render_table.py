"""The reference images on every renderer: python -m tests.parity.render_table [--backend NAME ...] [--device cuda].

The same as `tests.parity.run --backend`, for machines that have torch and Warp only.
"""

# ruff: noqa: T201

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.parity.compare import Check, UnknownCaseError, missing
from tests.parity.renders import CPU, LEVEL, compare_render, kind_of, kinds_of
from trellis.errors import TrellisError
from trellis.ops.rasterize import BACKENDS

RENDERS = Path(__file__).parent / "data" / "render_goldens.safetensors"
KINDS = {"gs", "rf", "mesh"}
# What a wrong shape, name or argument in one case raises: the other cases are still to be reported.
FAILURES = (UnknownCaseError, TrellisError, RuntimeError, KeyError, IndexError, TypeError, ValueError)


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
    keys = [key for key in sorted(images) if kind_of(key) not in ("extr", "intr")]
    for key in keys:
        table[key] = {}
        for backend in backends:
            if kind_of(key) in KINDS - kinds_of(backend):
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


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.parity.render_table", description=__doc__)
    parser.add_argument("--renders", type=Path, default=RENDERS, help="images (safetensors)")
    parser.add_argument("--backend", nargs="+", choices=BACKENDS, default=["reference", "warp"])
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    options = parser.parse_args(arguments)
    results = check_backends(load_file(options.renders), options.backend, torch.device(options.device))
    print(f"{sum(results)} of {len(results)} images agree.")
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
