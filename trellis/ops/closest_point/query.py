"""The closest point query, and its reference in plain torch."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from trellis.errors import InvalidInputError

BACKENDS = ("warp", "reference")
CHUNK = 1 << 22  # point-face pairs at a time


@dataclass(frozen=True)
class SurfacePoints:
    """Points of a surface: faces [n] int64; barycentrics [n, 3] of the face's corners; distances [n] to the query."""

    faces: Tensor
    barycentrics: Tensor
    distances: Tensor


def closest_point(points: Tensor, vertices: Tensor, faces: Tensor, *, backend: str = "warp") -> SurfacePoints:
    """The nearest surface point of each of `points` [n, 3]; see `closest_query`, which is for asking again."""
    return closest_query(vertices, faces, backend=backend)(points)


def closest_query(vertices: Tensor, faces: Tensor, *, backend: str = "warp") -> Callable[[Tensor], SurfacePoints]:
    """A function from points [n, 3] to the nearest surface points on the mesh `vertices` [V, 3], `faces` [F, 3].

    All tensors on one device; the result is on it too. `warp` builds a bounding volume tree; `reference` compares
    every point with every face. Raises InvalidInputError for an empty mesh or an unknown back end.
    """
    if backend not in BACKENDS:
        raise InvalidInputError(f"Unknown back end {backend!r}; choose one of {', '.join(BACKENDS)}.")
    if not len(faces):
        raise InvalidInputError("The mesh has no faces, so no point of it is nearest.")
    vertices = vertices.detach().float().contiguous()
    if backend == "warp":  # imported at the call: Warp takes half a second to load and is needed for this alone
        from trellis.ops.closest_point import warp_backend

        nearest = warp_backend.build(vertices, faces)
    else:
        nearest = partial(nearest_of_all, vertices=vertices, faces=faces)

    def closest(points: Tensor) -> SurfacePoints:
        points = points.detach().float().contiguous()
        face, barycentrics = nearest(points)
        found = torch.einsum("nc,ncd->nd", barycentrics, vertices[faces[face].long()])
        return SurfacePoints(face, barycentrics, torch.linalg.vector_norm(found - points, dim=1))

    return closest


def nearest_of_all(points: Tensor, vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """As `warp_backend.build` finds them, by comparing every point with every face."""
    corners = vertices[faces.long()]
    found, weights = [], []
    for part in points.split(max(1, CHUNK // len(faces))):
        barycentrics = nearest_on_triangles(part[:, None], corners[None])
        offset = torch.einsum("nfc,fcd->nfd", barycentrics, corners) - part[:, None]
        face = offset.square().sum(-1).argmin(dim=1)
        found.append(face)
        weights.append(barycentrics[torch.arange(len(part), device=part.device), face])
    if not found:
        return faces.new_zeros(0, dtype=torch.int64), points.new_zeros(0, 3)
    return torch.cat(found), torch.cat(weights)


def nearest_on_triangles(points: Tensor, corners: Tensor) -> Tensor:
    """Barycentrics [..., 3] of the point of a triangle [..., 3, 3] nearest to a point [..., 3].

    The foot of the perpendicular if it lies inside, else the nearest point of the nearest edge.
    """
    a, b, c = corners.unbind(-2)
    inside = _perpendicular_foot(points, a, b, c)
    candidates = [inside]
    costs = [torch.where((inside >= 0).all(-1), _offset(points, inside, corners), torch.inf)]
    for i, j in ((0, 1), (1, 2), (2, 0)):
        start, along = corners[..., i, :], corners[..., j, :] - corners[..., i, :]
        t = ((points - start) * along).sum(-1) / along.square().sum(-1).clamp_min(1e-30)
        t = t.clamp(0, 1)
        edge = torch.zeros_like(inside)
        edge[..., i], edge[..., j] = 1 - t, t
        candidates.append(edge)
        costs.append(_offset(points, edge, corners))
    best = torch.stack(costs).argmin(dim=0)
    stacked = torch.stack(candidates)
    return stacked.gather(0, best[None, ..., None].expand(1, *inside.shape)).squeeze(0)


def _perpendicular_foot(points: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Barycentrics [..., 3] of the foot in the plane of the triangle; negative for a triangle without area."""
    ab, ac, ap = b - a, c - a, points - a
    d00, d01, d11 = (ab * ab).sum(-1), (ab * ac).sum(-1), (ac * ac).sum(-1)
    d20, d21 = (ap * ab).sum(-1), (ap * ac).sum(-1)
    area = d00 * d11 - d01 * d01
    flat = area <= 1e-12 * d00 * d11
    safe = torch.where(flat, torch.ones_like(area), area)
    v = (d11 * d20 - d01 * d21) / safe
    w = (d00 * d21 - d01 * d20) / safe
    foot = torch.stack([1 - v - w, v, w], dim=-1)
    return torch.where(flat[..., None], torch.full_like(foot, -1.0), foot)


def _offset(points: Tensor, barycentrics: Tensor, corners: Tensor) -> Tensor:
    return ((barycentrics[..., None] * corners).sum(-2) - points).square().sum(-1)
