"""Mesh files back into the models' world: surfaces to voxels, coloured samples, views and structured latents."""

from trellis.encoding.colors import surface_colors
from trellis.encoding.load import MESH_FORMATS, load_mesh
from trellis.encoding.readers.files import LoadLimits
from trellis.encoding.sampling import SurfaceSamples, sample_surface
from trellis.encoding.source_mesh import Material, NormalizedMesh, SourceMesh, Texture, normalize_mesh
from trellis.encoding.voxelize import voxelize

__all__ = [
    "MESH_FORMATS",
    "LoadLimits",
    "Material",
    "NormalizedMesh",
    "SourceMesh",
    "SurfaceSamples",
    "Texture",
    "load_mesh",
    "normalize_mesh",
    "sample_surface",
    "surface_colors",
    "voxelize",
]
