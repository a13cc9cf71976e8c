"""Boundary loops and their filling by the triangulation of least area."""

from dataclasses import replace

import numpy as np

from trellis.export.surface import Floats, Ints, Surface, directed_edges, edge_keys


def boundary_loops(surface: Surface) -> list[Ints]:
    """Closed loops of vertices around the holes, in the direction in which a filling face runs.

    A vertex where several holes touch ends a loop there, so that every loop passes a vertex at most once.
    """
    edges = directed_edges(surface.faces)
    keys = edge_keys(edges, len(surface.vertices))
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    border = edges[np.sort(first[counts == 1])][:, ::-1]  # the missing neighbour runs against the existing face
    following: dict[int, list[int]] = {}
    for start, end in border.tolist():
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


def triangulate_loop(points: Floats, forbidden: Floats | None = None) -> Ints | None:
    """Triangles [n - 2, 3] (indices into the loop) of least total area over the closed loop `points` [n, 3].

    forbidden [n, n]: True where a chord may not be used (the mesh already has that edge). Dynamic programming over
    intervals (Barequet and Sharir 1995), O(n^3). Returns None when no triangulation avoids the forbidden chords.
    """
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
        if forbidden is not None and gap < n - 1:
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


def fill_holes(surface: Surface, *, max_edges: int, max_perimeter: float) -> Surface:
    """Close every hole of at most `max_edges` edges and `max_perimeter` world units around.

    Existing vertices are used; where that would give an edge a third face, the hole is closed by a fan around a new
    centre vertex, whose attributes are the mean of the loop. Larger openings stay as they are.
    """
    loops = [loop for loop in boundary_loops(surface) if len(loop) <= max_edges]
    if not loops:
        return surface
    existing = set(np.unique(edge_keys(directed_edges(surface.faces), len(surface.vertices))).tolist())
    count = len(surface.vertices)
    faces = [surface.faces]
    centres: list[Floats] = []
    centre_attributes: list[Floats] = []
    for loop in loops:
        points = surface.vertices[loop]
        if np.linalg.norm(points - np.roll(points, -1, axis=0), axis=1).sum() > max_perimeter:
            continue
        triangles = triangulate_loop(points, _taken_chords(loop, existing, count))
        if triangles is None:
            centre = count + len(centres)
            centres.append(points.mean(axis=0))
            if surface.attributes is not None:
                centre_attributes.append(surface.attributes[loop].mean(axis=0))
            added = np.stack([loop, np.roll(loop, -1), np.full_like(loop, centre)], axis=1)
        else:
            added = loop[triangles]
            existing.update(edge_keys(directed_edges(added), count).tolist())
        faces.append(added)
    filled = replace(surface, faces=np.concatenate(faces))
    if not centres:
        return filled
    attributes = surface.attributes
    if attributes is not None:
        attributes = np.concatenate([attributes, np.stack(centre_attributes)])
    return Surface(np.concatenate([surface.vertices, np.stack(centres)]), filled.faces, attributes)


def _taken_chords(loop: Ints, existing: set[int], count: int) -> Floats:
    """[n, n] True where the mesh already joins two vertices of the loop that are not neighbours on it."""
    n = len(loop)
    i, j = np.triu_indices(n, 2)
    keys = edge_keys(np.stack([loop[i], loop[j]], axis=1), count).tolist()
    taken = np.zeros((n, n), dtype=bool)
    taken[i, j] = [key in existing for key in keys]
    return taken
