"""Kernels of parallel quadric edge collapse in Warp; `warp_backend` says in which order they run."""

# Kernels are in Warp's own language, whose types mypy does not know; a variable needs int() to change in a loop.
# mypy: disable-error-code="valid-type, attr-defined, arg-type, no-untyped-def, operator, index, type-var"
# ruff: noqa: UP018, RUF046, SIM102, SIM109

import warp as wp

# Towards the middle of the edge, and for short edges: relative to the area around. They decide on flat parts only.
_CENTERING = wp.constant(wp.float64(1e-6))
_SHORTNESS = wp.constant(wp.float64(1e-9))
_BORDER_WEIGHT = wp.constant(wp.float64(10.0))
_MIN_COSINE = wp.constant(wp.float64(0.3))  # of the angle by which a face may turn in one collapse
_SLIVER = wp.constant(wp.float64(0.1))  # twice the area over the longest edge squared: 0.87 for equal sides
# A sliver must keep this fraction of its height; more, and needles side by side could not be merged.
_WORSE = wp.constant(wp.float64(0.7))
# A bijection of 32 bits: on flat parts, where all cost the same, chains of rising numbers would serialise.
_SCRAMBLE = wp.constant(wp.uint32(2654435769))

wp.set_module_options({"enable_backward": False})


@wp.func
def _has(face: wp.vec3i, vertex: int) -> bool:
    return face[0] == vertex or face[1] == vertex or face[2] == vertex


@wp.func
def _third(face: wp.vec3i, a: int, b: int) -> int:
    for k in range(3):
        if face[k] != a and face[k] != b:
            return face[k]
    return -1


@wp.func
def _shared_faces(
    faces: wp.array(dtype=wp.vec3i), starts: wp.array(dtype=wp.int32), around: wp.array(dtype=wp.int32), a: int, b: int
) -> int:
    """How many faces have both vertices."""
    count = int(0)
    for i in range(starts[a], starts[a + 1]):
        if _has(faces[around[i]], b):
            count += 1
    return count


@wp.kernel
def fill_stars(faces: wp.array(dtype=wp.vec3i), cursor: wp.array(dtype=wp.int32), around: wp.array(dtype=wp.int32)):
    face = wp.tid()
    for k in range(3):
        around[wp.atomic_add(cursor, faces[face][k], 1)] = face


@wp.kernel
def sort_stars(starts: wp.array(dtype=wp.int32), around: wp.array(dtype=wp.int32)):
    """Faces of every vertex in rising order: sums over them do not depend on the order of threads."""
    vertex = wp.tid()
    first = starts[vertex]
    for i in range(first + 1, starts[vertex + 1]):
        value = around[i]
        j = i - 1
        while j >= first and around[j] > value:
            around[j + 1] = around[j]
            j -= 1
        around[j + 1] = value


@wp.kernel
def sum_quadrics(
    points: wp.array(dtype=wp.vec3d),
    faces: wp.array(dtype=wp.vec3i),
    starts: wp.array(dtype=wp.int32),
    around: wp.array(dtype=wp.int32),
    quadratic: wp.array(dtype=wp.mat33d),
    linear: wp.array(dtype=wp.vec3d),
    constant: wp.array(dtype=wp.float64),
):
    """Squared distances to the planes of a vertex's faces, weighted by area (Garland and Heckbert 1997).

    Border edges add the plane that stands on their face.
    """
    vertex = wp.tid()
    a = quadratic[vertex]
    b = linear[vertex]
    c = constant[vertex]
    for i in range(starts[vertex], starts[vertex + 1]):
        face = faces[around[i]]
        p = points[face[0]]
        normal = wp.cross(points[face[1]] - p, points[face[2]] - p)
        length = wp.length(normal)
        if length > wp.float64(0.0):
            unit = normal / length
            weight = wp.float64(0.5) * length
            offset = -wp.dot(unit, p)
            a += wp.outer(unit, unit) * weight
            b += unit * (offset * weight)
            c += offset * offset * weight
            for k in range(3):
                other = face[k]
                if other != vertex:
                    if _shared_faces(faces, starts, around, vertex, other) == 1:
                        along = points[other] - points[vertex]
                        wall = wp.normalize(wp.cross(unit, along))
                        weight = wp.dot(along, along) * _BORDER_WEIGHT
                        offset = -wp.dot(wall, points[vertex])
                        a += wp.outer(wall, wall) * weight
                        b += wall * (offset * weight)
                        c += offset * offset * weight
    quadratic[vertex] = a
    linear[vertex] = b
    constant[vertex] = c


