"""FlexiCubes on a sparse shell of voxels: per-voxel features to a triangle mesh.

Only cubes at a sign change are visited; of the size of the grid there are only tables of keys. Every sum is a gather
over at most eight voxels or one loop of edges, so the same input gives the same bytes on every device. Source:
FlexiCubes (Shen et al. 2023) as stated in docs/developer/model-facts.md, section 8, whose points are cited below.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.representations.flexicubes_tables import EDGES, CaseTables, case_tables, edge_index
from trellis.representations.key_index import KeyIndex, unique_keys
from trellis.representations.mesh import Mesh

SDF, DEFORM, WEIGHTS, COLOR = slice(0, 8), slice(8, 32), slice(32, 53), slice(53, 101)
PLAIN_CHANNELS, COLOR_CHANNELS = 53, 101
ROWS = 1 << 21  # vertices worked on at a time


@dataclass(frozen=True)
class _Shell:
    """Sorted keys [n] of the voxels, and their feats [n, k], in which `rows` finds a voxel's row by its key.

    A key is the x-major index of a cube's low corner in the (resolution + 1)^3 vertex grid. A cube coordinate never
    equals `resolution`, so stepping a key over the border of the grid never hits a cube.
    """

    keys: Tensor
    feats: Tensor
    resolution: int
    rows: KeyIndex

    @property
    def side(self) -> int:
        return self.resolution + 1

    @property
    def strides(self) -> tuple[int, int, int]:
        return self.side * self.side, self.side, 1

    def corner_offset(self, corner: int) -> int:
        return sum(stride for axis, stride in enumerate(self.strides) if corner >> axis & 1)

    def coordinate(self, keys: Tensor, axis: int) -> Tensor:
        return keys // self.strides[axis] % (self.resolution + 1)


@dataclass(frozen=True)
class _Surface:
    """Cubes at a sign change and their dual vertices.

    keys [S] sorted; case [S] case ids; grouping [S] case ids whose loops are used; corners [S, 8] index into the
    vertices; first_dual [S]; dual_cube [D]; dual_loop [D]; beta [S, 12]; alpha [S, 8]; gamma [S];
    points [U, 3]; sdf [U]; attributes [U, k].
    """

    keys: Tensor
    cubes: KeyIndex
    case: Tensor
    grouping: Tensor
    corners: Tensor
    first_dual: Tensor
    dual_cube: Tensor
    dual_loop: Tensor
    beta: Tensor
    alpha: Tensor
    gamma: Tensor
    points: Tensor
    sdf: Tensor
    attributes: Tensor


def extract_mesh(coords: Tensor, feats: Tensor, *, resolution: int, closed: bool = True) -> Mesh:
    """The surface of one sample; a field without sign change gives a mesh of 0 vertices and 0 faces.

    coords [n, 3] distinct voxels of the resolution^3 grid; feats [n, 101] raw decoder values: sdf 8, deform 24,
    weights 21, colour 48 (53: no colour, attributes None). World frame [-0.5, 0.5]^3, faces counter-clockwise seen
    from positive sdf, attributes [V, 6] = colour and encoded normal in (0, 1). closed: the field is positive outside of
    the voxels; else these hold all of the surface. Computes in float32 (float64 for float64 feats) on the device of
    feats. Raises `InvalidInputError` for a wrong channel count, a voxel outside the grid or one given twice.
    """
    shell = _build_shell(coords, feats, resolution)
    tables = case_tables(feats.device)
    surface = _build_surface(shell, tables, closed=closed)
    vertices, attributes = _dual_vertices(surface, tables)
    quads, low_inside, axis = _quads(shell, surface, tables)
    faces = _split_quads(surface, quads, low_inside=low_inside, axis=axis)
    return Mesh(vertices, faces.int(), attributes if feats.shape[1] == COLOR_CHANNELS else None)


def _build_shell(coords: Tensor, feats: Tensor, resolution: int) -> _Shell:
    if feats.ndim != 2 or feats.shape[1] not in (PLAIN_CHANNELS, COLOR_CHANNELS):
        raise InvalidInputError(
            f"FlexiCubes features must be [n, {PLAIN_CHANNELS}] or [n, {COLOR_CHANNELS}], not {list(feats.shape)}."
        )
    if coords.shape != (len(feats), 3):
        raise InvalidInputError(f"FlexiCubes coords must be [{len(feats)}, 3], not {list(coords.shape)}.")
    if len(coords) and not (int(coords.min()) >= 0 and int(coords.max()) < resolution):
        raise InvalidInputError(f"FlexiCubes coords must lie in 0..{resolution - 1}; pass the fine grid's resolution.")
    side = resolution + 1
    x, y, z = coords.long().unbind(1)
    keys, order = ((x * side + y) * side + z).sort()
    if bool((keys[1:] == keys[:-1]).any()):
        raise InvalidInputError("FlexiCubes coords name a voxel twice; pass the voxels of one sample only.")
    feats = feats.to(torch.promote_types(feats.dtype, torch.float32))
    return _Shell(keys, feats, resolution, KeyIndex(keys, side, order))


def _corner_keys(shell: _Shell, cube_keys: Tensor) -> Tensor:
    """Sorted keys of the vertices of the given cubes."""
    return unique_keys(cube_keys, [shell.corner_offset(corner) for corner in range(8)], shell.side)


def _touching_cubes(shell: _Shell, vertex_keys: Tensor) -> Tensor:
    """Sorted keys of all cubes of the grid that have one of the vertices as a corner."""
    cubes = unique_keys(vertex_keys, [-shell.corner_offset(corner) for corner in range(8)], shell.side)
    # A step over the border, also to below 0, leads to where no cube is: the last coordinate of some axis.
    exists = [shell.coordinate(cubes, axis) < shell.resolution for axis in range(3)]
    return cubes[exists[0] & exists[1] & exists[2]]


def _vertex_means(shell: _Shell, vertex_keys: Tensor, groups: list[slice]) -> tuple[Tensor, Tensor]:
    """Mean [U, k] over the voxels at each vertex of the corner values in `groups`, and their count [U] (point 1)."""
    parts = [_means_of(shell, vertex_keys[rows], groups) for rows in _pieces(len(vertex_keys))]
    means, counts = zip(*parts)
    return torch.cat(means), torch.cat(counts)


def _pieces(count: int) -> list[slice]:
    """All rows, in pieces that bound the work space."""
    return [slice(at, at + ROWS) for at in range(0, max(1, count), ROWS)]


def _means_of(shell: _Shell, vertex_keys: Tensor, groups: list[slice]) -> tuple[Tensor, Tensor]:
    total, count = shell.feats.new_zeros(()), torch.zeros_like(vertex_keys)
    for corner in range(8):
        voxel = shell.rows.find(vertex_keys, -shell.corner_offset(corner))
        present = voxel >= 0
        rows = voxel.clamp_min(0)  # read where there is no voxel, too
        values = torch.cat([_corner_values(shell.feats, group, corner)[rows] for group in groups], 1)
        total = total + torch.where(present[:, None], values, 0.0)
        count += present
    return total / count.clamp(min=1)[:, None], count


def _corner_values(feats: Tensor, group: slice, corner: int) -> Tensor:
    width = (group.stop - group.start) // 8
    return feats[:, group.start + corner * width : group.start + (corner + 1) * width]


@torch.no_grad()
def _surface_cubes(shell: _Shell, closed: bool) -> tuple[Tensor, Tensor]:
    """Keys [S] and case ids [S] of the cubes with a sign change; outside the shell the field is positive (`closed`)."""
    vertex_keys = _corner_keys(shell, shell.keys)
    sdf = _vertex_means(shell, vertex_keys, [SDF])[0].squeeze(1) - 1 / shell.resolution
    inside_keys = vertex_keys[sdf < 0]
    inside = KeyIndex(inside_keys, shell.side)
    cubes = _touching_cubes(shell, inside_keys)
    case = torch.zeros_like(cubes)
    for corner in range(8):
        case |= (inside.find(cubes, shell.corner_offset(corner)) >= 0).long() << corner
    crossing = ((case != 255) if closed else (case != 255) & (shell.rows.find(cubes) >= 0)).nonzero().squeeze(1)
    return cubes[crossing], case[crossing]


def _resolve_ambiguity(shell: _Shell, cubes: KeyIndex, case: Tensor, flagged_face: Tensor) -> Tensor:
    """Case ids [S] whose loops are used: the complement where two flagged cubes share their face (point 4)."""
    face = flagged_face[case]
    strides = torch.tensor(shell.strides, device=case.device)
    step = strides[face.clamp(min=0) // 2] * (face % 2 * 2 - 1)
    neighbour = cubes.find(cubes.keys + step)
    # Opposite faces differ in the last bit of their index.
    paired = (face >= 0) & (neighbour >= 0) & (face[neighbour] == face ^ 1)
    return torch.where(paired, 255 - case, case)


def _build_surface(shell: _Shell, tables: CaseTables, *, closed: bool = True) -> _Surface:
    keys, case = _surface_cubes(shell, closed)
    cubes = KeyIndex(keys, shell.side)
    grouping = _resolve_ambiguity(shell, cubes, case, tables.flagged_face)
    vertex_keys = _corner_keys(shell, keys)
    vertices = KeyIndex(vertex_keys, shell.side)
    corners = torch.stack([vertices.find(keys, shell.corner_offset(c)) for c in range(8)], 1)
    del vertices
    groups = [SDF, DEFORM, COLOR] if shell.feats.shape[1] == COLOR_CHANNELS else [SDF, DEFORM]
    means, count = _vertex_means(shell, vertex_keys, groups)
    sdf = torch.where(count > 0, means[:, 0] - 1 / shell.resolution, 1.0)
    grid = torch.stack([shell.coordinate(vertex_keys, axis) for axis in range(3)], 1)
    reach = (1 - 1e-8) / (2 * shell.resolution)
    points = grid / shell.resolution - 0.5 + reach * torch.tanh(means[:, 1:4])
    voxel = shell.rows.find(keys)
    weights = torch.where((voxel >= 0)[:, None], shell.feats[:, WEIGHTS][voxel], 0.0)
    duals = tables.loop_count[grouping]
    first_dual = duals.cumsum(0) - duals
    dual_cube = torch.repeat_interleave(torch.arange(len(keys), device=keys.device), duals)
    return _Surface(
        keys=keys,
        cubes=cubes,
        case=case,
        grouping=grouping,
        corners=corners,
        first_dual=first_dual,
        dual_cube=dual_cube,
        dual_loop=torch.arange(len(dual_cube), device=keys.device) - first_dual[dual_cube],
        beta=torch.tanh(weights[:, :12]) * 0.99 + 1,
        alpha=torch.tanh(weights[:, 12:20]) * 0.99 + 1,
        gamma=torch.sigmoid(weights[:, 20]) * 0.99 + 0.005,
        points=points,
        sdf=sdf,
        attributes=torch.sigmoid(means[:, 4:]),
    )


def _loop_edges(surface: _Surface, tables: CaseTables, rows: slice) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """For each slot of some dual vertices' loops: edge [d], its corners [d, 2], whether the loop is that long [d]."""
    ends = torch.tensor(EDGES, device=surface.keys.device)
    case, loop = surface.grouping[surface.dual_cube[rows]], surface.dual_loop[rows]
    length = tables.loop_length[case, loop]
    for slot in range(tables.edges_of_loop.shape[2]):
        edge = tables.edges_of_loop[case, loop, slot]
        yield edge, ends[edge], slot < length


