"""Preview frames: the asset turning about its vertical axis, one or more pictures side by side."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.geometry.cameras import Cameras, turntable_cameras
from trellis.ops.rasterize import check_backend
from trellis.progress import Progress
from trellis.rendering.backgrounds import background_color
from trellis.rendering.gaussians import render_gaussians
from trellis.rendering.mesh import render_mesh
from trellis.rendering.radiance_field import render_radiance_field
from trellis.representations import GaussianCloud, Mesh, RadianceField

SIDES = ("gaussians", "radiance_field", "normals", "colors")
STAGE = "preview"


@dataclass(frozen=True)
class TurntableConfig:
    """What to show and how.

    sides: pictures from left to right, out of SIDES (normals and colors are the mesh's); size: pixels of one square
    picture, a multiple of 16 as video needs; frames: number of views of one turn; background: black, white or grey;
    supersampling: samples a pixel side of mesh pictures; cameras_at_once: frames held in memory.
    """

    sides: tuple[str, ...] = ("gaussians", "normals")
    size: int = 512
    frames: int = 120
    background: str = "black"
    supersampling: int = 2
    cameras_at_once: int = 4
    backend: str = "auto"

    def __post_init__(self) -> None:
        unknown = [side for side in self.sides if side not in SIDES]
        if unknown or not self.sides:
            raise InvalidInputError(f"Unknown turntable side {unknown}; choose one or more of {', '.join(SIDES)}.")
        if self.size < 16 or self.size % 16:
            raise InvalidInputError(f"The preview's size must be a positive multiple of 16, not {self.size}.")
        if self.frames < 1 or self.cameras_at_once < 1:
            raise InvalidInputError(f"A turntable needs at least one frame, not {self.frames}.")
        background_color(self.background)
        check_backend(self.backend)


def turntable(
    *,
    gaussians: GaussianCloud | None = None,
    mesh: Mesh | None = None,
    radiance_field: RadianceField | None = None,
    config: TurntableConfig | None = None,
    progress: Progress | None = None,
) -> Iterator[np.ndarray]:
    """Yield `config.frames` pictures, uint8 [size, size * number of sides, 3], starting at the object's front.

    Only the representations that `config.sides` name are needed. `progress` hears of every frame and may cancel
    between two. Raises InvalidInputError at the call when a side's representation is missing.
    """
    config = config or TurntableConfig()
    needs = {"gaussians": gaussians, "radiance_field": radiance_field, "normals": mesh, "colors": mesh}
    missing = [side for side in config.sides if needs[side] is None]
    if missing:
        raise InvalidInputError(f"The asset has nothing to show as {', '.join(missing)}; choose other sides.")
    return _frames(gaussians, mesh, radiance_field, config, progress or Progress())


def _frames(
    gaussians: GaussianCloud | None,
    mesh: Mesh | None,
    radiance_field: RadianceField | None,
    config: TurntableConfig,
    progress: Progress,
) -> Iterator[np.ndarray]:
    cameras = turntable_cameras(config.frames)
    for begin in range(0, config.frames, config.cameras_at_once):
        progress.cancel.raise_if_cancelled()
        with torch.no_grad():
            pictures = _pictures(
                gaussians, mesh, radiance_field, cameras[begin : begin + config.cameras_at_once], config
            )
        for index, picture in enumerate(pictures):
            progress.report(STAGE, begin + index + 1, config.frames)
            yield picture


def _pictures(
    gaussians: GaussianCloud | None,
    mesh: Mesh | None,
    radiance_field: RadianceField | None,
    cameras: Cameras,
    config: TurntableConfig,
) -> np.ndarray:
    """uint8 [V, size, size * k, 3]."""
    shown: dict[str, Tensor] = {}
    if gaussians is not None and "gaussians" in config.sides:
        shown["gaussians"] = render_gaussians(
            gaussians, cameras, size=config.size, background=config.background, backend=config.backend
        ).color
    if radiance_field is not None and "radiance_field" in config.sides:
        shown["radiance_field"] = render_radiance_field(
            radiance_field, cameras, size=config.size, background=config.background, backend=config.backend
        ).color
    if mesh is not None and {"normals", "colors"} & set(config.sides):
        images = render_mesh(
            mesh, cameras, size=config.size, supersampling=config.supersampling, backend=config.backend
        )
        behind = background_color(config.background).to(images.mask)[:, None, None]
        uncovered = 1 - images.mask[:, None]
        # The normal map already holds its own mid grey where the mesh is not.
        shown["normals"] = images.normal + (behind - 0.5) * uncovered
        shown["colors"] = images.color + behind * uncovered
    row = torch.cat([shown[side] for side in config.sides], dim=3)
    return (row.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()