@wp.kernel
def price(
    points: wp.array(dtype=wp.vec3d),
    faces: wp.array(dtype=wp.vec3i),
    starts: wp.array(dtype=wp.int32),
    around: wp.array(dtype=wp.int32),
    quadratic: wp.array(dtype=wp.mat33d),
    linear: wp.array(dtype=wp.vec3d),
    constant: wp.array(dtype=wp.float64),
    kind: wp.array(dtype=wp.int32),
    cost: wp.array(dtype=wp.float32),
    place: wp.array(dtype=wp.vec3d),
):
    """Cost and new place of each edge at its half edge in its lowest face; vertices are marked 1 on borders and 2 on
    edges of more than two faces."""
    half = wp.tid()
    mine = half / 3
    face = faces[mine]
    k = half % 3
    a = face[k]
    b = face[(k + 1) % 3]
    cost[half] = wp.inf
    count = int(0)
    for i in range(starts[a], starts[a + 1]):
        if _has(faces[around[i]], b):
            count += 1
            if around[i] < mine:
                return
    if count != 2:
        mark = wp.min(count, 2)
        if count > 2:
            mark = 2
        wp.atomic_max(kind, a, mark)
        wp.atomic_max(kind, b, mark)
    if count > 2:
        return
    matrix = quadratic[a] + quadratic[b]
    vector = linear[a] + linear[b]
    edge = points[b] - points[a]
    middle = points[a] + edge * wp.float64(0.5)
    trace = matrix[0, 0] + matrix[1, 1] + matrix[2, 2] + wp.float64(1e-30)
    slope = matrix * middle + vector
    stiff = matrix + wp.identity(n=3, dtype=wp.float64) * (trace * _CENTERING)
    step = -(wp.inverse(stiff) * slope)
    squared = wp.dot(edge, edge)
    if not (wp.dot(step, step) <= squared):
        step = wp.vec3d()
    target = middle + step
    value = wp.dot(target, matrix * target) + wp.float64(2.0) * wp.dot(vector, target) + constant[a] + constant[b]
    cost[half] = wp.float32(wp.max(value, wp.float64(0.0)) + trace * squared * _SHORTNESS)
    place[half] = target


@wp.func
def _bends_well(p: wp.vec3d, q: wp.vec3d, before: wp.vec3d, after: wp.vec3d) -> bool:
    """Whether the face (p, q, before) stays sound when its third corner moves to `after`."""
    edge = q - p
    old = wp.cross(edge, before - p)
    new = wp.cross(edge, after - p)
    longest_old = wp.max(wp.dot(edge, edge), wp.max(wp.length_sq(before - p), wp.length_sq(before - q)))
    longest_new = wp.max(wp.dot(edge, edge), wp.max(wp.length_sq(after - p), wp.length_sq(after - q)))
    old_area = wp.length(old)
    new_area = wp.length(new)
    if new_area <= wp.float64(1e-9) * longest_new:
        return False
    if old_area > wp.float64(1e-9) * longest_old:
        if wp.dot(old, new) < _MIN_COSINE * old_area * new_area:
            return False
    # Twice the area over the longest edge is a height: needles of thin walls may grow longer, not lower.
    return new_area >= _SLIVER * longest_new or (
        old_area < _SLIVER * longest_old and new_area * wp.sqrt(longest_old) >= _WORSE * old_area * wp.sqrt(longest_new)
    )


@wp.func
def _side_is_sound(
    points: wp.array(dtype=wp.vec3d),
    faces: wp.array(dtype=wp.vec3i),
    starts: wp.array(dtype=wp.int32),
    around: wp.array(dtype=wp.int32),
    a: int,
    b: int,
    left: int,
    right: int,
    target: wp.vec3d,
    strict: int,
) -> bool:
    """The faces of `a` without `b`: none turns over, and no neighbour but left and right is b's too."""
    for i in range(starts[a], starts[a + 1]):
        face = faces[around[i]]
        if not _has(face, b):
            k = int(0)
            if face[1] == a:
                k = 1
            if face[2] == a:
                k = 2
            v = face[(k + 1) % 3]
            w = face[(k + 2) % 3]
            if strict == 1:
                if not _bends_well(points[v], points[w], points[a], target):
                    return False
            if v != left and v != right:
                if _shared_faces(faces, starts, around, b, v) > 0:
                    return False
            if w != left and w != right:
                if _shared_faces(faces, starts, around, b, w) > 0:
                    return False
            if (v == left or v == right) and (w == left or w == right):
                for j in range(starts[b], starts[b + 1]):
                    if _has(faces[around[j]], left) and _has(faces[around[j]], right):
                        return False
    return True


