"""A generated asset without networks: a thin-walled vessel as FlexiCubes features and as Gaussians, of a chosen size.

At 64 it has about the size at which the published exporter was measured: 20 k voxels of the 64^3 grid with 32 Gaussians
each, and a mesh of 1.08 M faces from the 256^3 grid.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.ops.rasterize.scenes import SH_C0
from trellis.representations import GaussianCloud, Mesh
from trellis.representations.flexicubes import COLOR, COLOR_CHANNELS, SDF, extract_mesh

FINE = 4  # fine voxels along the side of a structure voxel
GAUSSIANS_PER_VOXEL = 32
WALL = 1.15  # half the wall of the vessel, fine voxels
NOISE = 2e-4  # roughness of the field, as decoders make it


@dataclass(frozen=True)
class Scene:
    """A mesh with vertex colours, Gaussians on its surface, and the number of structure voxels they come from."""

    mesh: Mesh
    gaussians: GaussianCloud
    voxels: int


def field(points: Tensor, wall: float) -> Tensor:
    """About the signed distance [n] of `points` [n, 3] to the vessel: a bumpy open jar with a foot and two handles.

    wall: half the thickness, world units.
    """
    x, y, z = points.unbind(-1)
    angle = torch.atan2(y, x)
    bumps = 1 + 0.05 * torch.sin(8 * angle + 14 * z) * torch.cos(11 * z) + 0.02 * torch.sin(25 * z)
    bumps = bumps + 0.018 * torch.sin(60 * angle) * torch.sin(70 * z)
    body = torch.sqrt(x.square() + y.square() + (0.85 * z).square()) - 0.39 * bumps
    jar = torch.maximum(body.abs() - wall, z - 0.36)
    foot = torch.sqrt((torch.sqrt(x.square() + y.square()) - 0.2).square() + (z + 0.43).square()) - 0.05
    across = torch.sqrt((x.abs() - 0.38).square() + z.square()) - 0.09
    handles = torch.sqrt(across.square() + y.square()) - 0.022
    return torch.minimum(torch.minimum(jar, foot), handles)


def colors(points: Tensor) -> Tensor:
    """A smooth pattern [n, 3] in [0.1, 0.9]."""
    rows = torch.tensor([[17.0, 5.0, 3.0], [4.0, 19.0, 7.0], [6.0, 3.0, 15.0]], device=points.device)
    return 0.5 + 0.4 * torch.sin(points @ rows.T)


def build_scene(resolution: int = 64, *, device: torch.device | None = None) -> Scene:
    """The vessel from a structure of `resolution`^3 voxels, 8 to 64; the same on every call, built on the CPU."""
    if not 8 <= resolution <= 64:
        raise InvalidInputError(f"The scene's resolution must be 8..64, not {resolution}.")
    coords = _structure(resolution)
    generator = torch.Generator().manual_seed(0)
    mesh = _mesh(coords, resolution, generator)
    cloud = _gaussians(mesh, len(coords) * GAUSSIANS_PER_VOXEL, generator)
    return Scene(_moved(mesh, device), _moved(cloud, device), len(coords))


def _structure(resolution: int) -> Tensor:
    """The voxels [n, 3] of the grid that the surface passes."""
    wall = WALL / (resolution * FINE)
    side = torch.arange(resolution * FINE + 1) / (resolution * FINE) - 0.5
    planes = []
    for start in range(0, resolution * FINE, FINE):  # slabs, to save memory
        x = side[start : start + FINE + 1]
        inside = (field(torch.stack(torch.meshgrid(x, side, side, indexing="ij"), -1), wall) < 0).float()[None, None]
        most = torch.nn.functional.max_pool3d(inside, FINE + 1, stride=FINE)[0, 0, 0]
        least = -torch.nn.functional.max_pool3d(-inside, FINE + 1, stride=FINE)[0, 0, 0]
        planes.append(most > least)
    return torch.stack(planes).nonzero()


def _mesh(coords: Tensor, resolution: int, generator: torch.Generator) -> Mesh:
    corner = torch.tensor([[c >> axis & 1 for axis in range(3)] for c in range(8)])
    child = torch.stack(torch.meshgrid(*[torch.arange(FINE)] * 3, indexing="ij"), -1).reshape(-1, 3)
    fine = (coords[:, None] * FINE + child).reshape(-1, 3)
    grid = resolution * FINE
    points = (fine[:, None] + corner) / grid - 0.5
    feats = torch.zeros(len(fine), COLOR_CHANNELS)
    # The published decoder's level is 1 / grid.
    feats[:, SDF] = field(points, WALL / grid) + 1 / grid + NOISE * torch.randn(len(fine), 8, generator=generator)
    feats[:, COLOR].view(len(fine), 8, 6)[..., :3] = torch.logit(colors(points))
    return extract_mesh(fine, feats, resolution=grid)


def _gaussians(mesh: Mesh, count: int, generator: torch.Generator) -> GaussianCloud:
    """Opaque discs on the surface, spread evenly over its faces."""
    corners = mesh.vertices[mesh.faces.long()]
    vectors = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = torch.linalg.vector_norm(vectors, dim=1).double()
    total = areas.cumsum(0)
    places = (torch.arange(count) + 0.5) / count * total[-1]
    face = torch.searchsorted(total, places).clamp(max=len(areas) - 1)
    weights = torch.rand(count, 3, generator=generator).add_(1e-3).log_().neg_()
    points = (corners[face] * (weights / weights.sum(1, keepdim=True))[..., None]).sum(1)
    normal = torch.nn.functional.normalize(vectors[face], dim=1)
    # Turns +z to the normal.
    x, y, z = normal.unbind(1)
    rotations = torch.stack([1 + z + 1e-6, -y, x, torch.zeros_like(x)], 1)
    spread = float((0.5 * total[-1] / count) ** 0.5)
    scales = torch.tensor([spread, spread, 0.1 * spread]).expand(count, 3).contiguous()
    return GaussianCloud(
        points,
        (colors(points) - 0.5) / SH_C0,
        scales,
        torch.nn.functional.normalize(rotations, dim=1),
        torch.full((count, 1), 0.95),
    )


def _moved(value: Any, device: torch.device | None) -> Any:
    tensors = {f.name: getattr(value, f.name) for f in fields(value) if isinstance(getattr(value, f.name), Tensor)}
    return replace(value, **{name: tensor.to(device) for name, tensor in tensors.items()})
