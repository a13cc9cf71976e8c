"""Pictures of loaded meshes under the published lights in Warp: faces, colours and light of many views at once.

What `trellis.encoding.views.render_views` draws with one sample a pixel, whose lines these follow.
"""

# Kernels are in Warp's own language, whose types mypy does not know.
# mypy: disable-error-code="valid-type, no-untyped-def, operator, arg-type, index, return-value"

import math
from collections.abc import Iterator
from typing import Any

import torch
import warp as wp
from torch import Tensor

from trellis.encoding import lights
from trellis.encoding.normals import face_normals
from trellis.encoding.source_mesh import ALPHA_MODES, WRAP_MODES, SourceMesh
from trellis.geometry.cameras import Cameras
from trellis.ops import warp_device
from trellis.ops.rasterize.meshes import NEAR
from trellis.ops.rasterize.warp_meshes import cameras_at_once, seen_faces
from trellis.ops.rasterize.warp_triangles import NOTHING, cover

wp.set_module_options({"enable_backward": False})

_REPEAT, _MIRROR, _CLAMP = (wp.constant(WRAP_MODES.index(mode)) for mode in ("repeat", "mirror", "clamp"))
_OPAQUE, _MASK = (wp.constant(ALPHA_MODES.index(mode)) for mode in ("opaque", "mask"))
_POINT, _BOTTOM = wp.constant(wp.vec3(*lights.POINT)), wp.constant(wp.vec3(*lights.BOTTOM))
_POINT_STRENGTH = wp.constant(lights.POINT_WATTS / (4 * math.pi) / math.pi)
_BOTTOM_STRENGTH = wp.constant(lights.BOTTOM_WATTS / 4 / math.pi)
_TOP_RADIANCE = wp.constant(lights.TOP_RADIANCE)


@wp.func
def _linear(value: float) -> float:
    if value <= 0.04045:
        return value / 12.92
    return wp.pow((value + 0.055) / 1.055, 2.4)


@wp.func
def _encoded(value: float) -> float:
    if value <= 0.0031308:
        return value * 12.92
    return 1.055 * wp.pow(value, 1.0 / 2.4) - 0.055


@wp.func
def _wrapped(index: wp.int64, size: wp.int64, mode: int) -> wp.int64:
    if mode == _CLAMP:
        return wp.clamp(index, wp.int64(0), size - wp.int64(1))
    period = size
    if mode == _MIRROR:
        period = size + size
    rest = index % period
    if rest < wp.int64(0):
        rest += period
    if rest >= size:
        rest = period - wp.int64(1) - rest
    return rest


@wp.func
def _texture(texels: wp.array(dtype=wp.vec4ub), first: wp.int64, shape: wp.vec4i, uv: wp.vec2) -> wp.vec4:
    """Linear rgb and alpha of a texture of `shape` (width, height, wrap along u and v), filtered bilinearly."""
    width = wp.int64(shape[0])
    height = wp.int64(shape[1])
    x = wp.float64(uv[0]) * wp.float64(shape[0]) - wp.float64(0.5)
    y = wp.float64(uv[1]) * wp.float64(shape[1]) - wp.float64(0.5)
    low_x = wp.floor(x)
    low_y = wp.floor(y)
    across = wp.float32(x - low_x)
    down = wp.float32(y - low_y)
    total = wp.vec4(0.0, 0.0, 0.0, 0.0)
    for step in range(4):
        right = step % 2
        below = step / 2
        column = _wrapped(wp.int64(low_x) + wp.int64(right), width, shape[2])
        row = _wrapped(wp.int64(low_y) + wp.int64(below), height, shape[3])
        texel = texels[first + row * width + column]
        weight_x = 1.0 - across
        if right == 1:
            weight_x = across
        weight_y = 1.0 - down
        if below == 1:
            weight_y = down
        rgb = wp.vec3(float(texel[0]), float(texel[1]), float(texel[2])) / 255.0
        value = wp.vec4(_linear(rgb[0]), _linear(rgb[1]), _linear(rgb[2]), float(texel[3]) / 255.0)
        total += value * (weight_x * weight_y)
    return total


@wp.func
def _received(towards: wp.vec3, normal: wp.vec3) -> float:
    squared = wp.dot(towards, towards)
    return wp.max(wp.dot(normal, towards), 0.0) / (squared * wp.sqrt(squared))


@wp.func
def _light(place: wp.vec3, normal: wp.vec3) -> float:
    """See `trellis.encoding.lights.studio_light`."""
    below = _BOTTOM - place
    facing = -wp.normalize(below)[2]
    top = _TOP_RADIANCE * (1.0 + normal[2]) / 2.0
    return (
        _POINT_STRENGTH * _received(_POINT - place, normal) + top + _BOTTOM_STRENGTH * facing * _received(below, normal)
    )


@wp.func
def _between(values: wp.array(dtype=Any), corner: wp.vec3i, weights: wp.vec4) -> Any:
    return values[corner[0]] * weights[0] + values[corner[1]] * weights[1] + values[corner[2]] * weights[2]


@wp.func
def _smoothed(mixed: wp.vec3, flat: wp.vec3) -> wp.vec3:
    """The normal of the corners on the side of the face's, which stands in where there is none."""
    unit = wp.normalize(mixed)
    if wp.length_sq(unit) == 0.0:
        return flat
    if wp.dot(unit, flat) < 0.0:
        return -unit
    return unit


@wp.func
def _alpha(value: float, mode: int, cutoff: float) -> float:
    if mode == _OPAQUE or (mode == _MASK and value >= cutoff):
        return 1.0
    if mode == _MASK:
        return 0.0
    return value


