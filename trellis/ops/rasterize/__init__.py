"""Rasterisation: triangles, Gaussians and radiance-field voxels to images, each with a reference and a Warp back end."""

from trellis.ops.rasterize.backends import BACKENDS, choose_backend
from trellis.ops.rasterize.gaussians import ScreenGaussians, composite_gaussians, project_gaussians
from trellis.ops.rasterize.triangles import TriangleSamples, interpolate_attributes, rasterize_triangles

__all__ = [
    "BACKENDS",
    "ScreenGaussians",
    "TriangleSamples",
    "choose_backend",
    "composite_gaussians",
    "interpolate_attributes",
    "project_gaussians",
    "rasterize_triangles",
]
