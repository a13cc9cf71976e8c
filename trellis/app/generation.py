"""One request carried out: pictures in, files out. The page, the server and the command line all do it here."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from trellis.app.jobs import DRAFT_FILE, FRAMED_FILE, KEPT_FILE, JobOutcome
from trellis.app.request import JobRequest
from trellis.app.storage import storing
from trellis.atomic import written_aside
from trellis.errors import InvalidInputError
from trellis.families.family import PICTURES, TEXT
from trellis.progress import Progress

if TYPE_CHECKING:  # the networks' libraries take seconds to import, and the server's own process never needs them
    from trellis.conditioning.pictures import PictureSource
    from trellis.opening import Pipeline


RESULT_NAME = "asset"  # the files of a job are told apart by its folder


def generate_files(
    pipeline: "Pipeline",
    source: "Sequence[PictureSource] | str",
    *,
    request: JobRequest,
    folder: Path,
    name: str = RESULT_NAME,
    keep: bool = False,
    progress: Progress | None = None,
) -> JobOutcome:
    """Generate one asset and write `folder/name.*`; the outcome does not say how the model was opened.

    source: pictures of one object, or a text for a text pipeline. With `keep` the asset itself stays in the folder as
    KEPT_FILE, where it is already no network runs, a first look at the asset is there as DRAFT_FILE before its
    files are made, and its picture as FRAMED_FILE. What the request leaves open is as the pipeline's memory preset sets
    it. Raises InvalidInputError for what the pipeline does not take or make, StorageError where the folder cannot be
    written.
    """
    runtime = getattr(pipeline, "runtime", None)
    request = request.under(None if runtime is None else runtime.preset)
    kept = folder / KEPT_FILE
    with storing(folder):
        if keep and kept.is_file():
            asset = pipeline.load_asset(kept)
        else:
            check_fit(pipeline, source, request)
            asset = pipeline(
                source if isinstance(source, str) else list(source),
                progress=progress,
                representations=request.representations,
                **request.sampling,
            )
            if keep:
                asset.store(kept)
        if keep and asset.picture is not None:
            _write_picture(folder / FRAMED_FILE, asset.picture)
        notes, likeness = list(asset.notes), list[float]()
        files = asset.save(
            folder,
            name=name,
            progress=progress,
            on_note=notes.append,
            on_likeness=likeness.append,
            on_draft=partial(_write_picture, folder / DRAFT_FILE) if keep else None,
            rasterizer="builtin" if runtime is None else runtime.rasterizer,
            **request.files,
        )
    return JobOutcome(files, tuple(notes), likeness=round(likeness[0], 3) if likeness else None)


def check_fit(pipeline: "Pipeline", source: "Sequence[PictureSource] | str", request: JobRequest) -> None:
    """Raise InvalidInputError where the model of a pipeline cannot do what a request asks for."""
    given = TEXT if isinstance(source, str) else PICTURES
    if given not in pipeline.inputs:
        raise InvalidInputError(
            f"{pipeline.name} takes {' and '.join(pipeline.inputs)}, no {given}: give it that, or choose another model."
        )
    if request.operation not in pipeline.operations:
        can = ", ".join(pipeline.operations)
        raise InvalidInputError(f"{pipeline.name} cannot {request.operation}: choose another model, or of {can}.")
    missing = [name for name in request.representations if name not in pipeline.representations]
    if missing:
        made = ", ".join(pipeline.representations)
        raise InvalidInputError(
            f"{pipeline.name} makes no {missing[0]}, of which files are asked for; it makes {made}."
        )


def file_name(text: str) -> str:
    """A file's name, without ending, made of the first words of a text."""
    words = re.findall(r"\w+", text)
    return "_".join(words)[:40].strip("_") or RESULT_NAME


def _write_picture(path: Path, pixels: Any) -> None:
    """Write uint8 [H, W, 3 or 4] as PNG in one step."""
    with written_aside(path) as aside:
        Image.fromarray(pixels).save(aside)
