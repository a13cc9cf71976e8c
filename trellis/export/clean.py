"""Repair of a generated mesh: faults, floaters, inner shells, winding and holes."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from trellis.errors import InvalidInputError
from trellis.export.holes import fill_holes
from trellis.export.surface import (
    Bools,
    Floats,
    Ints,
    Surface,
    directed_edges,
    edge_keys,
    face_components,
    paired_half_edges,
)
from trellis.representations import Mesh


@dataclass(frozen=True)
class CleanOptions:
    """What is repaired.

    A part is a floater when both its area and the diagonal of its box fall below these fractions of the largest
    part's. `max_hole_edges` and `max_hole_perimeter` (fraction of the diagonal of the whole mesh) bound the holes
    that are closed; 0 edges closes none.
    """

    floater_area: float = 0.01
    floater_extent: float = 0.1
    drop_inner_shells: bool = True
    max_hole_edges: int = 250
    max_hole_perimeter: float = 1.0

    def __post_init__(self) -> None:
        for name in ("floater_area", "floater_extent"):
            if not 0 <= getattr(self, name) < 1:
                raise InvalidInputError(f"{name} must be in [0, 1), not {getattr(self, name)}.")
        if self.max_hole_edges < 0 or self.max_hole_perimeter < 0:
            raise InvalidInputError("Hole limits must not be negative; 0 edges closes no hole.")


def clean(mesh: Mesh, *, options: CleanOptions | None = None) -> Mesh:
    """Remove faults, floaters and inner shells, turn the faces outward and close small holes.

    Every vertex keeps its attributes; a watertight mesh stays watertight. The result can be empty.
    """
    return clean_surface(Surface.from_mesh(mesh), options=options).to_mesh(mesh.vertices.device)


def clean_surface(surface: Surface, *, options: CleanOptions | None = None) -> Surface:
    """`clean` on the working form."""
    options = options or CleanOptions()
    surface = remove_faults(surface)
    surface = remove_floaters(surface, min_area=options.floater_area, min_extent=options.floater_extent)
    surface = orient(surface)
    if options.drop_inner_shells:
        surface = remove_inner_shells(surface)
    if options.max_hole_edges:
        limit = options.max_hole_perimeter * surface.diagonal()
        surface = fill_holes(surface, max_edges=options.max_hole_edges, max_perimeter=limit)
    return surface.compacted()


def remove_faults(surface: Surface) -> Surface:
    """Drop faces with unknown, non-finite or repeated vertices, double faces, fins; unused vertices go too.

    Vertices that are joined by an edge of no length become one, so a collapsed face leaves no slit. Of two faces on
    the same vertices one stays if they run the same way, none if they are back to back.
    """
    faces = surface.faces
    faces = faces[((faces >= 0) & (faces < len(surface.vertices))).all(axis=1)]
    faces = faces[np.isfinite(surface.vertices[faces]).all(axis=(1, 2))]
    surface = surface.with_faces(faces).compacted()
    faces = _join_coincident(surface)
    faces = faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]
    faces = faces[_single_faces(faces)]
    faces = _without_fins(faces, len(surface.vertices))
    return surface.with_faces(faces).compacted()


def _join_coincident(surface: Surface) -> Ints:
    """The faces with vertices at the ends of zero-length edges replaced by one of them."""
    edges = directed_edges(surface.faces)
    ends = surface.vertices[edges]
    short = edges[np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1) <= 1e-9 * surface.diagonal()]
    if not len(short):
        return surface.faces
    count = len(surface.vertices)
    graph = sparse.coo_matrix((np.ones(len(short), dtype=np.int8), short.T), shape=(count, count))
    _, label = connected_components(graph, directed=False)
    _, first = np.unique(label, return_index=True)
    return first[label][surface.faces]


def _single_faces(faces: Ints) -> Bools:
    """Mask [F] that keeps one of equal faces and none of a pair that is back to back."""
    lowest = faces.argmin(axis=1)
    rows = np.arange(len(faces))
    turned = np.stack([faces[rows, (lowest + i) % 3] for i in range(3)], axis=1)
    sign = np.where(turned[:, 1] < turned[:, 2], 1, -1)
    _, first, group = np.unique(np.sort(faces, axis=1), axis=0, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    forward = np.bincount(group, weights=sign > 0, minlength=len(first)) > 0
    backward = np.bincount(group, weights=sign < 0, minlength=len(first)) > 0
    keep = np.zeros(len(faces), dtype=bool)
    keep[first[~(forward & backward)]] = True
    return keep


def _without_fins(faces: Ints, vertex_count: int) -> Ints:
    """Peel off faces that hang on an edge of three or more faces and end in the open: they enclose nothing."""
    while len(faces):
        keys = edge_keys(directed_edges(faces), vertex_count)
        _, position, counts = np.unique(keys, return_inverse=True, return_counts=True)
        counts = counts[position.reshape(-1)].reshape(3, -1)
        fin = (counts > 2).any(axis=0) & (counts == 1).any(axis=0)
        if not fin.any():
            break
        faces = faces[~fin]
    return faces


def remove_floaters(surface: Surface, *, min_area: float, min_extent: float) -> Surface:
    """Drop the parts whose area and extent are both below these fractions of the largest part's."""
    count, part = face_components(surface.faces, len(surface.vertices))
    if count < 2:
        return surface
    areas = np.bincount(part, weights=surface.face_areas(), minlength=count)
    low, high = _part_boxes(surface, part, count)
    extents = np.linalg.norm(high - low, axis=1)
    small = (areas < min_area * areas.max()) & (extents < min_extent * extents.max())
    return surface.with_faces(surface.faces[~small[part]]).compacted()