def _dual_vertices(surface: _Surface, tables: CaseTables) -> tuple[Tensor, Tensor]:
    """Dual vertices [D, 3] and their attributes [D, k]."""
    values = torch.cat([surface.points, surface.attributes], 1)
    duals = torch.cat([_duals_of(surface, tables, values, rows) for rows in _pieces(len(surface.dual_cube))])
    return duals[:, :3], duals[:, 3:]


def _duals_of(surface: _Surface, tables: CaseTables, values: Tensor, rows: slice) -> Tensor:
    """Mean values [d, k] of some dual vertices."""
    cube = surface.dual_cube[rows]
    total = values.new_zeros(len(cube), values.shape[1])
    mass = values.new_zeros(len(cube), 1)
    for edge, ends, present in _loop_edges(surface, tables, rows):
        a, b = surface.corners[cube, ends[:, 0]], surface.corners[cube, ends[:, 1]]
        low = (surface.sdf[a] * surface.alpha[cube, ends[:, 0]])[:, None]
        high = (surface.sdf[b] * surface.alpha[cube, ends[:, 1]])[:, None]
        weight = (surface.beta[cube, edge] * present)[:, None]
        crossing = (values[a] * high - values[b] * low) / (high - low)  # of levels of opposite sign (point 5)
        total = total + weight * crossing
        mass = mass + weight
    return total / mass


