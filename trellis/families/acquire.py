"""Fetch a model, and what it conditions on, into the folder of models, for offline use: the one way to fetch any."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from trellis.atomic import write_bytes
from trellis.errors import CheckpointError, FetchError, InvalidInputError, did_you_mean
from trellis.families import registry
from trellis.families.catalogue import cached_folder, resolve_model
from trellis.families.download import RemoteFile, fetch_file, is_whole, list_repository, missing_bytes, require_space
from trellis.families.family import Licence, NeededFile
from trellis.families.licences import accepted_on, require_licence
from trellis.families.location import ModelLocation, description_files, refuse_several
from trellis.progress import Progress
from trellis.runtime import ModelFiles, matting_model_path
from trellis.stages import Stage

logger = logging.getLogger(__name__)

MEGABYTE = 10**6
# Background removal, from where rembg itself gets it, with the size and hash of its only version.
U2NET = "u2net"
U2NET_FILE = RemoteFile(
    "https://github.com/danielgatis/rembg/releases/download/v0.0.0/u2net.onnx",
    175_997_641,
    ("md5", "60024c5c889badc19c04ad937298a77b"),
)
UNFINISHED = ".new"  # ends the name of a description until everything else is there
RECORD = "trellis-download.json"  # beside a model whose licence had to be accepted: what, from where, and when
T = TypeVar("T")


@dataclass(frozen=True)
class Download:
    """What is to be fetched of a model: files with their places, and the names of models that it works with.

    description: the file, already there as UNFINISHED, that gets its name last; record: what RECORD says, if anything.
    """

    name: str
    folder: Path
    files: tuple[tuple[RemoteFile, Path], ...]
    description: str | None = None
    supporting: tuple[str, ...] = ()
    record: Mapping[str, str] | None = None


def known_names() -> tuple[str, ...]:
    """The names that `get_model` takes beside those of the hub."""
    return (*registry.published_models(), *registry.supporting_models(), U2NET)


def obtain_model(name: str, *, runtime: ModelFiles, progress: Progress | None = None) -> ModelLocation:
    """Find a model by a name of `resolve_model`, fetched where it is not on this machine and that is not forbidden.

    Raises what `resolve_model` and `get_model` raise.
    """
    location = resolve_model(name, runtime=runtime)
    if location.local is None and not runtime.offline and cached_folder(location) is None:
        get_model(name, runtime=runtime, progress=progress)
        location = resolve_model(name, runtime=runtime)
    return location


def obtain_files(
    location: ModelLocation, files: Sequence[NeededFile], *, what: str, progress: Progress | None = None
) -> None:
    """Fetch files of a model that generating does not need, where they are not on this machine.

    They come from the repository that they name, else from the model's own. `what` they are, and how large, is told
    where they cannot be had: raises FetchError, Cancelled.
    """
    progress = progress or Progress()
    missing = [file for file in files if not location.has(file)]
    if not missing:
        return
    name, runtime = location.name, location.runtime
    published = registry.published_name(name) or registry.published_name(Path(name).name)
    own = registry.published_models()[published].repositories if published else ()
    places = tuple(file.repository for file in missing[:1] if file.repository) or location.repositories or own
    root = location.extra_folder
    if runtime.offline or root is None or not places:
        why = "in offline mode (--offline, HF_HUB_OFFLINE)" if runtime.offline else "for its place is not known"
        raise FetchError(f"{what} of {name} is not on this machine, and cannot be fetched {why}.")

    def plan(repository: str) -> Download:
        listed = list_repository(repository)
        return Download(
            name, root, tuple((_pick(listed, file.path, repository), root / file.place) for file in missing)
        )

    logger.info("Fetching %s of %s", what, name)
    _carry_out(_from_first(places, plan, progress), progress)


def get_model(
    name: str, *, runtime: ModelFiles, progress: Progress | None = None, u2net: RemoteFile = U2NET_FILE
) -> list[Path]:
    """Fetch one of `known_names`, or a model of the hub as owner/name, and what it needs; returns their places.

    Interrupted, it goes on the next time. Models go to `runtime.model_folder`, u2net to where rembg looks. Progress is
    told in megabytes; cancelling stops within a piece of one. Raises InvalidInputError for another name,
    CheckpointError for a repository of several models, LicenceError before a licence is accepted that must be,
    FetchError when something is not to be had, does not fit, cannot be written or is damaged.
    """
    progress = progress or Progress()
    names = known_names()
    name = registry.published_name(name) or name
    if name not in names and name.count("/") != 1:
        choices = ", ".join(names)
        raise InvalidInputError(
            f"Unknown model {name!r}; choose one of {choices}, or one of the hub as owner/name."
            f"{did_you_mean(name, names)}"
        )
    refuse_several(name, registry.FAMILIES)
    require_licence(registry.licence_of(name), runtime, model=name)
    if runtime.offline:
        raise FetchError(f"{name} cannot be fetched in offline mode (--offline, HF_HUB_OFFLINE).")
    root = matting_model_path().parent if name == U2NET else runtime.model_folder
    if root is None:
        raise FetchError("There is no folder for models; set TRELLIS_MODELS to one.")
    try:
        if name == U2NET:
            return [_carry_out(Download(name, root, ((u2net, matting_model_path()),)), progress)]
        downloads = [_plan(name, root, runtime, progress)]
        downloads += [_plan(supporting, root, runtime, progress) for supporting in downloads[0].supporting]
        require_space(root, sum(missing_bytes(download.files) for download in downloads))
        return [_carry_out(download, progress) for download in downloads]
    except OSError as error:
        raise FetchError(f"{name} cannot be kept in {root} ({error.strerror}): see to that folder.") from error


def _plan(name: str, root: Path, runtime: ModelFiles, progress: Progress) -> Download:
    """Find out what a model consists of, from the first of its repositories that has all of it."""
    supporting, published = registry.supporting_models(), registry.published_models()
    if name in supporting:
        return _from_first(supporting[name].repositories, lambda place: _plan_supporting(name, root, place), progress)
    places = published[name].repositories if name in published else (name,)
    return _from_first(places, lambda place: _plan_model(name, root / name, place, runtime, progress), progress)


def _from_first(repositories: Sequence[str], use: Callable[[str], T], progress: Progress) -> T:
    """What `use` makes of the first repository that it can use; raises FetchError with what each one lacks."""
    reasons = []
    for repository in repositories:
        progress.cancel.raise_if_cancelled()
        try:
            return use(repository)
        except (FetchError, CheckpointError) as error:
            logger.info("%s", error)
            reasons.append(str(error))
    first = repositories[0]
    known = [model.repositories[0] for model in registry.published_models().values()]
    raise FetchError(
        f"{first} cannot be had. {'; '.join(dict.fromkeys(reasons))} (a mirror can be set with HF_ENDPOINT)."
        f"{did_you_mean(first, known) if registry.published_name(first) is None else ''}"
    )


def _plan_supporting(name: str, root: Path, repository: str) -> Download:
    listed = list_repository(repository)
    model = registry.supporting_models()[name]
    folder = root / model.place
    wanted = [*model.files, *(path for path in model.optional if path in listed)]
    return Download(name, folder, tuple((_pick(listed, path, repository), folder / path) for path in wanted))


def _plan_model(name: str, folder: Path, repository: str, runtime: ModelFiles, progress: Progress) -> Download:
    model = registry.published_models().get(name)
    listed = _inside(list_repository(repository), model.subfolder if model else "")
    family = next((family for family in registry.FAMILIES if family.description_file in listed), None)
    if family is None:
        raise FetchError(f"{repository} has no {description_files(registry.FAMILIES)}")
    require_licence(family.licence, runtime, model=name)
    path = folder / (family.description_file + UNFINISHED)
    remote = _pick(listed, family.description_file, repository)
    if not is_whole(remote, path):
        fetch_file(remote, path, on_bytes=lambda _: progress.cancel.raise_if_cancelled())
    description = family.describe(path)
    files = []
    others = {repository: listed}
    for file in description.files:
        owner = file.repository or repository
        if owner not in others:
            published = registry.published_name(owner)
            places = (owner, *(registry.published_models()[published].repositories if published else ()))
            others[owner] = _from_first(tuple(dict.fromkeys(places)), list_repository, progress)
        files.append((_pick(others[owner], file.path, owner), folder / file.place))
    folders = set(map(PurePosixPath, description.folders))
    own = [path for path in listed if folders.intersection(PurePosixPath(path).parents)]
    files += [(_pick(listed, path, repository), folder / path) for path in own]
    record = _record(family.licence, repository, runtime) if family.licence else None
    return Download(name, folder, tuple(files), family.description_file, description.supporting, record)


def _inside(listed: Mapping[str, RemoteFile], subfolder: str) -> dict[str, RemoteFile]:
    """The files of a subfolder of a repository by their paths in it, of which no other file is ever fetched."""
    start = f"{subfolder}/" if subfolder else ""
    return {path.removeprefix(start): file for path, file in listed.items() if path.startswith(start)}


def _record(licence: Licence, repository: str, runtime: ModelFiles) -> dict[str, str]:
    return {"repository": repository, "licence": licence.title, "accepted": accepted_on(licence, runtime) or ""}


def _pick(listed: Mapping[str, RemoteFile], path: str, repository: str) -> RemoteFile:
    if path not in listed or ".." in path.split("/") or Path(path).is_absolute():
        raise FetchError(f"{repository} has no {path}")
    return listed[path]


def _carry_out(download: Download, progress: Progress) -> Path:
    """Fetch the files of a download that are not there yet and check every one; the description gets its name last."""
    total = sum(remote.size for remote, _ in download.files)
    require_space(download.folder, missing_bytes(download.files))
    done = total - missing_bytes(download.files)

    def on_bytes(count: int) -> None:
        nonlocal done
        done += count
        progress.report(Stage.FETCH, min(done, total) // MEGABYTE, max(1, total // MEGABYTE), download.name)

    on_bytes(0)
    for remote, target in download.files:
        if is_whole(remote, target):
            continue
        if target.is_file():
            logger.warning("%s is damaged and is fetched again", target)
            if target.stat().st_size == remote.size:
                on_bytes(-remote.size)
            target.unlink()
        fetch_file(remote, target, on_bytes=on_bytes)
    if download.record is not None:
        write_bytes(download.folder / RECORD, (json.dumps(download.record, indent=2) + "\n").encode())
    if download.description is not None:
        (download.folder / (download.description + UNFINISHED)).replace(download.folder / download.description)
    progress.report(Stage.FETCH, max(1, total // MEGABYTE), max(1, total // MEGABYTE), download.name)
    return download.folder