@wp.func
def _byte(value: float) -> wp.uint8:
    return wp.uint8(wp.rint(wp.clamp(value, 0.0, 1.0) * 255.0))


@wp.func
def _lit(value: float, light: float) -> wp.uint8:
    return _byte(_encoded(wp.clamp(wp.clamp(value, 0.0, 1.0) * light, 0.0, 1.0)))


@wp.kernel
def _shade(
    nearest: wp.array(dtype=wp.int64),
    nothing: wp.int64,
    points: wp.array(dtype=wp.vec3),
    vertices: wp.array(dtype=wp.vec3),
    faces: wp.array(dtype=wp.vec3i),
    flat_normals: wp.array(dtype=wp.vec3),
    corner_normals: wp.array(dtype=wp.vec3),
    smooth: int,
    uvs: wp.array(dtype=wp.vec2),
    vertex_colors: wp.array(dtype=wp.vec4),
    owners: wp.array(dtype=wp.int32),
    base_colors: wp.array(dtype=wp.vec4),
    cutoffs: wp.array(dtype=wp.float32),
    kinds: wp.array(dtype=wp.vec2i),
    texels: wp.array(dtype=wp.vec4ub),
    firsts: wp.array(dtype=wp.int64),
    shapes: wp.array(dtype=wp.vec4i),
    eyes: wp.array(dtype=wp.vec3),
    size: int,
    image: wp.array(dtype=wp.vec4ub),
    first: int,
):
    item = first + wp.tid()
    key = nearest[item]
    if key == nothing:
        image[item] = wp.vec4ub(wp.uint8(0), wp.uint8(0), wp.uint8(0), wp.uint8(0))
        return
    view = item / (size * size)
    pixel = item - view * size * size
    face = int(key & wp.int64(4294967295))
    corner = faces[face]
    base = view * vertices.shape[0]
    at = wp.vec2(float(pixel % size) + 0.5, float(pixel / size) + 0.5)
    w = cover(points[base + corner[0]], points[base + corner[1]], points[base + corner[2]], at, 1)

    owner = owners[face]
    kind = kinds[owner]
    color = wp.cw_mul(_between(vertex_colors, corner, w), base_colors[owner])
    if kind[1] >= 0:
        uv = _between(uvs, corner, w)
        color = wp.cw_mul(color, _texture(texels, firsts[kind[1]], shapes[kind[1]], uv))
    alpha = _alpha(color[3], kind[0], cutoffs[owner])

    place = _between(vertices, corner, w)
    normal = flat_normals[face]
    if wp.dot(normal, eyes[view] - place) < 0.0:
        normal = -normal
    if smooth == 1:
        normal = _smoothed(_between(corner_normals, wp.vec3i(3 * face, 3 * face + 1, 3 * face + 2), w), normal)
    light = _light(place, normal)
    shown = wp.vec4ub(wp.uint8(0), wp.uint8(0), wp.uint8(0), wp.uint8(0))
    if alpha > 0.0:
        shown = wp.vec4ub(_lit(color[0], light), _lit(color[1], light), _lit(color[2], light), _byte(alpha))
    image[item] = shown


def studio_views(mesh: SourceMesh, cameras: Cameras, *, size: int) -> Iterator[Tensor]:
    """Pictures uint8 [n, size, size, 4], straight RGBA, of n of the cameras at a time, in their order.

    mesh: in the unit cube, on a device where Warp works, as the pictures are.
    """
    faces, device = mesh.faces.int(), mesh.device
    surface = [mesh.vertices, faces, *_normals(mesh), mesh.uvs, mesh.vertex_colors, mesh.face_materials.int()]
    surface += _materials(mesh)
    at_once = cameras_at_once(len(mesh.vertices), len(faces), size, device=device)
    for begin in range(0, len(cameras), at_once):
        shown = cameras[begin : begin + at_once]
        eyes = shown.positions.to(device)
        points, nearest = seen_faces(mesh.vertices, faces, shown.to(device), side=size, near=NEAR)
        image = torch.empty(len(shown), size, size, 4, dtype=torch.uint8, device=device)
        inputs = [nearest, NOTHING, points, *surface, eyes, size, image]
        warp_device.launch_items(_shade, nearest.numel(), inputs, device=device, grain=1 << 15)
        yield image


def _normals(mesh: SourceMesh) -> list:
    """Normals of the faces and of their corners, and whether there are such."""
    flat = face_normals(mesh)[0]
    return [flat, flat, 0] if mesh.normals is None else [flat, mesh.normals, 1]


def _materials(mesh: SourceMesh) -> list:
    """Base colours, limits of alpha, kind of alpha and texture of every material; texels and places of all textures."""
    device, textures = mesh.device, mesh.textures
    colors = torch.tensor([material.base_color for material in mesh.materials])
    cutoffs = torch.tensor([material.alpha_cutoff for material in mesh.materials])
    kinds = torch.tensor(
        [
            (ALPHA_MODES.index(material.alpha_mode), -1 if material.texture is None else material.texture)
            for material in mesh.materials
        ]
    )
    shapes = torch.tensor(
        [(*texture.pixels.shape[1::-1], *map(WRAP_MODES.index, texture.wrap)) for texture in textures] or [(0,) * 4]
    )
    firsts = (shapes[:, 0].long() * shapes[:, 1]).cumsum(0).roll(1)
    firsts[0] = 0
    texels = torch.cat([texture.pixels.reshape(-1, 4) for texture in textures] or [torch.zeros(1, 4).byte()])
    return [tensor.to(device) for tensor in (colors, cutoffs, kinds.int(), texels, firsts, shapes.int())]
