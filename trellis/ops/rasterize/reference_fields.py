"""Radiance-field integration in plain torch: vectorised over samples, differentiable; what the others must equal."""

import torch
from torch import Tensor

from trellis.ops.rasterize.compositing import band_fragments, blend, fragments_per_row, row_bands
from trellis.ops.rasterize.fragments import expand
from trellis.ops.rasterize.scenes import SH_C0, VoxelField

# Pairs of a ray and a voxel in a band; each may hold some tens of samples.
PAIR_BUDGET = 1 << 17
# Samples evaluated at once: every one gathers six values for each of R triples.
SAMPLE_BUDGET = 1 << 17


def integrate_voxels(field: VoxelField, origin: Tensor, directions: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """(color [3, H, W], transmittance [H, W]) for rays `directions` [H, W, 3] from `origin` [3].

    boxes [n, 4]: pixels whose rays may meet each voxel. All samples of a band of rows are listed, sorted and blended.
    """
    height, width, _ = directions.shape
    colors, transmittances = [], []
    for band in row_bands(fragments_per_row(boxes, height), PAIR_BUDGET):
        first, end, _ = band
        voxel, x, y = band_fragments(boxes, band)
        begin, count = _sample_range(field, voxel, origin, directions[y, x])
        pieces = [
            (
                *_evaluate(field, voxel[pair], origin, directions[y[pair], x[pair]], begin[pair] + offset),
                (y[pair] - first) * width + x[pair],
                begin[pair] + offset,
            )
            for pair, offset in expand(count, budget=SAMPLE_BUDGET)
        ]
        if pieces:
            alpha, color, pixel, sample = (torch.cat(parts) for parts in zip(*pieces))
        else:
            alpha, color = origin.new_zeros(0), origin.new_zeros(0, 3)
            pixel = sample = boxes.new_zeros(0)
        # Samples of one ray are multiples of one step, so their number orders them front to back.
        order = torch.argsort((pixel << 32) | sample, stable=True)
        blended, transmittance = blend(
            pixel[order], alpha[order], color[order], count=(end - first) * width, minimum=1e-3, stop_before=False
        )
        colors.append(blended)
        transmittances.append(transmittance)
    return torch.cat(colors).T.reshape(3, height, width), torch.cat(transmittances).view(height, width)


def _sample_range(field: VoxelField, voxel: Tensor, origin: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """First sample number [m] and count [m] of rays [m, 3] in voxels [m]: multiples of the step in [entry, exit)."""
    safe = torch.where(directions.abs() < 1e-12, 1e-12, directions)
    low = (field.corners[voxel] - origin) / safe
    high = (field.far_corners[voxel] - origin) / safe
    entry = torch.minimum(low, high).amax(1).clamp(min=0)
    leave = torch.maximum(low, high).amin(1)
    begin = torch.ceil(entry / field.step).long()
    return begin, (torch.ceil(leave / field.step).long() - begin).clamp(min=0)


def _evaluate(
    field: VoxelField, voxel: Tensor, origin: Tensor, directions: Tensor, sample: Tensor
) -> tuple[Tensor, Tensor]:
    """alpha [m] and color [m, 3] of numbered samples of rays [m, 3] in voxels [m]."""
    length = field.trivec.shape[3]
    points = origin + directions * (sample * field.step)[:, None]
    at = (points - field.corners[voxel]) / field.side * length - 0.5
    cell = torch.floor(at).clamp(0, length - 2)
    fraction = (at - cell)[:, None, :]
    index = cell.long()
    factors = []
    for axis in range(3):
        vectors = field.trivec[:, :, axis]
        low, high = vectors[voxel, :, index[:, axis]], vectors[voxel, :, index[:, axis] + 1]
        factors.append(torch.lerp(low, high, fraction[:, :, axis]))
    weight = factors[0] * factors[1] * factors[2]
    density = torch.nn.functional.softplus((field.density[voxel] * weight).sum(1))
    color = torch.sigmoid(SH_C0 * (field.features_dc[voxel] * weight[:, :, None]).sum(1))
    return (1 - torch.exp(-density * field.step)).clamp(max=0.999), color
