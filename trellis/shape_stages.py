"""The stages of one Hunyuan3D-2 shape model: each borrows its network, and knows nothing of their order."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trellis.conditioning import PreparedImage
from trellis.conditioning.shape_encoder import ShapeEncoder
from trellis.conditioning.shape_picture import frame_for_shape
from trellis.errors import TrellisError
from trellis.families.hunyuan_config import HunyuanConfig
from trellis.geometry.axes import from_gltf_frame
from trellis.geometry.similarity import fit_to_cube
from trellis.memory import Effort, ModelHost, itself
from trellis.models.vecset_decoder import VecsetDecoder
from trellis.models.vecset_flow import VecsetFlow
from trellis.progress import Progress
from trellis.representations import Mesh
from trellis.representations.implicit_surface import implicit_mesh
from trellis.runtime import Runtime
from trellis.sampling import initial_noise
from trellis.sampling.vecset import sample_shape, shape_times, shape_velocity
from trellis.stages import Stage

ENCODER, FLOW, DECODER = ROLES = ("shape_encoder", "shape_flow", "shape_decoder")
SIDE = 0.95  # of an object in the unit cube


@dataclass(frozen=True)
class _Surface:
    """A mesh, and the sum of all logits that it was found by: not a finite number where one of them is not."""

    mesh: Mesh
    total: Tensor


class ShapeStages:
    """The networks of a shape model, lent by its host."""

    def __init__(self, name: str, config: HunyuanConfig, *, host: ModelHost, runtime: Runtime) -> None:
        self.name = name
        self.config = config
        self.host = host
        self.runtime = runtime

    def encode(self, pictures: Sequence[PreparedImage], sides: Sequence[str], progress: Progress) -> Tensor:
        """Tokens [1, V T, C] of cut-out pictures, and of the sides that they show where the model tells them apart."""
        recipe = self.config.picture
        framed = [frame_for_shape(np.asarray(picture.cutout.convert("RGBA")), recipe) for picture in pictures]
        pixels = torch.from_numpy(np.stack(framed)).permute(0, 3, 1, 2).float() / 255
        numbers = tuple(self.config.views.index(side) for side in sides)

        def work(encoder: ShapeEncoder, effort: Effort) -> Tensor:
            return encoder(pixels.to(effort.device), numbers)

        for _ in progress.steps(Stage.ENCODE, 1):
            tokens = self.host.run(ENCODER, work, values=itself)
        return tokens.to(self.runtime.device)

    def sample(
        self, tokens: Tensor, *, steps: int, guidance: float, generator: torch.Generator, progress: Progress
    ) -> Tensor:
        """The latent [1, L, c] of the object, in the units of the decoder's scale factor."""
        config = self.config
        noise = initial_noise([1, config.decoder.num_latents, config.decoder.embed_dim], generator)
        times = shape_times(steps, config.pcm_timesteps)

        def work(flow: VecsetFlow, effort: Effort) -> Tensor:
            velocity = shape_velocity(
                flow,
                tokens.to(effort.device),
                guidance=guidance,
                distilled=config.flow.guidance_embed,
                together=effort.together,
            )
            return sample_shape(velocity, noise.to(effort.device), times=times, progress=progress)

        return self.host.run(FLOW, work, values=itself).to(self.runtime.device)

    def decode(self, latent: Tensor, resolution: int, progress: Progress) -> Mesh:
        """The surface of a latent, in our world; raises TrellisError where there is none."""

        def work(decoder: VecsetDecoder, effort: Effort) -> _Surface:
            return _surface(decoder, latent[0].to(effort.device), resolution, effort.chunk_bytes, progress)

        mesh = self.host.run(DECODER, work, values=lambda surface: surface.total).mesh.to(self.runtime.device)
        if len(mesh.faces) == 0:
            raise TrellisError("The model made no surface from the picture; try another seed or another picture.")
        vertices = from_gltf_frame(mesh.vertices)
        return Mesh(fit_to_cube(vertices, side=SIDE).apply(vertices), mesh.faces)


def _surface(decoder: VecsetDecoder, latent: Tensor, resolution: int, chunk_bytes: int, progress: Progress) -> _Surface:
    """Where the logits of a latent [L, c] change their sign, its points asked in pieces."""
    context = decoder.prepare(decoder.decode(latent / decoder.config.scale_factor))
    piece = max(1, chunk_bytes * 2 // (decoder.point_bytes * decoder.torso_dtype.itemsize))
    total = torch.zeros((), device=latent.device)

    def logits(points: Tensor) -> Tensor:
        found = []
        for part in points.split(piece):
            progress.cancel.raise_if_cancelled()
            found.append(decoder.logits(part, context))
        values = torch.cat(found)
        total.add_(values.sum())
        return values

    mesh = implicit_mesh(logits, resolution=resolution, device=latent.device, progress=progress)
    return _Surface(mesh, total)
