"""Stage 2: the latent VAE; its decoders are taught directly by the exact surface inside every voxel."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.geometry.hammersley import hammersley_3d
from trellis.representations.gaussians import SH_C0, GaussianCloud, GaussianConfig
from trellis.representations.radiance_field import RadianceField, RadianceFieldConfig
from trellis.sparse import SparseTensor
from trellis.training import losses, mesh_loss
from trellis.training.config import TrainConfig
from trellis.training.data import held_out_batch, sample_chunk
from trellis.training.networks import build_networks, detached_copy, save_network, scale_rows
from trellis.training.pool import Pool, cache_folder, cached
from trellis.training.targets import decode_unit, latent_chunk
from trellis.training.trainer import write_json

ROLES = ("slat_encoder", "slat_decoder_mesh", "slat_decoder_gs", "slat_decoder_rf")
NORMALIZATION_FILE = "slat_normalization.json"
DENSITY_GAIN = 50.0  # the radiance field's densities are hundreds; the gain moves into the last layer at the end
_TANGENTIAL = 0.35  # standard deviation of a disc along the surface, in voxels
_COLOR_REACH = 0.3  # distance to the surface, in voxels, within which colours are taught
_ALPHA_STEPS = 4  # rendering steps whose joint opacity is taught
_VISIBLE, _HIDDEN = 0.95, 0.02


class LatentVae:
    """Loss weights: kl, mesh_sdf, mesh_consistency, mesh_color, mesh_normal, mesh_rest, disc_place, disc_normal,
    disc_scale, disc_color, disc_opacity, field_density, field_color. Options: mesh_objects (of a batch).
    """

    def __init__(self, config: TrainConfig, runs: Path, *, device: torch.device, cache: Path | None = None) -> None:
        self.config, self.device = config, device
        self.modules = build_networks(config, ROLES, device, runs=runs)
        self.encoder, self.mesh, self.gaussian, self.field = (self.modules[role] for role in ROLES)
        self.gaussian_config = GaussianConfig.from_dict(config.models[ROLES[2]].args["representation_config"])
        self.field_config = RadianceFieldConfig.from_dict(config.models[ROLES[3]].args["representation_config"])
        settings = self.gaussian_config
        self.perturbation = torch.atanh((hammersley_3d(settings.num_gaussians) * 2 - 1) / settings.voxel_size).to(
            device
        )
        self.resolution = config.data.resolution
        folder = cache_folder(cache, config.stage, config.data)
        self.pool = Pool(config.data, cached(self._chunk, folder, device=device), device=device)
        self._held_out: Pool | None = None

    def _chunk(self, number: int) -> dict[str, Tensor]:
        return self._targets(sample_chunk(self.config.data, number, self.device))

    def _targets(self, objects: Any) -> dict[str, Tensor]:
        return latent_chunk(
            objects,
            resolution=self.resolution,
            gaussians=self.gaussian_config.num_gaussians,
            voxel_size=self.gaussian_config.voxel_size,
            samples=32,
        )

    def prepare(self, step: int) -> None:
        self.at_step(step)

    def at_step(self, step: int) -> None:
        self.pool.at_step(step)

    def loss(self, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        numbers = torch.randint(
            len(self.pool), (self.config.batch_size,), generator=generator, device=self.device
        ).cpu()
        parts = self._parts(self.pool, numbers, generator)
        unknown = sorted(set(self.config.loss) ^ set(parts))
        if unknown:
            raise InvalidInputError(f"The loss weights must name exactly {sorted(parts)}; differing: {unknown}.")
        total = sum(self.config.loss[name] * value for name, value in parts.items())
        assert isinstance(total, Tensor)
        return total, {name: value.detach() for name, value in parts.items()}

    def _parts(self, pool: Pool, numbers: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Every loss of some objects; without a generator the latent is the posterior's mean."""
        rows, batch, counts = pool.voxel_rows(numbers)
        coords = torch.cat([batch[:, None].int(), pool.voxels("voxel_coords", rows).int()], 1)
        feats = pool.voxels("voxel_features", rows).float()
        x = SparseTensor.create(feats, coords, resolution=self.resolution, batch_size=len(numbers))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            mean, logvar = self.encoder(x)
            z = mean.feats.float()
            if generator is not None:
                noise = torch.randn(z.shape, generator=generator, device=self.device)
                z = z + (0.5 * logvar.feats.float().clamp(-20, 10)).exp() * noise
            latent = mean.replace(z)
            discs, field = self.gaussian(latent), self.field(latent)
            some = min(len(numbers), int(self.config.options.get("mesh_objects", len(numbers))))
            voxels = int(counts[:some].sum())
            part = SparseTensor.create(z[:voxels], coords[:voxels], resolution=self.resolution, batch_size=some)
            fine = self.mesh(part)
        targets = {key: pool.voxels(key, rows[:voxels]) for key in ("voxel_sdf", "voxel_color", "voxel_normal")}
        result = {"kl": losses.kl_divergence(mean.feats, logvar.feats.clamp(-20, 10))}
        result |= mesh_loss.mesh_losses(
            fine.feats, targets["voxel_sdf"], color=targets["voxel_color"], normal=targets["voxel_normal"],
            resolution=self.resolution,
        )  # fmt: skip
        result |= self._disc_losses(discs, pool.voxels("voxel_disc", rows).float())
        places = [pool.voxels(f"voxel_ray_{key}", rows) for key in ("place", "sdf", "color")]
        return result | self._field_losses(field, *places)

    def _disc_losses(self, raw: SparseTensor, target: Tensor) -> dict[str, Tensor]:
        coords = raw.coords[:, 1:]
        cloud = GaussianCloud.from_features(
            raw.feats,
            coords,
            resolution=self.resolution,
            config=self.gaussian_config,
            offset_perturbation=self.perturbation,
        )
        place, normal, color, visible = target.flatten(0, 1).split([3, 3, 3, 1], -1)
        centres = ((coords.float() + 0.5) / self.resolution - 0.5).repeat_interleave(target.shape[1], 0)
        thin = self.gaussian_config.filter_3d * 1.1
        sizes = torch.tensor([_TANGENTIAL / self.resolution] * 2 + [thin], device=self.device)
        opacity = _HIDDEN + (_VISIBLE - _HIDDEN) * visible
        return {
            "disc_place": losses.weighted_mean(((cloud.positions - centres) * self.resolution - place).abs(), visible),
            "disc_normal": losses.weighted_mean(losses.disc_rotation(cloud.rotations, normal)[:, None], visible),
            "disc_scale": (cloud.scales.log() - sizes.log()).abs().mean(),
            "disc_color": losses.weighted_mean((0.5 + SH_C0 * cloud.features_dc - color).abs(), visible),
            "disc_opacity": F.binary_cross_entropy(cloud.opacities.clamp(1e-6, 1 - 1e-6), opacity),
        }

    def _field_losses(self, raw: SparseTensor, place: Tensor, distance: Tensor, color: Tensor) -> dict[str, Tensor]:
        field = RadianceField.from_features(
            raw.feats, raw.coords[:, 1:], resolution=self.resolution, config=self.field_config
        )
        weights = losses.trivec_weights(field.trivec, decode_unit(place))  # [n, S, R]
        density = F.softplus(DENSITY_GAIN * (weights * field.density[:, None]).sum(-1))
        depth = density * (_ALPHA_STEPS * 0.5 / self.field_config.dim / self.resolution)
        inside = (distance < 0).float()
        opaque = -torch.log(-torch.expm1(-depth.clamp_min(1e-4)))
        near = losses.surface_weight(distance.float(), 0.5)
        shade = torch.sigmoid(SH_C0 * torch.einsum("nsr,nrc->nsc", weights, field.features_dc))
        band = torch.exp(-(distance.float() / _COLOR_REACH).square())[..., None]
        return {
            "field_density": losses.weighted_mean(inside * opaque + (1 - inside) * depth, near),
            "field_color": losses.weighted_mean((shade - decode_unit(color)).abs(), band),
        }

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Every loss on held-out objects, decoded from the posterior's mean."""
        if self._held_out is None:
            objects = held_out_batch(self.config.data, self.device)
            chunk = self._targets(objects)
            data = replace(self.config.data, objects=len(objects), chunk=len(objects), refresh_every=0)
            self._held_out = Pool(data, lambda _: chunk, device=self.device)
            self._held_out.at_step(0)
        size = min(8, len(self._held_out))
        sums: dict[str, float] = {}
        pieces = torch.arange(len(self._held_out)).split(size)
        for numbers in pieces:
            for name, value in self._parts(self._held_out, numbers, None).items():
                sums[name] = sums.get(name, 0.0) + value.item() / len(pieces)
        return sums

    @torch.no_grad()
    def latent_statistics(self, objects: int = 512) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [C] of the latents of pool objects."""
        latents = []
        for numbers in torch.arange(min(objects, len(self.pool))).split(16):
            rows, batch, _ = self.pool.voxel_rows(numbers)
            coords = torch.cat([batch[:, None].int(), self.pool.voxels("voxel_coords", rows).int()], 1)
            feats = self.pool.voxels("voxel_features", rows).float()
            x = SparseTensor.create(feats, coords, resolution=self.resolution, batch_size=len(numbers))
            latents.append(self.encoder(x)[0].feats.float())
        values = torch.cat(latents)
        return values.mean(0).cpu(), values.std(0).clamp_min(1e-4).cpu()

    def export(self, folder: Path) -> None:
        """Write the four networks and the latents' statistics."""
        mean, std = self.latent_statistics()
        for role in ROLES:
            network = detached_copy(self.modules[role])
            if role == "slat_decoder_rf":
                rank, dim = self.field_config.rank, self.field_config.dim
                head = network.get_submodule("out_layer")
                assert isinstance(head.weight, Tensor) and isinstance(head.bias, Tensor)
                scale_rows(head.weight, head.bias, slice(3 * rank * dim, 3 * rank * dim + rank), DENSITY_GAIN)
            save_network(network, folder, role)
        write_json(folder / NORMALIZATION_FILE, {"mean": mean.tolist(), "std": std.tolist()})
