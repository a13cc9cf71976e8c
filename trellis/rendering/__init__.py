"""Representation and cameras to images: Gaussians, meshes, radiance fields, and the turntable preview."""

from trellis.rendering.gaussians import render_gaussians
from trellis.rendering.images import ColorImages
from trellis.rendering.mesh import MeshImages, rasterize_mesh, render_mesh
from trellis.rendering.radiance_field import render_radiance_field
from trellis.rendering.textured_mesh import render_textured_mesh
from trellis.rendering.turntable import PreviewFrame, TurntableConfig, progressive_turntable, turntable

__all__ = [
    "ColorImages",
    "MeshImages",
    "PreviewFrame",
    "TurntableConfig",
    "progressive_turntable",
    "rasterize_mesh",
    "render_gaussians",
    "render_mesh",
    "render_radiance_field",
    "render_textured_mesh",
    "turntable",
]
