"""Structure flow, latent flow and image encoder, trained on the latents of both VAEs."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from trellis.conditioning import ImageEncoder
from trellis.errors import CheckpointError, InvalidInputError
from trellis.ops.eager import compile_each
from trellis.ops.transfers import sent
from trellis.representations.gaussians import GaussianCloud
from trellis.sparse import SparseTensor, VoxelLayout, coarser
from trellis.training import losses
from trellis.training.config import TrainConfig
from trellis.training.data import condition_pictures, held_out_batch, soften
from trellis.training.few_steps import LATENTS, STRUCTURES, draw_times, visited, visited_states
from trellis.training.generate import decode_together, sample_structure
from trellis.training.metrics import voxel_iou
from trellis.training.networks import (
    IMAGE_ENCODER,
    build_networks,
    detached_copy,
    load_network,
    save_network,
)
from trellis.training.pool import Around, Chunk, Pool, PoolStage
from trellis.training.procedural import occupancy, occupied_coords
from trellis.training.stages.flow_data import PICTURE_OPTIONS, PIECE, source_chunks
from trellis.training.start import NORMALIZATION_FILE

STRUCTURE, LATENT = "sparse_structure_flow_model", "slat_flow_model"
_PIECE = 256  # objects whose occupancy is encoded at once
Later = Callable[[Tensor, Tensor], dict[str, Tensor]]  # of the conditions of a batch, with some dropped, and with none


class StructureFlow(PoolStage):
    """Image encoder and structure flow on the structure VAE's latents; needs no latent VAE.

    Loss weights: structure, and, where it is given, sampled: dice of the voxels that the few steps lead to. Options:
    drop (probability of no condition), few_steps (share of objects at the times that the assembled model's few steps
    visit), sampled_objects (of a batch, which have the loss `sampled` in place of `structure`), learned_strength (of
    guidance that the flow learns to have by itself), soften (share of pictures that are blurred a little),
    supersampling (of the pictures), photographs (share of them that have the cameras, the light and the faults of
    photographs).
    """

    roles: tuple[str, ...] = (IMAGE_ENCODER, STRUCTURE)
    options = frozenset({"drop", "few_steps", "learned_strength", "sampled_objects", "soften", *PICTURE_OPTIONS})
    sources: tuple[str, ...] = ("dense", "pictures")

    def __init__(self, config: TrainConfig, around: Around) -> None:
        super().__init__(config, around)
        device, runs = around.device, around.runs
        structure = runs / config.inputs.get("structure_vae", "structure_vae")
        self.structure_encoder = load_network(structure, "sparse_structure_encoder", device)
        self.structure_decoder = load_network(structure, "sparse_structure_decoder", device)
        self.modules = build_networks(config, self.roles, device, runs=runs)
        self.image_encoder, self.structure_flow = self.modules[IMAGE_ENCODER], self.modules[STRUCTURE]
        if config.compile:
            blocks = self.structure_flow.get_submodule("blocks").children()
            # Each pass of a step has its own number of objects, always the same.
            compile_each([*cast(ImageEncoder, self.image_encoder).backbone.layers, *blocks], dynamic=False)
        self._source = source_chunks(config, around.cache, device=device, keys=self.sources)
        self.pool = Pool(config.data, self._chunk, device=device, processes=around.processes)
        self.learned = float(config.options.get("learned_strength", 0.0))
        self.few_steps = float(config.options.get("few_steps", 0.0))
        self.structure_times = torch.tensor(visited(STRUCTURES), device=device)
        self.sampled = _part_of(config, "sampled", "sampled_objects", whole=config.batch_size)
        if self.sampled and self.learned != STRUCTURES.cfg_strength:
            wanted = STRUCTURES.cfg_strength
            raise InvalidInputError(
                f"The loss `sampled` needs options.learned_strength {wanted}, as the few steps have."
            )
        self._held_out: tuple[Tensor, Tensor] | None = None
        self._step = 0

    @torch.no_grad()
    def _chunk(self, number: int) -> Chunk:
        """structure float16 [n, C, r, r, r] and pictures uint8 [n, V, 3, S, S]."""
        return self._dense_chunk(self._source(number))

    def _dense_chunk(self, source: Chunk) -> Chunk:
        pieces = source["dense"].split(_PIECE)
        latents = [self.structure_encoder(piece[:, None].float())[0].half() for piece in pieces]
        return {"structure": torch.cat(latents), "pictures": source["pictures"]}

    def at_step(self, step: int) -> None:
        self._step = step
        super().at_step(step)

    def loss(self, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        config, device, count = self.config, self.device, self.config.batch_size
        numbers = self._numbers()
        later = self._prepared(numbers, generator)
        views = torch.randint(config.data.pictures, (count,), generator=generator, device=device)
        plain = count - self.sampled  # from here on objects are sampled: the first are those with latents
        keep = torch.rand(count, 1, 1, generator=generator, device=device) >= config.options.get("drop", 0.1)
        keep[plain:] = True
        placed = sent(numbers, device)
        x0 = self.pool.objects("structure", placed).float()
        pictures = self.pool.objects("pictures", placed)[torch.arange(count, device=device), views].float() / 255
        blurred = torch.rand(count, generator=generator, device=device) < config.options.get("soften", 0.0)
        pictures = soften(pictures, blurred)
        with self._autocast():
            seen = self.image_encoder(pictures)
            cond = seen * keep
        t = draw_times(count, self.structure_times, self.few_steps, generator)
        noise = torch.randn(x0.shape, generator=generator, device=device)
        x_t, target = losses.noised(x0, noise, t.view(-1, 1, 1, 1, 1))
        if self.sampled:
            x_t[plain:], t[plain:] = self._visited(noise[plain:], cond[plain:], generator)
        with self._autocast():
            found = self.structure_flow(x_t, 1000 * t, cond).float()
            if self.learned:
                with torch.no_grad():
                    null = self.structure_flow(x_t[:plain], 1000 * t[:plain], torch.zeros_like(cond[:plain])).float()
                target[:plain] = losses.guided_target(target[:plain], found[:plain], null, self.learned)
            structure = (found[:plain] - target[:plain]).square().mean()
            total, parts = config.loss["structure"] * structure, {"structure": structure.detach()}
            if self.sampled:
                ends = losses.clean(x_t[plain:], found[plain:], t[plain:].view(-1, 1, 1, 1, 1))
                with torch.no_grad():
                    truth = self.structure_decoder(x0[plain:]) > 0
                sampled = losses.dice(self.structure_decoder(ends), truth)
                total, parts = total + config.loss["sampled"] * sampled, parts | {"sampled": sampled.detach()}
            if later is not None:
                for name, value in later(cond, seen).items():
                    total, parts = total + config.loss[name] * value, parts | {name: value.detach()}
        return total, parts

    def _autocast(self, *, cached: bool = True) -> torch.autocast:
        """cached: weights are cast once for all passes. Passes without gradients do not cast for those with them: torch
        2.13 sees to that itself, former ones did not (pytorch issue 158232).
        """
        wanted = self.config.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=wanted, cache_enabled=cached)

    def _visited(self, noise: Tensor, cond: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """States [n, C, r, r, r] that the few steps reach from `noise`, after a drawn number of them, and times [n]."""
        times, count = self.structure_times, len(noise)
        steps = torch.randint(len(times), (count,), generator=generator, device=self.device)

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            return self.structure_flow(x, (1000 * t).expand(count), cond).float()

        with self._autocast(cached=False):
            return visited_states(velocity, noise, times, steps.view(-1, 1, 1, 1, 1)), times[steps]

    def _numbers(self) -> Tensor:
        """Objects of the step's batch, drawn on the CPU: where their voxels lie is looked up there, without waiting."""
        generator = self.generator(self._step, torch.device("cpu"))
        return torch.randint(len(self.pool), (self.config.batch_size,), generator=generator)

    def _prepared(self, numbers: Tensor, generator: torch.Generator) -> Later | None:
        """Losses of another flow by name, if this step has any; may change `numbers`."""
        return None

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """IoU of structures sampled from held-out pictures."""
        data = self.config.data
        if self._held_out is None:
            objects = held_out_batch(data, self.device)
            dense = occupancy(objects, resolution=data.resolution)
            self._held_out = dense, condition_pictures(objects, dense, views=1, size=data.picture_size)[:, 0]
        dense, pictures = self._held_out
        settings = replace(STRUCTURES, learned_strength=self.learned)
        with self._autocast():
            cond = self.image_encoder(pictures.float() / 255)
            latents = sample_structure(self.structure_flow, cond.float(), sampler=settings, seed=0)
        found = torch.cat([self.structure_decoder(z)[:, 0] > 0 for z in latents.float().split(PIECE)])
        return {"iou": voxel_iou(found, dense).mean().item()}

    def write(self, folder: Path) -> None:
        """Write the networks."""
        for role in self.roles:
            save_network(detached_copy(self.modules[role]), folder, role)


