"""One request carried out, whatever its operation: the page, the server and the command line all do it here."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image

from trellis.app.job_sources import is_steered
from trellis.app.jobs import DRAFT_FILE, FRAMED_FILE, KEPT_FILE, JobOutcome
from trellis.app.request import AssetRequest, EditRequest, JobRequest, RetextureRequest, ShapeOptions
from trellis.app.storage import storing
from trellis.app.texture_models import opened_texture
from trellis.atomic import write_bytes, written_aside
from trellis.editing.boxes import Box
from trellis.errors import InvalidInputError
from trellis.export.options import FORMATS
from trellis.families.family import PICTURES, TEXT
from trellis.progress import Progress

if TYPE_CHECKING:  # the networks' libraries take seconds to import, and the server's own process never needs them
    from trellis.asset import Asset
    from trellis.conditioning.pictures import PictureSource
    from trellis.opening import EditingPipeline, Pipeline


GRAFTED = (
    "In the GLB the new part was grafted onto your own mesh, whose other faces are as they were: the two overlap by a "
    "voxel and are not one closed surface. Other files hold one decoded mesh."
)
WITHOUT_COLOURS = "left out, for no TRELLIS model coloured the shape."
RESULT_NAME = "asset"  # the files of a job are told apart by its folder


@dataclass(frozen=True)
class Given:
    """What a request is carried out on: pictures or a text, and what it starts from: a stored asset (with a `mesh`: its
    GLB), or a mesh file.
    """

    source: "Sequence[PictureSource] | str" = ()
    asset: Path | None = None
    mesh: Path | None = None

    @property
    def condition(self) -> "list[PictureSource] | str":
        return self.source if isinstance(self.source, str) else list(self.source)

    def asset_of(self, pipeline: "EditingPipeline", request: AssetRequest, progress: Progress | None) -> "Asset":
        """The asset that it starts from, of a mesh file as the model sees it."""
        if self.asset is not None:
            return pipeline.load_asset(self.asset)
        assert self.mesh is not None  # `check_start` has seen to it
        pictures = [] if isinstance(self.source, str) else list(self.source)
        return pipeline.load_mesh(self.mesh, picture=next(iter(pictures), None), progress=progress, **request.reading)


def generate_files(
    pipeline: "Pipeline",
    source: "Sequence[PictureSource] | str",
    *,
    request: JobRequest,
    folder: Path,
    name: str = RESULT_NAME,
    keep: bool = False,
    store: Path | None = None,
    asset: Path | None = None,
    mesh: Path | None = None,
    write: bool = True,
    progress: Progress | None = None,
) -> JobOutcome:
    """Carry a request out and write `folder/name.*`; the outcome does not say how the model was opened.

    source: pictures of one object, or a text for a text pipeline; asset, mesh: the file that the request's operation
    starts from, if it does. With `keep` the asset itself stays in the folder as KEPT_FILE, where it is already no
    network runs, a first look at the asset is there as DRAFT_FILE before its files are made, and its picture as
    FRAMED_FILE; `store` is another place to keep the asset. Without `write` that is all: the outcome has no files, and
    the same call with it, in this process or another, makes them. What the request leaves open is as the pipeline's
    memory preset sets it. Raises InvalidInputError for what the pipeline does not take or make, StorageError where the
    folder cannot be written.
    """
    runtime = getattr(pipeline, "runtime", None)
    if runtime is not None:
        request = request.under(runtime.preset, runtime.presets)
    given, kept = Given(source, asset, mesh), folder / KEPT_FILE
    with storing(folder):
        if not (keep and kept.is_file()):
            check_fit(pipeline, source, request)
        if isinstance(request, RetextureRequest):
            return _retextured(cast("EditingPipeline", pipeline), given, request, folder, name, progress)
        assert isinstance(request, AssetRequest)
        own = own_file(request, given)
        made = _made(pipeline, given, request, kept if keep else None, store, progress)
        if keep and made.picture is not None:
            _write_picture(folder / FRAMED_FILE, made.picture)
        if not write:
            return JobOutcome({})
        if runtime is not None:
            pipeline.host.leave_room()
        return _saved(pipeline, made, request, own, folder=folder, name=name, keep=keep, progress=progress)


def _saved(
    pipeline: "Pipeline",
    made: "Asset",
    request: AssetRequest,
    own: Path | None,
    *,
    folder: Path,
    name: str,
    keep: bool,
    progress: Progress | None,
) -> JobOutcome:
    """Write the files of an asset, and its first look where it is kept; own: see `own_file`."""
    runtime = getattr(pipeline, "runtime", None)
    notes = [*(() if runtime is None else runtime.remarks), *made.notes]
    likeness, agreement = list[float](), list[float]()
    files = made.save(
        folder,
        name=name,
        progress=progress,
        on_note=notes.append,
        on_likeness=likeness.append,
        on_kept=agreement.append,
        on_draft=partial(_write_picture, folder / DRAFT_FILE) if keep else None,
        rasterizer="builtin" if runtime is None else runtime.rasterizer,
        **_possible_files(pipeline, made, request, notes),
    )
    if own is not None and isinstance(request, EditRequest) and "glb" in files:
        _graft(own, files["glb"], request, made)
        notes.append(GRAFTED)
        agreement.clear()  # it is of the mesh that the file does not hold any more
    outside = {} if made.kept is None else {"voxels_changed": float(made.kept.voxels_changed)}
    if agreement:
        outside["psnr"] = round(agreement[0], 1)
    return JobOutcome(
        files,
        tuple(notes),
        likeness=_rounded(next(iter(likeness), None)),
        outside=outside or None,
        notice=made.notice,
    )


def _made(
    pipeline: "Pipeline",
    given: Given,
    request: AssetRequest,
    kept: Path | None,
    store: Path | None,
    progress: Progress | None,
) -> "Asset":
    """The asset of a request, read from `kept` where it is there, else made, and stored in both places."""
    if kept is not None and kept.is_file():
        return pipeline.load_asset(kept)
    made = MAKERS[request.operation](cast("EditingPipeline", pipeline), given, request, progress)
    for place in filter(None, (kept, store)):
        place.parent.mkdir(parents=True, exist_ok=True)
        made.store(place)
    return made


def _possible_files(pipeline: "Pipeline", made: "Asset", request: AssetRequest, notes: list[str]) -> dict[str, Any]:
    """The options of the files without those of the Gaussians where a shape was not coloured, of which a note tells."""
    files = request.files
    if "texture_model" not in pipeline.options or made.gaussians is not None:
        return files
    possible = tuple(name for name in request.formats if "gaussians" not in FORMATS[name])
    if not possible:
        return files  # what is missing is told as an error
    if len(possible) < len(request.formats):
        notes.append(f"{', '.join(n for n in request.formats if n not in possible)}: {WITHOUT_COLOURS}")
    shown = tuple(name for name in request.shown if name != "gaussians")
    return files | {"formats": possible, "preview_content": shown or ("normals",)}


def _generated(pipeline: "EditingPipeline", given: Given, request: AssetRequest, progress: Progress | None) -> "Asset":
    sampling = request.sampling
    of_shapes = {name: sampling.pop(name) for name in ShapeOptions.options() if name in sampling}
    if "texture_model" in pipeline.options:
        sampling["texture"] = opened_texture(pipeline, of_shapes.pop("texture_model"), progress=progress)
        sampling |= {name: value for name, value in of_shapes.items() if value is not None}
    made = pipeline(given.condition, progress=progress, representations=request.representations, **sampling)
    return _with_notice(made, pipeline.notice)


def _with_notice(made: "Asset", notice: str) -> "Asset":
    """An asset that carries on the line of the model that made it, or of what it was made from."""
    return replace(made, notice=notice) if notice else made


def _variant(pipeline: "EditingPipeline", given: Given, request: AssetRequest, progress: Progress | None) -> "Asset":
    source = given.asset_of(pipeline, request, progress)
    made = pipeline.variant(
        source, given.condition, progress=progress, representations=request.representations, **request.sampling
    )
    return _with_notice(made, source.notice)


def _edited(pipeline: "EditingPipeline", given: Given, request: AssetRequest, progress: Progress | None) -> "Asset":
    from trellis.conditioning.view import PictureView

    assert isinstance(request, EditRequest) and request.box is not None  # `check_start` has seen to it
    source = given.asset_of(pipeline, request, progress)
    made = pipeline.edit(
        source,
        None if request.remove else given.condition,
        region=[Box(*box) for box in request.box],
        glb=None if given.asset is None else given.mesh,
        view=None if request.view is None else PictureView.from_dict(request.view.model_dump()),
        progress=progress,
        representations=request.representations,
        **{name: value for name, value in request.sampling.items() if name not in ("box", "keep")},
    )
    return _with_notice(made, source.notice)


def own_file(request: JobRequest, given: Given) -> Path | None:
    """The GLB or glTF file onto which the new part of an edit is grafted, None where all becomes one mesh.

    Raises InvalidInputError where there is none, though it is asked for.
    """
    if not isinstance(request, EditRequest) or request.keep == "merge":
        return None
    fits = given.mesh is not None and given.mesh.suffix.lower() in (".glb", ".gltf") and "glb" in request.formats
    if request.keep == "graft" and not fits:
        raise InvalidInputError(
            "graft needs a GLB or glTF file to start from, and glb among the formats: choose merge.", field="keep"
        )
    return given.mesh if fits and (request.keep == "graft" or given.asset is None) else None


def _graft(own: Path, made: Path, request: EditRequest, asset: "Asset") -> None:
    """Make the GLB file `made` the file `own` with the new part in it."""
    from trellis.retexturing.grafting import grafted_glb

    assert request.box is not None
    voxel = 1 / (asset.resolution * asset.to_cube.scale)
    write_bytes(made, grafted_glb(own, made, np.array(request.box), overlap=voxel))


def _encoded(pipeline: "EditingPipeline", given: Given, request: AssetRequest, progress: Progress | None) -> "Asset":
    source = given.asset_of(pipeline, request, progress)
    return _with_notice(pipeline.represented(source, request.representations, progress=progress), source.notice)


# How the operations make their asset, on a pipeline that states the operation.
Maker = Callable[["EditingPipeline", Given, AssetRequest, Progress | None], "Asset"]
MAKERS: Mapping[str, Maker] = {"generate": _generated, "variant": _variant, "edit": _edited, "encode": _encoded}


def _retextured(
    pipeline: "EditingPipeline",
    given: Given,
    request: RetextureRequest,
    folder: Path,
    name: str,
    progress: Progress | None,
) -> JobOutcome:
    assert given.mesh is not None  # `check_start` has seen to it
    options = request.reading | request.sampling
    made = pipeline.retexture(given.mesh, given.condition, progress=progress, **options)
    files = made.save(folder, name=name)
    return JobOutcome(files, tuple(made.notes), likeness=_rounded(made.likeness), notice=made.notice)


def _rounded(likeness: float | None) -> float | None:
    return None if likeness is None else round(likeness, 3)


def check_fit(pipeline: "Pipeline", source: "Sequence[PictureSource] | str", request: JobRequest) -> None:
    """Raise InvalidInputError where the model of a pipeline cannot do what a request asks for."""
    given = TEXT if isinstance(source, str) else PICTURES
    if given not in pipeline.inputs and is_steered(request):
        raise InvalidInputError(
            f"{pipeline.name} takes {' and '.join(pipeline.inputs)}, no {given}: give it that, or choose another model."
        )
    if request.operation not in pipeline.operations:
        can = ", ".join(pipeline.operations)
        raise InvalidInputError(f"{pipeline.name} cannot {request.operation}: choose another model, or of {can}.")
    strange = [name for name in ShapeOptions.options() if getattr(request, name, None) is not None]
    strange = [name for name in strange if name not in pipeline.options]
    if strange:
        message = f"{pipeline.name} takes no {strange[0]}: leave it out, or choose a model that does."
        raise InvalidInputError(message, field=strange[0])
    wanted = request.representations if isinstance(request, AssetRequest) else ()
    missing = [name for name in wanted if name not in pipeline.representations]
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
