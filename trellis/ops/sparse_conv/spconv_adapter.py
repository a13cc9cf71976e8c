"""Submanifold convolution by the package spconv; an adapter, used when it is asked for. No gradient.

Source: spconv's documented interface (SparseConvTensor, SubMConv3d, ConvAlgo).
"""

from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from trellis.errors import InvalidInputError, MissingDependencyError
from trellis.ops.eager import eager
from trellis.ops.fastest import fastest, shell_of_voxels

# Names of the environment variable SPCONV_ALGO -> spconv's own (auto: spconv chooses).
ALGORITHMS = {"auto": None, "native": "Native", "implicit_gemm": "MaskImplicitGemm"}
INDICE_KEY = "submanifold"  # and the algorithm: each has tables of its own
MEASURED_SIDE = 24  # of the grid with a ball's shell that algorithms are measured on


def require() -> None:
    """Raise MissingDependencyError, saying what to do, if spconv is not installed."""
    if find_spec("spconv") is None:
        raise MissingDependencyError("The sparse convolution back end spconv is not installed; use builtin.")


def is_usable(feats: Tensor) -> bool:
    """float32 and float16 on a GPU, without gradients: spconv knows no bfloat16."""
    known = feats.dtype in (torch.float32, torch.float16)
    return known and feats.device.type != "cpu" and not torch.is_grad_enabled()


@eager
def convolve(
    feats: Tensor,
    weight: Tensor,
    *,
    bias: Tensor,
    coords: Tensor,
    resolution: int,
    batch_size: int,
    indices: dict[str, Any],
    algorithm: str = "auto",
) -> Tensor:
    """See `trellis.ops.sparse_conv.submanifold_conv`: feats [N, I], coords int32 [N, 4] -> [N, O].

    indices: spconv's tables, filled at the first call for a layout and kept by the caller with it.
    algorithm: one of ALGORITHMS. Raises InvalidInputError for another one, MissingDependencyError without spconv.
    """
    if algorithm not in ALGORITHMS:
        raise InvalidInputError(f"Unknown spconv algorithm {algorithm!r}; choose one of {', '.join(ALGORITHMS)}.")
    require()
    import spconv.pytorch as spconv

    name = ALGORITHMS[algorithm]
    algo = None if name is None else getattr(spconv.ConvAlgo, name)
    with torch.device("meta"):
        layer = spconv.SubMConv3d(
            weight.shape[-1], weight.shape[0], 3, bias=True, indice_key=f"{INDICE_KEY} {algorithm}", algo=algo
        )
    layer.weight = torch.nn.Parameter(weight.to(feats.dtype), requires_grad=False)
    layer.bias = torch.nn.Parameter(bias.to(feats.dtype), requires_grad=False)
    layer.eval()
    x = spconv.SparseConvTensor(feats, coords, [resolution] * 3, batch_size)
    x.indice_dict = indices
    return layer(x).features


@cache
def fastest_algorithm(device: torch.device, dtype: torch.dtype, *, width: int, out_width: int) -> str:
    """The algorithm that is fastest here for convolutions of these widths: measured once, then remembered."""
    generator = torch.Generator().manual_seed(0)
    coords = shell_of_voxels(MEASURED_SIDE, device)
    feats = torch.randn(len(coords), width, generator=generator).to(device, dtype)
    weight = torch.randn(out_width, 3, 3, 3, width, generator=generator).to(device, dtype) / (27 * width) ** 0.5
    bias = torch.zeros(out_width, dtype=dtype, device=device)
    indices: dict[str, Any] = {}

    def run(algorithm: str) -> Tensor:
        place: dict[str, Any] = {"coords": coords, "resolution": MEASURED_SIDE, "batch_size": 1, "indices": indices}
        return convolve(feats, weight, bias=bias, algorithm=algorithm, **place)

    question = f"spconv from {width} to {out_width} channels, {dtype}"
    return fastest(run, tuple(ALGORITHMS), device, question=question)
