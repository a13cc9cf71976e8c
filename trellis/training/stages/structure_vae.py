"""Stage 1: the structure VAE learns to store a surface's voxels in a small dense latent."""

from pathlib import Path

import torch
from torch import Tensor

from trellis.training import losses
from trellis.training.config import TrainConfig
from trellis.training.data import held_out_batch, sample_chunk
from trellis.training.metrics import voxel_iou
from trellis.training.networks import build_networks, compiled, detached_copy, save_network, scale_rows
from trellis.training.pool import Around, Pool, PoolStage, cache_folder, cached
from trellis.training.procedural import occupancy

ROLES = ("sparse_structure_encoder", "sparse_structure_decoder")
_PIECE = 32  # objects encoded at once outside training


class StructureVae(PoolStage):
    """Loss weights: bce, dice, kl."""

    def __init__(self, config: TrainConfig, around: Around) -> None:
        super().__init__(config, around)
        self.modules = build_networks(config, ROLES, self.device, runs=around.runs)
        self.encoder, self.decoder = (self.modules[role] for role in ROLES)
        self._encode = compiled(self.encoder, wanted=config.compile)
        self._decode = compiled(self.decoder, wanted=config.compile)
        folder = cache_folder(around.cache, config.stage, config.data)
        make = cached(self._chunk, folder, config.data, device=self.device)
        self.pool = Pool(config.data, make, device=self.device, processes=self.processes)
        self._held_out: Tensor | None = None

    def _chunk(self, number: int) -> dict[str, Tensor]:
        objects = sample_chunk(self.config.data, number, self.device)
        return {"occupancy": occupancy(objects, resolution=self.config.data.resolution)}

    def loss(self, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        numbers = torch.randint(len(self.pool), (self.config.batch_size,), generator=generator, device=self.device)
        occupied = self.pool.objects("occupancy", numbers)[:, None]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            mean, logvar = self._encode(occupied.float())
            noise = torch.randn(mean.shape, generator=generator, device=self.device)
            logits = self._decode(mean.float() + (0.5 * logvar.float()).exp() * noise)
        parts = {
            "bce": losses.occupancy_bce(logits, occupied),
            "dice": losses.dice(logits, occupied),
            "kl": losses.kl_divergence(mean, logvar),
        }
        total = sum(self.config.loss[name] * value for name, value in parts.items())
        assert isinstance(total, Tensor)
        return total, {name: value.detach() for name, value in parts.items()}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """IoU of held-out surfaces, encoded and decoded without noise, and the latents' spread."""
        if self._held_out is None:
            objects = held_out_batch(self.config.data, self.device)
            self._held_out = occupancy(objects, resolution=self.config.data.resolution)[:, None]
        scores, latents = [], []
        for occupied in self._held_out.split(_PIECE):
            mean, _ = self.encoder(occupied.float())
            decoded = self.decoder(mean) > 0
            scores.append(voxel_iou(decoded, occupied))
            latents.append(mean)
        return {"iou": torch.cat(scores).mean().item(), "latent_std": torch.cat(latents).std().item()}

    @torch.no_grad()
    def _spread(self) -> Tensor:
        """Standard deviation [C] of each latent channel over a part of the pool."""
        numbers = torch.arange(min(len(self.pool), 1024))
        means = []
        for piece in numbers.split(_PIECE):
            mean, _ = self.encoder(self.pool.objects("occupancy", piece)[:, None].float())
            means.append(mean.float())
        values = torch.cat(means).transpose(0, 1).flatten(1)
        return values.std(1).clamp_min(1e-3).cpu()

    def write(self, folder: Path) -> None:
        """Write both networks, with latents scaled to unit spread: the factor moves into their own weights."""
        spread = self._spread()
        encoder, decoder = detached_copy(self.encoder), detached_copy(self.decoder)
        channels = len(spread)
        with torch.no_grad():
            head = encoder.get_submodule("out_layer.2")
            assert isinstance(head.weight, Tensor) and isinstance(head.bias, Tensor)
            scale_rows(head.weight, head.bias, slice(0, channels), 1 / spread)
            head.bias[channels:] -= 2 * spread.log()
            first = decoder.get_submodule("input_layer")
            assert isinstance(first.weight, Tensor)
            first.weight *= spread.view(1, -1, 1, 1, 1)
        save_network(encoder, folder, ROLES[0])
        save_network(decoder, folder, ROLES[1])
