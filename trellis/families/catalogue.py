"""Which models are on this machine, and which can be fetched."""

from dataclasses import dataclass, replace
from pathlib import Path

from trellis.errors import CheckpointError, FetchError
from trellis.families import registry
from trellis.families.family import Licence
from trellis.families.licences import licence_refusal
from trellis.families.location import ModelLocation, find_model
from trellis.runtime import ModelFiles

EMBEDDED_LICENCE = "MIT"  # with the program


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


def resolve_model(name: str, *, runtime: ModelFiles) -> ModelLocation:
    """Find a model of any family by a name of `find_model`, which says what is raised."""
    return find_model(name, runtime=runtime, families=registry.FAMILIES)


def list_models(runtime: ModelFiles) -> list[CatalogueEntry]:
    """The embedded models, those in the model folder, and the published ones with where they are, if here."""
    published = registry.published_models()
    repositories = {place for model in published.values() if not model.subfolder for place in model.repositories}
    known = repositories | set(published)
    entries = []
    for family in registry.FAMILIES:
        file = family.description_file
        here = {name: folder for name, folder in family.embedded.items() if (folder / file).is_file()}
        entries += [replace(_present(name, folder), licence=EMBEDDED_LICENCE) for name, folder in here.items()]
    if runtime.model_folder is not None and runtime.model_folder.is_dir():
        root = runtime.model_folder
        found = {
            path.parent
            for family in registry.FAMILIES
            for deep in ("*", "*/*")
            for path in root.glob(f"{deep}/{family.description_file}")
            if family.is_listed(path.parent)
        }
        names = {folder.relative_to(root).as_posix(): folder for folder in sorted(found)}
        entries += [_present(name, folder) for name, folder in names.items() if name not in known]
    for short, model in published.items():
        title = model.title(short)
        location = resolve_model(title, runtime=runtime)
        folder = location.local or cached_folder(location)
        missing = [name for name in model.supporting if supporting_folder(name, runtime) is None]
        size = model.size_bytes + sum(registry.supporting_models()[name].size_bytes for name in missing)
        entry = _present(title, folder) if folder else CatalogueEntry(title, None, size)
        entries.append(replace(entry, licence=model.licence))
    return entries


def model_licence(name: str, runtime: ModelFiles) -> Licence | None:
    """The terms that must be accepted before a model is fetched or used; None without, or where it is not known."""
    try:
        return registry.licence_of(name) or resolve_model(name, runtime=runtime).family.licence
    except (CheckpointError, FetchError):
        return None


def model_refusal(name: str, runtime: ModelFiles) -> str | None:
    """Why a model may not be fetched or used yet; None where it may."""
    return licence_refusal(model_licence(name, runtime), runtime, model=name)


def supporting_folder(name: str, runtime: ModelFiles) -> Path | None:
    """The folder of one of `supporting_models` on this machine, None while it must be fetched."""
    model = registry.supporting_models()[name]
    folder = runtime.model_folder / model.place if runtime.model_folder else None
    return folder if folder is not None and (folder / model.weights).is_file() else None


def _present(name: str, folder: Path) -> CatalogueEntry:
    return CatalogueEntry(name, folder, sum(file.stat().st_size for file in folder.rglob("*.safetensors")))


def cached_folder(location: ModelLocation) -> Path | None:
    """The model's snapshot in the hub's cache if all that it needs is there, as other programs fetch it."""
    try:
        for file in location.describe().files:
            location.needed(file)
    except (CheckpointError, FetchError):
        return None
    return location.folder
