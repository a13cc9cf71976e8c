"""Batched generation on one device, for metrics: pictures in, structures, latents, Gaussians and meshes out."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trellis.conditioning import ImageEncoder
from trellis.errors import CheckpointError
from trellis.models import PipelineConfig, SamplerConfig, load_model
from trellis.representations import GaussianCloud, Mesh
from trellis.representations.flexicubes import extract_mesh
from trellis.representations.gaussians import GaussianConfig
from trellis.runtime import Runtime
from trellis.sampling import euler_sample, guide, initial_noise
from trellis.sparse import SparseTensor

_MESH_PIECE = 8  # objects whose fine voxels are decoded at once


def _sample(
    velocity: Callable[[Tensor, Tensor, Tensor], Tensor],
    noise: Tensor,
    cond: Tensor,
    null: Tensor | None,
    sampler: SamplerConfig,
) -> Tensor:
    """See `trellis.model_stages.sample_flow`."""
    batch, empty = cond.shape[0], torch.zeros_like(cond) if null is None else null

    def towards(condition: Tensor) -> Callable[[Tensor, float], Tensor]:
        return lambda x, t: velocity(x, torch.full((batch,), t, device=x.device), condition).float()

    guided = guide(
        towards(cond),
        towards(empty),
        strength=sampler.cfg_strength,
        interval=sampler.cfg_interval,
        learned=sampler.learned_strength,
    )
    return euler_sample(guided, noise, steps=sampler.steps, rescale_t=sampler.rescale_t)


@torch.no_grad()
def sample_structure(
    flow: nn.Module, cond: Tensor, *, sampler: SamplerConfig, seed: int, null: Tensor | None = None
) -> Tensor:
    """Structure latents [B, C, r, r, r] for condition tokens [B, L, Cc]; noise is drawn on the CPU from `seed`.

    null: the condition that says nothing (None: zeros).
    """
    config = flow.config
    side = int(config.resolution)  # type: ignore[union-attr, arg-type]
    shape = (cond.shape[0], int(config.in_channels), side, side, side)  # type: ignore[union-attr, arg-type]
    noise = initial_noise(shape, torch.Generator().manual_seed(seed)).to(cond.device)
    return _sample(lambda x, t, c: flow(x, t, c), noise, cond, null, sampler)


@torch.no_grad()
def sample_latents(
    flow: nn.Module,
    coords: Tensor,
    cond: Tensor,
    *,
    resolution: int,
    sampler: SamplerConfig,
    seed: int,
    null: Tensor | None = None,
) -> SparseTensor:
    """Normalised latents on voxels `coords` [N, 4] of B objects with condition tokens [B, L, Cc]; see above."""
    channels = int(flow.config.in_channels)  # type: ignore[union-attr, arg-type]
    noise = initial_noise((len(coords), channels), torch.Generator().manual_seed(seed)).to(cond.device)
    start = SparseTensor.create(noise, coords, resolution=resolution, batch_size=cond.shape[0])
    feats = _sample(lambda x, t, c: flow(start.replace(x), t, c).feats, noise, cond, null, sampler)
    return start.replace(feats)


def decode_gaussians(network: nn.Module, slat: SparseTensor) -> list[GaussianCloud]:
    """The Gaussians that a decoder makes of each object's latents."""
    return [_activated(network, feats, coords, slat.resolution) for coords, feats in network(slat).samples()]


def decode_together(network: nn.Module, slat: SparseTensor) -> GaussianCloud:
    """The same of all objects in one cloud; differentiable."""
    return _activated(network, network(slat).feats, slat.coords[:, 1:], slat.resolution)


def _activated(network: nn.Module, feats: Tensor, coords: Tensor, resolution: int) -> GaussianCloud:
    args: Any = network.config.representation_config  # type: ignore[union-attr]
    config = args if isinstance(args, GaussianConfig) else GaussianConfig.from_dict(args)
    perturbation = network.get_buffer("offset_perturbation")
    return GaussianCloud.from_features(
        feats, coords, resolution=resolution, config=config, offset_perturbation=perturbation
    )


