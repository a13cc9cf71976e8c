"""What the flows are trained on and needs no trained network: occupancy, pictures and the latent encoder's input."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from trellis.training.config import TrainConfig
from trellis.training.data import MESHES, chunk_place, condition_pictures, sample_chunk
from trellis.training.mesh_data import mesh_chunk
from trellis.training.pool import Chunk, cache_folder, cached, chunk_path
from trellis.training.procedural import ObjectBatch, occupancy, occupied_coords, voxel_features

PICTURE_OPTIONS = ("supersampling", "photographs")
PIECE = 64  # objects whose voxels are worked on at once

logger = logging.getLogger(__name__)


def source_folder(config: TrainConfig, cache: Path | None) -> Path | None:
    """Where chunks are kept: the same for all stages whose pictures are, whatever kinds of objects they see."""
    data = replace(
        config.data, objects=0, held_out_objects=0, refresh_every=0, families=(), hold_out=(), meshes=""
    )  # fmt: skip
    return cache_folder(cache, "flows", data, *(config.options.get(name) for name in PICTURE_OPTIONS))


def source_chunks(
    config: TrainConfig, cache: Path | None, *, device: torch.device, keys: tuple[str, ...] | None = None
) -> Callable[[int], Chunk]:
    """The chunk of a number, kept in a folder below `cache` if there is one; `keys`: the tensors that are needed."""
    folder = source_folder(config, cache)
    return cached(lambda number: _make_chunk(config, number, device), folder, config.data, device=device, keys=keys)


def make_source_chunks(config: TrainConfig, cache: Path, *, part: int, parts: int, device: torch.device) -> None:
    """Fill the cache with a share of the first pool's chunks, those of meshes first: one of several such processes."""
    load = source_chunks(config, cache, device=device, keys=())
    numbers = range(config.data.objects // config.data.chunk)
    for number in sorted(numbers, key=lambda number: chunk_place(config.data, number)[0] != MESHES)[part::parts]:
        began = time.perf_counter()
        load(number)
        logger.info("chunk %d: %.1f s", number, time.perf_counter() - began)


def finished_chunks(config: TrainConfig, cache: Path) -> int:
    """How many chunks, counted from the first, are in the cache without a gap."""
    folder, count = source_folder(config, cache), 0
    while folder is not None and chunk_path(folder, config.data, count).is_file():
        count += 1
    return count


@torch.no_grad()
def _make_chunk(config: TrainConfig, number: int, device: torch.device) -> dict[str, Tensor]:
    """dense bool [n, r, r, r], pictures uint8 [n, V, 3, S, S], voxel_features float16 of the detailed objects."""
    data = config.data
    samples, photographs = int(config.options.get("supersampling", 1)), config.options.get("photographs", 0.0)
    if chunk_place(data, number)[0] == MESHES:
        return mesh_chunk(data, number, device, samples=samples, photographs=photographs)
    objects = sample_chunk(data, number, device)
    dense = occupancy(objects, resolution=data.resolution)
    feats = [
        voxel_features(part, occupied_coords(dense[rows]), resolution=data.resolution).half()
        for part, rows in _pieces(objects, data.detailed or len(objects))
    ]
    pictures = condition_pictures(
        objects, dense, views=data.pictures, size=data.picture_size, seed=data.seed, supersampling=samples,
        photographs=photographs,
    )  # fmt: skip
    return {"dense": dense, "pictures": pictures, "voxel_features": torch.cat(feats)}


def _pieces(objects: ObjectBatch, count: int) -> Iterator[tuple[ObjectBatch, slice]]:
    """The first `count` objects, PIECE at a time, with their rows."""
    for start in range(0, count, PIECE):
        rows = slice(start, min(start + PIECE, count))
        yield objects.select(rows), rows
