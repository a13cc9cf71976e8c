"""One request carried out: pictures in, files out. The page, the server and the command line all do it here."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trellis.app.request import GenerationRequest
from trellis.progress import Progress

if TYPE_CHECKING:  # the networks' libraries take seconds to import, and the server's own process never needs them
    from trellis.conditioning.pictures import PictureSource
    from trellis.pipeline import ImageTo3D


def generate_files(
    pipeline: "ImageTo3D",
    pictures: "Sequence[PictureSource]",
    *,
    request: GenerationRequest,
    folder: Path,
    name: str = "asset",
    progress: Progress | None = None,
) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Generate one asset of `pictures` and write `folder/name.*`: the files by format, and notes for the user."""
    asset = pipeline(
        list(pictures),
        seed=request.seed,
        structure_steps=request.structure_steps,
        structure_guidance=request.structure_guidance,
        latent_steps=request.latent_steps,
        latent_guidance=request.latent_guidance,
        multi_image=request.multi_image,
        progress=progress,
    )
    files = asset.save(
        folder,
        name=name,
        formats=request.formats,
        simplify=request.simplify if request.faces is None else None,
        faces=request.faces,
        texture_size=request.texture_size,
        preview_frames=request.preview_frames,
        preview_size=request.preview_size,
        progress=progress,
    )
    return files, asset.notes
