"""The reference numbers of all networks with every back end and precision: python -m tests.parity.network_table
[--device cuda].

Prints the worst network of each, or why a back end is not used (as `trellis doctor` does); the exit status is 1 on a
miss. Surfaces are left out in half precision: a rounded distance may have another sign.
"""

# ruff: noqa: T201

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch

from tests.parity.cases import BY_CLASS, References
from tests.parity.compare import Tolerance
from tests.parity.run import GOLDENS, check_case, load_references
from trellis.app.doctor import diagnose
from trellis.models import Network
from trellis.runtime import Runtime

# Of the largest value. A value is rounded by 5e-4 of itself in float16 and 4e-3 in bfloat16, some ten times in a row.
LIMITS = {torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 4e-2}
SURFACES = "meshes"


def networks_of(refs: References, dtype: torch.dtype) -> References:
    """The cases of whole networks, of what a precision can be held to."""
    left_out = set() if dtype == torch.float32 else {SURFACES}
    return replace(
        refs,
        cases={
            name: {key: value for key, value in case.items() if key not in left_out}
            for name, case in refs.cases.items()
            if case.get("cls", "").removeprefix("Elastic") in BY_CLASS
        },
    )


def check(refs: References, name: str, dtype: torch.dtype, choose: Callable[[Network], None]) -> bool:
    """Print a line: whether all networks agree, and the worst of them."""

    def prepare(network: Network) -> None:
        network.set_precision(dtype)
        choose(network)

    refs = replace(networks_of(refs, dtype), prepare=prepare)
    tolerance = Tolerance(LIMITS[dtype], LIMITS[dtype])
    found = [(case, check) for case in refs.cases for check in check_case(refs, case, tolerance)]
    misses = [(case, check) for case, check in found if not check.ok]
    case, worst = misses[0] if misses else max(found, key=lambda entry: entry[1].error)
    figure = f"{len(refs.cases)} networks, {worst.error:.1e} in {case} (limit {worst.limit:.0e}) {worst.note}"
    print(f"{'MISS' if misses else 'ok  '} {label(dtype, name)} {figure}", flush=True)
    return not misses


def label(dtype: torch.dtype, name: str) -> str:
    return f"{str(dtype).removeprefix('torch.'):9} {name:20}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.parity.network_table", description=__doc__)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    device = torch.device(parser.parse_args(arguments).device)
    torch.backends.cudnn.allow_tf32 = False
    refs = load_references(GOLDENS, device)
    results = []
    for dtype in LIMITS:
        diagnosis = diagnose(Runtime(device=device, dtype=dtype, offline=True))
        for choose, findings in (
            (Network.set_attention, diagnosis.attention),
            (Network.set_sparse_conv, diagnosis.convolution),
        ):
            for finding in findings:
                name = f"{choose.__name__.removeprefix('set_')} {finding.subject}"
                if finding.works:
                    results.append(check(refs, name, dtype, partial(choose, backend=finding.subject)))
                else:
                    print(f"-    {label(dtype, name)} {finding.remark}")
    print(f"{sum(results)} of {len(results)} ways agree.")
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
