"""Visibility by Warp's bounding volume tree, on the CPU or an NVIDIA GPU."""

# mypy: disable-error-code="valid-type, attr-defined, arg-type, no-untyped-def, operator, return-value"
# ruff: noqa: UP018, RUF046
# (kernels are Python in form only: Warp compiles them, and its types are values)
import torch
import warp as wp
from torch import Tensor

from trellis.ops import warp_device

INWARD = 0.02  # how far the rays' points are drawn from the rim of a face to its middle
# Reciprocal powers of the root of x^5 = x + 1: the additive sequence of low discrepancy in four dimensions.
STRIDES = (0.8566748838545029, 0.7338918566271260, 0.6287067210378087, 0.5385972572236101)
_STRIDES = wp.constant(wp.vec4d(*STRIDES))
_INWARD = wp.constant(INWARD)

wp.set_module_options({"enable_backward": False})


@wp.func
def _sequence(number: wp.int64, axis: int) -> float:
    value = wp.float64(number) * _STRIDES[axis]
    return wp.float32(value - wp.floor(value))


@wp.kernel
def _count(
    mesh: wp.uint64,
    points: wp.array(dtype=wp.vec3),
    faces: wp.array(dtype=wp.vec3i),
    members: wp.array(dtype=wp.int32),
    starts: wp.array(dtype=wp.int32),
    rays: int,
    enough: int,
    lift: float,
    free: wp.array(dtype=wp.int32),
    cast: wp.array(dtype=wp.int32),
    begin: int,
):
    patch = begin + wp.tid()
    first = starts[patch]
    size = starts[patch + 1] - first
    seen = int(0)
    tried = int(0)
    while tried < rays and seen < enough:
        # The faces in turn, or equally spaced ones of a large patch.
        chosen = int(wp.int64(tried) * wp.int64(size) / wp.int64(rays)) if size > rays else tried % size
        corner = faces[members[first + chosen]]
        p0 = points[corner[0]]
        p1 = points[corner[1]]
        p2 = points[corner[2]]
        normal = wp.normalize(wp.cross(p1 - p0, p2 - p0))
        number = wp.int64(patch) * wp.int64(rays) + wp.int64(tried)
        z = 1.0 - 2.0 * _sequence(number, 0)
        angle = 2.0 * wp.pi * _sequence(number, 1)
        ring = wp.sqrt(wp.max(1.0 - z * z, 0.0))
        direction = wp.vec3(ring * wp.cos(angle), ring * wp.sin(angle), z)
        spread = wp.sqrt(_sequence(number, 2))
        along = _sequence(number, 3)
        origin = p0 * (1.0 - spread) + p1 * (spread * (1.0 - along)) + p2 * (spread * along)
        side = wp.where(wp.dot(normal, direction) < 0.0, -lift, lift)
        # A little inward: a point on the rim may lie outside of the wall that the face meets there.
        origin = origin + ((p0 + p1 + p2) / 3.0 - origin) * _INWARD
        start = origin + normal * side + direction * lift
        tried += 1
        if not wp.mesh_query_ray_anyhit(mesh, start, direction, 1.0e30):
            seen += 1
    free[patch] = seen
    cast[patch] = tried


def count_free_rays(
    vertices: Tensor, faces: Tensor, *, members: Tensor, starts: Tensor, rays: int, enough: int, lift: float
) -> tuple[Tensor, Tensor]:
    """Rays int32 [P] that met nothing, and rays int32 [P] that were cast; see `outside_visibility`.

    The faces of patch p are members[starts[p] : starts[p + 1]].
    """
    count = len(starts) - 1
    free, cast = (torch.zeros(count, dtype=torch.int32, device=vertices.device) for _ in range(2))
    mesh = warp_device.mesh(vertices, faces)
    inputs = [mesh.id, vertices, faces, members, starts, rays, enough, lift, free, cast]
    warp_device.launch_items(_count, count, inputs, device=vertices.device, grain=64)
    wp.synchronize_device(mesh.device)  # the tree must outlive the kernel
    return free, cast
