"""Rasterisation: triangles, Gaussians and radiance-field voxels to images, each with a reference and a Warp back end."""

from trellis.ops.rasterize.backends import BACKENDS, choose_backend
from trellis.ops.rasterize.triangles import TriangleSamples, interpolate_attributes, rasterize_triangles

__all__ = ["BACKENDS", "TriangleSamples", "choose_backend", "interpolate_attributes", "rasterize_triangles"]
