"""Sparse convolution by gathering neighbours and one matrix product per chunk, with a gradient of the same kind.

No atomics (results do not depend on timing), and memory beyond the output bounded by the chunk.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

Columns = tuple[tuple[int, ...], ...]
CHUNK_CPU = 1 << 18  # gathered elements at a time and thread: the product finds them in the processor's cache
CHUNK_ACCELERATOR = 1 << 26
LEAST_ROWS = 256
# Columns of the table: all neighbours of a voxel, or for each corner of it the 2^3 neighbours there.
ALL: Columns = (tuple(range(27)),)
CORNERS: Columns = tuple(
    tuple((px + a) * 9 + (py + b) * 3 + pz + c for a in (0, 1) for b in (0, 1) for c in (0, 1))
    for px in (0, 1)
    for py in (0, 1)
    for pz in (0, 1)
)


def apply(feats: Tensor, taps: Tensor, *, bias: Tensor, table: Tensor, columns: Columns) -> Tensor:
    """G convolutions of the same voxels, each over K of the 27 neighbours, side by side.

    feats [N, I]; taps [G, O, K, I]; bias [O] (added to each); table int32 [N, 27] with N for "none";
    columns: the K table columns of each convolution -> [N, G * O].
    """
    return _GatherConv.apply(feats, taps, bias, table, columns)


def _chunks(rows: int, width: int, device: torch.device) -> list[slice]:
    budget = CHUNK_CPU * torch.get_num_threads() if device.type == "cpu" else CHUNK_ACCELERATOR
    step = max(LEAST_ROWS, budget // width)
    return [slice(at, min(at + step, rows)) for at in range(0, rows, step)]


def _gather(padded: Tensor, table: Tensor, columns: tuple[int, ...]) -> Tensor:
    """Rows of `padded` [N + 1, C] (the last is zero) at some columns of a chunk of the table -> [n, K * C]."""
    index = table if len(columns) == 27 else torch.stack([table[:, column] for column in columns], 1)
    return padded.index_select(0, index.reshape(-1)).view(table.shape[0], -1)


def convolve_rows(padded: Tensor, matrix: Tensor, *, bias: Tensor, table: Tensor, out: Tensor) -> Tensor:
    """A convolution of the voxels of some rows of the table [n, 27] into out [n, O], without a gradient.

    padded [N + 1, I] features of all voxels and a row of zeros; matrix [27 * I, O].
    """
    for rows in _chunks(table.shape[0], matrix.shape[0], padded.device):
        torch.addmm(bias, _gather(padded, table[rows], *ALL), matrix, out=out[rows])
    return out


def sum_products(products: Tensor, table: Tensor, *, bias: Tensor) -> Tensor:
    """Sum of product d of neighbour d, and bias: products [M, 27 * O], table int32 [N, 27] -> [N, O]."""
    width = products.shape[1] // 27
    padded = F.pad(products, (0, 0, 0, 1)).view(-1, width)
    tap = torch.arange(27, dtype=torch.int32, device=table.device)
    out = products.new_empty(table.shape[0], width)
    for rows in _chunks(table.shape[0], 27 * width, table.device):
        places = table[rows] * 27 + tap
        gathered = padded.index_select(0, places.flatten()).view(-1, 27, width)
        torch.add(gathered.sum(1, dtype=torch.float32), bias, out=out[rows])
    return out


class _GatherConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, feats: Tensor, taps: Tensor, bias: Tensor, table: Tensor, columns: Columns) -> Tensor:
        ctx.save_for_backward(feats, taps, table)
        ctx.columns = columns
        groups, width = taps.shape[:2]
        matrices = taps.flatten(2)
        padded = F.pad(feats, (0, 0, 0, 1))
        out = feats.new_empty(feats.shape[0], groups * width)
        for rows in _chunks(feats.shape[0], matrices.shape[2], feats.device):
            for group in range(groups):
                gathered = _gather(padded, table[rows], columns[group])
                place = out[rows, group * width : (group + 1) * width]
                torch.addmm(bias, gathered, matrices[group].t(), out=place)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        feats, taps, table = ctx.saved_tensors
        grad = grads[0].contiguous()
        width = taps.shape[1]
        with torch.autocast(grad.device.type, enabled=False):
            grad_feats = _grad_feats(grad, taps, table, ctx.columns) if ctx.needs_input_grad[0] else None
            grad_taps = (
                tap_gradients(feats, grad, taps.shape, table, ctx.columns).to(taps.dtype)
                if ctx.needs_input_grad[1]
                else None
            )
            grad_bias = grad.view(-1, width).sum(0) if ctx.needs_input_grad[2] else None
        return grad_feats, grad_taps, grad_bias, None, None


def _grad_feats(grad: Tensor, taps: Tensor, table: Tensor, columns: Columns) -> Tensor:
    """`feats[p + d]` meets `out[p]`, so the gradient at q gathers from q - d: the mirrored columns."""
    groups, width, count, channels = taps.shape
    total = table.shape[0]
    result = grad.new_zeros(total, channels)
    for group in range(groups):
        padded = F.pad(grad[:, group * width : (group + 1) * width], (0, 0, 0, 1))
        matrix = taps[group].transpose(0, 1).reshape(count * width, channels)
        mirrored = tuple(26 - column for column in columns[group])
        if count == 27:  # the table as it stands has the columns in the opposite order
            matrix = taps[group].flip(1).transpose(0, 1).reshape(count * width, channels)
        for rows in _chunks(total, count * width, grad.device):
            gathered = _gather(padded, table[rows], mirrored)
            if groups == 1:
                result[rows] = gathered @ matrix
            else:
                result[rows].addmm_(gathered, matrix)
    return result


def tap_gradients(
    feats: Tensor, grad: Tensor, shape: tuple[int, int, int, int], table: Tensor, columns: Columns
) -> Tensor:
    """Gradient float32 of taps of a shape [G, O, K, I], from features [N, I] and the result's gradient [N, G * O]."""
    groups, width, count, channels = shape
    result = torch.zeros(groups, width, count * channels, dtype=torch.float32, device=grad.device)
    padded = F.pad(feats, (0, 0, 0, 1))
    for rows in _chunks(feats.shape[0], count * channels, feats.device):
        for group in range(groups):
            gathered = _gather(padded, table[rows], columns[group])
            result[group] += grad[rows, group * width : (group + 1) * width].t() @ gathered
    return result.view(shape)
