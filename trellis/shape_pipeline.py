"""Pictures become a shape of a Hunyuan3D-2 model, which a TRELLIS model colours: the order of the stages.

pictures -> tokens [1, L, C] -> latent [1, L', c] -> surface -> mesh; voxels of the mesh -> TRELLIS latent -> Gaussians
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from trellis.asset import Asset
from trellis.conditioning.pictures import PictureSource
from trellis.families.family import GENERATE, PICTURES
from trellis.families.hunyuan_config import HunyuanConfig
from trellis.families.location import ModelLocation
from trellis.memory import MemoryPlan, ModelHost
from trellis.pipeline import TrellisPipeline
from trellis.progress import Progress
from trellis.runtime import Runtime

SURFACE_RESOLUTION = 256


class ShapePipeline:
    """What one shape model makes of pictures of an object, and a TRELLIS model's colours on it."""

    is_demo = False
    inputs: tuple[str, ...] = (PICTURES,)
    operations: tuple[str, ...] = (GENERATE,)
    representations: tuple[str, ...] = ("gaussians", "mesh")

    def __init__(self, name: str, config: HunyuanConfig, *, host: ModelHost, runtime: Runtime) -> None:
        self.name = name
        self.config = config
        self.host = host
        self.runtime = runtime

    @torch.inference_mode()
    def __call__(
        self,
        pictures: PictureSource | Sequence[PictureSource],
        *,
        views: Sequence[str] | None = None,
        seed: int = 0,
        structure_steps: int | None = None,
        structure_guidance: float | None = None,
        latent_steps: int | None = None,
        latent_guidance: float | None = None,
        surface_resolution: int = SURFACE_RESOLUTION,
        texture: TrellisPipeline | None = None,
        multi_image: str = "stochastic",
        background: str = "auto",
        representations: Sequence[str] = ("gaussians", "mesh"),
        speed: str = "exact",
        progress: Progress | None = None,
    ) -> Asset:
        """Generate an asset from one picture, or from pictures of the sides that `views` names.

        views: of "front", "left", "back" and "right", one for each picture; None: in this order. Models for one picture
        make the shape of the first. `structure_*` steer the shape, `latent_*`, `multi_image` and `speed` the colours;
        None is the model's own. surface_resolution: cells along the cube, 64 to 512. texture: the opened TRELLIS model
        for pictures that colours the mesh; without one it is grey, with a note. Raises InvalidInputError for an
        unusable picture or option, TrellisError where there is no surface, Cancelled within one step of a wish to stop.
        """
        raise NotImplementedError

    def load_asset(self, path: str | Path) -> Asset:
        """An asset that `Asset.store` kept, on the device of this pipeline; raises InvalidInputError if it cannot."""
        return Asset.load(path, device=self.runtime.device)


def open_shape_pipeline(location: ModelLocation, *, runtime: Runtime, plan: MemoryPlan | None) -> ShapePipeline:
    """The pipeline of a shape model: a folder with `config.yaml` and `model.fp16.safetensors`.

    Its decoder is the turbo one where that lies in the folder or beside it, under its published name (see
    `DECODER_FOLDERS`). Raises CheckpointError for files that are missing or wrong.
    """
    raise NotImplementedError
