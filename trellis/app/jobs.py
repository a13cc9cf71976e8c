"""Jobs: their states, what people see of them, and their folder on disk."""

import dataclasses
import enum
import json
import os
import secrets
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from trellis.app.request import GenerationRequest
from trellis.atomic import write_bytes
from trellis.progress import CancelToken, StepInfo

KEPT_FILE = "kept.safetensors"  # the asset itself, for other files of it
DRAFT_FILE = "draft.png"  # a first look at the asset, there before its files
REQUEST_FILE = "request.json"
RESULT_FILE = "result.json"


class JobState(enum.StrEnum):
    """Queued jobs wait their turn, running ones report steps; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True)
class JobView:
    """A job at one moment: safe to hand to any thread.

    `ahead` counts the jobs before it in the queue; `stages` are the last steps of every stage seen so far, in order;
    `message` is one sentence for people when the job failed or was cancelled; `notes` are remarks on a result; `files`
    are the result files by kind; `kept` tells that other files can be made of the same asset; `draft` is
    a first picture of it, as soon as there is one.
    """

    id: str
    state: JobState
    ahead: int
    stages: tuple[StepInfo, ...]
    seconds: float
    message: str
    notes: tuple[str, ...]
    files: dict[str, Path]
    kept: bool = False
    draft: Path | None = None


@dataclass
class Job:
    """A job inside the engine; only the engine changes it, under its lock."""

    request: GenerationRequest
    folder: Path
    pictures: tuple[Path, ...]
    id: str
    state: JobState = JobState.QUEUED
    stages: list[StepInfo] = field(default_factory=list)
    started: float | None = None
    finished: float | None = None
    message: str = ""
    notes: tuple[str, ...] = ()
    files: dict[str, Path] = field(default_factory=dict)
    cancel: CancelToken = field(default_factory=CancelToken)

    @classmethod
    def create(cls, request: GenerationRequest, images: list[Image.Image], *, root: Path, model: str) -> "Job":
        """Make the job's folder under `root`, with its pictures (PNG) and its request, under a new unguessable id."""
        job_id = secrets.token_hex(16)
        folder = root / job_id
        folder.mkdir(parents=True)
        pictures = tuple(folder / f"picture_{index}.png" for index in range(len(images)))
        for picture, path in zip(images, pictures, strict=True):
            picture.save(path)
        _write_request(folder, request, pictures, model=model)
        return cls(request, folder, pictures, job_id)

    @classmethod
    def create_again(cls, request: GenerationRequest, source: "Job", *, root: Path, model: str) -> "Job":
        """Make a job for other files of the asset that `source` kept; its folder shares that and the pictures."""
        job_id = secrets.token_hex(16)
        folder = root / job_id
        folder.mkdir(parents=True)
        pictures = tuple(_share(path, folder) for path in source.pictures)
        _share(source.kept_file, folder)
        _write_request(folder, request, pictures, model=model, source=source.id)
        return cls(request, folder, pictures, job_id)

    @property
    def draft(self) -> Path | None:
        """The first picture of the asset, if it is there."""
        path = self.folder / DRAFT_FILE
        return path if path.is_file() else None

    @property
    def kept_file(self) -> Path:
        """Where the asset itself is, if it was kept."""
        return self.folder / KEPT_FILE

    def record_step(self, info: StepInfo) -> None:
        if self.stages and self.stages[-1].stage == info.stage:
            self.stages[-1] = info
        else:
            self.stages.append(info)

    def start(self) -> None:
        self.state = JobState.RUNNING
        self.started = time.monotonic()

    def finish(
        self,
        state: JobState,
        *,
        message: str = "",
        files: dict[str, Path] | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.state = state
        self.message = message
        self.notes = notes
        self.files = dict(files or {})
        self.finished = time.monotonic()
        record = {
            "state": state.value,
            "message": message,
            "notes": list(notes),
            "files": {kind: path.name for kind, path in self.files.items()},
            "seconds": round(self.seconds, 3),
            "stages": [dataclasses.asdict(info) for info in self.stages],
        }
        _write_json(self.folder / RESULT_FILE, record)

    @property
    def seconds(self) -> float:
        """Time since the job was started, up to its end."""
        if self.started is None:
            return 0.0
        return (time.monotonic() if self.finished is None else self.finished) - self.started


def _share(path: Path, folder: Path) -> Path:
    """The same file in another folder: one content with two names where the system has that, else a copy."""
    other = folder / path.name
    try:
        os.link(path, other)
    except OSError:
        shutil.copyfile(path, other)
    return other


def _write_request(
    folder: Path, request: GenerationRequest, pictures: Sequence[Path], *, model: str, source: str | None = None
) -> None:
    record: dict[str, Any] = {"model": model, "pictures": [path.name for path in pictures]}
    if source is not None:
        record["asset_of"] = source
    _write_json(folder / REQUEST_FILE, record | {"options": request.to_dict()})


def _write_json(path: Path, record: dict[str, Any]) -> None:
    write_bytes(path, (json.dumps(record, indent=2) + "\n").encode())
