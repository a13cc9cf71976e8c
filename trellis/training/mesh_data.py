"""Real meshes as the flows' data: turned, scaled, mirrored and recoloured, seen as the procedural objects are."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from trellis.dataset.layout import VOXELIZED, DataFolder
from trellis.dataset.meshes import training_mesh
from trellis.dataset.records import PLACE, read_metadata
from trellis.encoding.local_features import local_features, shell_voxels
from trellis.encoding.solid import SolidField
from trellis.encoding.source_mesh import SourceMesh, normalize_mesh
from trellis.encoding.views import render_views
from trellis.errors import InvalidInputError
from trellis.geometry.cameras import Cameras
from trellis.training.config import DataConfig
from trellis.training.data import chunk_seeds, on_black
from trellis.training.pool import Chunk
from trellis.training.procedural.draws import Draws
from trellis.training.procedural.pictures import downsample, frame_points, take_pictures
from trellis.training.procedural.viewpoints import Lights
from trellis.training.procedural.voxels import VOXEL_FEATURES

VIEWS = 64  # pictures of a variant, each counting as an object: to look at it costs far less than to measure it
_SALT = 79
_SHADES = torch.tensor([0.299, 0.587, 0.114])

load = lru_cache(256)(training_mesh)


@dataclass(frozen=True)
class Recoloring:
    """Colours c of a variant: turn @ c * gain + lift."""

    turn: Tensor
    gain: Tensor
    lift: Tensor

    def __call__(self, colors: Tensor) -> Tensor:
        """Colours [..., 3] in 0..1."""
        return (colors @ self.turn.T * self.gain + self.lift).clamp(0, 1)


def mesh_files(root: Path) -> list[Path]:
    """The mesh files of a data folder that voxels could be made of, by their sha; InvalidInputError without any."""
    rows = read_metadata(DataFolder(root))
    found = [root / row[PLACE] for _, row in sorted(rows.items()) if row.get(VOXELIZED) == "True"]
    if not found:
        raise InvalidInputError(
            f"{root} names no mesh files: make it with `run.sh dataset FOLDER --output_dir {root}`."
        )
    return found


def varied(mesh: SourceMesh, draws: Draws) -> tuple[SourceMesh, Recoloring]:
    """A mesh like `mesh` and its colours: `draws` are of one object. The front stays in front."""
    turn = draws.uniform(-15, 15).deg2rad()
    flip = torch.where(draws.chance(0.5), -1.0, 1.0)
    sizes = torch.stack([draws.uniform(-0.25, 0.25).exp() for _ in range(3)], 1)[0]
    stretch = torch.diag(sizes * torch.tensor([float(flip), 1.0, 1.0]))
    c, s = float(turn.cos()), float(turn.sin())
    matrix = torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ stretch
    faces = mesh.faces.flip(1) if float(flip) < 0 else mesh.faces
    moved = replace(mesh, vertices=mesh.vertices @ matrix.T, faces=faces, normals=None)
    return moved, _recoloring(draws)


def _recoloring(draws: Draws) -> Recoloring:
    """Another hue, more or less of it, and another lightness; a third of the variants keep their colours."""
    kept = bool(draws.chance(1 / 3))
    angle, vivid = float(draws.uniform(0, 2 * math.pi)), float(draws.uniform(0.4, 1.8))
    gain, lift = draws.uniform(0.7, 1.3), draws.uniform(-0.1, 0.4)
    if kept:
        return Recoloring(torch.eye(3), torch.ones(1), torch.zeros(1))
    axis = torch.full((3,), 3**-0.5)
    cross = torch.tensor([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    around = math.cos(angle) * torch.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * axis.outer(axis)
    return Recoloring(_SHADES.expand(3, 3) + vivid * (around - _SHADES.expand(3, 3)), gain, lift)


@torch.no_grad()
def mesh_chunk(config: DataConfig, number: int, device: torch.device, *, samples: int, photographs: float) -> Chunk:
    """What `flow_data` makes of procedural objects, of variants of the meshes in the data folder `config.meshes`."""
    seeds = chunk_seeds(config, number)
    files = mesh_files(Path(config.meshes))
    detailed, resolution = config.detailed or config.chunk, config.resolution
    dense = torch.zeros(config.chunk, *[resolution] * 3, dtype=torch.bool, device=device)
    shape = (config.chunk, config.pictures, 3, config.picture_size, config.picture_size)
    pictures = torch.zeros(shape, dtype=torch.uint8, device=device)
    features: list[Tensor] = []
    for index, rows in enumerate(torch.arange(config.chunk).split(VIEWS)):
        draws = Draws(seeds[index : index + 1], _SALT)
        source, recolor = varied(load(files[int(draws.unit() * len(files))]), draws)
        mesh = normalize_mesh(source.to(device)).mesh
        field = SolidField.create(mesh, resolution=resolution)
        x, y, z = shell_voxels(field).long().unbind(1)
        dense[rows[:, None], x, y, z] = True
        if rows[0] < detailed:
            found = local_features(field).features
            colors = found[:, VOXEL_FEATURES.color].unflatten(1, (8, 3)) + 0.5
            found[:, VOXEL_FEATURES.color] = (recolor(colors.cpu()).flatten(1) - 0.5).to(device)
            features += [found.half()] * int((rows < detailed).sum())
        rgba = _pictures(mesh, recolor, seeds[rows], config, samples=samples, photographs=photographs)
        pictures[rows] = on_black(rgba)
    return {"dense": dense, "pictures": pictures, "voxel_features": torch.cat(features)}


def _pictures(
    mesh: SourceMesh, recolor: Recoloring, seeds: Tensor, config: DataConfig, *, samples: int, photographs: float
) -> Tensor:
    """uint8 [n, V, S, S, 4] of one mesh as each of `seeds` [n] sees it."""
    points = mesh.vertices[mesh.faces.unique()][None].cpu()

    def frame(cameras: Cameras) -> Cameras:
        return frame_points(cameras, points.expand(len(cameras), -1, -1), torch.ones(1, points.shape[1]).bool())

    def render(cameras: Cameras, lights: Lights) -> Tensor:
        views = render_views(mesh, cameras, size=config.picture_size * samples, supersampling=1)
        color, alpha, normal = (
            part.permute(0, 2, 3, 1).cpu() for part in (views.color, views.alpha[:, None], views.normal)
        )
        lit = _lit(recolor(color / alpha.clamp_min(1e-6)), 2 * normal - 1, lights)
        image = downsample(torch.cat([lit, alpha], -1)[:, None], samples)[:, 0]
        return (image * 255).round().to(torch.uint8)

    images, _ = take_pictures(seeds, frame, render, views=config.pictures, seed=config.seed, photographs=photographs)
    return images.unflatten(0, (len(seeds), config.pictures)).to(mesh.device)


def _lit(colors: Tensor, normals: Tensor, lights: Lights) -> Tensor:
    """Colours [n, H, W, 3] of surfaces with `normals` [n, H, W, 3] in the light of n pictures."""
    direction, key, sky, ground, exposure = (
        value.reshape(len(colors), 1, 1, -1)
        for value in (lights.direction, lights.key, lights.sky, lights.ground, lights.exposure)
    )
    diffuse = (normals * direction).sum(-1, keepdim=True).clamp_min(0)
    up = 0.5 + 0.5 * normals[..., 2:]
    light = colors**2.2 * (key * diffuse + ground + (sky - ground) * up)
    return (light * exposure * 1.15).clamp(0, 1) ** (1 / 2.2)