@dataclass(frozen=True)
class Generated:
    """What came out for B pictures: `dense` bool [B, R, R, R]; meshes and Gaussians, None where nothing is occupied."""

    dense: Tensor
    meshes: list[Mesh | None]
    gaussians: list[GaussianCloud | None]


class BatchGenerator:
    """The networks of a model folder on one device, in float32."""

    def __init__(
        self, folder: Path, device: torch.device, *, steps: int | None = None, cfg_strength: float | None = None
    ) -> None:
        """steps, cfg_strength: instead of the model's own settings, for both stages."""
        self.config = PipelineConfig.read(folder / "pipeline.json")
        wishes = {"steps": steps, "cfg_strength": cfg_strength}
        given: dict[str, Any] = {key: value for key, value in wishes.items() if value is not None}
        self.config = replace(
            self.config,
            structure_sampler=replace(self.config.structure_sampler, **given),
            latent_sampler=replace(self.config.latent_sampler, **given),
        )
        if not isinstance(self.config.image_cond_model, dict):
            raise CheckpointError("Only a model with an image encoder of its own can be evaluated here.")
        self.device = device
        self.networks = {
            role: load_model(folder / path).to(device).requires_grad_(False)
            for role, path in self.config.models.items()
        }
        runtime = Runtime(device=device, offline=True)
        self.encoder = ImageEncoder.from_pretrained(self.config.image_cond_model, folder, runtime).to(device)
        self.resolution = int(self.networks["slat_flow_model"].config.resolution)

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Condition tokens [B, L, Cc] of framed pictures uint8 [B, 3, S, S]."""
        return self.encoder(pictures.to(self.device).float() / 255)

    @torch.no_grad()
    def structure(self, cond: Tensor, *, seed: int) -> Tensor:
        """Occupied voxels bool [B, R, R, R] for condition tokens [B, L, Cc]."""
        latent = sample_structure(
            self.networks["sparse_structure_flow_model"], cond, sampler=self.config.structure_sampler, seed=seed
        )
        return self.networks["sparse_structure_decoder"](latent)[:, 0] > 0

    @torch.no_grad()
    def __call__(self, pictures: Tensor, *, seed: int) -> Generated:
        cond = self.encode(pictures)
        dense = self.structure(cond, seed=seed)
        filled = dense.flatten(1).any(1).nonzero().squeeze(1)
        meshes: list[Mesh | None] = [None] * len(pictures)
        gaussians: list[GaussianCloud | None] = [None] * len(pictures)
        if len(filled):
            slat = self._latents(dense[filled], cond[filled], seed=seed)
            for place, cloud in zip(filled.tolist(), decode_gaussians(self.networks["slat_decoder_gs"], slat)):
                gaussians[place] = cloud
            for place, mesh in zip(filled.tolist(), self._meshes(slat)):
                meshes[place] = mesh
        return Generated(dense, meshes, gaussians)

    def _latents(self, dense: Tensor, cond: Tensor, *, seed: int) -> SparseTensor:
        flow = self.networks["slat_flow_model"]
        sampler, coords = self.config.latent_sampler, dense.nonzero().int()
        x = sample_latents(flow, coords, cond, resolution=self.resolution, sampler=sampler, seed=seed)
        mean, std = (torch.tensor(values, device=self.device) for values in self.config.latent_statistics)
        return x.replace(x.feats * std + mean)

    def _meshes(self, slat: SparseTensor) -> list[Mesh]:
        meshes, samples = [], slat.samples()
        for start in range(0, len(samples), _MESH_PIECE):
            part = samples[start : start + _MESH_PIECE]
            owner = [
                torch.full((len(coords), 1), i, device=self.device, dtype=torch.int32)
                for i, (coords, _) in enumerate(part)
            ]
            coords = torch.cat([torch.cat([b, c.int()], 1) for b, (c, _) in zip(owner, part)])
            feats = torch.cat([f for _, f in part])
            fine = self.networks["slat_decoder_mesh"](
                SparseTensor.create(feats, coords, resolution=self.resolution, batch_size=len(part))
            )
            meshes += [extract_mesh(c, f.float(), resolution=fine.resolution) for c, f in fine.samples()]
        return meshes
