"""The surface of a field that is asked point by point: coarse to fine, on the cells that can hold it alone.

A cell is known by the key of its low corner, x-major among the nodes of its level (see `KeyIndex`). Levels double from
a coarse one; their nodes lie at every `stride`-th node of the finest level, also a little beyond its last.
Source: docs/developer/hunyuan-facts.md, section 7.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.progress import Progress
from trellis.representations.flexicubes import PLAIN_CHANNELS, extract_mesh
from trellis.representations.key_index import KeyIndex, unique_keys
from trellis.representations.mesh import Mesh
from trellis.stages import Stage

Field = Callable[[Tensor], Tensor]  # logits float32 [n], above 0 inside, at points [n, 3]
REACH = 1.01  # nodes span [-REACH, REACH]^3
COARSEST = 64  # cells along the cube from which on a level is asked everywhere
NEAR = 0.95  # nodes with smaller logits may lie beside a surface
FINEST, MOST_POINTS = 512, 1 << 21  # points made at a time
_LEAST = 1e-6  # logits closer to 0 count as outside: the mesh's arithmetic would round them to either side


@dataclass(frozen=True)
class _Level:
    """`nodes` sorted keys and their `logits`, on a grid of `side` nodes, each `stride` of the finest level apart."""

    stride: int
    side: int
    nodes: Tensor
    logits: Tensor

    @property
    def strides(self) -> tuple[int, int, int]:
        return self.side * self.side, self.side, 1

    def coordinates(self, keys: Tensor) -> Tensor:
        """[n, 3] of nodes or cells."""
        return torch.stack([keys // step % self.side for step in self.strides], 1)

    def corners(self, cells: Tensor) -> Tensor:
        """Logits [n, 8] at the corners of cells, x fastest."""
        nodes = KeyIndex(self.nodes, self.side)
        x, y, z = self.strides
        return torch.stack([self.logits[nodes.find(cells, a * x + b * y + c * z)] for c, b, a in _CORNERS], 1)


_CORNERS = tuple(product((0, 1), repeat=3))


def implicit_mesh(field: Field, *, resolution: int, device: torch.device, progress: Progress) -> Mesh:
    """The surface of a field in its own frame, on `resolution` cells along each side of [-1.01, 1.01]^3.

    It is that of FlexiCubes on the dense grid, without offsets and weights; a mesh of 0 faces where there is none.
    Reports each level as Stage.SURFACE. Raises InvalidInputError for a resolution outside of 64 to 512.
    """
    check_resolution(resolution)
    levels = 1 + int(math.log2(resolution // COARSEST))
    level = cells = None
    for _ in progress.steps(Stage.SURFACE, levels):
        if level is None or cells is None:
            level, cells = _coarsest(field, resolution, 1 << (levels - 1), device)
        else:
            level, cells = _halved(level, _with_ring(level, _near_surface(level, cells)), field, resolution)
    assert level is not None and cells is not None
    logits = level.corners(cells)
    crossed = (logits > 0).any(1) & (logits <= 0).any(1)
    return _mesh(level.coordinates(cells[crossed]), logits[crossed], resolution)


def check_resolution(resolution: int) -> None:
    """Raise InvalidInputError for a resolution outside of 64 to 512."""
    if not COARSEST <= resolution <= FINEST:
        message = f"surface_resolution must be {COARSEST} to {FINEST}, not {resolution}."
        raise InvalidInputError(message, field="surface_resolution")


def _coarsest(field: Field, resolution: int, stride: int, device: torch.device) -> tuple[_Level, Tensor]:
    """The level that is asked everywhere, and all of its cells."""
    side = -(-resolution // stride) + 1
    nodes = torch.arange(side**3, device=device)
    level = _Level(stride, side, nodes, _ask(field, nodes, side=side, stride=stride, resolution=resolution))
    return level, nodes[(level.coordinates(nodes) < side - 1).all(1)]


def node_points(keys: Tensor, *, side: int, resolution: int, stride: int = 1) -> Tensor:
    """Points float32 [n, 3] of nodes by their keys among side^3, `stride` nodes of the finest level apart."""
    grid = torch.stack([keys // step % side for step in (side * side, side, 1)], 1)
    return grid.float() * (2 * REACH * stride / resolution) - REACH


def _ask(field: Field, nodes: Tensor, *, side: int, stride: int, resolution: int) -> Tensor:
    pieces = nodes.split(MOST_POINTS)
    return torch.cat([field(node_points(piece, side=side, resolution=resolution, stride=stride)) for piece in pieces])


def _near_surface(level: _Level, cells: Tensor) -> Tensor:
    """The cells whose corners differ in sign, or have one close to 0."""
    logits = level.corners(cells)
    low, high = logits.amin(1), logits.amax(1)
    return cells[((low <= 0) & (high > 0)) | (logits.abs().amin(1) < NEAR)]


def _with_ring(level: _Level, cells: Tensor) -> Tensor:
    """The cells and all that touch them, axis by axis."""
    for axis, step in enumerate(level.strides):
        cells = unique_keys(cells, [-step, 0, step], level.side)
        # A step over the border leads to where no cell is: the last coordinate.
        cells = cells[(cells >= 0) & (cells // level.strides[axis] % level.side < level.side - 1)]
    return cells


def _halved(level: _Level, cells: Tensor, field: Field, resolution: int) -> tuple[_Level, Tensor]:
    """The next level, with the nodes of the cells' eight parts; known logits are kept."""
    stride = level.stride // 2
    side = -(-resolution // stride) + 1
    steps = (side * side, side, 1)

    x, y, z = (2 * level.coordinates(cells)).unbind(1)
    parts = x * steps[0] + y * steps[1] + z
    for step in steps:
        parts = unique_keys(parts, [0, step], side)
        parts = parts[parts // step % side < side - 1]  # the last cells may lie half outside
    nodes = parts
    for step in steps:
        nodes = unique_keys(nodes, [0, step], side)
    grid = torch.stack([nodes // step % side for step in steps], 1)
    old = KeyIndex(level.nodes, level.side)
    x, y, z = (grid // 2).unbind(1)
    row = old.find(x * level.strides[0] + y * level.strides[1] + z)
    known = (row >= 0) & (grid % 2 == 0).all(1)
    logits = torch.empty(len(nodes), dtype=torch.float32, device=nodes.device)
    logits[known] = level.logits[row[known]]
    logits[~known] = _ask(field, nodes[~known], side=side, stride=stride, resolution=resolution)
    return _Level(stride, side, nodes, logits), parts


def _mesh(cells: Tensor, logits: Tensor, resolution: int) -> Mesh:
    """The surface in cells [n, 3] with logits [n, 8] at their corners."""
    features = logits.new_zeros(len(cells), PLAIN_CHANNELS)
    sharp = torch.where(logits.abs() < _LEAST, -_LEAST, logits)
    features[:, :8] = 1 / resolution - sharp
    mesh = extract_mesh(cells, features, resolution=resolution, closed=False)
    return Mesh(mesh.vertices * (2 * REACH), mesh.faces)
