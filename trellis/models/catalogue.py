"""Which models are on this machine, and which can be fetched."""

from dataclasses import dataclass, replace
from pathlib import Path

from trellis.errors import CheckpointError, FetchError
from trellis.models.hub import (
    NANO,
    NANO_FOLDER,
    NANO_LICENCE,
    PUBLISHED,
    SUPPORTING,
    SUPPORTING_WEIGHTS,
    ModelLocation,
    resolve_model,
)
from trellis.models.pipeline_config import PIPELINE_FILE
from trellis.runtime import ModelFiles


@dataclass(frozen=True)
class CatalogueEntry:
    """A model by the name to ask for, and the bytes of its weights.

    `location` is None while it must be fetched; `size_bytes` are then what is fetched, with what reads its pictures or
    texts if that is not here either. `licence` is that of the weights, "" where it is not known.
    """

    name: str
    location: Path | None
    size_bytes: int
    licence: str = ""


def list_models(runtime: ModelFiles) -> list[CatalogueEntry]:
    """The embedded model, those in the model folder, and the published ones with where they are, if here."""
    entries = []
    if (NANO_FOLDER / PIPELINE_FILE).is_file():
        entries.append(_present(NANO, NANO_FOLDER, NANO_LICENCE))
    if runtime.model_folder is not None and runtime.model_folder.is_dir():
        known = {repository for model in PUBLISHED.values() for repository in model.repositories} | set(PUBLISHED)
        for file in sorted(
            [*runtime.model_folder.glob(f"*/{PIPELINE_FILE}"), *runtime.model_folder.glob(f"*/*/{PIPELINE_FILE}")]
        ):
            name = file.parent.relative_to(runtime.model_folder).as_posix()
            if name not in known:
                entries.append(_present(name, file.parent))
    for model in PUBLISHED.values():
        repository = model.repositories[0]
        location = resolve_model(repository, runtime=runtime)
        folder = location.local or cached_folder(location)
        missing = supporting_folder(model.condition, runtime) is None
        size = model.size_bytes + (SUPPORTING[model.condition].size_bytes if missing else 0)
        entry = _present(repository, folder) if folder else CatalogueEntry(repository, None, size)
        entries.append(replace(entry, licence=model.licence))
    return entries


def supporting_folder(name: str, runtime: ModelFiles) -> Path | None:
    """The folder of one of `SUPPORTING` among the models of this machine, None while it must be fetched."""
    model = SUPPORTING[name]
    folder = runtime.model_folder / model.repositories[0] if runtime.model_folder else None
    return folder if folder is not None and (folder / SUPPORTING_WEIGHTS).is_file() else None


def _present(name: str, folder: Path, licence: str = "") -> CatalogueEntry:
    size = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    return CatalogueEntry(name, folder, size, licence)


def cached_folder(location: ModelLocation) -> Path | None:
    """The model's snapshot in the hub's cache if all of its networks are there, as other programs fetch it."""
    try:
        for role in location.config.models:
            location.network(role)
    except (CheckpointError, FetchError):
        return None
    return location.folder
