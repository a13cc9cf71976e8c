"""Pictures of meshes in Warp: points, z-buffer, then every pixel shaded and filtered at once, for many cameras."""

# Kernels are in Warp's own language, whose types mypy does not know.
# mypy: disable-error-code="valid-type, no-untyped-def, operator, arg-type"

# Warp takes a bare number for a constant; float(x) declares a variable.
# ruff: noqa: UP018

import torch
import warp as wp
from torch import Tensor

from trellis.geometry.cameras import Cameras
from trellis.ops import warp_device
from trellis.ops.rasterize.warp_triangles import NOTHING, cover, draw_faces

# Samples and points held at once: 8 and 12 bytes each.
SAMPLE_BUDGET = 1 << 24
POINT_BUDGET = 1 << 24

wp.set_module_options({"enable_backward": False})


@wp.kernel
def _project(
    vertices: wp.array(dtype=wp.vec3),
    extrinsics: wp.array(dtype=wp.mat44),
    intrinsics: wp.array(dtype=wp.mat33),
    count: int,
    side: float,
    near: float,
    points: wp.array(dtype=wp.vec3),
    first: int,
):
    item = first + wp.tid()
    view = item / count
    pose = extrinsics[view]
    lens = intrinsics[view]
    v = vertices[item - view * count]
    x = pose[0, 0] * v[0] + pose[0, 1] * v[1] + pose[0, 2] * v[2] + pose[0, 3]
    y = pose[1, 0] * v[0] + pose[1, 1] * v[1] + pose[1, 2] * v[2] + pose[1, 3]
    z = pose[2, 0] * v[0] + pose[2, 1] * v[1] + pose[2, 2] * v[2] + pose[2, 3]
    safe = z
    if wp.abs(z) < near:
        safe = near
    points[item] = wp.vec3((x / safe * lens[0, 0] + lens[0, 2]) * side, (y / safe * lens[1, 1] + lens[1, 2]) * side, z)


@wp.func
def _first_tap(centre: float, reach: float) -> int:
    return wp.max(int(centre - reach + 0.5), 0)


@wp.func
def _end_tap(centre: float, reach: float, side: int) -> int:
    return wp.min(int(centre + reach + 0.5), side)


@wp.kernel
def _shade(
    nearest: wp.array(dtype=wp.int64),
    nothing: wp.int64,
    points: wp.array(dtype=wp.vec3),
    faces: wp.array(dtype=wp.vec3i),
    face_values: wp.array(dtype=wp.vec3),
    vertex_values: wp.array(dtype=wp.vec3),
    colored: int,
    count: int,
    size: int,
    factor: int,
    background: float,
    image: wp.array(dtype=wp.float32),
    first: int,
):
    item = first + wp.tid()
    area = size * size
    view = item / area
    pixel = item - view * area
    side = size * factor
    # The triangle filter of an antialiased bilinear reduction: as wide as two pixels, cut off at the image's border.
    reach = float(factor)
    centre_x = (float(pixel % size) + 0.5) * reach
    centre_y = (float(pixel / size) + 0.5) * reach
    begin_x = _first_tap(centre_x, reach)
    end_x = _end_tap(centre_x, reach, side)
    begin_y = _first_tap(centre_y, reach)
    end_y = _end_tap(centre_y, reach, side)
    color = wp.vec3(0.0, 0.0, 0.0)
    flat = wp.vec3(0.0, 0.0, 0.0)
    depth = float(0.0)
    mask = float(0.0)
    total = float(0.0)
    for y in range(begin_y, end_y):
        weight_y = 1.0 - wp.abs((float(y) + 0.5 - centre_y) / reach)
        for x in range(begin_x, end_x):
            weight = weight_y * (1.0 - wp.abs((float(x) + 0.5 - centre_x) / reach))
            total += weight
            key = nearest[(view * side + y) * side + x]
            if key != nothing:
                face = int(key & wp.int64(4294967295))
                mask += weight
                # The key's high half is the depth, which is positive.
                depth += weight * wp.cast(int(key >> wp.int64(32)), wp.float32)
                flat += weight * face_values[face]
                if colored == 1:
                    corner = faces[face]
                    base = view * count
                    at = wp.vec2(float(x) + 0.5, float(y) + 0.5)
                    found = cover(points[base + corner[0]], points[base + corner[1]], points[base + corner[2]], at, 1)
                    color += weight * (
                        vertex_values[corner[0]] * found[0]
                        + vertex_values[corner[1]] * found[1]
                        + vertex_values[corner[2]] * found[2]
                    )
    start = 8 * view * area + pixel
    for channel in range(3):
        image[start + channel * area] = color[channel] / total
        image[start + (3 + channel) * area] = (flat[channel] + background * (total - mask)) / total
    image[start + 6 * area] = depth / total
    image[start + 7 * area] = mask / total


def cameras_at_once(vertices: int, faces: int, side: int, *, device: torch.device) -> int:
    """How many images of `side` x `side` samples one launch draws: few launches on a GPU, little memory on the CPU."""
    if device.type == "cpu":
        return 1
    return max(1, min(SAMPLE_BUDGET // side**2, POINT_BUDGET // max(vertices, faces, 1)))


def seen_faces(vertices: Tensor, faces: Tensor, cameras: Cameras, *, side: int, near: float) -> tuple[Tensor, Tensor]:
    """Points [V, n, 3] of the vertices in pixels of `side` x `side` samples, with their depth, and keys of the nearest
    faces, see `draw_faces`.
    """
    points = torch.empty(len(cameras), len(vertices), 3, device=vertices.device)
    projection = [vertices, cameras.extrinsics, cameras.intrinsics, len(vertices), float(side), near, points]
    warp_device.launch_items(_project, len(cameras) * len(vertices), projection, device=vertices.device, grain=1 << 15)
    return points, draw_faces(points, faces, side, side, perspective=True, near=near)


def draw_mesh(
    vertices: Tensor,
    faces: Tensor,
    cameras: Cameras,
    *,
    face_values: Tensor,
    vertex_values: Tensor | None,
    size: int,
    supersampling: int,
    limits: tuple[float, float],
) -> Tensor:
    """[V, 8, size, size]; see `ops.rasterize.draw_mesh`. limits: nearest depth, face value where no mesh is."""
    device, views = vertices.device, len(cameras)
    near, background = limits
    side = size * supersampling
    image = torch.empty(views, 8, size, size, device=device)
    at_once = cameras_at_once(len(vertices), len(faces), side, device=device)
    faces = faces.int()
    values = face_values if vertex_values is None else vertex_values
    for begin in range(0, views, at_once):
        chunk = slice(begin, begin + at_once)
        shown, target = cameras[chunk], image[chunk]
        points, nearest = seen_faces(vertices, faces, shown, side=side, near=near)
        shading = [
            nearest, NOTHING, points, faces, face_values, values, int(vertex_values is not None), len(vertices), size,
            supersampling, background, target,
        ]  # fmt: skip
        warp_device.launch_items(_shade, len(shown) * size * size, shading, device=device, grain=1 << 13)
    return image
