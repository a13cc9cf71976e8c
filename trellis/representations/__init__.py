"""3D representations as frozen data: Gaussians, mesh and radiance field; never a network."""

from trellis.representations.gaussians import GaussianCloud
from trellis.representations.mesh import Mesh
from trellis.representations.radiance_field import RadianceField

__all__ = ["GaussianCloud", "Mesh", "RadianceField"]
