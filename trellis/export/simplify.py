"""Fewer faces at little change of shape; vertex attributes are read again from the original surface."""

import logging
import math

import numpy as np
import torch

from trellis.errors import InvalidInputError
from trellis.export.clean import orient, remove_faults
from trellis.export.holes import fill_holes
from trellis.export.native import run_native
from trellis.export.surface import Surface, edge_report
from trellis.ops.closest_point import closest_point
from trellis.progress import Progress
from trellis.representations import Mesh

logger = logging.getLogger(__name__)

MIN_FACES = 4
# The library's default 7 doubles the error of 4; small values stall on exactly coplanar splits.
AGGRESSIVENESS = (4, 5, 6, 7)
COUNT_TOLERANCE = 0.02


def target_faces(count: int, *, ratio: float | None = None, faces: int | None = None) -> int:
    """How many of `count` faces stay: `ratio` is the fraction removed in [0, 1), `faces` a number >= 4; not both."""
    if ratio is not None and faces is not None:
        raise InvalidInputError("Give either simplify (a fraction removed) or faces (a target count), not both.")
    if ratio is not None:
        if not 0 <= ratio < 1:
            raise InvalidInputError(f"simplify is the fraction of faces removed, in [0, 1), not {ratio}.")
        return max(math.ceil(count * (1 - ratio)), min(count, MIN_FACES))
    if faces is None:
        return count
    if faces < MIN_FACES:
        raise InvalidInputError(f"faces must be at least {MIN_FACES}, not {faces}.")
    return min(count, faces)


def simplify(
    mesh: Mesh, *, ratio: float | None = None, faces: int | None = None, progress: Progress | None = None
) -> Mesh:
    """Quadric decimation of `mesh` to a fraction removed or a face count (see `target_faces`).

    A watertight mesh stays watertight where the library allows it. Attributes of the new vertices are those of the
    nearest points of the original surface. Raises InvalidInputError for bad targets, Cancelled on request.
    """
    target = target_faces(len(mesh.faces), ratio=ratio, faces=faces)
    if target >= len(mesh.faces):
        return mesh
    source = Surface.from_mesh(mesh)
    reduced = _decimate(source, target, progress or Progress())
    vertices = torch.from_numpy(reduced.vertices.astype(np.float32)).to(mesh.vertices.device)
    indices = torch.from_numpy(reduced.faces.astype(np.int32)).to(mesh.vertices.device)
    return Mesh(vertices, indices, transfer_attributes(mesh, vertices))


def transfer_attributes(mesh: Mesh, points: torch.Tensor) -> torch.Tensor | None:
    """Attributes [n, k] of the points of the surface `mesh` nearest to `points` [n, 3]; None without attributes."""
    if mesh.attributes is None:
        return None
    found = closest_point(points, mesh.vertices, mesh.faces)
    corners = mesh.attributes[mesh.faces[found.faces].long()]
    return (corners * found.barycentrics[..., None]).sum(dim=1)


def _decimate(source: Surface, target: int, progress: Progress) -> Surface:
    """The first attempt that meets the count and is as closed as the source; else the best attempt, patched."""
    was_watertight = edge_report(source.faces, len(source.vertices)).watertight
    # Unit size: the library's thresholds are absolute.
    centre, size = source.vertices.mean(axis=0), max(source.diagonal(), 1e-12)
    arrays = {
        "vertices": ((source.vertices - centre) / size).astype(np.float32),
        "faces": source.faces.astype(np.int32),
        "target": np.array(target),
    }
    best: tuple[tuple[bool, int], Surface] | None = None
    for agg in AGGRESSIVENESS:
        result = run_native("simplify", {**arrays, "agg": np.array(agg)}, progress=progress)
        attempt = Surface(result["vertices"].astype(np.float64) * size + centre, result["faces"].astype(np.int64))
        attempt = remove_faults(attempt)
        if was_watertight and not edge_report(attempt.faces, len(attempt.vertices)).watertight:
            attempt = orient(fill_holes(attempt, max_edges=64, max_perimeter=math.inf))
        report = edge_report(attempt.faces, len(attempt.vertices))
        score = (was_watertight and not report.watertight, max(len(attempt.faces) - target, 0))
        if len(attempt.faces) and (best is None or score < best[0]):
            best = (score, attempt)
        if best is not None and not best[0][0] and best[0][1] <= 2 + COUNT_TOLERANCE * target:
            break
    if best is None:
        raise InvalidInputError(f"The mesh of {len(source.faces)} faces cannot be reduced to {target} faces.")
    if best[0][0]:
        logger.warning("Simplifying to %d faces left the mesh open in places.", target)
    return best[1]
