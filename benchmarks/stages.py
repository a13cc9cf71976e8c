"""The stages of a generation on a fixed scene: each is given the same input at every call."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.released import Scene
from trellis.conditions import ENCODER_ROLE, Condition
from trellis.memory import Effort
from trellis.pipeline import ImageTo3D, stage_roles
from trellis.progress import Progress
from trellis.sparse import SparseTensor


@dataclass
class Stages:
    """What to run for each stage of one pipeline."""

    pipeline: ImageTo3D
    scene: Scene
    speed: str = "exact"
    features: SparseTensor | None = None

    @property
    def device(self) -> torch.device:
        return self.pipeline.runtime.device

    @property
    def condition(self) -> Condition:
        return Condition.of_pictures([self.scene.condition])

    def by_name(self) -> dict[str, Callable[[], Any]]:
        """What to run for each stage; what a stage starts from is made beforehand."""
        latent = self.latents()
        return {
            "image encoder": self.image_encoder,
            "structure flow": self.structure_flow,
            "structure decoder": self.structure_decoder,
            "latent flow": self.latent_flow,
            "gaussian decoder": lambda: self.decode("slat_decoder_gs", latent),
            "radiance decoder": lambda: self.decode("slat_decoder_rf", latent),
            "mesh decoder": lambda: self.decode("slat_decoder_mesh", latent),
            "flexicubes": self.flexicubes,
            "all": self.everything,
        }

    def latents(self) -> SparseTensor:
        feats = torch.randn(len(self.scene.voxels), 8, generator=torch.Generator().manual_seed(2)).to(self.device)
        return SparseTensor.create(feats, self.scene.voxels, resolution=64, batch_size=1)

    def structure_latent(self) -> Tensor:
        return torch.randn(1, 8, 16, 16, 16, generator=torch.Generator().manual_seed(3)).to(self.device)

    def image_encoder(self) -> Tensor:
        pictures = torch.rand(1, 3, 518, 518, generator=torch.Generator().manual_seed(4))
        return self.pipeline.host.run(ENCODER_ROLE, lambda m, effort: m(pictures.to(effort.device)))

    def structure_decoder(self) -> Tensor:
        latent = self.structure_latent()
        return self.pipeline.host.run("sparse_structure_decoder", lambda m, effort: m(latent.to(effort.device)))

    def structure_flow(self) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        sampler = self.pipeline.config.structure_sampler
        return self.pipeline.sample_structure(self.condition, sampler, generator, "stochastic", Progress(), self.speed)

    def latent_flow(self) -> SparseTensor:
        generator = torch.Generator().manual_seed(1)
        sampler, voxels = self.pipeline.config.latent_sampler, self.scene.voxels
        return self.pipeline.sample_latent(
            self.condition, voxels, sampler, generator, "stochastic", Progress(), self.speed
        )

    def decode(self, role: str, latent: SparseTensor) -> SparseTensor:
        # A new layout each time: windows and neighbour tables are part of the work.
        fresh = SparseTensor.create(latent.feats, latent.coords, resolution=64, batch_size=1)

        def work(decoder: Any, effort: Effort) -> SparseTensor:
            options = {"chunk_bytes": effort.chunk_bytes} if role == "slat_decoder_mesh" else {}
            return decoder(fresh.to(effort.device), **options)

        return self.pipeline.host.run(role, work)

    def with_surface(self, features: SparseTensor) -> SparseTensor:
        """Random features with the distances of the scene, so that they have a surface like an object's."""
        features.feats[:, :8] = self.scene.distances.to(features.feats.device)
        features.feats[:, 8:53] *= 0.3
        return features

    def flexicubes(self) -> Any:
        if self.features is None:
            self.features = self.with_surface(self.decode("slat_decoder_mesh", self.latents()))
        return self.pipeline.extract_surface(self.features)

    def everything(self) -> Any:
        """From the condition to Gaussians and mesh, without the image encoder."""
        self.features = None
        with self.pipeline.host.in_order(stage_roles(("gaussians", "mesh"))):
            structure = self.structure_flow()
            self.pipeline.decode_structure(structure)
            latent = self.latent_flow()
            cloud = self.pipeline.decode_gaussians(latent)
            features = self.with_surface(self.pipeline.decode_mesh_features(latent))
        return cloud, self.pipeline.extract_surface(features)
