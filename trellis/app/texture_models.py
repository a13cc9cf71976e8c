"""The models that colour what another family made the shape of."""

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from trellis.app.request import NO_TEXTURE
from trellis.errors import CheckpointError, FetchError, InvalidInputError
from trellis.families.catalogue import list_models, model_licence, resolve_model
from trellis.families.family import PICTURES, RETEXTURE
from trellis.progress import Progress
from trellis.runtime import ModelFiles

if TYPE_CHECKING:
    from trellis.opening import Pipeline

_opened: "WeakKeyDictionary[Pipeline, tuple[str, Pipeline]]" = WeakKeyDictionary()  # by the pipeline of the shapes


def texture_models(files: ModelFiles) -> list[str]:
    """The models on this machine that colour a mesh after pictures, the largest, which is the best, first."""
    here = [entry for entry in list_models(files) if entry.location is not None]
    here.sort(key=lambda entry: -entry.size_bytes)
    return [entry.name for entry in here if _colours(entry.name, files)]


def chosen_texture_model(name: str | None, files: ModelFiles) -> str | None:
    """The model that a request's `texture_model` means, None for no model; raises InvalidInputError."""
    if name == NO_TEXTURE:
        return None
    if name is None:
        return next(iter(texture_models(files)), None)
    if not _colours(name, files):
        here = ", ".join([*texture_models(files), NO_TEXTURE])
        message = f"texture_model: {name} is no TRELLIS model for pictures on this machine; there are {here}."
        raise InvalidInputError(message, field="texture_model")
    return name


def opened_texture(pipeline: "Pipeline", name: str | None, *, progress: Progress | None) -> "Pipeline | None":
    """The model that colours the shapes of a pipeline, opened as that is and kept with it; None for no model."""
    from trellis.opening import open_model

    chosen = chosen_texture_model(name, pipeline.runtime)
    if chosen is None:
        return None
    known = _opened.get(pipeline)
    if known is None or known[0] != chosen:
        known = chosen, open_model(chosen, runtime=pipeline.runtime, plan=pipeline.host.plan, progress=progress)
        _opened[pipeline] = known
    return known[1]


def _colours(name: str, files: ModelFiles) -> bool:
    try:
        described = resolve_model(name, runtime=files).describe()
    except (CheckpointError, FetchError):
        return False
    able = PICTURES in described.inputs and RETEXTURE in described.operations
    return able and model_licence(name, files) is None
