"""The models that people can choose from on this machine."""

import json
import logging
from dataclasses import dataclass, replace

from trellis.app.machine_options import DEMO_MODEL
from trellis.errors import CheckpointError, FetchError, InvalidInputError
from trellis.families.catalogue import CatalogueEntry, list_models, model_licence, resolve_model
from trellis.families.family import TEXT
from trellis.families.registry import published_models, published_name
from trellis.runtime import ModelFiles

TRAINING_FILE = "training.json"  # beside the weights of the embedded model

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelChoice:
    """A model that may be chosen: what it is called, and whether it takes texts in place of pictures.

    `fetch_bytes` is what must be fetched before its first use; `kinds` are the objects that it was trained on, where
    they are few; `licence` is that of its weights, "" where it is not known; `operations` is what it can do, none where
    that is not known; `options` of a request are those that few models take, `presets` is its table of memory presets.
    """

    name: str
    label: str
    takes_text: bool = False
    fetch_bytes: int = 0
    kinds: tuple[str, ...] = ()
    licence: str = ""
    operations: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    presets: str = "trellis"


def offered_models(model: str, files: ModelFiles) -> list[ModelChoice]:
    """The model that the program is started with, then those that are here, then those that can be fetched.

    Nothing is fetched to find out. Offline, only those that are here are offered.
    """
    entries = {entry.name: entry for entry in list_models(files)}
    entries.setdefault(model, CatalogueEntry(model, None, 0))
    choices = [_choice(entry, files, given=entry.name == model) for entry in entries.values()]
    known = [choice for choice in choices if choice is not None]
    return sorted(known, key=lambda choice: (choice.name != model, choice.fetch_bytes))


def _choice(entry: CatalogueEntry, files: ModelFiles, *, given: bool) -> ModelChoice | None:
    short = published_name(entry.name) or entry.name
    if entry.location is not None or given:
        label = f"{short} (demo)" if entry.name == DEMO_MODEL else short
        terms, text = model_licence(entry.name, files), _takes_text(entry, files)
        licence = entry.licence or ("" if terms is None else terms.title)
        return described(ModelChoice(entry.name, label, takes_text=text, kinds=_kinds(entry), licence=licence), files)
    if files.offline:
        return None
    label = f"{short} · {entry.size_bytes / 1e9:.1f} GB to fetch"
    text = _takes_text(entry, files)
    return ModelChoice(entry.name, label, takes_text=text, fetch_bytes=entry.size_bytes, licence=entry.licence)


def _kinds(entry: CatalogueEntry) -> tuple[str, ...]:
    """The kinds of objects that the demo model was trained on, as the record of its training has them."""
    if entry.name != DEMO_MODEL or entry.location is None:
        return ()
    record = json.loads((entry.location / TRAINING_FILE).read_text(encoding="utf-8"))
    return tuple(record["flows"]["data"]["families"])


def _takes_text(entry: CatalogueEntry, files: ModelFiles) -> bool:
    try:
        return TEXT in model_inputs(entry.name, files)
    except CheckpointError as error:
        _log.warning("%s: %s", entry.name, error)  # its first job says so too
        return False


def model_inputs(name: str, files: ModelFiles) -> tuple[str, ...]:
    """What a model takes, as far as that is known here (nothing is fetched); raises CheckpointError for no model."""
    try:
        return resolve_model(name, runtime=files).describe().inputs
    except FetchError:  # it is not here to find out
        short = published_name(name)
        return () if short is None else published_models()[short].inputs


def described(choice: ModelChoice, files: ModelFiles) -> ModelChoice:
    """The choice with what the model says of itself, where it is here and does."""
    try:
        known = resolve_model(choice.name, runtime=files).describe()
    except (CheckpointError, FetchError):
        return choice
    return replace(choice, operations=known.operations, options=known.options, presets=known.presets)


def check_takes(name: str, wanted: str, files: ModelFiles) -> None:
    """Raise InvalidInputError, naming models that do, if a model is known not to take `wanted` (pictures, text)."""
    inputs = model_inputs(name, files)
    if inputs and wanted not in inputs:
        fitting = [model.repositories[0] for model in published_models().values() if wanted in model.inputs]
        raise InvalidInputError(
            f"{name} takes {' and '.join(inputs)}, no {wanted}: choose another model, such as --model {fitting[0]}."
        )
