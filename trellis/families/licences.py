"""Licences of weights that a person accepts by name, kept with the date beside the models."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trellis.atomic import write_bytes
from trellis.errors import STARTER, InvalidInputError, LicenceError, did_you_mean
from trellis.families import registry
from trellis.families.family import Licence
from trellis.runtime import ModelFiles

LICENCES_FILE = "licences.json"  # in the folder of models: {name: {"title", "accepted": date}}
LARGEST_FILE = 1 << 20  # bytes


def accepted_on(licence: Licence, files: ModelFiles) -> str | None:
    """The date on which the terms were accepted on this machine; None where they were not."""
    entry = _kept(files).get(licence.name)
    date = entry.get("accepted") if isinstance(entry, dict) else None
    return date if isinstance(date, str) and date else None


def accept_licence(name: str, files: ModelFiles) -> Licence:
    """Keep that the terms of this name, or those of a model of this name, are accepted; raises InvalidInputError.

    That is also where it cannot be kept.
    """
    known = registry.licences()
    licence = known.get(name) or registry.licence_of(name)
    if licence is None:
        raise InvalidInputError(f"There is no licence {name!r}; known: {', '.join(known)}.{did_you_mean(name, known)}")
    if files.model_folder is None:
        raise InvalidInputError("There is no folder for models, where it is kept; set TRELLIS_MODELS to one.")
    if accepted_on(licence, files) is None:
        entry = {"title": licence.title, "accepted": datetime.now(UTC).date().isoformat()}
        record = json.dumps(_kept(files) | {licence.name: entry}, indent=2) + "\n"
        try:
            write_bytes(files.model_folder / LICENCES_FILE, record.encode())
        except OSError as error:
            message = f"It cannot be kept in {files.model_folder} ({error.strerror}): see to that folder."
            raise InvalidInputError(message) from error
    return licence


def require_licence(licence: Licence | None, files: ModelFiles, *, model: str) -> None:
    """Raise LicenceError, which says what the terms are, unless there are none or they were accepted."""
    refusal = licence_refusal(licence, files, model=model)
    if refusal is not None:
        raise LicenceError(refusal)


def licence_refusal(licence: Licence | None, files: ModelFiles, *, model: str) -> str | None:
    """Why a model may not be fetched or used yet; None where it may."""
    if licence is None or accepted_on(licence, files) is not None:
        return None
    return (
        f"{model} is under the {licence.title}, which nobody has accepted here. {' '.join(licence.terms)} "
        f"To accept it, choose the model on the page, or run: {STARTER} models get --accept-licence {licence.name}."
    )


def _kept(files: ModelFiles) -> dict[str, Any]:
    """What was accepted; nothing where the file cannot be read."""
    path = (files.model_folder or Path()) / LICENCES_FILE
    try:
        kept = json.loads(path.read_text(encoding="utf-8")) if path.stat().st_size <= LARGEST_FILE else None
    except (OSError, ValueError, RecursionError):
        return {}
    return kept if isinstance(kept, dict) else {}
