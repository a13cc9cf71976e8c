"""Signed distance and winning part of packed slots at many points: elementwise, static shapes."""

import torch
from torch import Tensor

from trellis.training.procedural.builder import Slots, SlotSpec
from trellis.training.procedural.palettes import pattern_color
from trellis.training.procedural.primitives import DIMS, DISTANCES

_FAR = 10.0


def _local_point(spec: SlotSpec, row: Tensor, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Design point -> the part's own frame after folds; `row` [B, SLOT_SIZE]."""
    r = row[:, :, None].unbind(1)
    x = x.abs() if spec.mirror_x else x
    y = y.abs() if spec.mirror_y else y
    x, y, z = x - r[9], y - r[10], z - r[11]
    u, v, w = r[0] * x + r[1] * y + r[2] * z, r[3] * x + r[4] * y + r[5] * z, r[6] * x + r[7] * y + r[8] * z
    spacing, copies = r[-2], r[-1]
    if spec.repeat in (0, 1, 2):
        local = [u, v, w]
        shift = (copies - 1) / 2
        index = torch.round(local[spec.repeat] / spacing.clamp_min(1e-6) + shift).clamp_min(0)
        local[spec.repeat] = local[spec.repeat] - (torch.minimum(index, copies - 1) - shift) * spacing
        u, v, w = local
    elif spec.repeat == 3:
        sector = 2 * torch.pi / copies
        # Copy 0 points along local +x.
        turn = torch.round(torch.atan2(v, u) / sector) * sector
        s, c = torch.sin(turn), torch.cos(turn)
        u, v = c * u + s * v - spacing, c * v - s * u
    return u, v, w


def _slot_distance(spec: SlotSpec, row: Tensor, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, ...]:
    u, v, w = _local_point(spec, row, x, y, z)
    dims = row[:, 12 : 12 + DIMS, None].unbind(1)
    distance = DISTANCES[spec.kind](u, v, w, dims) - row[:, 12 + DIMS, None] + row[:, 14 + DIMS, None]
    return distance, u, v, w


def _combine(spec: SlotSpec, row: Tensor, total: Tensor, distance: Tensor) -> tuple[Tensor, Tensor]:
    """New total and where this slot owns the surface."""
    if spec.operation == "paint":
        return total, distance < 0
    if spec.operation == "subtract":
        return torch.maximum(total, -distance), -distance > total
    owns = distance < total
    if not spec.blended:
        return torch.minimum(total, distance), owns
    blend = row[:, 13 + DIMS, None]
    share = (0.5 + 0.5 * (distance - total) / blend).clamp(0, 1)
    return distance + (total - distance) * share - blend * share * (1 - share), owns


def _material_step(
    spec: SlotSpec, row: Tensor, x: Tensor, y: Tensor, z: Tensor, state: tuple[Tensor, ...], index: int
) -> tuple[Tensor, ...]:
    total, owner, lu, lv, lw = state
    distance, u, v, w = _slot_distance(spec, row, x, y, z)
    total, owns = _combine(spec, row, total, distance)
    owner = torch.where(owns, index, owner)
    return total, owner, torch.where(owns, u, lu), torch.where(owns, v, lv), torch.where(owns, w, lw)


def _design_points(slots: Slots, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    design = points / slots.scale[:, None, None] + slots.offset[:, None, :]
    x, y, z = design.unbind(-1)
    return x.contiguous(), y.contiguous(), z.contiguous()


def distances(slots: Slots, points: Tensor) -> Tensor:
    """Signed distance [B, M] in world units at `points` [B, M, 3]."""
    x, y, z = _design_points(slots, points)
    total = torch.full_like(x, _FAR)
    for index, spec in enumerate(slots.specs):
        if spec.operation == "paint":
            continue
        row = slots.params[:, index]
        total = _combine(spec, row, total, _slot_distance(spec, row, x, y, z)[0])[0]
    return total * slots.scale[:, None]


def owners(slots: Slots, points: Tensor) -> tuple[Tensor, Tensor]:
    """Part that owns each of `points` [B, M, 3], int64 [B, M], and the point in the part's frame [B, M, 3]."""
    x, y, z = _design_points(slots, points)
    zero = torch.zeros_like(x)
    state: tuple[Tensor, ...] = (torch.full_like(x, _FAR), torch.zeros_like(x, dtype=torch.int64), zero, zero, zero)
    for index, spec in enumerate(slots.specs):
        state = _material_step(spec, slots.params[:, index], x, y, z, state, index)
    return state[1], torch.stack(state[2:], -1)


def surface_colors(slots: Slots, owner: Tensor, local: Tensor) -> tuple[Tensor, Tensor]:
    """Colour [B, M, 3] and gloss [B, M] at points of known owners, as `owners` returns them."""
    material = slots.materials.gather(1, owner[..., None].expand(-1, -1, slots.materials.shape[-1]))
    return pattern_color(material, local), material[..., 12]
