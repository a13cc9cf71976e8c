"""Rasterisation of triangles, Gaussians and radiance-field voxels, each with a reference and a Warp back end."""

from trellis.ops.rasterize.backends import BACKENDS, check_backend, choose_backend, rendering_device
from trellis.ops.rasterize.gaussians import ScreenGaussians, composite_gaussians, project_gaussians
from trellis.ops.rasterize.radiance_fields import VoxelField, integrate_voxels
from trellis.ops.rasterize.triangles import TriangleSamples, interpolate_attributes, rasterize_triangles

__all__ = [
    "BACKENDS",
    "ScreenGaussians",
    "TriangleSamples",
    "VoxelField",
    "check_backend",
    "choose_backend",
    "composite_gaussians",
    "integrate_voxels",
    "interpolate_attributes",
    "project_gaussians",
    "rasterize_triangles",
    "rendering_device",
]
