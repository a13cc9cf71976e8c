"""Where a model is: an embedded folder, one of the user's, or repositories on the hub and their local cache."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from trellis.errors import STARTER, CheckpointError, FetchError, did_you_mean
from trellis.families.family import ModelDescription, ModelFamily, NeededFile, publication
from trellis.runtime import ModelFiles


@dataclass(frozen=True)
class ModelLocation:
    """A model by name, either in a local folder or in repositories that are tried in order.

    families: those that it can be of, until its files say which.
    """

    name: str
    runtime: ModelFiles
    families: tuple[ModelFamily, ...]
    local: Path | None = None
    repositories: tuple[str, ...] = ()
    subfolder: str = ""  # of the repositories

    @cached_property
    def family(self) -> ModelFamily:
        """Who opens it, by its files; raises CheckpointError or FetchError when they are not on this machine."""
        found = (family for family in self.families if self.find(family.description_file) is not None)
        family = next(found, None)
        if family is None:
            raise self._absence(description_files(self.families))
        return family

    @cached_property
    def description(self) -> Path:
        """The file that describes it; raises as `family` does."""
        return self.file(self.family.description_file)

    @property
    def folder(self) -> Path:
        """The folder of its description: the local one, or the snapshot in the hub's cache."""
        return self.local if self.local is not None else self.description.parent

    def describe(self) -> ModelDescription:
        """What it takes, makes and needs; raises CheckpointError or FetchError when it cannot be found or is wrong."""
        return self.family.describe(self.description)

    def find(self, path: str) -> Path | None:
        """A file of the model on this machine, if it is there."""
        inside = f"{self.subfolder}/{path}" if self.subfolder else path
        found = cached_file(self.repositories, inside) if self.local is None else None
        extra = self.extra_folder
        return extra / path if found is None and extra is not None and (extra / path).is_file() else found

    @property
    def extra_folder(self) -> Path | None:
        """The folder of files of the model that are fetched later: its own, or one that has its name."""
        if self.local is not None:
            return self.local
        return None if self.runtime.model_folder is None else self.runtime.model_folder / self.name

    def has(self, file: NeededFile) -> bool:
        """Whether a file that it needs is on this machine."""
        try:
            return self.needed(file).is_file()
        except (CheckpointError, FetchError):
            return False

    def file(self, path: str) -> Path:
        """A file of the model on this machine; raises CheckpointError, or FetchError where it must be fetched first."""
        found = self.find(path)
        if found is None:
            raise self._absence(path)
        return found

    def needed(self, file: NeededFile) -> Path:
        """A file that it needs: its own, or that of a model in another repository; raises as `file` does."""
        if file.repository is None or self.find(file.place) is not None:
            return self.file(file.place)
        return find_model(file.repository, runtime=self.runtime, families=self.families).file(file.path)

    def _absence(self, path: str) -> CheckpointError | FetchError:
        if self.local is not None:
            return CheckpointError(f"{self.local / path} is missing.")
        models = [model for family in self.families for model in family.published.values()]
        known = [place for model in models for place in model.repositories]
        meant = "" if publication(self.name, self.families) else did_you_mean(self.name, known)
        here = "offline: only the local cache was searched" if self.runtime.offline else "not on this machine"
        return FetchError(
            f"{path} of {' or '.join(self.repositories)} cannot be had ({here}). "
            f"Fetch the model with: {STARTER} models get {self.name}.{meant}"
        )


def find_model(name: str, *, runtime: ModelFiles, families: Sequence[ModelFamily]) -> ModelLocation:
    """Find a model: an embedded or published name, a folder of one of the families, or a hub repository `owner/name`.

    Folders are looked for as given and in `runtime.model_folder`. Nothing is fetched yet. Raises CheckpointError.
    """
    for family in families:
        if name in family.embedded:
            place = ModelLocation(name, runtime, (family,), local=family.embedded[name])
            if place.find(family.description_file) is None:
                missing = family.embedded[name] / family.description_file
                raise CheckpointError(f"The embedded model is not installed: {missing} is missing.")
            return place
    published = publication(name, families)
    for folder in _local_candidates(name, runtime, short=published and published[0]):
        if any((folder / family.description_file).is_file() for family in families):
            return ModelLocation(name, runtime, tuple(families), local=folder)
    wanted = description_files(families)
    if Path(name).is_dir():
        raise CheckpointError(f"{name} is no model folder: it has no {wanted}.")
    if published is not None:
        short, family = published
        known = family.published[short]
        places = known.repositories if name == short else tuple(dict.fromkeys((name, *known.repositories)))
        return ModelLocation(name, runtime, (family,), repositories=places, subfolder=known.subfolder)
    refuse_several(name, families)
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return ModelLocation(name, runtime, tuple(families), repositories=(name,))
    embedded = [known for family in families for known in family.embedded]
    names = [known for family in families for known in family.published]
    raise CheckpointError(
        f"Unknown model {name!r}: give {', '.join(map(repr, embedded))}, a folder with a {wanted}, one of "
        f"{', '.join(names)}, or a hub repository as owner/name.{did_you_mean(name, [*embedded, *names])}"
    )


def refuse_several(name: str, families: Sequence[ModelFamily]) -> None:
    """Raise CheckpointError where a name means a repository of several models, which have names of their own."""
    known = [model for family in families for model in family.published.items()]
    several = [short for short, model in known if model.subfolder and name in model.repositories]
    if several:
        raise CheckpointError(f"{name} holds several models: name one of them, {', '.join(several)}.")


def description_files(families: Sequence[ModelFamily]) -> str:
    """The files that make a folder a model, for people."""
    return " or ".join(family.description_file for family in families)


def _local_candidates(name: str, runtime: ModelFiles, *, short: str | None) -> list[Path]:
    folders = [Path(name).expanduser()]
    if runtime.model_folder is not None:
        folders += [runtime.model_folder / each for each in (name, short) if each is not None]
    return folders


def cached_file(repositories: Sequence[str], path: str) -> Path | None:
    """The file in the hub's local cache, without touching the network."""
    from huggingface_hub import try_to_load_from_cache

    for repository in repositories:
        found = try_to_load_from_cache(repository, path)
        if isinstance(found, str):
            return Path(found)
    return None
