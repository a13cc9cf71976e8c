"""FlexiCubes on a sparse shell of voxels: per-voxel features to a triangle mesh, differentiably.

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
class Regularisers:
    """Scalar training terms, unweighted (published factors: 0.5 for deviation, 0.2 for weights).

    deviation: mean |distance of a dual vertex to its zero crossings - their mean|; weights: mean |raw alpha, beta| of
    the shell; consistency: mean (corner value - vertex mean)^2 over sdf, deform and colour.
    """

    deviation: Tensor
    weights: Tensor
    consistency: Tensor


@dataclass(frozen=True)
class _Shell:
    """Sorted keys [n] of the voxels, their rows `order` [n] in feats [n, k]; `rows` finds a voxel's row by its key.

    A key is the x-major index of a cube's low corner in the (resolution + 1)^3 vertex grid. A cube coordinate never
    equals `resolution`, so stepping a key over the border of the grid never hits a cube.
    """

    keys: Tensor
    order: Tensor
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
    vertices, attributes, _ = _dual_vertices(surface, tables)
    quads, low_inside, axis = _quads(shell, surface, tables)
    faces = _split_quads(surface, quads, low_inside=low_inside, axis=axis)
    return Mesh(vertices, faces.int(), attributes if feats.shape[1] == COLOR_CHANNELS else None)


def extract_training_mesh(coords: Tensor, feats: Tensor, *, resolution: int) -> tuple[Mesh, Regularisers]:
    """As `extract_mesh`, but each quad is a fan about a centre weighted by the gamma products (point 6), with losses.

    The centre makes the split differentiable in gamma. All results carry gradients to `feats`.
    """
    shell = _build_shell(coords, feats, resolution)
    tables = case_tables(feats.device)
    surface = _build_surface(shell, tables)
    vertices, attributes, deviation = _dual_vertices(surface, tables, with_deviation=True)
    quads, low_inside, _ = _quads(shell, surface, tables)
    vertices, attributes, faces = _fan_quads(surface, quads, low_inside, vertices, attributes)
    losses = Regularisers(deviation, shell.feats[:, WEIGHTS][:, :20].abs().mean(), _consistency(shell))
    return Mesh(vertices, faces.int(), attributes if feats.shape[1] == COLOR_CHANNELS else None), losses


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
    return _Shell(keys, order, feats, resolution, KeyIndex(keys, side, order))


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
    """All rows, in pieces that bound the work space; in one piece where a gradient keeps everything anyway."""
    step = max(1, count) if torch.is_grad_enabled() else ROWS
    return [slice(at, at + step) for at in range(0, max(1, count), step)]


def _means_of(shell: _Shell, vertex_keys: Tensor, groups: list[slice]) -> tuple[Tensor, Tensor]:
    total, count = shell.feats.new_zeros(()), torch.zeros_like(vertex_keys)
    # Read where there is no voxel; not one row for all, whose gradient would be one long sum.
    spread = torch.arange(len(vertex_keys), device=vertex_keys.device) % max(1, len(shell.feats))
    for corner in range(8):
        voxel = shell.rows.find(vertex_keys, -shell.corner_offset(corner))
        present = voxel >= 0
        rows = torch.where(present, voxel, spread)
        values = torch.cat([_corner_values(shell.feats, group, corner)[rows] for group in groups], 1)
        total = total + torch.where(present[:, None], values, 0.0)
        count += present
    return total / count.clamp(min=1)[:, None], count


def _corner_values(feats: Tensor, group: slice, corner: int) -> Tensor:
    width = (group.stop - group.start) // 8
    return feats[:, group.start + corner * width : group.start + (corner + 1) * width]


def _vertex_groups(shell: _Shell) -> list[slice]:
    return [SDF, DEFORM, COLOR] if shell.feats.shape[1] == COLOR_CHANNELS else [SDF, DEFORM]


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
    means, count = _vertex_means(shell, vertex_keys, _vertex_groups(shell))
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


def _zero_crossing(values: tuple[Tensor, Tensor], levels: tuple[Tensor, Tensor]) -> Tensor:
    """(x_a s_b - x_b s_a) / (s_b - s_a) of values [D, k] at levels [D] of opposite sign (point 5)."""
    low, high = levels[0][:, None], levels[1][:, None]
    return (values[0] * high - values[1] * low) / (high - low)


def _dual_vertices(
    surface: _Surface, tables: CaseTables, *, with_deviation: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Dual vertices [D, 3], their attributes [D, k] and, on request, the deviation loss (else 0)."""
    values = torch.cat([surface.points, surface.attributes], 1)
    if with_deviation:
        duals, crossings, slots = _duals_of(surface, tables, values, slice(None), with_crossings=True)
        return duals[:, :3], duals[:, 3:], _deviation(duals[:, :3], crossings, slots)
    duals = torch.cat([_duals_of(surface, tables, values, rows)[0] for rows in _pieces(len(surface.dual_cube))])
    return duals[:, :3], duals[:, 3:], values.new_zeros(())


