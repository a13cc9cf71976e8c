"""Repair of a generated mesh: faults, floaters, what nobody can see, winding, holes, touching parts."""

import logging
from dataclasses import dataclass

import torch

from trellis.errors import InvalidInputError
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


@dataclass(frozen=True)
class CleanOptions:
    """What is repaired.

    A part is a floater when both its area and the diagonal of its box fall below these fractions of the largest
    part's. drop_hidden: remove what cannot be seen from outside (inner shells, the inner side of hollow walls).
    `max_hole_edges` and `max_hole_perimeter` (fraction of the diagonal of the whole mesh) bound the holes that are
    closed; 0 edges closes none.
    """

    floater_area: float = 0.01
    floater_extent: float = 0.1
    drop_hidden: bool = True
    max_hole_edges: int = 1000
    max_hole_perimeter: float = 1.0

    def __post_init__(self) -> None:
        for name in ("floater_area", "floater_extent"):
            if not 0 <= getattr(self, name) < 1:
                raise InvalidInputError(f"{name} must be in [0, 1), not {getattr(self, name)}.")
        if self.max_hole_edges < 0 or self.max_hole_perimeter < 0:
            raise InvalidInputError("Hole limits must not be negative; 0 edges closes no hole.")


@torch.no_grad()
def clean(mesh: Mesh, *, options: CleanOptions | None = None, progress: Progress | None = None) -> Mesh:
    """Remove faults, floaters and what is hidden, turn the faces outward, close small holes, part touching surfaces.

    Every vertex keeps its attributes; a watertight mesh stays watertight, and no edge of the result has more than two
    faces. The work runs where the mesh lies if Warp runs there, else on the CPU. The result can be empty. Raises
    Cancelled between two of these steps.
    """
    options, progress = options or CleanOptions(), progress or Progress()
    home = mesh.vertices.device
    mesh = _moved(mesh, rendering_device(home, "auto"))
    limits = HoleLimits(options.max_hole_edges, options.max_hole_perimeter * diagonal(mesh))
    before = len(mesh.faces)
    steps = [
        remove_faults,
        lambda m: remove_floaters(m, min_area=options.floater_area, min_extent=options.floater_extent),
        orient,
        lambda m: remove_hidden(m, limits=limits) if options.drop_hidden else m,
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