@wp.kernel
def check(
    points: wp.array(dtype=wp.vec3d),
    faces: wp.array(dtype=wp.vec3i),
    starts: wp.array(dtype=wp.int32),
    around: wp.array(dtype=wp.int32),
    kind: wp.array(dtype=wp.int32),
    halves: wp.array(dtype=wp.int32),
    cost: wp.array(dtype=wp.float32),
    place: wp.array(dtype=wp.vec3d),
    strict: int,
    nothing: wp.int64,
    keys: wp.array(dtype=wp.int64),
):
    """The key (cost, then scrambled number) of each candidate that keeps the surface a manifold, else `nothing`.

    Link condition: the neighbours that both ends share are the corners opposite the edge (Dey et al. 1999).
    """
    i = wp.tid()
    keys[i] = nothing
    half = halves[i]
    face = faces[half / 3]
    a = face[half % 3]
    b = face[(half % 3 + 1) % 3]
    if kind[a] > 1 or kind[b] > 1:
        return
    left = _third(face, a, b)
    right = int(-1)
    for j in range(starts[a], starts[a + 1]):
        other = around[j]
        if other != half / 3:
            if _has(faces[other], b):
                right = _third(faces[other], a, b)
    if right < 0:
        alone = (
            _shared_faces(faces, starts, around, a, left) == 1 and _shared_faces(faces, starts, around, b, left) == 1
        )
        if alone:
            return
    elif left == right or (kind[a] == 1 and kind[b] == 1):
        return
    target = place[half]
    if not _side_is_sound(points, faces, starts, around, a, b, left, right, target, strict):
        return
    if not _side_is_sound(points, faces, starts, around, b, a, left, right, target, strict):
        return
    scrambled = wp.uint32(half) * _SCRAMBLE
    keys[i] = wp.int64(wp.cast(cost[half], wp.int32)) * wp.int64(4294967296) + wp.int64(scrambled)


@wp.kernel
def bid(
    faces: wp.array(dtype=wp.vec3i),
    starts: wp.array(dtype=wp.int32),
    around: wp.array(dtype=wp.int32),
    halves: wp.array(dtype=wp.int32),
    nothing: wp.int64,
    won: wp.array(dtype=wp.int32),
    keys: wp.array(dtype=wp.int64),
    lowest: wp.array(dtype=wp.int64),
):
    """Every candidate offers its key to all faces around it; one that meets a taken face (-1) is out."""
    i = wp.tid()
    key = keys[i]
    if key == nothing or won[i] == 1:
        return
    half = halves[i]
    face = faces[half / 3]
    for end in range(2):
        vertex = face[(half % 3 + end) % 3]
        for j in range(starts[vertex], starts[vertex + 1]):
            if lowest[around[j]] < wp.int64(0):
                keys[i] = nothing
                return
    for end in range(2):
        vertex = face[(half % 3 + end) % 3]
        for j in range(starts[vertex], starts[vertex + 1]):
            if key < lowest[around[j]]:
                wp.atomic_min(lowest, around[j], key)


@wp.kernel
def award(
    faces: wp.array(dtype=wp.vec3i),
    starts: wp.array(dtype=wp.int32),
    around: wp.array(dtype=wp.int32),
    halves: wp.array(dtype=wp.int32),
    nothing: wp.int64,
    keys: wp.array(dtype=wp.int64),
    lowest: wp.array(dtype=wp.int64),
    won: wp.array(dtype=wp.int32),
):
    """A candidate whose key is the lowest on all its faces is chosen: no two chosen edges share a face around."""
    i = wp.tid()
    key = keys[i]
    if key == nothing or won[i] == 1:
        return
    half = halves[i]
    face = faces[half / 3]
    for end in range(2):
        vertex = face[(half % 3 + end) % 3]
        for j in range(starts[vertex], starts[vertex + 1]):
            if lowest[around[j]] != key:
                return
    won[i] = 1


@wp.kernel
def take(
    faces: wp.array(dtype=wp.vec3i),
    starts: wp.array(dtype=wp.int32),
    around: wp.array(dtype=wp.int32),
    halves: wp.array(dtype=wp.int32),
    won: wp.array(dtype=wp.int32),
    taken: wp.array(dtype=wp.int64),
):
    """Faces around chosen edges become taken (-1)."""
    i = wp.tid()
    if won[i] == 0:
        return
    half = halves[i]
    face = faces[half / 3]
    for end in range(2):
        vertex = face[(half % 3 + end) % 3]
        for j in range(starts[vertex], starts[vertex + 1]):
            taken[around[j]] = wp.int64(-1)
