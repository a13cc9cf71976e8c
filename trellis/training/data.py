"""Which objects a stage trains on and which it is measured with."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.training.config import DataConfig
from trellis.training.procedural import FAMILIES, HELD_OUT_SEEDS, PROGRAMS, ObjectBatch, render_pictures, sample_objects
from trellis.training.procedural.generic import KINDS
from trellis.training.procedural.photographs import soft

MESHES = "meshes"  # the kind of data that is no family
_FAMILIES_PER_MESHES = 12  # meshes are as varied as several families, and have as many turns


def training_families(config: DataConfig) -> list[str]:
    """The chosen families but those held out. Raises InvalidInputError for an unknown one, or when none is left."""
    for key, names in (("families", config.families), ("hold_out", config.hold_out)):
        unknown = sorted(set(names) - set(PROGRAMS))
        if unknown:
            raise InvalidInputError(f"Unknown families {unknown} in data.{key}; choose from {', '.join(PROGRAMS)}.")
    chosen = [name for name in config.families or PROGRAMS if name not in config.hold_out]
    if not chosen:
        raise InvalidInputError("data.hold_out leaves no family to train on.")
    return chosen


def without(config: DataConfig, kinds: Sequence[str]) -> DataConfig:
    """The data without some families, kinds of generic programs (KINDS), all families ("families") or MESHES."""
    groups = KINDS | {"families": tuple(FAMILIES), MESHES: ()}
    names = [name for kind in kinds for name in groups.get(kind, (kind,))]
    meshes = "" if MESHES in kinds else config.meshes
    return replace(config, hold_out=(*config.hold_out, *names), meshes=meshes)


def training_kinds(config: DataConfig) -> list[str]:
    """What chunks are made of in turn: families, and MESHES where there are some, once for every dozen of families."""
    families = training_families(config)
    return families + [MESHES] * (max(1, len(families) // _FAMILIES_PER_MESHES) if config.meshes else 0)


def chunk_place(config: DataConfig, number: int) -> tuple[str, int]:
    """What chunk `number` is made of, and which chunk of this kind it is: it depends on no other kind of data."""
    kinds = training_kinds(config)
    kind = kinds[number % len(kinds)]
    return kind, number // len(kinds) * kinds.count(kind) + kinds[: number % len(kinds)].count(kind)


def chunk_seeds(config: DataConfig, number: int) -> Tensor:
    """Seeds [chunk] of the objects of chunk `number`."""
    first = config.seed + chunk_place(config, number)[1] * config.chunk
    return torch.arange(first, first + config.chunk)


def sample_chunk(config: DataConfig, number: int, device: torch.device) -> ObjectBatch:
    """The training objects of chunk `number`, all of one family; the families take turns.

    Every family is a program of its own: a chunk of one costs an accelerator a small part of the kernel launches of a
    mixed chunk, and a pool of many chunks is as mixed. Raises InvalidInputError for a chunk of meshes.
    """
    kind, _ = chunk_place(config, number)
    if kind == MESHES:
        raise InvalidInputError("data.meshes is for the stages structure_flow and flows; leave it out of others.")
    return sample_objects(chunk_seeds(config, number), [kind], device=device)


def held_out_batch(config: DataConfig, device: torch.device) -> ObjectBatch:
    """Objects of known families with seeds never trained on."""
    seeds = torch.arange(HELD_OUT_SEEDS.start, HELD_OUT_SEEDS.start + config.held_out_objects)
    return sample_objects(seeds, training_families(config), device=device)


def condition_pictures(
    objects: ObjectBatch, dense: Tensor, *, views: int, size: int, seed: int = 0, supersampling: int = 2,
    photographs: float = 0.0
) -> Tensor:  # fmt: skip
    """Framed pictures on black as the image encoder reads them: uint8 [B, V, 3, size, size]; see `render_pictures`."""
    pictures = render_pictures(
        objects, views=views, size=size, seed=seed, dense=dense, supersampling=supersampling, photographs=photographs
    )
    return on_black(pictures.images)


def soften(pictures: Tensor, chosen: Tensor) -> Tensor:
    """Blur the chosen pictures [B, 3, H, W] by a 3 x 3 binomial: rendered edges are harder than reduced photos'."""
    return torch.where(chosen.view(-1, 1, 1, 1), soft(pictures), pictures)


def on_black(rgba: Tensor) -> Tensor:
    """uint8 [..., H, W, 4] -> uint8 [..., 3, H, W]: colours times alpha, truncated as the conditioning does it."""
    values = rgba.float() / 255
    return (values[..., :3] * values[..., 3:] * 255).to(torch.uint8).movedim(-1, -3).contiguous()
