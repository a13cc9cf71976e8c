"""How good texture coordinates are: stretch, use of the square, overlap, seams."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from trellis.export.unwrap import Unwrapped
from trellis.ops.rasterize import rasterize_triangles

OVERLAP_SIZE = 2048  # texels a side of the picture that overlaps are looked for in

OFFSET = (0.1234, 0.3141)  # of a texel


@dataclass(frozen=True)
class AtlasQuality:
    """Figures of one atlas.

    charts: their number; utilisation: area of the faces in the square; stretch: L2 over the surface (Sander et al.
    2001; 1 is none), the scale being common to all charts; worst_stretch: its 99th percentile over the area;
    overlap: texel centres under two or more faces, of those under any; seams: length of the edges whose two faces
    lie apart in the square, over the square root of the surface's area.
    """

    charts: int
    utilisation: float
    stretch: float
    worst_stretch: float
    overlap: float
    seams: float


def measure_atlas(unwrapped: Unwrapped, *, device: torch.device | None = None) -> AtlasQuality:
    """The figures of `unwrapped`; only texel centres are counted for the overlap."""
    stretch, areas = face_stretch(unwrapped)
    order = np.argsort(stretch)
    share = np.cumsum(areas[order]) / areas.sum()
    return AtlasQuality(
        charts=unwrapped.charts,
        utilisation=unwrapped.utilisation,
        stretch=float(np.sqrt((np.square(stretch) * areas).sum() / areas.sum())),
        worst_stretch=float(stretch[order][np.searchsorted(share, 0.99)]),
        overlap=overlap(unwrapped, device=device),
        seams=seam_length(unwrapped) / float(areas.sum()) ** 0.5,
    )


def face_stretch(unwrapped: Unwrapped) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """L2 stretch and area in space of every face that has an area in space and in the square, at the common scale."""
    corners, flat = unwrapped.vertices[unwrapped.faces], unwrapped.uvs[unwrapped.faces]
    edges = np.stack([corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]], axis=2)  # [F, 3, 2]
    sides = np.stack([flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]], axis=2)  # [F, 2, 2]
    areas = 0.5 * np.linalg.norm(np.cross(edges[..., 0], edges[..., 1]), axis=1)
    flat_areas = 0.5 * np.abs(np.linalg.det(sides))
    usable = (areas > 1e-9 * areas.max()) & (flat_areas > 1e-6 * flat_areas.mean())
    jacobian = edges[usable] @ np.linalg.inv(sides[usable])
    scale = flat_areas[usable].sum() / areas[usable].sum()
    return np.sqrt(0.5 * np.square(jacobian).sum(axis=(1, 2)) * scale), areas[usable]


def overlap(unwrapped: Unwrapped, *, device: torch.device | None = None) -> float:
    """Share of the covered texels that two faces cover: the first and the last face there are not the same."""
    count = len(unwrapped.faces)
    # Moved off the texels: an edge through their centres would count for the faces on both sides.
    places = unwrapped.uvs[unwrapped.faces].reshape(-1, 2) * OVERLAP_SIZE + OFFSET
    flat = torch.from_numpy(places).float().to(device)
    faces = torch.arange(3 * count, device=device).reshape(-1, 3)
    rank = torch.arange(count, device=device).repeat_interleave(3).float() + 1
    first, last = (
        rasterize_triangles(torch.cat([flat, depth[:, None]], dim=1), faces, size=OVERLAP_SIZE, perspective=False)
        for depth in (rank, count + 1 - rank)
    )
    covered = int(first.mask.sum())
    return float((first.mask & (first.face_id != last.face_id)).sum()) / max(covered, 1)


def seam_length(unwrapped: Unwrapped) -> float:
    """Length of the edges of the source whose two faces meet different places of the square there."""
    faces = unwrapped.faces
    half = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    source = unwrapped.vertex_map[half]
    backwards = source[:, 0] > source[:, 1]
    half[backwards], source[backwards] = half[backwards][:, ::-1], source[backwards][:, ::-1]
    order = np.lexsort((source[:, 1], source[:, 0]))
    half, source = half[order], source[order]
    same = (source[1:] == source[:-1]).all(axis=1)
    apart = np.abs(unwrapped.uvs[half[1:]] - unwrapped.uvs[half[:-1]]).max(axis=(1, 2)) > 1e-9
    ends = unwrapped.vertices[half[1:][same & apart]]
    return float(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1).sum())
