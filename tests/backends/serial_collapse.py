"""Quadric edge collapse one edge after the other, cheapest first, to compare the kernels with."""

import heapq
import itertools
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Point = NDArray[np.float64]

# The same as in warp_kernels.
BORDER_WEIGHT = 10.0
CENTERING = 1e-6
SHORTNESS = 1e-9
MIN_COSINE = 0.3
SLIVER = 0.1
WORSE = 0.7
REPORT_EVERY = 256  # collapses


def collapse_serially(
    vertices: Tensor, faces: Tensor, target: int, *, before_round: Callable[[int], None] = lambda faces: None
) -> tuple[Tensor, Tensor]:
    """See `collapse_edges`; `before_round` gets the number of faces and may raise."""
    points = vertices.double().cpu().numpy()
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    scale = max(float(np.ptp(points, axis=0).max()), 1e-30)
    surface = _Surface((points - centre) / scale, faces.cpu().numpy())
    for strict in (True, False):
        surface.collapse_to(target, strict=strict, before_round=before_round)
    used = sorted(vertex for vertex, star in enumerate(surface.stars) if star)
    number = {vertex: i for i, vertex in enumerate(used)}
    left = [[number[vertex] for vertex in face] for _, face in sorted(surface.faces.items())]
    places = torch.from_numpy(surface.points[used] * scale + centre).to(vertices.device, vertices.dtype)
    return places, torch.tensor(left, dtype=torch.int32, device=vertices.device).reshape(-1, 3)


