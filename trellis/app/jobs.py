"""Jobs: their states, what people see of them, and their folder on disk."""

import dataclasses
import enum
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trellis.app.request import GenerationRequest
from trellis.app.storage import StorageError, storage_error, storing
from trellis.atomic import write_bytes
from trellis.errors import InvalidInputError
from trellis.progress import CancelToken, StepInfo

KEPT_FILE = "kept.safetensors"  # the asset itself, for other files of it
DRAFT_FILE = "draft.png"  # a first look at the asset, there before its files
FRAMED_FILE = "framed.png"  # the object of the first picture, framed as the networks saw it
REQUEST_FILE = "request.json"
RESULT_FILE = "result.json"
CUT_OFF = "The program ended before this job had its result: generate it again."
CLIENT_OWNER = "client "  # begins the owner of a job that a program asked for, before the address it called from

_log = logging.getLogger(__name__)


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
class JobOrigin:
    """Where a job comes from.

    model: its name; owner: whose job it is, a digest that cannot be turned back, or a program by its address (see
    CLIENT_OWNER; "" for who knows the job's id);
    name: what people call it, such as the picture's name; prompt: the text it is made from, in place of pictures;
    source: the id of the job whose asset it takes.
    """

    model: str
    owner: str = ""
    name: str = ""
    prompt: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class JobView:
    """A job at one moment: safe to hand to any thread.

    `ahead` counts the jobs before it in the queue; `stages` are the last steps of every stage seen so far, in order;
    `message` is one sentence for people when the job failed or was cancelled; `notes` are remarks on a result; `files`
    are the result files by kind; `kept` tells that other files can be made of the same asset; `draft` is
    a first picture of it, as soon as there is one, `framed` the picture it was made from; `pace` is how many steps of
    the present stage a second takes, where that is known.
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
    framed: Path | None = None
    origin: JobOrigin = JobOrigin(model="")
    request: GenerationRequest | None = None
    created: float = 0.0
    pace: float | None = None


@dataclass
class Job:
    """A job inside the engine; only the engine changes it, under its lock."""

    request: GenerationRequest
    folder: Path
    pictures: tuple[Path, ...]
    id: str
    origin: JobOrigin
    created: float  # seconds since 1970, later than every other job's
    state: JobState = JobState.QUEUED
    stages: list[StepInfo] = field(default_factory=list)
    started: float | None = None
    finished: float | None = None
    message: str = ""
    notes: tuple[str, ...] = ()
    files: dict[str, Path] = field(default_factory=dict)
    cancel: CancelToken = field(default_factory=CancelToken)
    plan: dict[str, Any] = field(default_factory=dict)  # how the model was opened, as far as it is known
    cut_off: bool = False  # the program ends before it
    stage_begin: tuple[float, int] = (0.0, 0)  # when the present stage was first told of, and its step then

    @classmethod
    def create(
        cls, request: GenerationRequest, pictures: Sequence[Path], *, root: Path, origin: JobOrigin, created: float
    ) -> "Job":
        """Make the job's folder under `root`, with its pictures (PNG) and its request, under a new unguessable id.

        Raises StorageError.
        """
        with _new_folder(root) as folder:
            own = tuple(_share(path, folder / f"picture_{index}.png") for index, path in enumerate(pictures))
            return cls(request, folder, own, folder.name, origin, created)._recorded()

    @classmethod
    def create_again(
        cls, request: GenerationRequest, source: "Job", *, root: Path, owner: str, created: float
    ) -> "Job":
        """Make a job for other files of the asset that `source` kept; its folder shares that and the pictures.

        Raises StorageError.
        """
        with _new_folder(root) as folder:
            pictures = tuple(_share(path, folder / path.name) for path in source.pictures)
            _share(source.kept_file, folder / KEPT_FILE)
            origin = dataclasses.replace(source.origin, source=source.id, owner=owner)
            return cls(request, folder, pictures, folder.name, origin, created)._recorded()

    @classmethod
    def restore(cls, folder: Path) -> "Job":
        """The job of a folder that an earlier start left; one without a result was cut off and has failed.

        Raises InvalidInputError for a folder whose records cannot be read.
        """
        record = _read_json(folder / REQUEST_FILE)
        try:
            job = cls(
                GenerationRequest.from_dict(record["options"]),
                folder,
                tuple(folder / name for name in record["pictures"]),
                folder.name,
                JobOrigin(
                    model=record["model"],
                    owner=record.get("owner", ""),
                    name=record.get("name", ""),
                    prompt=record.get("prompt"),
                    source=record.get("asset_of"),
                ),
                created=float(record.get("created", folder.stat().st_mtime)),
                state=JobState.FAILED,
                message=CUT_OFF,
                started=0.0,
                finished=0.0,
            )
            if (folder / RESULT_FILE).is_file():
                job._take_result(_read_json(folder / RESULT_FILE))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInputError(f"The records in {folder} are not those of a job: {error}") from error
        return job

    def _take_result(self, result: dict[str, Any]) -> None:
        self.state = JobState(result["state"])
        self.message = str(result["message"])
        self.notes = tuple(result["notes"])
        self.finished = float(result["seconds"])
        self.stages = [StepInfo(**info) for info in result["stages"]]
        self.plan = dict(result.get("plan", {}))
        files = {kind: self.folder / Path(name).name for kind, name in result["files"].items()}
        self.files = {kind: path for kind, path in files.items() if path.is_file()}

    def _recorded(self) -> "Job":
        """Itself, once its request is on disk."""
        record: dict[str, Any] = {
            "model": self.origin.model,
            "pictures": [path.name for path in self.pictures],
            "name": self.origin.name,
            "owner": self.origin.owner,
            "created": self.created,
        }
        if self.origin.prompt is not None:
            record["prompt"] = self.origin.prompt
        if self.origin.source is not None:
            record["asset_of"] = self.origin.source
        _write_json(self.folder / REQUEST_FILE, record | {"options": self.request.to_dict()})
        return self

    def take_plan(self, plan: dict[str, Any]) -> None:
        """Keep how the model was opened, and what its memory preset set in the request; raises StorageError."""
        self.plan = plan
        settled = self.request.under(plan.get("preset"))
        if settled != self.request:
            self.request = settled
            with storing(self.folder):
                self._recorded()

    @property
    def draft(self) -> Path | None:
        """The first picture of the asset, if it is there."""
        path = self.folder / DRAFT_FILE
        return path if _is_there(path) else None

    @property
    def framed(self) -> Path | None:
        """The object of the first picture as the networks saw it, if it is there."""
        path = self.folder / FRAMED_FILE
        return path if _is_there(path) else None

    @property
    def kept_file(self) -> Path:
        """Where the asset itself is, if it was kept."""
        return self.folder / KEPT_FILE

    @property
    def has_asset(self) -> bool:
        """Whether the asset itself is there."""
        return _is_there(self.kept_file)

    def give_up_asset(self) -> None:
        """Delete the asset itself, where the folder lets that be done."""
        with suppress(OSError):
            self.kept_file.unlink(missing_ok=True)

    def record_step(self, info: StepInfo) -> None:
        if self.stages and self.stages[-1].stage == info.stage:
            self.stages[-1] = info
        else:
            self.stages.append(info)
            self.stage_begin = (time.monotonic(), info.step)

    @property
    def pace(self) -> float | None:
        """Steps of the present stage in a second, once there have been some in at least one second."""
        begun, first = self.stage_begin
        seconds = time.monotonic() - begun
        if not self.stages or seconds < 1.0 or self.stages[-1].step <= first:
            return None
        return (self.stages[-1].step - first) / seconds

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
        """End the job and record that; one that is done, but cannot be recorded, has failed for that reason."""
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
            "plan": self.plan,
        }
        try:
            _write_json(self.folder / RESULT_FILE, record)
        except OSError as error:
            _log.warning("The end of job %s is not recorded: %s", self.id, error)
            if state is JobState.DONE:
                reason = storage_error(error, self.folder) or StorageError(full=False, reason=str(error.strerror))
                self._drop_files()  # nobody could find them after a restart, and their room is needed
                self.finish(JobState.FAILED, message=str(reason))

    def _drop_files(self) -> None:
        self.give_up_asset()
        for path in self.files.values():
            with suppress(OSError):
                path.unlink(missing_ok=True)

    @property
    def seconds(self) -> float:
        """Time since the job was started, up to its end."""
        if self.started is None:
            return 0.0
        return (time.monotonic() if self.finished is None else self.finished) - self.started


def _is_there(path: Path) -> bool:
    """Whether a file is there and its folder lets that be seen."""
    try:
        return path.is_file()
    except OSError:
        return False


@contextmanager
def _new_folder(root: Path) -> Iterator[Path]:
    """A folder under a new unguessable id, gone again when the body raises; what cannot be written is StorageError."""
    folder = root / secrets.token_hex(16)
    try:
        with storing(root):
            folder.mkdir(parents=True)
            yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _share(path: Path, other: Path) -> Path:
    """The same file in another place: one content with two names where the system has that, else a copy."""
    try:
        os.link(path, other)
    except OSError:
        shutil.copyfile(path, other)
    return other


def _read_json(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}") from error
    if not isinstance(record, dict):
        raise InvalidInputError(f"{path} holds no record.")
    return record


def _write_json(path: Path, record: dict[str, Any]) -> None:
    write_bytes(path, (json.dumps(record, indent=2) + "\n").encode())
