"""Preview frames: the asset turning about its vertical axis, one or more pictures side by side."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.geometry.cameras import Cameras, turntable_cameras
from trellis.geometry.hammersley import radical_inverse
from trellis.ops.rasterize import (
    FIELD_BACKENDS,
    GAUSSIAN_BACKENDS,
    TRIANGLE_BACKENDS,
    backend_for,
    check_backend,
)
from trellis.progress import Progress
from trellis.rendering.backgrounds import background_color
from trellis.rendering.gaussians import render_gaussians
from trellis.rendering.mesh import render_mesh
from trellis.rendering.radiance_field import render_radiance_field
from trellis.rendering.textured_mesh import render_textured_mesh
from trellis.representations import GaussianCloud, Mesh, RadianceField

SIDES = ("gaussians", "radiance_field", "normals", "colors", "textured")
STAGE = "preview"
DRAFT_SIZE = 128
# Frames drawn at once: many keep a GPU busy; few let the wish to stop be heard soon on a CPU.
_GPU_FRAMES, _CPU_FRAMES, _CPU_FRAMES_OF_LARGE = 8, 4, 1
_LARGE = 200_000


@dataclass(frozen=True)
class TurntableConfig:
    """What to show and how.

    sides: pictures from left to right, out of SIDES (normals and colors are the mesh's); size: pixels of one square
    picture, a multiple of 16 as video needs; frames: number of views of one turn; background: black, white or grey;
    supersampling: samples a pixel side of mesh pictures; cameras_at_once: frames held in memory, None to choose;
    backend: one of `ops.rasterize.BACKENDS`, for the sides that it draws, the others are drawn as by `auto`.
    """

    sides: tuple[str, ...] = ("gaussians", "normals")
    size: int = 512
    frames: int = 120
    background: str = "black"
    supersampling: int = 2
    cameras_at_once: int | None = None
    backend: str = "auto"

    def __post_init__(self) -> None:
        unknown = [side for side in self.sides if side not in SIDES]
        if unknown or not self.sides:
            raise InvalidInputError(f"Unknown turntable side {unknown}; choose one or more of {', '.join(SIDES)}.")
        if self.size < 16 or self.size % 16:
            raise InvalidInputError(f"The preview's size must be a positive multiple of 16, not {self.size}.")
        if self.frames < 1 or (self.cameras_at_once is not None and self.cameras_at_once < 1):
            raise InvalidInputError(f"A turntable needs at least one frame, not {self.frames}.")
        background_color(self.background)
        check_backend(self.backend)


class TexturedSurface(Protocol):
    """What `export.textured.TexturedMesh` holds: vertices, normals [V, 3], uvs [V, 2], faces [F, 3], texture uint8."""

    @property
    def vertices(self) -> NDArray[np.float32]: ...
    @property
    def normals(self) -> NDArray[np.float32]: ...
    @property
    def uvs(self) -> NDArray[np.float32]: ...
    @property
    def faces(self) -> NDArray[np.int32]: ...
    @property
    def texture(self) -> NDArray[np.uint8]: ...


@dataclass(frozen=True)
class PreviewFrame:
    """A picture of a turn: uint8 [s, s * sides, 3] of frame `index`, of size DRAFT_SIZE where it is a `draft`."""

    index: int
    picture: NDArray[np.uint8]
    draft: bool = False


def turntable(
    *,
    gaussians: GaussianCloud | None = None,
    mesh: Mesh | None = None,
    radiance_field: RadianceField | None = None,
    textured: TexturedSurface | None = None,
    config: TurntableConfig | None = None,
    progress: Progress | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Yield `config.frames` pictures, uint8 [size, size * number of sides, 3], starting at the object's front.

    Only the representations that `config.sides` name are needed. `progress` hears of every frame and may cancel
    between two. Raises InvalidInputError at the call when a side's representation is missing.
    """
    config = config or TurntableConfig()
    scene = _Scene.of(config, gaussians=gaussians, mesh=mesh, radiance_field=radiance_field, textured=textured)
    order = range(config.frames)
    return (frame.picture for frame in _draw(scene, config, order, progress or Progress()))


def progressive_turntable(
    *,
    gaussians: GaussianCloud | None = None,
    mesh: Mesh | None = None,
    radiance_field: RadianceField | None = None,
    textured: TexturedSurface | None = None,
    config: TurntableConfig | None = None,
    progress: Progress | None = None,
) -> Iterator[PreviewFrame]:
    """Yield the frames of `turntable` so that there is something to see at once: a draft of the front, the front, then
    views halfway between those that were there.

    The draft comes only where it is smaller than `config.size`. Every index comes once beside it, with the very picture
    that `turntable` yields. Arguments and errors as there; `progress` hears of every frame but the draft.
    """
    config, progress = config or TurntableConfig(), progress or Progress()
    scene = _Scene.of(config, gaussians=gaussians, mesh=mesh, radiance_field=radiance_field, textured=textured)
    return _progressive_frames(scene, config, progress)


def _progressive_frames(scene: "_Scene", config: TurntableConfig, progress: Progress) -> Iterator[PreviewFrame]:
    order = coarse_to_fine(config.frames)
    progress.cancel.raise_if_cancelled()
    if config.size > DRAFT_SIZE:
        draft = replace(config, size=DRAFT_SIZE, supersampling=1)
        (picture,) = scene.pictures(turntable_cameras(config.frames)[:1], draft)
        yield PreviewFrame(0, picture, draft=True)
    # The front alone, not with others that would delay it.
    yield from _draw(scene, config, order[:1], progress)
    yield from _draw(scene, config, order[1:], progress, done=1)


def coarse_to_fine(count: int) -> list[int]:
    """0..count-1, each once, so that the first few are spread evenly over the turn, whatever their number."""
    return list(dict.fromkeys(int(radical_inverse(2, i) * count) for i in range(1 << (count - 1).bit_length())))


def _draw(
    scene: "_Scene", config: TurntableConfig, order: Sequence[int], progress: Progress, *, done: int = 0
) -> Iterator[PreviewFrame]:
    """The frames of `order`, some at once; `done` frames were reported before."""
    cameras = turntable_cameras(config.frames)
    at_once = config.cameras_at_once or scene.frames_at_once
    for begin in range(0, len(order), at_once):
        progress.cancel.raise_if_cancelled()
        chosen = list(order[begin : begin + at_once])
        shown = Cameras(cameras.extrinsics[chosen], cameras.intrinsics[chosen])
        for offset, (index, picture) in enumerate(zip(chosen, scene.pictures(shown, config))):
            progress.report(STAGE, done + begin + offset + 1, config.frames)
            yield PreviewFrame(index, picture)


class _TexturedTensors(TypedDict):
    """Arguments of `render_textured_mesh`."""

    vertices: Tensor
    faces: Tensor
    uvs: Tensor
    normals: Tensor
    texture: Tensor


@dataclass(frozen=True)
class _Scene:
    """What the sides show."""

    gaussians: GaussianCloud | None
    mesh: Mesh | None
    radiance_field: RadianceField | None
    textured: "_TexturedTensors | None"

    @classmethod
    def of(
        cls,
        config: TurntableConfig,
        *,
        gaussians: GaussianCloud | None,
        mesh: Mesh | None,
        radiance_field: RadianceField | None,
        textured: TexturedSurface | None,
    ) -> "_Scene":
        """Keep what `config.sides` need; raises InvalidInputError for what is missing."""
        sources = {
            "gaussians": gaussians,
            "radiance_field": radiance_field,
            "normals": mesh,
            "colors": mesh,
            "textured": textured,
        }
        missing = [side for side in config.sides if sources[side] is None]
        if missing:
            raise InvalidInputError(f"The asset has nothing to show as {', '.join(missing)}; choose other sides.")
        device = torch.device("cpu")
        if gaussians is not None:
            device = gaussians.positions.device
        elif mesh is not None:
            device = mesh.vertices.device
        if mesh is not None and "colors" not in config.sides:
            mesh = Mesh(mesh.vertices, mesh.faces)
        return cls(
            gaussians if "gaussians" in config.sides else None,
            mesh if {"normals", "colors"} & set(config.sides) else None,
            radiance_field if "radiance_field" in config.sides else None,
            _tensors(textured, device) if textured is not None and "textured" in config.sides else None,
        )

    @property
    def frames_at_once(self) -> int:
        """Frames drawn at once unless told."""
        sizes: list[tuple[torch.device, int]] = []
        if self.gaussians is not None:
            sizes.append((self.gaussians.positions.device, len(self.gaussians)))
        if self.mesh is not None:
            sizes.append((self.mesh.vertices.device, len(self.mesh.faces)))
        if self.radiance_field is not None:
            sizes.append((self.radiance_field.trivec.device, self.radiance_field.trivec.numel()))
        if self.textured is not None:
            sizes.append((self.textured["vertices"].device, len(self.textured["faces"])))
        if all(device.type != "cpu" for device, _ in sizes):
            return _GPU_FRAMES
        return _CPU_FRAMES if all(size < _LARGE for _, size in sizes) else _CPU_FRAMES_OF_LARGE

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
        if self.textured is not None:
            shown["textured"] = render_textured_mesh(
                **self.textured,
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


def _tensors(textured: TexturedSurface, device: torch.device) -> _TexturedTensors:
    def tensor(array: NDArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    return {
        "vertices": tensor(textured.vertices),
        "faces": tensor(textured.faces),
        "uvs": tensor(textured.uvs),
        "normals": tensor(textured.normals),
        "texture": tensor(textured.texture).float() / 255,
    }
