"""Assets as files: repair, simplification, unwrapping, texture, GLB and PLY; the only place that turns axes."""

from trellis.export.clean import CleanOptions, clean
from trellis.export.glb import write_glb
from trellis.export.ply import load_gaussian_ply, write_gaussian_ply, write_mesh_ply
from trellis.export.projection import ViewOptions
from trellis.export.simplify import simplify
from trellis.export.textured import TEXTURE_SIZES, TEXTURE_SOURCES, ExportOptions, TexturedMesh, textured_mesh
from trellis.export.unwrap import UnwrapOptions

__all__ = [
    "TEXTURE_SIZES",
    "TEXTURE_SOURCES",
    "CleanOptions",
    "ExportOptions",
    "TexturedMesh",
    "UnwrapOptions",
    "ViewOptions",
    "clean",
    "load_gaussian_ply",
    "simplify",
    "textured_mesh",
    "write_gaussian_ply",
    "write_glb",
    "write_mesh_ply",
]
