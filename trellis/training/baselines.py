"""What a model must beat: the nearest training object, and the picture's silhouette made solid."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trellis.encoding.local_features import SHELL, grid_centres
from trellis.training.config import DataConfig
from trellis.training.data import on_black, sample_chunk
from trellis.training.generate import BatchGenerator
from trellis.training.metrics import SAMPLES
from trellis.training.procedural import occupancy, render_pictures
from trellis.training.truth import surface_points

_CHUNK = 256
_PIXEL_SIDE = 32  # pictures are compared by pixels at this size


@dataclass(frozen=True)
class TrainingSet:
    """A part of the training objects: features [M, C] and pixels [M, P] of one picture each, and their occupancy."""

    config: DataConfig
    features: Tensor
    pixels: Tensor
    dense: Tensor
    device: torch.device

    def shapes(self, numbers: list[int], *, seed: int) -> tuple[Tensor, list[Tensor]]:
        """Occupancy and surface points of some of the objects."""
        results = []
        for number in numbers:
            objects = sample_chunk(self.config, number // _CHUNK, self.device).select([number % _CHUNK])
            results += surface_points(objects, self.dense[number][None], seed=seed)
        return self.dense[numbers], results


def picture_features(generator: BatchGenerator, pictures: Tensor) -> Tensor:
    """Unit vectors [B, 2 C] of framed pictures uint8 [B, 3, S, S]; see `token_features`."""
    return token_features(torch.cat([generator.encode(part) for part in pictures.split(_CHUNK)]))


def token_features(tokens: Tensor) -> Tensor:
    """Unit vectors [B, 2 C] of condition tokens [B, L, C]: the class token and the mean of the others."""
    return torch.nn.functional.normalize(torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], 1), dim=1)


def picture_pixels(pictures: Tensor) -> Tensor:
    """Pictures uint8 [B, 3, S, S] as vectors of a small picture."""
    return torch.nn.functional.adaptive_avg_pool2d(pictures.float() / 255, _PIXEL_SIDE).flatten(1)


def training_set(config: DataConfig, generator: BatchGenerator, count: int) -> TrainingSet:
    """The first `count` training objects (rounded up to whole chunks), with one picture each."""
    settings = replace(config, chunk=_CHUNK, meshes="")
    features, pixels, grids = [], [], []
    for number in range(-(-count // _CHUNK)):
        objects = sample_chunk(settings, number, generator.device)
        dense = occupancy(objects, resolution=config.resolution)
        images = render_pictures(objects, size=config.picture_size, dense=dense, seed=config.seed).images[:, 0]
        pictures = on_black(images)
        features.append(picture_features(generator, pictures))
        pixels.append(picture_pixels(pictures))
        grids.append(dense)
    return TrainingSet(settings, torch.cat(features), torch.cat(pixels), torch.cat(grids), generator.device)


def nearest(vectors: Tensor, candidates: Tensor) -> list[int]:
    """Index of the nearest row of `candidates` [M, C] for each of `vectors` [B, C]."""
    return torch.cdist(vectors, candidates).argmin(1).tolist()


def extruded_silhouette(mask: Tensor, *, seed: int, count: int = SAMPLES) -> Tensor:
    """Points [count, 3] on the silhouette `mask` [S, S] (seen from the front) made a solid.

    The outline's longer side spans the unit cube; its depth is half the shorter side, about the middle.
    """
    rows, columns = (mask > 0.5).nonzero().unbind(1)
    low = torch.stack([columns.min(), rows.min()])
    extent = torch.stack([columns.max(), rows.max()]) - low + 1
    scale = 1.0 / extent.max()
    depth = 0.5 * extent.min() * scale
    padded = torch.nn.functional.pad((mask > 0.5).int(), (1, 1, 1, 1))
    generator = torch.Generator().manual_seed(seed)
    faces: list[tuple[Tensor, Tensor, tuple[int, int] | None]] = [(rows, columns, None)]
    for axis, step in ((0, -1), (0, 1), (1, -1), (1, 1)):
        empty = padded.roll(-step, axis)[1:-1, 1:-1][rows, columns] == 0
        faces.append((rows[empty], columns[empty], (axis, step)))
    areas = torch.tensor([2.0 * len(rows) * float(scale) ** 2] + [len(f[0]) * float(scale * depth) for f in faces[1:]])
    chosen = torch.multinomial(areas, count, replacement=True, generator=generator)
    points = []
    for index, (r, c, side) in enumerate(faces):
        number = int((chosen == index).sum())
        if number == 0:
            continue
        pick = torch.randint(len(r), (number,), generator=generator).to(mask.device)
        jitter = torch.rand(number, 3, generator=generator).to(mask.device)
        v, u, along = r[pick] + jitter[:, 0], c[pick] + jitter[:, 1], jitter[:, 2]
        if side is None:
            along = (along > 0.5).float()
        elif side[0] == 0:
            v = r[pick] + (1.0 if side[1] > 0 else 0.0)
        else:
            u = c[pick] + (1.0 if side[1] > 0 else 0.0)
        x = (u - low[0] - extent[0] / 2) * scale
        z = -(v - low[1] - extent[1] / 2) * scale
        points.append(torch.stack([x, (along - 0.5) * depth, z], 1))
    return torch.cat(points)


def shell_of_points(points: Tensor, resolution: int) -> Tensor:
    """Surface voxels [R, R, R] of a surface given by points, by the same rule as the true ones."""
    centres = grid_centres(resolution, device=points.device)
    near = [torch.cdist(part, points).amin(1) < SHELL / resolution for part in centres.split(4096)]
    return torch.cat(near).reshape(resolution, resolution, resolution)
