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

# Samples and points held at once: 8 (with colours 20) and 12 bytes each.
SAMPLE_BUDGET = 1 << 23
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


@wp.func
def _looked_up(texture: wp.array2d(dtype=wp.vec3), u: float, v: float) -> wp.vec3:
    """The bilinear value of a texture about its texel centres; beyond them it repeats its border."""
    height = texture.shape[0]
    width = texture.shape[1]
    x = wp.clamp(u * float(width) - 0.5, 0.0, float(width - 1))
    y = wp.clamp(v * float(height) - 0.5, 0.0, float(height - 1))
    left = wp.min(int(x), wp.max(width - 2, 0))
    top = wp.min(int(y), wp.max(height - 2, 0))
    right = wp.min(left + 1, width - 1)
    below = wp.min(top + 1, height - 1)
    part_x = x - float(left)
    part_y = y - float(top)
    above = texture[top, left] * (1.0 - part_x) + texture[top, right] * part_x
    under = texture[below, left] * (1.0 - part_x) + texture[below, right] * part_x
    return above * (1.0 - part_y) + under * part_y


@wp.kernel
def _color(
    nearest: wp.array(dtype=wp.int64),
    nothing: wp.int64,
    points: wp.array(dtype=wp.vec3),
    faces: wp.array(dtype=wp.vec3i),
    vertex_values: wp.array(dtype=wp.vec3),
    texture: wp.array2d(dtype=wp.vec3),
    textured: int,
    count: int,
    side: int,
    colors: wp.array(dtype=wp.vec3),
    first: int,
):
    sample = first + wp.tid()
    key = nearest[sample]
    if key == nothing:
        return
    view = sample / (side * side)
    at = wp.vec2(float(sample % side) + 0.5, float((sample / side) % side) + 0.5)
    corner = faces[int(key & wp.int64(4294967295))]
    base = view * count
    found = cover(points[base + corner[0]], points[base + corner[1]], points[base + corner[2]], at, 1)
    value = (
        vertex_values[corner[0]] * found[0] + vertex_values[corner[1]] * found[1] + vertex_values[corner[2]] * found[2]
    )
    if textured == 1:
        value = _looked_up(texture, value[0], value[1])
    colors[sample] = value


@wp.kernel
def _shade(
    nearest: wp.array(dtype=wp.int64),
    nothing: wp.int64,
    face_values: wp.array(dtype=wp.vec3),
    colors: wp.array(dtype=wp.vec3),
    colored: int,
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
            sample = (view * side + y) * side + x
            key = nearest[sample]
            if key != nothing:
                mask += weight
                # The key's high half is the depth, which is positive.
                depth += weight * wp.cast(int(key >> wp.int64(32)), wp.float32)
                flat += weight * face_values[int(key & wp.int64(4294967295))]
                if colored == 1:
                    color += weight * colors[sample]
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
    texture: Tensor | None = None,
) -> Tensor:
    """[V, 8, size, size]; see `ops.rasterize.draw_mesh`. limits: nearest depth, face value where no mesh is."""
    device, views = vertices.device, len(cameras)
    near, background = limits
    side = size * supersampling
    image = torch.empty(views, 8, size, size, device=device)
    at_once = cameras_at_once(len(vertices), len(faces), side, device=device)
    faces = faces.int()
    for begin in range(0, views, at_once):
        chunk = slice(begin, begin + at_once)
        shown, target = cameras[chunk], image[chunk]
        points, nearest = seen_faces(vertices, faces, shown, side=side, near=near)
        colors = face_values  # not looked at
        if vertex_values is not None:
            colors = _sample_colors(points, nearest, faces, vertex_values, texture, side)
        shading = [
            nearest, NOTHING, face_values, colors, int(vertex_values is not None), size, supersampling, background,
            target,
        ]  # fmt: skip
        warp_device.launch_items(_shade, len(shown) * size * size, shading, device=device, grain=1 << 13)
    return image


def _sample_colors(
    points: Tensor, nearest: Tensor, faces: Tensor, vertex_values: Tensor, texture: Tensor | None, side: int
) -> Tensor:
    """Values [V * side * side, 3] of the samples that show a face: of its corners, or of the texture at their uvs."""
    colors = points.new_empty(len(nearest), 3)
    pixels = vertex_values[:1, None] if texture is None else texture  # the kernel takes some, and looks at none
    values = vertex_values if texture is None else torch.nn.functional.pad(vertex_values, (0, 1))
    inputs = [
        nearest, NOTHING, points, faces, values, warp_device.view(pixels, wp.vec3), int(texture is not None),
        points.shape[1], side, colors,
    ]  # fmt: skip
    warp_device.launch_items(_color, len(nearest), inputs, device=points.device, grain=1 << 15)
    return colors
