"""Rasterisation of triangles, Gaussians and radiance-field voxels: a reference, Warp, and adapters to others."""

from trellis.ops.rasterize.backends import (
    ADAPTERS,
    BACKENDS,
    FIELD_BACKENDS,
    GAUSSIAN_BACKENDS,
    TRIANGLE_BACKENDS,
    backend_for,
    check_backend,
    choose_backend,
    prepare,
    rendering_device,
    require_adapter,
)
from trellis.ops.rasterize.gaussians import splat_gaussians
from trellis.ops.rasterize.meshes import draw_mesh, project_vertices
from trellis.ops.rasterize.radiance_fields import integrate_voxels
from trellis.ops.rasterize.triangles import TriangleSamples, interpolate_attributes, rasterize_triangles

__all__ = [
    "ADAPTERS",
    "BACKENDS",
    "FIELD_BACKENDS",
    "GAUSSIAN_BACKENDS",
    "TRIANGLE_BACKENDS",
    "TriangleSamples",
    "backend_for",
    "check_backend",
    "choose_backend",
    "draw_mesh",
    "integrate_voxels",
    "interpolate_attributes",
    "prepare",
    "project_vertices",
    "rasterize_triangles",
    "rendering_device",
    "require_adapter",
    "splat_gaussians",
]