def _part_of(config: TrainConfig, loss: str, option: str, *, whole: int) -> int:
    """How many of `whole` objects have a loss of their own. Raises InvalidInputError for half of the setting."""
    count = int(config.options.get(option, 0))
    if bool(count) != bool(config.loss.get(loss)):
        raise InvalidInputError(f"The loss `{loss}` and options.{option} are given together or not at all.")
    if not 0 <= count < whole:
        raise InvalidInputError(f"options.{option} must be fewer than {whole}, and not negative.")
    return count


class Flows(StructureFlow):
    """Both flows and the image encoder, trained together on the latents of both VAEs.

    Loss weights: those of `StructureFlow`, latent, and, where it is given, colors: distance of the Gaussians' colours
    that a flow points at after a drawn number of the few steps. Options: those of `StructureFlow`, latent_objects (of a
    batch), colored_objects (of these, which have the loss `colors` in place of `latent`) and latent_every (steps
    between two losses of the latent flow, which is several times slower than the structure flow).
    """

    roles = (IMAGE_ENCODER, STRUCTURE, LATENT)
    options = StructureFlow.options | {"latent_objects", "latent_every", "colored_objects"}
    sources = ("dense", "pictures", "voxel_features")

    def __init__(self, config: TrainConfig, around: Around) -> None:
        super().__init__(config, around)
        latent = around.runs / config.inputs.get("latent_vae", "latent_vae")
        self.latent_encoder = load_network(latent, "slat_encoder", self.device)
        self.mean, self.std = (value.to(self.device) for value in read_normalization(latent))
        self.latent_flow = self.modules[LATENT]
        self.latent_times = torch.tensor(visited(LATENTS), device=self.device)
        self.with_latents = min(config.batch_size, int(config.options.get("latent_objects", config.batch_size)))
        self.colored = _part_of(config, "colors", "colored_objects", whole=self.with_latents)
        if self.colored:
            self.gaussian_decoder = load_network(latent, "slat_decoder_gs", self.device)

    @torch.no_grad()
    def _chunk(self, number: int) -> Chunk:
        """Also counts [n] (none for objects that are not detailed), voxel_coords [N, 3] and voxel_latent [N, C]."""
        source = self._source(number)
        dense, detailed = source["dense"], self.config.data.detailed or len(source["dense"])
        counts = dense.flatten(1).sum(1)
        counts[detailed:] = 0
        pieces = dense[:detailed].split(PIECE)
        feats = source["voxel_features"].split([int(piece.sum()) for piece in pieces])
        return self._dense_chunk(source) | {
            "counts": counts,
            "voxel_coords": torch.cat([occupied_coords(piece)[:, 1:].to(torch.uint8) for piece in pieces]),
            "voxel_latent": torch.cat([self._latents(*piece) for piece in zip(pieces, feats)]),
        }

    def _latents(self, dense: Tensor, feats: Tensor) -> Tensor:
        """Normalised latents, float16 [N, C], of a few objects."""
        coords = occupied_coords(dense)
        # The encoder was trained on features stored as float16.
        x = SparseTensor.create(feats.float(), coords, resolution=self.config.data.resolution, batch_size=len(dense))
        return ((self.latent_encoder(x)[0].feats.float() - self.mean) / self.std).half()

    def _with_latents(self, numbers: Tensor) -> Tensor:
        """The detailed object that stands in for each object: the same place in the chunk, modulo their count."""
        data = self.config.data
        return numbers // data.chunk * data.chunk + numbers % data.chunk % (data.detailed or data.chunk)

    def _prepared(self, numbers: Tensor, generator: torch.Generator) -> Later | None:
        """Noisy latents and their layout, made before the structure flow's step is queued: they wait for the device."""
        some, plain = self.with_latents, self.with_latents - self.colored
        if self._step % int(self.config.options.get("latent_every", 1)):
            return None
        numbers[:some] = self._with_latents(numbers[:some])
        x0, batch = self._sparse_latents(numbers[:plain])
        t = draw_times(plain, self.latent_times, self.few_steps, generator)
        noise = torch.randn(x0.feats.shape, generator=generator, device=self.device)
        x_t, target = losses.noised(x0.feats, noise, t[batch][:, None])
        colors = self._prepared_colors(numbers[plain:some], generator) if self.colored else None

        def values(cond: Tensor, seen: Tensor) -> dict[str, Tensor]:
            found = self.latent_flow(x0.replace(x_t), 1000 * t, cond[:plain]).feats.float()
            latent = {"latent": (found - target).square().mean()}
            return latent if colors is None else latent | {"colors": colors(seen[plain:some])}

        return values

    def _sparse_latents(self, numbers: Tensor) -> tuple[SparseTensor, Tensor]:
        """Normalised latents of objects, and each voxel's object [N]."""
        rows, batch, counts = self.pool.voxel_rows(numbers)
        coords = torch.cat([batch[:, None].int(), self.pool.voxels("voxel_coords", rows).int()], 1)
        layout = VoxelLayout(coords, tuple(counts.tolist()), self.config.data.resolution)
        for level in (layout, coarser(layout).layout):
            _ = level.neighbours  # computed now, and kept
        return SparseTensor(self.pool.voxels("voxel_latent", rows).float(), layout), batch

    def _prepared_colors(self, numbers: Tensor, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
        """The loss `colors` of objects as a function of their condition."""
        x0, batch = self._sparse_latents(numbers)
        noise = torch.randn(x0.feats.shape, generator=generator, device=self.device)
        times = self.latent_times
        steps = torch.randint(len(times), (len(numbers),), generator=generator, device=self.device)
        t = times[steps]

        def value(cond: Tensor) -> Tensor:
            def velocity(x: Tensor, time: Tensor) -> Tensor:
                return self.latent_flow(x0.replace(x), (1000 * time).expand(len(cond)), cond).feats.float()

            with self._autocast(cached=False):
                state = visited_states(velocity, noise, times, steps[batch][:, None])
            found = self.latent_flow(x0.replace(state), 1000 * t, cond).feats.float()
            with torch.no_grad():
                truth = self._gaussians(x0)
            made = self._gaussians(x0.replace(losses.clean(state, found, t[batch][:, None])))
            return losses.weighted_mean((made.colors - truth.colors).abs(), truth.opacities)

        return value

    def _gaussians(self, latents: SparseTensor) -> GaussianCloud:
        """What the decoder makes of normalised latents."""
        return decode_together(self.gaussian_decoder, latents.replace(latents.feats * self.std + self.mean))


def read_normalization(folder: Path) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [C] of the latents, as stage 2 measured them."""
    path = folder / NORMALIZATION_FILE
    if not path.is_file():
        raise CheckpointError(f"{path} is missing: train the stage latent_vae first.")
    values = json.loads(path.read_text(encoding="utf-8"))
    return torch.tensor(values["mean"]), torch.tensor(values["std"])
