"""Rasterisers in plain torch: vectorised over fragments, on any device, differentiable; what the others must equal."""

import torch
from torch import Tensor

from trellis.ops.rasterize.compositing import band_fragments, blend, fragments_per_row, row_bands
from trellis.ops.rasterize.fragments import FRAGMENT_BUDGET, expand
from trellis.ops.rasterize.scenes import ScreenGaussians

_NOTHING = torch.iinfo(torch.int64).max


def _edge(a: Tensor, b: Tensor, sample: Tensor) -> Tensor:
    """Twice the signed area of (sample, a, b); exactly antisymmetric in a and b, so that shared edges leave no gap."""
    swap = (a[..., 0] > b[..., 0]) | ((a[..., 0] == b[..., 0]) & (a[..., 1] > b[..., 1]))
    first = torch.where(swap[..., None], b, a) - sample
    second = torch.where(swap[..., None], a, b) - sample
    area = first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
    return torch.where(swap, -area, area)


def _barycentric(corners: Tensor, sample: Tensor, *, perspective: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Weights [m, 3], depth [m] and coverage [m] of triangles [m, 3, 3] at points [m, 2] of the image."""
    a, b, c = corners[:, 0, :2], corners[:, 1, :2], corners[:, 2, :2]
    edges = torch.stack([_edge(b, c, sample), _edge(c, a, sample), _edge(a, b, sample)], dim=1)
    area = edges.sum(1)
    covered = ((edges >= 0).all(1) | (edges <= 0).all(1)) & (area != 0)
    weights = edges / torch.where(area == 0, torch.ones_like(area), area)[:, None]
    if perspective:
        scaled = weights / corners[:, :, 2]
        depth = 1 / torch.where(covered, scaled.sum(1), torch.ones_like(area))
        return scaled * depth[:, None], depth, covered
    return weights, (weights * corners[:, :, 2]).sum(1), covered


def _ordered_bits(depth: Tensor) -> Tensor:
    """int64 with the order of float32 `depth`, negative values included."""
    bits = depth.contiguous().view(torch.int32).long()
    return torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


def rasterize_triangles(
    points: Tensor, faces: Tensor, height: int, width: int, *, perspective: bool, near: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(face_id [H, W] int32, barycentric [H, W, 3], depth [H, W]); see `ops.rasterize.rasterize_triangles`.

    Every triangle becomes the samples of its bounding box; the nearest wins by an integer minimum over (depth, face).
    """
    faces = faces.long()
    triangles = points[faces].detach()
    low = torch.ceil(triangles[..., :2].amin(1) - 0.5)
    high = torch.floor(triangles[..., :2].amax(1) - 0.5)
    limit = torch.tensor([width - 1, height - 1], device=points.device)
    usable = torch.isfinite(triangles).all(2).all(1) & (triangles[..., 2] > near).all(1)
    low = torch.where(usable[:, None], low.clamp(min=0), 0).minimum(limit + 1).long()
    high = torch.where(usable[:, None], high.clamp(min=-1), -1).minimum(limit).long()
    span = (high - low + 1).clamp(min=0)
    nearest = torch.full((height * width,), _NOTHING, dtype=torch.int64, device=points.device)
    for face, offset in expand(span[:, 0] * span[:, 1]):
        x = low[face, 0] + offset % span[face, 0]
        y = low[face, 1] + offset // span[face, 0]
        sample = torch.stack([x, y], dim=1).to(points.dtype) + 0.5
        _, depth, covered = _barycentric(triangles[face], sample, perspective=perspective)
        key = torch.where(covered, (_ordered_bits(depth) << 32) | face, _NOTHING)
        nearest.scatter_reduce_(0, y * width + x, key, reduce="amin")
    face_id = torch.where(nearest != _NOTHING, nearest & 0xFFFFFFFF, -1).view(height, width)
    return sample_faces(face_id, points, faces, perspective=perspective)


def sample_faces(face_id: Tensor, points: Tensor, faces: Tensor, *, perspective: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Weights [H, W, 3] and depth [H, W] of the faces seen, face_id [H, W] (-1: none), which comes first as int32.

    Differentiable in `points`.
    """
    height, width = face_id.shape
    flat = face_id.reshape(-1).long()
    barycentric = points.new_zeros(height * width, 3)
    depth = points.new_zeros(height * width)
    where = (flat >= 0).nonzero().squeeze(1)
    sample = torch.stack([where % width, where // width], dim=1).to(points.dtype) + 0.5
    weights, z, _ = _barycentric(points[faces[flat[where]].long()], sample, perspective=perspective)
    barycentric = barycentric.index_put((where,), weights)
    depth = depth.index_put((where,), z)
    return face_id.int(), barycentric.view(height, width, 3), depth.view(height, width)


def interpolate_attributes(face_id: Tensor, barycentric: Tensor, faces: Tensor, attributes: Tensor) -> Tensor:
    """Values [H, W, k]; see `ops.rasterize.interpolate_attributes`."""
    if faces.shape[0] == 0:
        return attributes.new_zeros(*face_id.shape, attributes.shape[1])
    corners = faces[face_id.clamp(min=0).long()].long()
    values = attributes[corners[..., 0]] * barycentric[..., 0:1]
    for corner in (1, 2):
        values = torch.addcmul(values, attributes[corners[..., corner]], barycentric[..., corner : corner + 1])
    return values


def composite_gaussians(gaussians: ScreenGaussians, size: int) -> tuple[Tensor, Tensor]:
    """(color [3, size, size], transmittance [size, size]); see `ops.rasterize.composite_gaussians`."""
    boxes = gaussians.boxes
    geometry = torch.cat([gaussians.means, gaussians.conics, gaussians.opacities[:, None]], dim=1)
    colors, transmittances = [], []
    for band in row_bands(fragments_per_row(boxes, size), FRAGMENT_BUDGET):
        first, end, _ = band
        owner, x, y = band_fragments(boxes, band)
        mean_x, mean_y, xx, xy, yy, opacity = geometry[owner].unbind(1)
        dx, dy = mean_x - x, mean_y - y
        power = -0.5 * (xx * dx * dx + yy * dy * dy) - xy * dx * dy
        alpha = (opacity * torch.exp(power.clamp(max=0))).clamp(max=0.99)
        alpha = torch.where((power <= 0) & (alpha >= 1 / 255), alpha, 0.0)
        pixels, order = torch.sort(((y - first) * size + x).int(), stable=True)
        color, transmittance = blend(
            pixels.long(),
            alpha[order],
            gaussians.colors[owner[order]],
            count=(end - first) * size,
            minimum=1e-4,
            stop_before=True,
        )
        colors.append(color)
        transmittances.append(transmittance)
    return torch.cat(colors).T.reshape(3, size, size), torch.cat(transmittances).view(size, size)
