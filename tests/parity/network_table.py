"""The reference numbers of all networks with every back end and precision: python -m tests.parity.network_table
[--device cuda].

Prints the largest error of each network relative to its reference, or why a back end is not used; the exit status is 1
on a miss. Surfaces are left out in half precision: a rounded distance may have another sign.
"""

# ruff: noqa: T201

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch

from tests.parity.cases import BY_CLASS, References, rebuild
from tests.parity.compare import Tolerance, compare
from tests.parity.run import GOLDENS, load_references
from trellis.errors import TrellisError
from trellis.models import Network
from trellis.ops import attention, sparse_conv_choice, sparse_conv_spconv
from trellis.runtime import ATTENTION_BACKENDS, SPARSE_CONV_BACKENDS

# Of the largest value. A value is rounded by 5e-4 of itself in float16 and 4e-3 in bfloat16, some ten times in a row.
LIMITS = {torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 4e-2}
SURFACES = "meshes"


def attention_ways(device: torch.device, dtype: torch.dtype) -> Iterator[tuple[str, Callable[[Network], None] | str]]:
    """Name of each back end of attention, and what chooses it for a network, or why it is not used."""
    for name in ATTENTION_BACKENDS:
        try:
            usable = attention.MODULES[name].is_usable(torch.zeros(1, 1, 64, device=device, dtype=dtype))
        except TrellisError as error:
            yield name, str(error)
        else:
            yield name, partial(Network.set_attention, backend=name) if usable else "not for this device and precision"


def convolution_ways(device: torch.device, dtype: torch.dtype) -> Iterator[tuple[str, Callable[[Network], None] | str]]:
    """Name of each back end of the sparse convolution, and what chooses it for a network, or why it is not used."""
    requirements = {"triton": sparse_conv_choice.require, "spconv": sparse_conv_spconv.require}
    for name in SPARSE_CONV_BACKENDS:
        try:
            requirements.get(name, lambda: None)()
        except TrellisError as error:
            yield name, str(error)
            continue
        usable = name == "builtin" or (device.type == "cuda" and not (name == "triton" and dtype == torch.float32))
        yield name, partial(Network.set_sparse_conv, backend=name) if usable else "not for this device and precision"


def errors(refs: References, dtype: torch.dtype) -> dict[str, float]:
    """Largest error of every network case; infinite where nothing can be compared."""
    found = {}
    for case, expected in refs.cases.items():
        if expected.get("cls", "").removeprefix("Elastic") not in BY_CLASS:
            continue
        wanted = expected if dtype == torch.float32 else {k: v for k, v in expected.items() if k != SURFACES}
        checks = list(compare(wanted, rebuild(refs, case), Tolerance(LIMITS[dtype], LIMITS[dtype])))
        exact = [check for check in checks if check.limit == 0]
        measured = [check.error for check in checks if check.limit > 0]
        found[case] = max(measured) if measured and all(check.ok for check in exact) else float("inf")
    return found


def check(refs: References, name: str, dtype: torch.dtype, choose: Callable[[Network], None]) -> bool:
    """Print a line: whether all networks agree, and the worst of them."""

    def prepare(network: Network) -> None:
        network.set_precision(dtype)
        choose(network)

    found = errors(replace(refs, prepare=prepare), dtype)
    worst = max(found, key=lambda case: found[case] if found[case] == found[case] else float("inf"), default="")
    good = bool(found) and all(error <= LIMITS[dtype] for error in found.values())
    figure = f"{len(found)} networks, largest error {found[worst]:.1e} in {worst} (limit {LIMITS[dtype]:.0e})"
    print(f"{'ok  ' if good else 'MISS'} {label(dtype, name)} {figure}", flush=True)
    return good


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
        for kind, ways in (("attention", attention_ways), ("conv", convolution_ways)):
            for name, choose in ways(device, dtype):
                if isinstance(choose, str):
                    print(f"-    {label(dtype, f'{kind} {name}')} {choose.splitlines()[0]}")
                else:
                    results.append(check(refs, f"{kind} {name}", dtype, choose))
    print(f"{sum(results)} of {len(results)} ways agree.")
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
