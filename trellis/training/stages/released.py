"""Structure VAE and flows as published: on data folders, by one process or several."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from torch import Tensor, nn

from trellis.conditioning.dinov2 import Dinov2
from trellis.conditioning.image_encoder import UNUSED, ImageEncoder
from trellis.dataset.layout import CONDITIONED, LATENT, STRUCTURE, VOXELIZED
from trellis.dataset.records import CAPTIONS
from trellis.errors import InvalidInputError
from trellis.models import Network, create_model, initialize_for_training, save_model
from trellis.runtime import Runtime
from trellis.sparse import SparseTensor, VoxelLayout
from trellis.training import losses
from trellis.training.batches import Batches, Loader, Place
from trellis.training.conditions import PictureCondition, TextCondition, TrainingCondition
from trellis.training.elastic import LinearMemory
from trellis.training.folder_data import (
    TrainingObject,
    find_objects,
    held_out_part,
    read_latent,
    read_occupancy,
    read_statistics,
    read_structure,
)
from trellis.training.generate import sample_latents, sample_structure
from trellis.training.lora import add_lora, merged, save_lora
from trellis.training.networks import IMAGE_ENCODER, save_network
from trellis.training.processes import Processes, must_be_split, sharing_gradients, spread, whole
from trellis.training.randomness import mix
from trellis.training.released_config import (
    FlowArgs,
    ImageFlowArgs,
    LatentArgs,
    PictureArgs,
    ReleasedConfig,
    StructureVaeArgs,
)
from trellis.training.samples import COUNT, SAMPLER, draw_gaussians, draw_structures, find_decoder, sheet
from trellis.training.start_weights import load_start

_MEASURED = 64  # held-out objects of a measurement, at most
_KEPT = 1 << 13  # structure latents: 131 kB each at the published sizes
_DRAWS_OF_MEASURING = 1 << 40  # in place of a step: the draws of every measurement are the same

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Surroundings:
    """Where and with what a run works: device, processes, precision of products (None: float32), model files."""

    device: torch.device
    processes: Processes
    half: torch.dtype | None
    runtime: Runtime
    roots: Sequence[Path]


class ReleasedStage:
    """What both kinds have in common: networks, objects, batches, and their files."""

    columns: tuple[str, ...] = ()

    def __init__(self, config: ReleasedConfig, around: Surroundings) -> None:
        self.config, self.around, self.device = config, around, around.device
        self.args = config.trainer
        self.objects, self.held_out = held_out_part(self._find(), self.args.held_out)
        if not self.objects:
            raise InvalidInputError("All objects are held out: give more of them, or a smaller held_out.")
        self.modules = nn.ModuleDict(self._networks())
        split = must_be_split(self.modules, self.device)
        self._called = {
            role: spread(network, around.processes, self.device, split=split) for role, network in self.modules.items()
        }
        self._memory = LinearMemory(self.args.elastic.args, self.device) if self.args.elastic else None
        self.batch_size = self.args.batch_size or self.args.batch_size_per_gpu * around.processes.count
        self.batches = Batches(
            [max(1, source.voxels) for source in self.objects],
            size=self.batch_size,
            processes=around.processes,
            split=self.args.batch_split,
            seed=self.args.seed,
        )
        self.loader = Loader(self._read, self.batches, prefetch=self.args.prefetch_data)
        logger.info("%d objects to learn from, %d held out", len(self.objects), len(self.held_out))

    def _find(self) -> list[TrainingObject]:
        data = self.config.data
        most = data.max_num_voxels if isinstance(data, LatentArgs) else None
        objects, notes = find_objects(
            self.around.roots, self.columns, least_score=data.min_aesthetic_score, most_voxels=most
        )
        for note in notes:
            logger.info("note: %s", note)
        return objects

    def _networks(self) -> dict[str, nn.Module]:
        networks: dict[str, nn.Module] = {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.args.seed)
            for role, model in self.config.models.items():
                network = create_model(model.name, model.args)
                initialize_for_training(network)
                source = (self.args.finetune_ckpt or {}).get(role)
                if source is not None:
                    load_start(network, source, self.config.kind.roles[role], self.around.runtime)
                if self.args.lora is not None:
                    if source is None:
                        raise InvalidInputError("lora changes weights that are there: say them in finetune_ckpt.")
                    add_lora(network, rank=self.args.lora.rank, alpha=self.args.lora.alpha)
                networks[role] = network.to(self.device)
        return networks

    def _read(self, step: int, place: Place) -> Any:
        return self._sample(self.objects[place.number], step, place.index)

    # What a kind of training brings -----------------------------------------------------------------------------------
    def _sample(self, source: TrainingObject, step: int, index: int) -> Any:
        """An object with all its draws, which depend on the seed, the step and its index in the batch alone."""
        raise NotImplementedError

    def _weight(self, samples: Sequence[Any]) -> int:
        """How much a part counts."""
        return len(samples)

    def _loss(self, samples: Sequence[Any], networks: Mapping[str, nn.Module]) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean loss of a part, and numbers to show."""
        raise NotImplementedError

    def _draws(self, step: int, index: int) -> torch.Generator:
        return torch.Generator().manual_seed(mix(self.args.seed, step, index))

    # The interface of `Stage` -----------------------------------------------------------------------------------------
    def at_step(self, step: int) -> None:
        """Nothing has to be made before a step."""

    def losses(self, step: int) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        parts = self.loader.take(step)
        weights = [self._weight(samples) for samples in parts]
        mean = float(self.around.processes.mean(torch.tensor(float(sum(weights)), device=self.device)))
        for number, samples in enumerate(parts):
            share = weights[number] / mean
            with self._shared(number + 1 == len(parts)), self._remembered(weights[number]):
                loss, shown = self._loss(samples, self._called)
                yield loss * share, {name: value.detach() * share for name, value in shown.items()}

    def _shared(self, last: bool) -> ExitStack:
        stack = ExitStack()
        for network in self._called.values():
            stack.enter_context(sharing_gradients(network, last))
        return stack

    def _remembered(self, weight: int) -> Any:
        return self._memory.limited(self.modules, weight) if self._memory is not None else nullcontext()

    def evaluate(self) -> dict[str, float]:
        """The loss of held-out objects, with the same draws every time; empty without such objects."""
        total, weight = 0.0, 0
        networks = dict(self.modules.items())
        size = max(1, self.batch_size // (self.around.processes.count * self.args.batch_split))
        measured = self.held_out[:_MEASURED]
        for start in range(0, len(measured), size):
            samples = [
                self._sample(source, _DRAWS_OF_MEASURING, start + i)
                for i, source in enumerate(measured[start : start + size])
            ]
            counts = self._weight(samples)
            total += float(self._loss(samples, networks)[0]) * counts
            weight += counts
        return {"loss": total / weight} if weight else {}

    def export(self, folder: Path) -> None:
        """Write the networks in the released format; of low-rank updates also these alone."""
        for role, model in self.config.models.items():
            state = self._whole_state(role)
            if not self.around.processes.leads:
                continue
            plain = create_model(model.name, model.args)
            plain.set_precision(torch.float32)
            plain.load_state_dict(merged(state, self.args.lora))
            save_model(plain, folder / role)
            if self.args.lora is not None:
                save_lora(state, self.args.lora, folder / f"{role}_lora.safetensors")

    def _whole_state(self, role: str) -> dict[str, Tensor]:
        """A network's tensors on the CPU; every process must ask."""
        return {name: whole(value).cpu() for name, value in self.modules[role].state_dict().items()}

    def position(self, step: int) -> dict[str, int]:
        return self.batches.position(step)

    def move_to(self, step: int, position: Mapping[str, int]) -> None:
        self.batches.move_to(step, position)

    def samples(self) -> dict[str, Image.Image]:
        return {}

    def _autocast(self) -> Any:
        half = self.around.half
        return torch.autocast(self.device.type, half or torch.bfloat16, enabled=half is not None)


class ReleasedVae(ReleasedStage):
    """The structure VAE on voxels."""

    columns = (VOXELIZED,)
    args: StructureVaeArgs

    def _sample(self, source: TrainingObject, step: int, index: int) -> tuple[Tensor, torch.Generator]:
        return read_occupancy(source, self.config.data.resolution), self._draws(step, index)

    def _loss(self, samples: Sequence[Any], networks: Mapping[str, nn.Module]) -> tuple[Tensor, dict[str, Tensor]]:
        occupied = torch.stack([dense for dense, _ in samples]).to(self.device)
        with self._autocast():
            mean, logvar = networks["encoder"](occupied.float())
            noise = torch.stack([torch.randn(mean.shape[1:], generator=draws) for _, draws in samples]).to(self.device)
            logits = networks["decoder"](mean.float() + (0.5 * logvar.float()).exp() * noise)
        fit = losses.OCCUPANCY[self.args.loss_type](logits, occupied)
        kl = losses.kl_divergence(mean, logvar)
        return fit + self.args.lambda_kl * kl, {self.args.loss_type: fit, "kl": kl}


@dataclass(frozen=True)
class FlowSample:
    """An object of a flow: its latents, their voxels if they have any, its time and noise, and its condition."""

    x0: Tensor
    noise: Tensor
    t: float
    condition: Any  # of `TrainingCondition`
    dropped: bool
    coords: Tensor | None = None


class ReleasedFlow(ReleasedStage):
    """A flow on stored latents under pictures or texts."""

    args: FlowArgs

    def __init__(self, config: ReleasedConfig, around: Surroundings) -> None:
        data, args = config.data, config.trainer
        self.sparse = isinstance(data, LatentArgs)
        self.column = (LATENT if self.sparse else STRUCTURE) + data.latent_model
        self.columns = (self.column, CONDITIONED if isinstance(data, PictureArgs) else CAPTIONS)
        self._structure = lru_cache(_KEPT)(read_structure)
        self.condition: TrainingCondition
        if isinstance(data, PictureArgs) and isinstance(args, ImageFlowArgs):
            self.condition = PictureCondition(data, args.image_cond_model, around.runtime, around.device)
        else:
            self.condition = TextCondition(args.text_cond_model, around.runtime, around.device)
        super().__init__(config, around)
        if IMAGE_ENCODER in self.modules and isinstance(self.condition, PictureCondition):
            self.condition.encode = self._called[IMAGE_ENCODER]
        self._sizes = cast(Any, cast(Network[Any], self.modules["denoiser"]).config)
        if self.sparse:
            statistics = data.normalization or read_statistics(around.roots, self.column)
            self._mean, self._std = torch.tensor(statistics.mean), torch.tensor(statistics.std)
        self._check_sizes()
        released = data.pretrained_slat_dec if self.sparse else data.pretrained_ss_dec
        own = data.slat_dec_path if self.sparse else data.ss_dec_path
        decoder = released or (own and f"{own}/decoder")
        self._decoder = find_decoder(decoder, around.runtime, around.device)
        if self._decoder is None:
            logger.info("note: no sample pictures, for there is no decoder: %s", decoder or "none is stated")

    def _networks(self) -> dict[str, nn.Module]:
        networks = super()._networks()
        args, condition = self.args, self.condition
        if isinstance(args, ImageFlowArgs) and isinstance(condition, PictureCondition) and args.train_encoder:
            networks[IMAGE_ENCODER] = condition.encoder
            for name, parameter in condition.encoder.named_parameters():
                parameter.requires_grad_(name not in UNUSED)
        return networks

    def export(self, folder: Path) -> None:
        super().export(folder)
        if isinstance(self.condition, PictureCondition) and IMAGE_ENCODER in self.modules:
            state = self._whole_state(IMAGE_ENCODER)
            if self.around.processes.leads:
                plain = ImageEncoder(Dinov2(self.condition.encoder.backbone.config))
                plain.load_state_dict(state)
                save_network(plain, folder, IMAGE_ENCODER)

    def _check_sizes(self) -> None:
        """Raise InvalidInputError where the latents are those of another model."""
        sizes, first = self._sizes, self._sample(self.objects[0], 0, 0)
        found: tuple[int, ...] = tuple(first.x0.shape[1:] if self.sparse else first.x0.shape)
        wanted = (sizes.in_channels,) + (() if self.sparse else (sizes.resolution,) * 3)
        if found != wanted or (first.coords is not None and int(first.coords.max()) >= sizes.resolution):
            raise InvalidInputError(
                f"The latents {self.column} are {list(found)}, on other voxels or of other channels than the network "
                f"takes ({list(wanted)}, {sizes.resolution} a side): make them with the model that is trained."
            )

    def _sample(self, source: TrainingObject, step: int, index: int) -> FlowSample:
        draws, coords = self._draws(step, index), None
        if self.sparse:
            coords, feats = read_latent(source, self.column)
            most = self.config.data.max_num_voxels
            if len(coords) > most:
                raise InvalidInputError(f"{source.sha} has {len(coords):,} voxels, more than max_num_voxels {most:,}.")
            x0 = (feats - self._mean) / self._std
        else:
            x0 = self._structure(source, self.column)
        dropped = float(torch.rand((), generator=draws)) < self.args.p_uncond
        t = losses.draw_time(self.args.t_schedule, draws)
        condition = self.condition.read(source, draws)
        return FlowSample(x0, torch.randn(x0.shape, generator=draws), t, condition, dropped, coords)

    def _weight(self, samples: Sequence[FlowSample]) -> int:
        return sum(len(sample.x0) if self.sparse else 1 for sample in samples)

    def _loss(self, samples: Sequence[Any], networks: Mapping[str, nn.Module]) -> tuple[Tensor, dict[str, Tensor]]:
        device, lengths = self.device, [len(sample.x0) for sample in samples]
        times = torch.tensor([sample.t for sample in samples])
        gather = torch.cat if self.sparse else torch.stack
        x0, noise = (gather([getattr(sample, name) for sample in samples]).to(device) for name in ("x0", "noise"))
        t = times.repeat_interleave(torch.tensor(lengths))[:, None] if self.sparse else times.view(-1, 1, 1, 1, 1)
        x_t, target = losses.noised(x0, noise, t.to(device), sigma=self.args.sigma_min)
        state = SparseTensor(x_t, self._layout(samples, lengths)) if self.sparse else x_t
        null = self._null_velocity(state, 1000 * times.to(device), samples, networks)
        with self._autocast():
            cond = self.condition.tokens([each.condition for each in samples], [each.dropped for each in samples])
            velocity = networks["denoiser"](state, 1000 * times.to(device), cond)
        found = (velocity.feats if self.sparse else velocity).float()
        if null is not None:
            target = losses.guided_target(target, found, null, self.args.learned_strength)
        loss = (found - target).square().mean()
        return loss, {"mse": loss}

    @torch.no_grad()
    def _null_velocity(
        self, state: Any, times: Tensor, samples: Sequence[FlowSample], networks: Mapping[str, nn.Module]
    ) -> Tensor | None:
        """The velocity without a condition, of a flow that learns guidance."""
        if not self.args.learned_strength:
            return None
        with self._autocast():  # of its own, so that no weight cast here is taken for the step, which needs gradients
            empty = self.condition.tokens([each.condition for each in samples], [True] * len(samples))
            velocity = networks["denoiser"](state, times, empty)
        return cast(Tensor, velocity.feats if self.sparse else velocity).float()

    def samples(self) -> dict[str, Image.Image]:
        """A row of samples over one of the stored latents, both decoded."""
        if self._decoder is None:
            return {}
        chosen = [*self.held_out, *self.objects][:COUNT]
        given = [self._sample(source, _DRAWS_OF_MEASURING, index) for index, source in enumerate(chosen)]
        conditions, count = [each.condition for each in given], len(given)
        cond, null = (self.condition.tokens(conditions, [none] * count) for none in (False, True))
        flow, x0 = self.modules["denoiser"], [each.x0 for each in given]
        sampler = replace(SAMPLER, learned_strength=self.args.learned_strength)
        if not self.sparse:
            made = sample_structure(flow, cond, sampler=sampler, seed=0, null=null)
            rows = [draw_structures(self._decoder, latents) for latents in (made, torch.stack(x0).to(self.device))]
            return {"structures": sheet(rows)}
        layout = self._layout(given, [len(each) for each in x0])
        found = sample_latents(
            flow, layout.coords, cond, resolution=layout.resolution, sampler=sampler, seed=0, null=null
        )
        mean, std = self._mean.to(self.device), self._std.to(self.device)
        both = (found.feats, torch.cat(x0).to(self.device))
        return {"gaussians": sheet([draw_gaussians(self._decoder, found.replace(x * std + mean)) for x in both])}

    def _layout(self, samples: Sequence[FlowSample], lengths: Sequence[int]) -> VoxelLayout:
        owner = torch.arange(len(samples)).repeat_interleave(torch.tensor(lengths))[:, None].int()
        coords = torch.cat([owner, torch.cat([cast(Tensor, sample.coords) for sample in samples])], 1)
        return VoxelLayout(coords.to(self.device), tuple(lengths), self._sizes.resolution)


def create_released(config: ReleasedConfig, around: Surroundings) -> ReleasedStage:
    """What the configuration trains."""
    return (ReleasedVae if isinstance(config.trainer, StructureVaeArgs) else ReleasedFlow)(config, around)