def _quads(shell: _Shell, surface: _Surface, tables: CaseTables) -> tuple[Tensor, Tensor, Tensor]:
    """Dual vertices [Q, 4] around each cut edge that four cubes share, with `low_inside` [Q] and `axis` [Q].

    Order: counter-clockwise seen from the high end of the edge, starting at the cube high on both other axes.
    """
    quads, low_inside, axes = [], [], []
    for axis in range(3):
        b, c = (axis + 1) % 3, (axis + 2) % 3
        inside = (surface.case & 1).bool()
        owner = (inside != (surface.case >> (1 << axis) & 1).bool()).nonzero().squeeze(1)
        ring, keys = [], surface.keys[owner]
        # A cube low on an axis sees the edge at its high corner there.
        for low_b, low_c in ((0, 0), (1, 0), (1, 1), (0, 1)):
            cube = surface.cubes.find(keys, -low_b * shell.strides[b] - low_c * shell.strides[c])
            loop = tables.loop_of_edge[surface.grouping[cube], edge_index(axis, low_b << b | low_c << c)]
            ring.append(torch.where(cube >= 0, surface.first_dual[cube] + loop, -1))
        quad = torch.stack(ring, 1)
        complete = (quad >= 0).all(1).nonzero().squeeze(1)
        quads.append(quad[complete])
        low_inside.append(inside[owner[complete]])
        axes.append(torch.full_like(complete, axis))
    return torch.cat(quads), torch.cat(low_inside), torch.cat(axes)


def _split_quads(surface: _Surface, quads: Tensor, *, low_inside: Tensor, axis: Tensor) -> Tensor:
    """Two triangles [2Q, 3] a quad, split along the larger gamma product, ties as published (point 6)."""
    gamma = surface.gamma[surface.dual_cube[quads]]
    straight, crossed = gamma[:, 0] * gamma[:, 2], gamma[:, 1] * gamma[:, 3]
    # The first listed corner of an edge is its low end, except for y edges.
    first_inside = low_inside != (axis == 1)
    join_02 = (straight > crossed) | ((straight == crossed) & first_inside)
    # Quads whose positive side is the low end of the edge are turned; corners 0 and 2 stay in place.
    quads = torch.where(low_inside[:, None], quads, quads[:, [0, 3, 2, 1]])
    along_02 = quads[:, [0, 1, 2, 0, 2, 3]]
    along_13 = quads[:, [0, 1, 3, 1, 2, 3]]
    return torch.where(join_02[:, None], along_02, along_13).reshape(-1, 3)
