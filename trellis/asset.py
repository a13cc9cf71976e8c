"""What one generation made, and its way into files."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from trellis.conditioning import PreparedImage
from trellis.errors import InvalidInputError
from trellis.export import ExportOptions, clean, textured_mesh, write_gaussian_ply, write_glb
from trellis.export.video import write_video
from trellis.progress import Progress
from trellis.rendering import TurntableConfig, turntable
from trellis.representations import GaussianCloud, Mesh, RadianceField

FORMATS = ("glb", "ply", "mp4")

T = TypeVar("T")


@dataclass(frozen=True)
class Asset:
    """What one generation made; representations that were not asked for are None.

    coords int32 [N, 3] and latent [N, 8] are the structured latent on a grid of `resolution`; notes are remarks for
    the user; prepared are the pictures as the networks saw them.
    """

    gaussians: GaussianCloud | None
    mesh: Mesh | None
    radiance_field: RadianceField | None
    coords: Tensor
    latent: Tensor
    resolution: int
    prepared: tuple[PreparedImage, ...]
    notes: tuple[str, ...] = ()

    def save(
        self,
        folder: str | Path,
        *,
        name: str = "asset",
        formats: Sequence[str] = FORMATS,
        simplify: float | None = 0.95,
        faces: int | None = None,
        texture_size: int = 1024,
        preview_frames: int = 60,
        preview_size: int = 384,
        progress: Progress | None = None,
    ) -> dict[str, Path]:
        """Write `folder/name.glb` (textured mesh), `.ply` (Gaussians) and `.mp4` (turntable); the paths by format.

        simplify (fraction of faces removed) and faces (their target count) exclude each other. Raises
        InvalidInputError for an unknown format or an option out of range, before anything is computed.
        """
        progress = progress or Progress()
        unknown = [item for item in formats if item not in FORMATS]
        if unknown:
            raise InvalidInputError(f"Unknown format {unknown[0]!r}; choose from {', '.join(FORMATS)}.")
        options = ExportOptions(simplify=simplify, faces=faces, texture_size=texture_size)
        preview = TurntableConfig(frames=preview_frames, size=preview_size)
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # Decoded surfaces carry floaters and inner shells; files and preview show the same cleaned one.
        mesh = clean(required(self.mesh, "mesh")) if {"glb", "mp4"} & set(formats) else None
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder) as aside:  # all files appear, or none
            paths = {item: Path(aside) / f"{name}.{item}" for item in formats}
            if "ply" in paths:
                write_gaussian_ply(required(self.gaussians, "gaussians"), paths["ply"])
            if "glb" in paths:
                textured = textured_mesh(required(mesh, "mesh"), self.gaussians, options=options, progress=progress)
                write_glb(textured, paths["glb"])
            if "mp4" in paths:
                frames = turntable(gaussians=self.gaussians, mesh=mesh, config=preview, progress=progress)
                write_video(paths["mp4"], frames)
            return {item: path.replace(folder / path.name) for item, path in paths.items()}


def required(representation: T | None, name: str) -> T:
    """The representation itself; raises InvalidInputError when the asset was generated without it."""
    if representation is None:
        raise InvalidInputError(f"This asset has no {name}: generate it with representations that include {name!r}.")
    return representation
