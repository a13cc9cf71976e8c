"""Boundary loops and their filling by the triangulation of least area."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from trellis.ops.half_edges import EdgeTable
from trellis.representations import Mesh

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

EXACT_CORNERS = 96  # longer loops are triangulated between this many of their corners first


@dataclass(frozen=True)
class HoleLimits:
    """Holes that may be closed: at most `edges` edges and `perimeter` world units around."""

    edges: int
    perimeter: float


def loop_is_small(points: Floats, limits: HoleLimits) -> bool:
    """Whether a hole with the corners `points` [n, 3] meets `limits`."""
    around = float(np.linalg.norm(points - np.roll(points, -1, axis=0), axis=1).sum())
    return len(points) <= limits.edges and around <= limits.perimeter


def boundary_loops(mesh: Mesh) -> list[Ints]:
    """Closed loops of vertices around the holes, in the direction in which a filling face runs.

    A vertex where several holes touch ends a loop there, so that every loop passes a vertex at most once.
    """
    edges = EdgeTable.build(mesh.faces, len(mesh.vertices))
    border = edges.uses() == 1
    # The missing neighbour runs against the existing face.
    return trace_loops(edges.ends[border].cpu().numpy(), edges.starts[border].cpu().numpy())


def trace_loops(starts: Ints, ends: Ints) -> list[Ints]:
    """Simple closed loops [n >= 3] of the directed edges from `starts` to `ends`."""
    following: dict[int, list[int]] = {}
    for start, end in zip(starts.tolist(), ends.tolist()):
        following.setdefault(start, []).append(end)
    loops = []
    for start in sorted(following):
        while following[start]:
            loops.extend(_walk(start, following))
    return [np.array(loop, dtype=np.int64) for loop in loops if len(loop) >= 3]


def _walk(start: int, following: dict[int, list[int]]) -> list[list[int]]:
    """Follow border edges from `start`, cutting off a loop whenever a vertex is met again."""
    loops: list[list[int]] = []
    path, place = [start], {start: 0}
    while following.get(path[-1]):
        vertex = following[path[-1]].pop(0)
        if vertex in place:
            begin = place[vertex]
            loops.append(path[begin:])
            for passed in path[begin + 1 :]:
                del place[passed]
            del path[begin + 1 :]
        else:
            place[vertex] = len(path)
            path.append(vertex)
    return loops


def triangulate_loop(points: Floats, forbidden: Bools | None = None) -> Ints | None:
    """Triangles [n - 2, 3] (indices into the loop) of small total area over the closed loop `points` [n, 3].

    forbidden [n, n]: True where a chord may not be used (the mesh already has that edge). Of least area up to
    EXACT_CORNERS corners; a longer loop is filled between that many of its corners, and its chords towards the rim.
    Returns None when no triangulation avoids the forbidden chords.
    """
    count = len(points)
    if forbidden is None:
        forbidden = np.zeros((count, count), dtype=bool)
    if count <= EXACT_CORNERS:
        return _least_area(points, forbidden)
    corners = np.arange(EXACT_CORNERS) * count // EXACT_CORNERS
    chains = [np.arange(a, b + 1) % count for a, b in zip(corners, [*corners[1:], count])]
    if any(len(chain) > 2 and forbidden[min(chain[0], chain[-1]), max(chain[0], chain[-1])] for chain in chains):
        return None
    pieces = []
    for piece in [corners, *(chain for chain in chains if len(chain) > 2)]:
        blocked = forbidden | forbidden.T
        triangles = _least_area(points[piece], blocked[np.ix_(piece, piece)])
        if triangles is None:
            return None
        pieces.append(piece[triangles])
    return np.concatenate(pieces)


def _least_area(points: Floats, forbidden: Bools) -> Ints | None:
    """Dynamic programming over intervals (Barequet and Sharir 1995), O(n^3)."""
    n = len(points)
    cost = np.full((n, n), np.inf)
    split = np.zeros((n, n), dtype=np.int64)
    cost[np.arange(n - 1), np.arange(1, n)] = 0
    for gap in range(2, n):
        start = np.arange(n - gap)
        middle = start[:, None] + np.arange(1, gap)[None, :]
        a, b, c = points[start][:, None], points[middle], points[start + gap][:, None]
        area = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=-1)
        total = cost[start[:, None], middle] + cost[middle, (start + gap)[:, None]] + area
        best = total.argmin(axis=1)
        value = total[np.arange(len(start)), best]
        if gap < n - 1:
            value = np.where(forbidden[start, start + gap], np.inf, value)
        cost[start, start + gap], split[start, start + gap] = value, start + 1 + best
    if not np.isfinite(cost[0, n - 1]):
        return None
    triangles, pending = [], [(0, n - 1)]
    while pending:
        i, j = pending.pop()
        if j - i >= 2:
            m = int(split[i, j])
            triangles.append((i, m, j))
            pending += [(i, m), (m, j)]
    return np.array(triangles, dtype=np.int64)


def fill_holes(mesh: Mesh, *, limits: HoleLimits) -> Mesh:
    """Close every hole within `limits`; larger openings stay as they are."""
    points = mesh.vertices.double().cpu().numpy()
    loops = [loop for loop in boundary_loops(mesh) if loop_is_small(points[loop], limits)]
    return close_loops(mesh, loops)[0]


def close_loops(mesh: Mesh, loops: list[Ints]) -> tuple[Mesh, list[int]]:
    """The mesh with faces that close `loops`, and how many faces each took; they follow the mesh's own, in order.

    Existing vertices are used; where that would give an edge a third face, the hole is closed by a fan around a new
    centre vertex, whose attributes are the mean of the loop.
    """
    if not loops:
        return mesh, []
    points = mesh.vertices.double().cpu().numpy()
    count = len(points)
    existing = _edges_among(mesh, np.concatenate(loops))
    faces: list[Ints] = []
    fans: list[Ints] = []
    for loop in loops:
        triangles = triangulate_loop(points[loop], _taken_chords(loop, existing, count))
        if triangles is None:
            centre = np.full_like(loop, count + len(fans))
            faces.append(np.stack([loop, np.roll(loop, -1), centre], axis=1))
            fans.append(loop)
        else:
            faces.append(loop[triangles])
            existing = np.concatenate([existing, _keys(loop[triangles], np.roll(loop[triangles], -1, axis=1), count)])
    device = mesh.faces.device
    added = torch.from_numpy(np.concatenate(faces)).to(device, mesh.faces.dtype)
    vertices, attributes = mesh.vertices, mesh.attributes
    for loop in fans:
        around = torch.from_numpy(loop).to(device)
        vertices = torch.cat([vertices, mesh.vertices[around].mean(dim=0, keepdim=True)])
        if attributes is not None and mesh.attributes is not None:
            attributes = torch.cat([attributes, mesh.attributes[around].mean(dim=0, keepdim=True)])
    return Mesh(vertices, torch.cat([mesh.faces, added]), attributes), [len(part) for part in faces]


def _keys(left: Ints, right: Ints, count: int) -> Ints:
    """One integer an undirected edge, flat."""
    return (np.minimum(left, right) * count + np.maximum(left, right)).reshape(-1)


def _edges_among(mesh: Mesh, vertices: Ints) -> Ints:
    """Keys of the edges whose ends are both among `vertices`."""
    chosen = torch.zeros(len(mesh.vertices), dtype=torch.bool, device=mesh.faces.device)
    chosen[torch.from_numpy(vertices).to(chosen.device)] = True
    starts, ends = mesh.faces.long().reshape(-1), mesh.faces.long().roll(-1, dims=1).reshape(-1)
    both = chosen[starts] & chosen[ends]
    return _keys(starts[both].cpu().numpy(), ends[both].cpu().numpy(), len(mesh.vertices))


def _taken_chords(loop: Ints, existing: Ints, count: int) -> Bools:
    """[n, n], upper triangle: the mesh already joins two vertices of the loop that are not neighbours on it."""
    n = len(loop)
    i, j = np.triu_indices(n, 2)
    taken = np.zeros((n, n), dtype=bool)
    taken[i, j] = np.isin(_keys(loop[i], loop[j], count), existing)
    taken[0, n - 1] = False
    return taken
