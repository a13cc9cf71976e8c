"""Assets of a known size for the rendering benchmark: a lumpy ball in each representation, the same every time."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trellis.representations import GaussianCloud, GaussianConfig, Mesh, RadianceField

SEED = 0


@dataclass(frozen=True)
class SceneSize:
    """resolution: voxels along the cube; voxels: how many hold something; gaussians: per voxel; faces: of the mesh."""

    resolution: int
    voxels: int
    gaussians: int
    faces: int


# `large` is the size that the published figures were measured with, `nano` that of the embedded demo model.
SCENES = {
    "large": SceneSize(resolution=64, voxels=20_232, gaussians=32, faces=1_080_000),
    "nano": SceneSize(resolution=32, voxels=4_000, gaussians=8, faces=60_000),
}


def radius(directions: Tensor) -> Tensor:
    """Distance [n] of the ball's surface from its centre along unit directions [n, 3]: waves on a ball."""
    x, y, z = directions.unbind(1)
    return 0.38 + 0.03 * torch.sin(9 * x) * torch.cos(7 * y) + 0.02 * torch.sin(11 * z + 3 * x)


def voxel_coords(size: SceneSize) -> Tensor:
    """int64 [n, 3]: the `size.voxels` voxels nearest to the ball's surface."""
    axis = torch.arange(size.resolution)
    coords = torch.cartesian_prod(axis, axis, axis)
    points = (coords + 0.5) / size.resolution - 0.5
    distance = points.norm(dim=1)
    away = (distance - radius(points / distance.clamp(min=1e-6)[:, None])).abs()
    return coords[away.argsort()[: size.voxels].sort().values]


def gaussian_cloud(size: SceneSize) -> GaussianCloud:
    """Random features through the decoder's own activations, with the published Gaussians' sizes."""
    config = GaussianConfig(num_gaussians=size.gaussians)
    coords = voxel_coords(size)
    generator = torch.Generator().manual_seed(SEED)
    features = torch.randn(len(coords), config.feature_width, generator=generator)
    opacity = features[:, -size.gaussians :]
    opacity += 2
    perturbation = torch.randn(size.gaussians, 3, generator=generator)
    return GaussianCloud.from_features(
        features, coords, resolution=size.resolution, config=config, offset_perturbation=perturbation
    )


def mesh(size: SceneSize) -> Mesh:
    """The ball's surface as six grids on a cube, blown up: exactly size.faces faces where that is 12 times a square."""
    k = round((size.faces / 12) ** 0.5)
    at = torch.linspace(-1, 1, k + 1)
    u, v = (part.reshape(-1) for part in torch.meshgrid(at, at, indexing="ij"))
    index = torch.arange((k + 1) ** 2).view(k + 1, k + 1)
    a, b, c, d = (part.reshape(-1) for part in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
    quads = torch.cat([torch.stack([a, b, c], 1), torch.stack([a, c, d], 1)])
    vertices: list[Tensor] = []
    faces: list[Tensor] = []
    for axis in range(3):
        for sign in (1.0, -1.0):
            sides: list[Tensor] = [torch.empty(0)] * 3
            sides[axis], sides[(axis + 1) % 3], sides[(axis + 2) % 3] = torch.full_like(u, sign), u, v
            faces.append((quads if sign > 0 else quads.flip(1)) + sum(len(part) for part in vertices))
            vertices.append(torch.stack(sides, 1))
    directions = torch.nn.functional.normalize(torch.cat(vertices), dim=1)
    points = directions * radius(directions)[:, None]
    return Mesh(points, torch.cat(faces).int(), 0.5 * torch.cat([directions, directions], 1) + 0.5)


def radiance_field(size: SceneSize, *, rank: int = 16, dim: int = 8) -> RadianceField:
    """Random vectors about 1 and positive densities on the ball's voxels."""
    coords = voxel_coords(size)
    generator = torch.Generator().manual_seed(SEED)
    return RadianceField(
        positions=(coords + 0.5) / size.resolution,
        trivec=1 + 0.3 * torch.randn(len(coords), rank, 3, dim, generator=generator),
        density=4 * torch.randn(len(coords), rank, generator=generator).abs(),
        features_dc=torch.randn(len(coords), rank, 3, generator=generator),
        resolution=size.resolution,
    )
