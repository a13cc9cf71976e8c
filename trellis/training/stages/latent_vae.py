"""Stage 2: the latent VAE; its decoders are taught directly by the exact surface inside every voxel."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trellis.errors import InvalidInputError
from trellis.ops.rasterize.scenes import SH_C0
from trellis.representations.gaussians import GaussianCloud, GaussianConfig
from trellis.representations.radiance_field import RadianceField, RadianceFieldConfig
from trellis.sparse import SparseTensor
from trellis.training import losses, mesh_loss
from trellis.training.config import TrainConfig
from trellis.training.data import held_out_batch, sample_chunk
from trellis.training.networks import build_networks, detached_copy, save_network, scale_rows
from trellis.training.pool import Around, Pool, PoolStage, cache_folder, cached
from trellis.training.procedural import VOXEL_FEATURES
from trellis.training.start import NORMALIZATION_FILE
from trellis.training.targets import decode_unit, latent_chunk
from trellis.training.trainer import write_json

ENCODER, MESH, GAUSSIANS, FIELD = "slat_encoder", "slat_decoder_mesh", "slat_decoder_gs", "slat_decoder_rf"
ROLES = (ENCODER, MESH, GAUSSIANS, FIELD)
DENSITY_GAIN = 50.0  # the radiance field's densities are hundreds; the gain moves into the last layer at the end
COLOR_GAIN = 4.0  # the encoder learns from colours this much larger; the gain moves into its first layer at the end
_COLOR_REACH = 0.3  # distance to the surface, in voxels, within which colours are taught
_ALPHA_STEPS = 4  # rendering steps whose joint opacity is taught
_VISIBLE, _HIDDEN = 0.95, 0.02
_RAY_SAMPLES = 32  # points a voxel that teach the radiance field
_COUNTED = 512  # objects whose latents the statistics are of


class LatentVae(PoolStage):
    """Encoder and at least one of the three decoders; a frozen encoder leaves the latents as they are.

    Loss weights: kl (unless the encoder is frozen); with the mesh decoder mesh_sdf, mesh_consistency, mesh_color,
    mesh_normal, mesh_rest; with that of Gaussians disc_place, disc_normal, disc_scale, disc_color, disc_opacity; with
    that of radiance fields field_density, field_color. Options: mesh_objects (of a batch); noise (standard deviation
    added to the latents that are decoded, for decoders that bear the errors of sampled ones).
    """

    options = frozenset({"mesh_objects", "noise"})

    def __init__(self, config: TrainConfig, around: Around) -> None:
        super().__init__(config, around)
        decoders = [role for role in ROLES[1:] if role in config.models] or ROLES[1:]
        self.modules = build_networks(config, (ENCODER, *decoders), self.device, runs=around.runs)
        self.encoder = self.modules[ENCODER]
        if ENCODER in config.init:
            _scale_colors(self.encoder, 1 / COLOR_GAIN)
        if GAUSSIANS in self.modules:
            self.gaussian_config = GaussianConfig.from_dict(config.models[GAUSSIANS].args["representation_config"])
        if FIELD in self.modules:
            self.field_config = RadianceFieldConfig.from_dict(config.models[FIELD].args["representation_config"])
            if FIELD in config.init:
                self._scale_density(self.modules[FIELD], 1 / DENSITY_GAIN)
        self.resolution = config.data.resolution
        folder = cache_folder(around.cache, config.stage, config.data, sorted(self.modules))
        make = cached(self._chunk, folder, config.data, device=self.device)
        self.pool = Pool(config.data, make, device=self.device, processes=self.processes)
        self._held_out: Pool | None = None

    def _chunk(self, number: int) -> dict[str, Tensor]:
        return self._targets(sample_chunk(self.config.data, number, self.device))

    def _targets(self, objects: Any) -> dict[str, Tensor]:
        return latent_chunk(
            objects,
            resolution=self.resolution,
            gaussians=self.gaussian_config.num_gaussians if GAUSSIANS in self.modules else 0,
            voxel_size=self.gaussian_config.voxel_size if GAUSSIANS in self.modules else 1.0,
            samples=_RAY_SAMPLES if FIELD in self.modules else 0,
            lattice=MESH in self.modules,
        )

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
        x, rows, counts = self._voxels(pool, numbers)
        result: dict[str, Tensor] = {}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            with torch.set_grad_enabled(torch.is_grad_enabled() and ENCODER not in self.config.frozen):
                mean, logvar = self.encoder(x)
            if ENCODER not in self.config.frozen:
                result["kl"] = losses.kl_divergence(mean.feats, logvar.feats.clamp(-20, 10))
            latent = mean.replace(self._drawn(mean.feats.float(), logvar.feats.float(), generator))
            if GAUSSIANS in self.modules:
                discs = self.modules[GAUSSIANS](latent)
            if FIELD in self.modules:
                field = self.modules[FIELD](latent)
            if MESH in self.modules:
                some = min(len(numbers), int(self.config.options.get("mesh_objects", len(numbers))))
                voxels = int(counts[:some].sum())
                part = SparseTensor.create(
                    latent.feats[:voxels], x.coords[:voxels], resolution=self.resolution, batch_size=some
                )
                fine = self.modules[MESH](part)
        if MESH in self.modules:
            sdf, color, normal = (pool.voxels(f"voxel_{key}", rows[:voxels]) for key in ("sdf", "color", "normal"))
            result |= mesh_loss.mesh_losses(fine.feats, sdf, color=color, normal=normal, resolution=self.resolution)
        if GAUSSIANS in self.modules:
            result |= self._disc_losses(discs, pool.voxels("voxel_disc", rows).float())
        if FIELD in self.modules:
            places = [pool.voxels(f"voxel_ray_{key}", rows) for key in ("place", "sdf", "color")]
            result |= self._field_losses(field, *places)
        return result

    def _voxels(self, pool: Pool, numbers: Tensor) -> tuple[SparseTensor, Tensor, Tensor]:
        """The encoder's input for some objects, their voxels' rows in the pool, and how many each object has."""
        rows, batch, counts = pool.voxel_rows(numbers)
        coords = torch.cat([batch[:, None].int(), pool.voxels("voxel_coords", rows).int()], 1)
        feats = pool.voxels("voxel_features", rows).float()
        feats[:, VOXEL_FEATURES.color] *= COLOR_GAIN
        return SparseTensor.create(feats, coords, resolution=self.resolution, batch_size=len(numbers)), rows, counts

    def _drawn(self, mean: Tensor, logvar: Tensor, generator: torch.Generator | None) -> Tensor:
        """Latents drawn from the posterior, with the noise of the options on top."""
        if generator is None:
            return mean
        extra = self.config.options.get("noise", 0.0)
        spread = (logvar.clamp(-20, 10).exp() + extra**2).sqrt()
        return mean + spread * torch.randn(mean.shape, generator=generator, device=self.device)

    def _disc_losses(self, raw: SparseTensor, target: Tensor) -> dict[str, Tensor]:
        coords = raw.coords[:, 1:]
        cloud = GaussianCloud.from_features(
            raw.feats,
            coords,
            resolution=self.resolution,
            config=self.gaussian_config,
            offset_perturbation=self.modules[GAUSSIANS].get_buffer("offset_perturbation"),
        )
        place, normal, color, size, visible = target.flatten(0, 1).split([3, 3, 3, 1, 1], -1)
        centres = ((coords.float() + 0.5) / self.resolution - 0.5).repeat_interleave(target.shape[1], 0)
        thin = self.gaussian_config.filter_3d * 1.1
        sizes = torch.cat([size / self.resolution, size / self.resolution, torch.full_like(size, thin)], -1)
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
    def latent_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [C] of the latents of some pool objects."""
        latents = []
        for numbers in torch.arange(min(_COUNTED, len(self.pool))).split(16):
            latents.append(self.encoder(self._voxels(self.pool, numbers)[0])[0].feats.float())
        values = torch.cat(latents)
        return values.mean(0).cpu(), values.std(0).clamp_min(1e-4).cpu()

    def write(self, folder: Path) -> None:
        """Write the trained networks and, unless the encoder is frozen, the latents' statistics."""
        for role in [role for role in self.modules if role not in self.config.frozen]:
            network = detached_copy(self.modules[role])
            if role == FIELD:
                self._scale_density(network, DENSITY_GAIN)
            elif role == ENCODER:
                _scale_colors(network, COLOR_GAIN)
            save_network(network, folder, role)
        if ENCODER not in self.config.frozen:
            mean, std = self.latent_statistics()
            write_json(folder / NORMALIZATION_FILE, {"mean": mean.tolist(), "std": std.tolist()})

    def _scale_density(self, network: nn.Module, factor: float) -> None:
        """Move the gain of the densities into the last layer of a radiance field decoder, or out of it."""
        rank, dim = self.field_config.rank, self.field_config.dim
        head = network.get_submodule("out_layer")
        assert isinstance(head.weight, Tensor) and isinstance(head.bias, Tensor)
        scale_rows(head.weight, head.bias, slice(3 * rank * dim, 3 * rank * dim + rank), factor)


@torch.no_grad()
def _scale_colors(encoder: nn.Module, factor: float) -> None:
    """Move the gain of the colours into the first layer of an encoder, or out of it."""
    weight = encoder.get_submodule("input_layer").weight
    assert isinstance(weight, Tensor)
    weight[:, VOXEL_FEATURES.color] *= factor
