"""Fetch a model, and what it conditions on, into the folder of models, for offline use: the one way to fetch any."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from trellis.errors import CheckpointError, FetchError, InvalidInputError
from trellis.models.catalogue import cached_folder
from trellis.models.download import RemoteFile, fetch_file, is_whole, list_repository, missing_bytes, require_space
from trellis.models.hub import PUBLISHED, SUPPORTING, TOKENIZER, ModelLocation, resolve_model
from trellis.models.pipeline_config import PIPELINE_FILE, PipelineConfig
from trellis.progress import Progress
from trellis.runtime import ModelFiles, matting_model_path
from trellis.stages import Stage

logger = logging.getLogger(__name__)

MEGABYTE = 10**6
# Background removal, from where rembg itself gets it, with the size and hash of its only version.
U2NET = "u2net"
U2NET_FILE = RemoteFile(
    "u2net.onnx",
    "https://github.com/danielgatis/rembg/releases/download/v0.0.0/u2net.onnx",
    175_997_641,
    ("md5", "60024c5c889badc19c04ad937298a77b"),
)
NAMES = (*PUBLISHED, *SUPPORTING, U2NET)
T = TypeVar("T")


@dataclass(frozen=True)
class Download:
    """What is to be fetched of a model: files with their places, and what it conditions on, one of `SUPPORTING`."""

    name: str
    folder: Path
    files: tuple[tuple[RemoteFile, Path], ...]
    condition: str | None = None


def obtain_model(name: str, *, runtime: ModelFiles, progress: Progress | None = None) -> ModelLocation:
    """Find a model by a name of `resolve_model`, fetched where it is not on this machine and that is not forbidden.

    Raises what `resolve_model` and `get_model` raise.
    """
    location = resolve_model(name, runtime=runtime)
    if location.local is None and not runtime.offline and cached_folder(location) is None:
        get_model(name, runtime=runtime, progress=progress)
        location = resolve_model(name, runtime=runtime)
    return location


def get_model(
    name: str, *, runtime: ModelFiles, progress: Progress | None = None, u2net: RemoteFile = U2NET_FILE
) -> list[Path]:
    """Fetch one of `NAMES`, or a model of the hub as owner/name, and what it conditions on; returns their places.

    Interrupted, it goes on the next time. Models go to `runtime.model_folder`, u2net to where rembg looks. Progress is
    told in megabytes; cancelling stops within a piece of one. Raises InvalidInputError for another name, FetchError
    when something is not to be had, does not fit or is damaged.
    """
    progress = progress or Progress()
    short = name.split("/")[-1]
    if short not in NAMES and name.count("/") != 1:
        choices = ", ".join(NAMES)
        raise InvalidInputError(f"Unknown model {name!r}; choose one of {choices}, or one of the hub as owner/name.")
    name = short if short in NAMES else name
    if runtime.offline:
        raise FetchError(f"{name} cannot be fetched in offline mode (--offline, HF_HUB_OFFLINE).")
    if name == U2NET:
        target = matting_model_path()
        return [_carry_out(Download(name, target.parent, ((u2net, target),)), progress)]
    root = runtime.model_folder
    if root is None:
        raise FetchError("There is no folder for models; set TRELLIS_MODELS to one.")
    downloads = [_plan(name, root, progress)]
    if downloads[0].condition is not None:
        downloads.append(_plan(downloads[0].condition, root, progress))
    require_space(root, sum(missing_bytes(download.files) for download in downloads))
    return [_carry_out(download, progress) for download in downloads]


def _plan(name: str, root: Path, progress: Progress) -> Download:
    """Find out what a model consists of, from the first of its repositories that has all of it."""
    if name in SUPPORTING:
        return _from_first(SUPPORTING[name].repositories, lambda place: _plan_supporting(name, root, place), progress)
    places = PUBLISHED[name].repositories if name in PUBLISHED else (name,)
    return _from_first(places, lambda place: _plan_pipeline(name, root / name, place, progress), progress)


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
    raise FetchError(f"{repositories[0]} cannot be had. {'; '.join(reasons)} (a mirror can be set with HF_ENDPOINT)")


def _plan_supporting(name: str, root: Path, repository: str) -> Download:
    listed = list_repository(repository)
    folder = root / SUPPORTING[name].repositories[0]
    wanted = [path for path in SUPPORTING[name].files if path in listed or path not in TOKENIZER]
    return Download(name, folder, tuple((_pick(listed, path, repository), folder / path) for path in wanted))


def _plan_pipeline(name: str, folder: Path, repository: str, progress: Progress) -> Download:
    listed = list_repository(repository)
    description = folder / (PIPELINE_FILE + ".new")  # takes its name when everything else is there
    remote = _pick(listed, PIPELINE_FILE, repository)
    if not is_whole(remote, description):
        fetch_file(remote, description, on_bytes=lambda _: progress.cancel.raise_if_cancelled())
    config = PipelineConfig.read(description)
    files = []
    others = {repository: listed}
    for stem in config.models.values():
        owner, inner = _owner(stem, repository)
        if owner not in others:
            short = owner.split("/")[-1]
            places = (owner, *(PUBLISHED[short].repositories if short in PUBLISHED else ()))
            others[owner] = _from_first(tuple(dict.fromkeys(places)), list_repository, progress)
        for ending in (".json", ".safetensors"):
            files.append((_pick(others[owner], inner + ending, owner), folder / (stem + ending)))
    image, text = config.image_cond_model, config.text_cond_model
    inside = PurePosixPath(image["path"] if isinstance(image, dict) else text or PIPELINE_FILE)
    own = [path for path in listed if inside in PurePosixPath(path).parents]
    files += [(_pick(listed, path, repository), folder / path) for path in own]
    if isinstance(image, str):
        return Download(name, folder, tuple(files), "DINOv2")
    return Download(name, folder, tuple(files), "CLIP" if text in SUPPORTING["CLIP"].repositories else None)


def _owner(stem: str, repository: str) -> tuple[str, str]:
    """The repository of a network and its path there; `owner/name/ckpts/...` names another repository."""
    parts = stem.split("/")
    return (repository, stem) if len(parts) < 4 else ("/".join(parts[:2]), "/".join(parts[2:]))


def _pick(listed: Mapping[str, RemoteFile], path: str, repository: str) -> RemoteFile:
    if path not in listed or ".." in path.split("/") or Path(path).is_absolute():
        raise FetchError(f"{repository} has no {path}")
    return listed[path]


def _carry_out(download: Download, progress: Progress) -> Path:
    """Fetch the files of a download that are not there yet and check every one; pipeline.json gets its name last."""
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
    description = download.folder / (PIPELINE_FILE + ".new")
    if description.is_file():
        description.replace(download.folder / PIPELINE_FILE)
    progress.report(Stage.FETCH, max(1, total // MEGABYTE), max(1, total // MEGABYTE), download.name)
    return download.folder