def _duals_of(
    surface: _Surface, tables: CaseTables, values: Tensor, rows: slice, *, with_crossings: bool = False
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Mean values [d, k] of some dual vertices; on request the zero crossings of each slot, and which count."""
    cube = surface.dual_cube[rows]
    total = values.new_zeros(len(cube), values.shape[1])
    mass = values.new_zeros(len(cube), 1)
    crossings, slots = [], []
    for edge, ends, present in _loop_edges(surface, tables, rows):
        a, b = surface.corners[cube, ends[:, 0]], surface.corners[cube, ends[:, 1]]
        levels = surface.sdf[a], surface.sdf[b]
        scaled = levels[0] * surface.alpha[cube, ends[:, 0]], levels[1] * surface.alpha[cube, ends[:, 1]]
        weight = (surface.beta[cube, edge] * present)[:, None]
        total = total + weight * _zero_crossing((values[a], values[b]), scaled)
        mass = mass + weight
        if with_crossings:
            crossings.append(_zero_crossing((surface.points[a], surface.points[b]), levels))
            slots.append(present)
    return total / mass, crossings, slots


def _deviation(vertices: Tensor, crossings: list[Tensor], slots: list[Tensor]) -> Tensor:
    """Mean |distance of a dual vertex to a zero crossing - its mean distance|; 0 for an empty surface."""
    if len(vertices) == 0:
        return vertices.new_zeros(())
    present = torch.stack(slots, 1)
    difference = torch.stack(crossings, 1) - vertices[:, None]
    # The small term keeps the gradient of the root finite where a crossing coincides with its vertex.
    distance = (difference.square().sum(-1) + 1e-20).sqrt() * present
    mean = distance.sum(1) / present.sum(1)
    return ((distance - mean[:, None]).abs() * present).sum() / present.sum()


def _consistency(shell: _Shell) -> Tensor:
    """Mean squared difference of each voxel's corner values from the mean at that vertex."""
    vertex_keys = _corner_keys(shell, shell.keys)
    vertices = KeyIndex(vertex_keys, shell.side)
    groups = _vertex_groups(shell)
    means, _ = _vertex_means(shell, vertex_keys, groups)
    total = means.new_zeros(())
    for corner in range(8):
        vertex = vertices.find(shell.keys, shell.corner_offset(corner))
        values = torch.cat([_corner_values(shell.feats, group, corner) for group in groups], 1)
        total = total + (values[shell.order] - means[vertex]).square().sum()
    return total / max(1, 8 * len(shell.keys) * means.shape[1])


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


def _gamma_products(surface: _Surface, quads: Tensor) -> tuple[Tensor, Tensor]:
    gamma = surface.gamma[surface.dual_cube[quads]]
    return gamma[:, 0] * gamma[:, 2], gamma[:, 1] * gamma[:, 3]


def _outward(quads: Tensor, low_inside: Tensor) -> Tensor:
    """Turn quads whose positive side is the low end of the edge; corners 0 and 2 stay in place."""
    return torch.where(low_inside[:, None], quads, quads[:, [0, 3, 2, 1]])


def _split_quads(surface: _Surface, quads: Tensor, *, low_inside: Tensor, axis: Tensor) -> Tensor:
    """Two triangles [2Q, 3] a quad, split along the larger gamma product, ties as published (point 6)."""
    straight, crossed = _gamma_products(surface, quads)
    # The first listed corner of an edge is its low end, except for y edges.
    first_inside = low_inside != (axis == 1)
    join_02 = (straight > crossed) | ((straight == crossed) & first_inside)
    quads = _outward(quads, low_inside)
    along_02 = quads[:, [0, 1, 2, 0, 2, 3]]
    along_13 = quads[:, [0, 1, 3, 1, 2, 3]]
    return torch.where(join_02[:, None], along_02, along_13).reshape(-1, 3)


def _fan_quads(
    surface: _Surface, quads: Tensor, low_inside: Tensor, vertices: Tensor, attributes: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Four triangles a quad about a centre: the midpoints of its diagonals weighted by the gamma products."""
    straight, crossed = (product[:, None] for product in _gamma_products(surface, quads))

    def centre(values: Tensor) -> Tensor:
        ring = values[quads]
        along_02, along_13 = (ring[:, 0] + ring[:, 2]) / 2, (ring[:, 1] + ring[:, 3]) / 2
        return (straight * along_02 + crossed * along_13) / (straight + crossed)

    quads_out = _outward(quads, low_inside)
    middle = len(vertices) + torch.arange(len(quads), device=quads.device)
    faces = torch.stack([quads_out, quads_out.roll(-1, 1), middle[:, None].expand(-1, 4)], 2).reshape(-1, 3)
    return torch.cat([vertices, centre(vertices)]), torch.cat([attributes, centre(attributes)]), faces
