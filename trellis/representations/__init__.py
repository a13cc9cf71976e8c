"""3D representations as frozen data: Gaussians, mesh and radiance field; never a network."""

from trellis.representations.gaussians import GaussianCloud, GaussianConfig
from trellis.representations.mesh import Mesh, TexturedMesh
from trellis.representations.radiance_field import RadianceField, RadianceFieldConfig
