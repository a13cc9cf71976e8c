"""A text becomes a 3D asset: the stages of the image pipeline under another condition; and opening either kind."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trellis.asset import Asset
from trellis.conditioning import TextEncoder
from trellis.errors import CheckpointError, InvalidInputError
from trellis.memory import Effort, MemoryPlan, ModelHost
from trellis.models import ModelLocation
from trellis.models.acquire import obtain_model
from trellis.pipeline import REPRESENTATIONS, ImageTo3D, network_loaders, override, stage_roles
from trellis.progress import Progress
from trellis.runtime import Runtime
from trellis.stages import Stage

TEXT_ROLE = "text_encoder"


class TextTo3D(ImageTo3D):
    """The text pipeline of one model; make it with `from_pretrained`, call it with a prompt."""

    def __init__(self, location: ModelLocation, host: ModelHost, runtime: Runtime) -> None:
        super().__init__(location, host, runtime)
        self._null: Tensor | None = None  # features of the empty prompt: the same for every call

    @classmethod
    def from_pretrained(
        cls, model: str | Path = "TRELLIS-text-base", *, runtime: Runtime | None = None, plan: MemoryPlan | None = None
    ) -> "TextTo3D":
        """Open a text model: a folder or a repository on the hub; raises CheckpointError when it cannot be found."""
        runtime = runtime or Runtime.detect()
        location = obtain_model(str(model), runtime=runtime)
        encoder = location.config.text_cond_model
        if encoder is None:
            raise CheckpointError(f"{model} is an image model: it takes no text.")
        loaders = network_loaders(location, runtime)
        loaders[TEXT_ROLE] = lambda: TextEncoder.from_pretrained(encoder, location.folder, runtime)
        return cls(location, ModelHost(loaders, device=runtime.device, plan=plan), runtime)

    @torch.inference_mode()
    def __call__(  # type: ignore[override]
        self,
        prompt: str,
        *,
        seed: int = 0,
        structure_steps: int | None = None,
        structure_guidance: float | None = None,
        latent_steps: int | None = None,
        latent_guidance: float | None = None,
        multi_image: str = "stochastic",
        representations: Sequence[str] = ("gaussians", "mesh"),
        speed: str = "exact",
        progress: Progress | None = None,
    ) -> Asset:
        """Generate an asset from a text; options as in `ImageTo3D` (`multi_image` has nothing to decide here).

        Raises InvalidInputError for an empty text or bad options, Cancelled within one step of a wish to stop.
        """
        progress = progress or Progress()
        if not isinstance(prompt, str) or not prompt.strip():
            raise InvalidInputError("This model takes a text: give a prompt.")
        unknown = [item for item in representations if item not in REPRESENTATIONS]
        if unknown:
            raise InvalidInputError(f"Unknown representation {unknown[0]!r}; choose from {', '.join(REPRESENTATIONS)}.")
        structure_sampler = override(self.config.structure_sampler, "structure", structure_steps, structure_guidance)
        latent_sampler = override(self.config.latent_sampler, "latent", latent_steps, latent_guidance)
        generator = torch.Generator().manual_seed(seed)

        with self.host.in_order(stage_roles(TEXT_ROLE, representations)):
            conditions = [self.encode_text(prompt.strip(), progress=progress)]
            structure = self.sample_structure(conditions, structure_sampler, generator, multi_image, progress, speed)
            voxels = self.decode_structure(structure)
            latent = self.sample_latent(conditions, voxels, latent_sampler, generator, multi_image, progress, speed)
            return self.decode(latent, representations, (), progress)

    def encode_text(self, prompt: str, *, progress: Progress) -> Tensor:
        """Condition tokens [1, L, C] of a prompt; those of the empty prompt are kept as the null condition."""

        def work(encoder: Any, effort: Effort) -> Tensor:
            return encoder([prompt, ""]).to(self.runtime.device)

        for _ in progress.steps(Stage.ENCODE, 1):
            both = self.host.run(TEXT_ROLE, work)
        self._null = both[1:]
        return both[:1]

    def null_condition(self, condition: Tensor) -> Tensor:
        """The features of the empty prompt."""
        assert self._null is not None, "a text is encoded before anything is sampled"
        return self._null


def open_model(model: str | Path, *, runtime: Runtime, plan: MemoryPlan | None = None) -> ImageTo3D:
    """The pipeline of a model, for pictures or for texts, as its pipeline.json says."""
    location = obtain_model(str(model), runtime=runtime)
    kind = TextTo3D if location.config.image_cond_model is None else ImageTo3D
    return kind.from_pretrained(model, runtime=runtime, plan=plan)
