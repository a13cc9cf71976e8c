"""Assets as files: repair, simplification, unwrapping, texture, all file formats; the only place that turns axes."""

from trellis.export.clean import CleanOptions, clean
from trellis.export.glb import write_glb
from trellis.export.maps import write_maps
from trellis.export.obj import write_obj
from trellis.export.ply import load_gaussian_ply, write_gaussian_ply, write_mesh_ply
from trellis.export.projection import ViewOptions
from trellis.export.simplify import simplify
from trellis.export.splat import load_splat, write_splat
from trellis.export.stl import write_stl
from trellis.export.textured import TEXTURE_SIZES, TEXTURE_SOURCES, ExportOptions, TexturedMesh, textured_mesh
from trellis.export.unwrap import UnwrapOptions
from trellis.export.usdz import write_usdz

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
    "load_splat",
    "simplify",
    "textured_mesh",
    "write_gaussian_ply",
    "write_glb",
    "write_maps",
    "write_mesh_ply",
    "write_obj",
    "write_splat",
    "write_stl",
    "write_usdz",
]