def _part_boxes(surface: Surface, part: Ints, count: int) -> tuple[Floats, Floats]:
    low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    corners = surface.corners()
    np.minimum.at(low, part, corners.min(axis=1))
    np.maximum.at(high, part, corners.max(axis=1))
    return low, high


def orient(surface: Surface) -> Surface:
    """Wind the faces of every part alike and outward (positive volume).

    Faces are joined across edges with exactly two faces; a part that cannot be oriented (a Moebius strip) stays as
    it is. Shells inside others are turned outward like all parts.
    """
    faces, count = surface.faces, len(surface.faces)
    if not count:
        return surface
    a, b = paired_half_edges(faces, len(surface.vertices))
    edges = directed_edges(faces)
    agree = edges[a, 0] != edges[b, 0]  # neighbours that are wound alike pass their edge in opposite directions
    fa, fb = a % count, b % count
    # Each face twice, as it is (f) and turned (f + count): what is connected must be chosen together.
    left = np.concatenate([fa, fa + count])
    right = np.concatenate([np.where(agree, fb, fb + count), np.where(agree, fb + count, fb)])
    graph = sparse.coo_matrix((np.ones(len(left), dtype=np.int8), (left, right)), shape=(2 * count, 2 * count))
    _, label = connected_components(graph, directed=False)
    as_is, turned = label[:count], label[count:]
    flip = (as_is > turned) & (as_is != turned)
    faces = np.where(flip[:, None], faces[:, ::-1], faces)
    piece = np.minimum(as_is, turned)
    volume = np.bincount(piece, weights=_cone_volumes(surface.with_faces(faces), piece))
    faces = np.where((volume < 0)[piece][:, None], faces[:, ::-1], faces)
    return surface.with_faces(faces)


def _cone_volumes(surface: Surface, piece: Ints) -> Floats:
    """Signed volume [F] of the cone from the centre of each face's piece: sensible for open pieces too."""
    corners = surface.corners()
    sizes = np.maximum(np.bincount(piece), 1)[:, None]
    centres = np.stack([np.bincount(piece, weights=corners[:, :, axis].mean(axis=1)) for axis in range(3)], axis=1)
    a, b, c = np.moveaxis(corners - (centres / sizes)[piece][:, None], 1, 0)
    return (a * np.cross(b, c)).sum(axis=1) / 6


def remove_inner_shells(surface: Surface) -> Surface:
    """Drop the parts that lie wholly inside another, closed part: nobody outside can see them.

    Judged by the winding number of one vertex of the inner part (van Oosterom and Strackee 1983); parts are assumed
    not to cross, which their boxes must confirm by containment.
    """
    count, part = face_components(surface.faces, len(surface.vertices))
    if count < 2:
        return surface
    low, high = _part_boxes(surface, part, count)
    keys = edge_keys(directed_edges(surface.faces), len(surface.vertices))
    _, position, edge_faces = np.unique(keys, return_inverse=True, return_counts=True)
    open_face = (edge_faces[position.reshape(-1)] == 1).reshape(3, -1).any(axis=0)
    closed = np.bincount(part, weights=open_face, minlength=count) == 0
    inner = np.zeros(count, dtype=bool)
    for outer in np.flatnonzero(closed):
        inside = (low > low[outer]).all(axis=1) & (high < high[outer]).all(axis=1) & ~inner
        shell = surface.corners()[part == outer] if inside.any() else None
        for candidate in np.flatnonzero(inside):
            point = surface.vertices[surface.faces[np.argmax(part == candidate), 0]]
            assert shell is not None
            inner[candidate] = abs(winding_number(point, shell)) > 0.5
    return replace(surface, faces=surface.faces[~inner[part]]).compacted()


def winding_number(point: Floats, corners: Floats) -> float:
    """How often the triangles `corners` [F, 3, 3] surround `point` [3]: 1 inside a closed one, 0 outside."""
    a, b, c = np.moveaxis(corners - point, 1, 0)
    la, lb, lc = (np.linalg.norm(v, axis=1) for v in (a, b, c))
    numerator = (a * np.cross(b, c)).sum(axis=1)
    dots = (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
    return float(np.arctan2(numerator, la * lb * lc + dots).sum() / (2 * np.pi))
