"""Fetch a published model, or one that pipelines need beside it, into the folder of models, for offline use."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trellis.atomic import write_bytes
from trellis.errors import CheckpointError, InvalidInputError
from trellis.models.download import (
    RemoteFile,
    damage,
    fetch_file,
    list_repository,
    missing_bytes,
    require_space,
)
from trellis.models.hub import PUBLISHED, SUPPORTING, TOKENIZER
from trellis.models.pipeline_config import PIPELINE_FILE, PipelineConfig
from trellis.progress import Progress
from trellis.runtime import ModelFiles, matting_model_path

logger = logging.getLogger(__name__)

RECORD_FILE = "trellis-download.json"
STAGE = "download"
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


@dataclass(frozen=True)
class Download:
    """What is to be fetched of a model: files with their places, those that are put there last, and where from."""

    name: str
    folder: Path
    repository: str
    files: tuple[tuple[RemoteFile, Path], ...]


def get_model(
    name: str,
    *,
    runtime: ModelFiles,
    progress: Progress | None = None,
    endpoint: str | None = None,
    u2net: RemoteFile = U2NET_FILE,
) -> list[Path]:
    """Fetch a model of `NAMES` and what it conditions on; returns their places. Interrupted, it goes on the next time.

    Models go to `runtime.model_folder`, u2net to where rembg looks. Progress is told in megabytes; cancelling stops
    within a piece of one. `endpoint` is the hub's address (HF_ENDPOINT of huggingface_hub: a mirror). Raises
    InvalidInputError for another name, CheckpointError when something is not to be had, does not fit or is damaged.
    """
    progress = progress or Progress()
    if name not in NAMES:
        raise InvalidInputError(f"Unknown model {name!r}; choose one of {', '.join(NAMES)}.")
    if runtime.offline:
        raise CheckpointError(f"{name} cannot be fetched in offline mode (--offline, HF_HUB_OFFLINE).")
    if name == U2NET:
        target = matting_model_path()
        return [_carry_out(Download(name, target.parent, "rembg", ((u2net, target),)), progress)]
    if runtime.model_folder is None:
        raise CheckpointError("There is no folder for models; set TRELLIS_MODELS to one.")
    if endpoint is None:
        from huggingface_hub.constants import ENDPOINT

        endpoint = ENDPOINT
    downloads = [_plan(name, runtime.model_folder, endpoint.rstrip("/"), progress)]
    if name in PUBLISHED:
        downloads.append(_plan(PUBLISHED[name].condition, runtime.model_folder, endpoint.rstrip("/"), progress))
    require_space(runtime.model_folder, sum(missing_bytes(download.files) for download in downloads))
    return [_carry_out(download, progress) for download in downloads]


def _plan(name: str, root: Path, endpoint: str, progress: Progress) -> Download:
    """Find out what a model consists of, from the first of its repositories that has all of it."""
    repositories = PUBLISHED[name].repositories if name in PUBLISHED else SUPPORTING[name].repositories
    reasons = []
    for repository in repositories:
        progress.cancel.raise_if_cancelled()
        try:
            if name in SUPPORTING:
                return _plan_supporting(name, root, endpoint, repository)
            return _plan_pipeline(name, root, endpoint, repository)
        except CheckpointError as error:
            logger.info("%s", error)
            reasons.append(str(error))
    raise CheckpointError(f"{name} cannot be had. " + "; ".join(reasons) + " (a mirror can be set with HF_ENDPOINT)")


def _plan_supporting(name: str, root: Path, endpoint: str, repository: str) -> Download:
    listed = list_repository(endpoint, repository)
    folder = root / SUPPORTING[name].repositories[0]
    optional = set(TOKENIZER)
    wanted = [path for path in SUPPORTING[name].files if path in listed or path not in optional]
    return Download(
        name, folder, repository, tuple((_pick(listed, path, repository), folder / path) for path in wanted)
    )


def _plan_pipeline(name: str, root: Path, endpoint: str, repository: str) -> Download:
    listed = list_repository(endpoint, repository)
    folder = root / name
    description = folder / (PIPELINE_FILE + ".new")  # takes its name when everything else is there
    remote = _pick(listed, PIPELINE_FILE, repository)
    if not description.is_file() or damage(remote, description) is not None:
        fetch_file(remote, description, on_bytes=lambda _: None)
    config = PipelineConfig.read(description)
    files = []
    others: dict[str, dict[str, RemoteFile]] = {}
    for stem in config.models.values():
        owner, inner = _owner(stem, repository)
        if owner not in others:
            others[owner] = listed if owner == repository else _list_first(endpoint, owner)
        for ending in (".json", ".safetensors"):
            files.append((_pick(others[owner], inner + ending, owner), folder / (stem + ending)))
    return Download(name, folder, repository, tuple(files))


def _owner(stem: str, repository: str) -> tuple[str, str]:
    """The repository of a network and its path there; `owner/name/ckpts/...` names another repository."""
    parts = stem.split("/")
    return (repository, stem) if len(parts) < 4 else ("/".join(parts[:2]), "/".join(parts[2:]))


def _list_first(endpoint: str, repository: str) -> dict[str, RemoteFile]:
    """The files of a repository, or of the first other place that is known for the same model."""
    short = repository.split("/")[-1]
    places = [repository, *(PUBLISHED[short].repositories if short in PUBLISHED else ())]
    reasons = []
    for place in dict.fromkeys(places):
        try:
            return list_repository(endpoint, place)
        except CheckpointError as error:
            reasons.append(str(error))
    raise CheckpointError("; ".join(reasons))


def _pick(listed: Mapping[str, RemoteFile], path: str, repository: str) -> RemoteFile:
    if path not in listed:
        raise CheckpointError(f"{repository} has no {path}")
    return listed[path]


def _carry_out(download: Download, progress: Progress) -> Path:
    """Fetch the files of a download that are not there yet and check every one; the record comes last."""
    total = sum(remote.size for remote, _ in download.files)
    require_space(download.folder, missing_bytes(download.files))
    done = total - missing_bytes(download.files)
    stage = f"{STAGE} {download.name}"

    def on_bytes(count: int) -> None:
        nonlocal done
        done += count
        progress.report(stage, min(done, total) // MEGABYTE, max(1, total // MEGABYTE))

    on_bytes(0)
    for remote, target in download.files:
        if target.is_file() and damage(remote, target) is None:
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
    if download.name != U2NET:
        record = {
            "name": download.name,
            "repository": download.repository,
            "files": {remote.path: {"bytes": remote.size, "digest": remote.digest} for remote, _ in download.files},
        }
        write_bytes(download.folder / RECORD_FILE, json.dumps(record, indent=1).encode())
    progress.report(stage, max(1, total // MEGABYTE), max(1, total // MEGABYTE))
    return download.folder
