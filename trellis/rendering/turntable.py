"""Preview frames: the asset turning about its vertical axis, one or more pictures side by side."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.geometry.cameras import Cameras, turntable_cameras
from trellis.ops.rasterize import (
    FIELD_BACKENDS,
    GAUSSIAN_BACKENDS,
    TRIANGLE_BACKENDS,
    backend_for,
    check_backend,
)
from trellis.ops.warp_device import side_by_side
from trellis.progress import Progress
from trellis.rendering.backgrounds import background_color
from trellis.rendering.gaussians import render_gaussians
from trellis.rendering.images import ColorImages
from trellis.rendering.mesh import render_mesh
from trellis.rendering.radiance_field import render_radiance_field
from trellis.rendering.textured_mesh import render_textured_mesh
from trellis.representations import GaussianCloud, Mesh, RadianceField, TexturedMesh
from trellis.stages import Stage

SIDES = ("gaussians", "radiance_field", "normals", "colors", "textured")
# Frames drawn at once: many keep a GPU busy; few let the wish to stop be heard soon on a CPU.
_GPU_FRAMES, _CPU_FRAMES, _CPU_FRAMES_OF_LARGE = 8, 4, 1
_LARGE = 200_000


@dataclass(frozen=True)
class TurntableConfig:
    """What to show and how.

    sides: pictures from left to right, out of SIDES (normals and colors are the mesh's); size: pixels of one square
    picture, a multiple of 16 as video needs; frames: number of views of one turn; background: black, white or grey;
    supersampling: samples a pixel side of mesh pictures; backend: one of `ops.rasterize.BACKENDS`, for the sides that
    it draws, the others are drawn by `builtin`.
    """

    sides: tuple[str, ...] = ("gaussians", "normals")
    size: int = 512
    frames: int = 120
    background: str = "black"
    supersampling: int = 2
    backend: str = "builtin"

    def __post_init__(self) -> None:
        unknown = [side for side in self.sides if side not in SIDES]
        if unknown or not self.sides:
            raise InvalidInputError(f"Unknown turntable side {unknown}; choose one or more of {', '.join(SIDES)}.")
        if self.size < 16 or self.size % 16:
            raise InvalidInputError(f"The preview's size must be a positive multiple of 16, not {self.size}.")
        if self.frames < 1:
            raise InvalidInputError(f"A turntable needs at least one frame, not {self.frames}.")
        background_color(self.background)
        check_backend(self.backend)


def turntable(
    *,
    gaussians: GaussianCloud | None = None,
    mesh: Mesh | None = None,
    radiance_field: RadianceField | None = None,
    textured: TexturedMesh | None = None,
    config: TurntableConfig | None = None,
    progress: Progress | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Yield `config.frames` pictures, uint8 [size, size * number of sides, 3], starting at the object's front.

    Only the representations that `config.sides` name are needed. `progress` hears of every frame and may cancel
    between two. Raises InvalidInputError at the call when a side's representation is missing.
    """
    config = config or TurntableConfig()
    scene = _Scene(config.sides, gaussians=gaussians, mesh=mesh, radiance_field=radiance_field, textured=textured)
    return _draw(scene, config, progress or Progress())


def _draw(scene: "_Scene", config: TurntableConfig, progress: Progress) -> Iterator[NDArray[np.uint8]]:
    """The frames, some at once."""
    cameras = turntable_cameras(config.frames)

    def pictures(begin: int) -> NDArray[np.uint8]:
        return scene.pictures(cameras[begin : begin + scene.frames_at_once], config)

    begins = range(0, config.frames, scene.frames_at_once)
    drawn = itertools.chain.from_iterable(side_by_side(pictures, begins, device=scene.device))
    for number, picture in enumerate(drawn, 1):
        progress.report(Stage.PREVIEW, number, config.frames)
        yield picture


class _Scene:
    """What the sides show; raises InvalidInputError for what is missing."""

    def __init__(
        self,
        sides: Sequence[str],
        *,
        gaussians: GaussianCloud | None,
        mesh: Mesh | None,
        radiance_field: RadianceField | None,
        textured: TexturedMesh | None,
    ) -> None:
        sources = {
            "gaussians": gaussians,
            "radiance_field": radiance_field,
            "normals": mesh,
            "colors": mesh,
            "textured": textured,
        }
        missing = [side for side in sides if sources[side] is None]
        if missing:
            raise InvalidInputError(f"The asset has nothing to show as {', '.join(missing)}; choose other sides.")
        device = torch.device("cpu")
        if gaussians is not None:
            device = gaussians.positions.device
        elif mesh is not None:
            device = mesh.vertices.device
        if mesh is not None and "colors" not in sides:
            mesh = Mesh(mesh.vertices, mesh.faces)
        self.gaussians = gaussians if "gaussians" in sides else None
        self.mesh = mesh if {"normals", "colors"} & set(sides) else None
        self.radiance_field = radiance_field if "radiance_field" in sides else None
        self.draw_textured = _on_device(textured, device) if textured is not None and "textured" in sides else None
        faces = 0 if textured is None or self.draw_textured is None else len(textured.faces)
        self.device = device
        self.frames_at_once = self._frames_at_once(device, faces)

    def _frames_at_once(self, device: torch.device, textured_faces: int) -> int:
        sizes = [textured_faces]
        if self.gaussians is not None:
            sizes.append(len(self.gaussians))
        if self.mesh is not None:
            sizes.append(len(self.mesh.faces))
        if self.radiance_field is not None:
            device = self.radiance_field.trivec.device
            sizes.append(self.radiance_field.trivec.numel())
        if device.type != "cpu":
            return _GPU_FRAMES
        return _CPU_FRAMES if max(sizes) < _LARGE else _CPU_FRAMES_OF_LARGE

    @torch.no_grad()
    def pictures(self, cameras: Cameras, config: TurntableConfig) -> NDArray[np.uint8]:
        """uint8 [V, size, size * k, 3]."""
        size, background, supersampling = config.size, config.background, config.supersampling
        shown: dict[str, Tensor] = {}
        if self.gaussians is not None:
            backend = backend_for(config.backend, GAUSSIAN_BACKENDS)
            shown["gaussians"] = render_gaussians(
                self.gaussians, cameras, size=size, background=background, backend=backend
            ).color
        if self.radiance_field is not None:
            backend = backend_for(config.backend, FIELD_BACKENDS)
            shown["radiance_field"] = render_radiance_field(
                self.radiance_field, cameras, size=size, background=background, backend=backend
            ).color
        backend = backend_for(config.backend, TRIANGLE_BACKENDS)
        if self.mesh is not None:
            images = render_mesh(self.mesh, cameras, size=size, supersampling=supersampling, backend=backend)
            behind = background_color(background).to(images.mask)[:, None, None]
            uncovered = 1 - images.mask[:, None]
            if "normals" in config.sides:
                # The normal map already holds its own mid grey where the mesh is not.
                shown["normals"] = images.normal + (behind - 0.5) * uncovered
            if "colors" in config.sides:
                shown["colors"] = images.color + behind * uncovered
        if self.draw_textured is not None:
            shown["textured"] = self.draw_textured(
                cameras=cameras,
                size=size,
                supersampling=supersampling,
                background=background,
                backend=backend,
            ).color
        row = torch.cat([shown[side] for side in config.sides], dim=3)
        # In place: the row is new and large.
        pixels = row.clamp_(0, 1).mul_(255).round_().byte().permute(0, 2, 3, 1)
        return pixels.contiguous().cpu().numpy()


def _on_device(textured: TexturedMesh, device: torch.device) -> Callable[..., ColorImages]:
    """`render_textured_mesh` of a mesh that is moved once for all frames."""

    def tensor(array: NDArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    return partial(
        render_textured_mesh,
        tensor(textured.vertices),
        tensor(textured.faces),
        uvs=tensor(textured.uvs),
        texture=tensor(textured.texture).float() / 255,
    )
