"""Repair of a generated mesh: faults, floaters, what nobody can see, winding, holes, touching parts."""

import logging

import torch

from trellis.export.faults import remove_faults
from trellis.export.holes import HoleLimits, fill_holes
from trellis.export.manifold import split_touching
from trellis.export.parts import orient, remove_floaters
from trellis.export.topology import diagonal
from trellis.export.visibility import remove_hidden
from trellis.ops.rasterize import rendering_device
from trellis.progress import Progress
from trellis.representations import Mesh

logger = logging.getLogger(__name__)

# A part is a floater when both its area and the diagonal of its box fall below these fractions of the largest part's.
FLOATER_AREA, FLOATER_EXTENT = 0.01, 0.1
# Holes that are closed: edges around them, and their perimeter as a fraction of the diagonal of the whole mesh.
MOST_HOLE_EDGES, MOST_HOLE_PERIMETER = 1000, 1.0


@torch.no_grad()
def clean(mesh: Mesh, *, progress: Progress | None = None) -> Mesh:
    """Remove faults, floaters and what is hidden, turn the faces outward, close small holes, part touching surfaces.

    Every vertex keeps its attributes; a watertight mesh stays watertight, and no edge of the result has more than two
    faces. The work runs where the mesh lies if Warp runs there, else on the CPU. The result can be empty. Raises
    Cancelled between two of these steps.
    """
    progress = progress or Progress()
    home = mesh.vertices.device
    mesh = _moved(mesh, rendering_device(home, "auto"))
    limits = HoleLimits(MOST_HOLE_EDGES, MOST_HOLE_PERIMETER * diagonal(mesh))
    before = len(mesh.faces)
    steps = [
        remove_faults,
        lambda m: remove_floaters(m, min_area=FLOATER_AREA, min_extent=FLOATER_EXTENT),
        orient,
        lambda m: remove_hidden(m, limits=limits),
        _part_crowded_edges,
        lambda m: fill_holes(m, limits=limits),
        split_touching,
    ]
    for step in steps:
        progress.cancel.raise_if_cancelled()
        mesh = step(mesh)
    logger.info("Cleaning left %d of %d faces.", len(mesh.faces), before)
    return _moved(mesh, home)


def _part_crowded_edges(mesh: Mesh) -> Mesh:
    """Leave no edge with more than two faces; pieces that only met there get one winding with what they now join."""
    parted = split_touching(mesh, edges_only=True)
    return mesh if parted is mesh else orient(parted)


def _moved(mesh: Mesh, device: torch.device) -> Mesh:
    attributes = None if mesh.attributes is None else mesh.attributes.detach().float().to(device)
    return Mesh(mesh.vertices.detach().float().to(device), mesh.faces.detach().int().to(device), attributes)