class _Surface:
    """Points and quadrics of all vertices, faces by number, and the numbers of the faces around each vertex."""

    def __init__(self, points: Point, faces: NDArray[np.integer]) -> None:
        self.points = points.copy()
        self.faces = {number: tuple(face) for number, face in enumerate(faces.tolist())}
        self.stars: list[set[int]] = [set() for _ in points]
        for number, face in self.faces.items():
            for vertex in face:
                self.stars[vertex].add(number)
        self.changes = [0] * len(points)
        self.quadrics = np.zeros((len(points), 4, 4))
        for face in self.faces.values():
            self._add_planes(face)

    def _add_planes(self, face: tuple[int, ...]) -> None:
        corner = self.points[list(face)]
        normal = np.cross(corner[1] - corner[0], corner[2] - corner[0])
        length = float(np.linalg.norm(normal))
        if length == 0:
            return
        unit = normal / length
        for vertex in face:
            self.quadrics[vertex] += 0.5 * length * _plane(unit, corner[0])
        for a, b in itertools.permutations(face, 2):
            if len(self.around(a, b)) == 1:
                along = self.points[b] - self.points[a]
                wall = np.cross(unit, along)
                wall /= max(float(np.linalg.norm(wall)), 1e-300)
                self.quadrics[a] += BORDER_WEIGHT * (along @ along) * _plane(wall, self.points[a])

    def around(self, a: int, b: int) -> set[int]:
        """The faces that have both vertices."""
        return self.stars[a] & self.stars[b]

    def neighbours(self, vertex: int) -> set[int]:
        return {other for face in self.stars[vertex] for other in self.faces[face]} - {vertex}

    def collapse_to(self, target: int, *, strict: bool, before_round: Callable[[int], None]) -> None:
        """Collapse edges, cheapest first, until `target` faces or no allowed edge is left."""
        edges = {(min(a, b), max(a, b)) for face in self.faces.values() for a, b in itertools.combinations(face, 2)}
        heap = [self._offer(a, b) for a, b in sorted(edges)]
        heapq.heapify(heap)
        done = 0
        while heap and len(self.faces) > target:
            _, a, b, version, place = heapq.heappop(heap)
            if version != (self.changes[a], self.changes[b]) or not self._allowed(a, b, place, strict):
                continue
            if done % REPORT_EVERY == 0:
                before_round(len(self.faces))
            done += 1
            self._merge(a, b, place)
            for other in sorted(self.neighbours(a)):
                heapq.heappush(heap, self._offer(a, other))

    def _offer(self, a: int, b: int) -> tuple[float, int, int, tuple[int, int], Point]:
        """(cost, ends, their versions, new place) of an edge; ties never reach the place, as edges differ."""
        quadric = self.quadrics[a] + self.quadrics[b]
        matrix, vector = quadric[:3, :3], quadric[:3, 3]
        edge = self.points[b] - self.points[a]
        middle = (self.points[a] + self.points[b]) / 2
        trace = float(np.trace(matrix)) + 1e-30
        step = -np.linalg.solve(matrix + trace * CENTERING * np.eye(3), matrix @ middle + vector)
        squared = float(edge @ edge)
        place = middle + step if step @ step <= squared else middle
        cost = place @ matrix @ place + 2 * vector @ place + quadric[3, 3]
        return max(float(cost), 0.0) + trace * squared * SHORTNESS, a, b, (self.changes[a], self.changes[b]), place

    def _allowed(self, a: int, b: int, place: Point, strict: bool) -> bool:
        """Whether the surface stays a manifold (link condition, Dey et al. 1999) and, if strict, no face turns over."""
        shared = self.around(a, b)
        if len(shared) not in (1, 2):
            return False
        rims = [{other for other in self.neighbours(v) if len(self.around(v, other)) == 1} for v in (a, b)]
        if any(len(self.around(v, other)) > 2 for v in (a, b) for other in self.neighbours(v)):
            return False
        opposite = {vertex for face in shared for vertex in self.faces[face]} - {a, b}
        if len(shared) == 1 and opposite <= rims[0] and opposite <= rims[1]:
            return False
        if len(shared) == 2 and (len(opposite) != 2 or (rims[0] and rims[1])):
            return False
        if self.neighbours(a) & self.neighbours(b) != opposite:
            return False
        on_both = [any(opposite <= set(self.faces[face]) for face in self.stars[v] - shared) for v in (a, b)]
        if len(shared) == 2 and all(on_both):
            return False
        return not strict or all(self._bends_well(v, face, place) for v in (a, b) for face in self.stars[v] - shared)

    def _bends_well(self, vertex: int, face: int, place: Point) -> bool:
        """Whether a face stays sound when its corner `vertex` moves to `place`."""
        p, q = (self.points[other] for other in self.faces[face] if other != vertex)
        (old, old_longest), (new, new_longest) = (_size(p, q, corner) for corner in (self.points[vertex], place))
        old_area, new_area = float(np.linalg.norm(old)), float(np.linalg.norm(new))
        if new_area <= 1e-9 * new_longest:
            return False
        if old_area > 1e-9 * old_longest and old @ new < MIN_COSINE * old_area * new_area:
            return False
        lower = new_area * old_longest**0.5 < WORSE * old_area * new_longest**0.5
        return new_area >= SLIVER * new_longest or (old_area < SLIVER * old_longest and not lower)

    def _merge(self, a: int, b: int, place: Point) -> None:
        for face in self.around(a, b):
            for vertex in self.faces.pop(face):
                self.stars[vertex].discard(face)
        for face in self.stars[b]:
            self.faces[face] = tuple(a if vertex == b else vertex for vertex in self.faces[face])
        self.stars[a] |= self.stars[b]
        self.stars[b] = set()
        self.points[a] = place
        self.quadrics[a] += self.quadrics[b]
        self.changes[a] += 1
        self.changes[b] += 1


def _plane(unit: Point, point: Point) -> Point:
    """The quadric [4, 4] of the squared distance to a plane."""
    plane = np.append(unit, -unit @ point)
    return np.outer(plane, plane)


def _size(p: Point, q: Point, corner: Point) -> tuple[Point, float]:
    """Twice the area as a vector, and the square of the longest edge."""
    edges = (q - p, corner - p, corner - q)
    return np.cross(edges[0], edges[1]), max(float(edge @ edge) for edge in edges)
