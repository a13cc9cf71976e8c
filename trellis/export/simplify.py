"""Fewer faces at little change of shape; vertex attributes are read again from the original surface."""

import logging
import math

import torch

from trellis.errors import InvalidInputError
from trellis.export.topology import face_corners, face_parts, sum_by, with_faces
from trellis.ops.closest_point import closest_point
from trellis.ops.edge_collapse import collapse_edges
from trellis.ops.half_edges import face_vectors
from trellis.ops.rasterize import rendering_device
from trellis.progress import Progress
from trellis.representations import Mesh

logger = logging.getLogger(__name__)

MIN_FACES = 4
# A part takes at least 4 faces; where there are so many that fewer than this are left for each, the smallest go first,
# up to this fraction of the whole area.
FACES_A_PART = 12
SPARE_AREA = 0.02


def target_faces(count: int, *, ratio: float | None = None, faces: int | None = None) -> int:
    """How many of `count` faces stay: `ratio` is the fraction removed, in [0, 1), or `faces` their number; else all.

    Raises InvalidInputError for bad targets.
    """
    if ratio is not None and faces is not None:
        raise InvalidInputError("Give either simplify (a fraction removed) or faces (a target count), not both.")
    if ratio is not None and not 0 <= ratio < 1:
        raise InvalidInputError(f"simplify is the fraction of faces removed, in [0, 1), not {ratio}.")
    if faces is not None and faces < MIN_FACES:
        raise InvalidInputError(f"faces must be at least {MIN_FACES}, not {faces}.")
    if ratio is not None:
        return max(math.ceil(count * (1 - ratio)), min(count, MIN_FACES))
    return count if faces is None else min(count, faces)


@torch.no_grad()
def simplify(
    mesh: Mesh, *, ratio: float | None = None, faces: int | None = None, progress: Progress | None = None
) -> Mesh:
    """Quadric edge collapse of `mesh` to a fraction removed or a face count (see `target_faces`).

    Topology is kept: a manifold stays one, a watertight mesh stays watertight. The smallest of very many parts are
    dropped (see FACES_A_PART); where parts and handles still do not allow the count, the mesh keeps more faces than
    asked, which is logged. Attributes of the new vertices are those of the nearest points of the original surface.
    The work runs where the mesh lies if Warp runs there, else on the CPU. Raises InvalidInputError for bad targets,
    Cancelled within one round of collapses.
    """
    target = target_faces(len(mesh.faces), ratio=ratio, faces=faces)
    if target >= len(mesh.faces):
        return mesh
    progress = progress or Progress()
    device = rendering_device(mesh.vertices.device, "auto")
    source = Mesh(
        mesh.vertices.detach().to(device),
        mesh.faces.detach().to(device),
        None if mesh.attributes is None else mesh.attributes.detach().to(device),
    )
    light = _collapse(_without_smallest_parts(source, max(1, target // FACES_A_PART)), target, progress)
    if len(light.faces) > target:
        logger.warning(
            "%d faces are the least that keep the shape's parts and handles, not %d.", len(light.faces), target
        )
    progress.cancel.raise_if_cancelled()
    attributes = transfer_attributes(source, light.vertices)
    home = mesh.vertices.device
    return Mesh(light.vertices.to(home), light.faces.to(home), None if attributes is None else attributes.to(home))


def transfer_attributes(mesh: Mesh, points: torch.Tensor) -> torch.Tensor | None:
    """Attributes [n, k] of the points of the surface `mesh` nearest to `points` [n, 3]; None without attributes."""
    if mesh.attributes is None:
        return None
    found = closest_point(points, mesh.vertices, mesh.faces)
    corners = mesh.attributes[mesh.faces[found.faces].long()]
    return (corners * found.barycentrics[..., None]).sum(dim=1)


def _collapse(mesh: Mesh, target: int, progress: Progress) -> Mesh:
    vertices, faces = collapse_edges(
        mesh.vertices, mesh.faces, target, before_round=lambda _: progress.cancel.raise_if_cancelled()
    )
    return Mesh(vertices, faces)


def _without_smallest_parts(mesh: Mesh, most: int) -> Mesh:
    """Drop parts from the smallest upwards until `most` are left or SPARE_AREA is spent."""
    count, part = face_parts(mesh.faces, len(mesh.vertices))
    if count <= most:
        return mesh
    # On the CPU, which adds up in one order.
    areas = sum_by(torch.linalg.vector_norm(face_vectors(face_corners(mesh)), dim=1), part, count).cpu()
    order = areas.argsort(stable=True)[: count - most]
    dropped = torch.zeros(count, dtype=torch.bool)
    dropped[order[areas[order].cumsum(0) <= SPARE_AREA * areas.sum()]] = True
    return with_faces(mesh, mesh.faces[~dropped.to(part.device)[part]])
