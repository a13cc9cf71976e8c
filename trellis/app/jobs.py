"""The one model of a job: what the engine changes, what everybody sees of it, and what its folder keeps."""

import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer

from trellis.app.request import AssetRequest, JobRequest, read_request
from trellis.app.storage import StorageError, storage_error, storing
from trellis.atomic import write_bytes
from trellis.errors import InvalidInputError
from trellis.progress import StepInfo
from trellis.stages import Stage

KEPT_FILE = "kept.safetensors"  # the asset itself, for other files of it
SOURCE_STEM = "source"  # what a job starts from: an asset (SOURCE_FILE), or a mesh file of any ending
SOURCE_FILE = f"{SOURCE_STEM}.safetensors"
DRAFT_FILE = "draft.png"  # a first look at the asset, there before its files
FRAMED_FILE = "framed.png"  # the object of the first picture, framed as the networks saw it
DISCARDED_FILE = "discarded"  # there while a deleted job can still be brought back
REQUEST_FILE = "request.json"
RESULT_FILE = "result.json"
ASKED = {"model", "pictures", "prompt", "source", "asset", "mesh", "name", "owner", "created", "request"}
TOLD = {"state", "message", "notes", "likeness", "outside", "notice", "files", "took", "stages", "spent", "plan"}
TOLD |= {"repeated"}
CUT_OFF = "The program ended before this job had its result: generate it again."
GOES_ON = "The program ended before this job was done: it goes on when the program is started again."
LONGEST_NAME = 80  # characters
RECENT = 50  # jobs that are looked at for how long another takes
CLIENT_OWNER = "client "  # begins the owner of a job that a program asked for, before the address it called from

_log = logging.getLogger(__name__)


class JobState(StrEnum):
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
class JobOutcome:
    """What carrying out a job made: files by kind, remarks on them, how the model was opened for it, and how much the
    asset looks like its picture, from 0 to 1, where it has one (`trellis.export.likeness`).

    outside: what an edit changed outside of its region, as measured: voxels_changed, psnr (dB). notice: the line that
    the licence of a model asks for, "" for none.
    """

    files: dict[str, Path]
    notes: tuple[str, ...] = ()
    plan: dict[str, Any] = field(default_factory=dict)
    likeness: float | None = None
    outside: dict[str, float] | None = None
    notice: str = ""


def _write_steps(steps: Sequence[StepInfo]) -> list[dict[str, Any]]:
    return [{"stage": info.label, "step": info.step, "total": info.total} for info in steps]


def readable(text: str) -> str:
    """A text with "?" for every half of a surrogate pair, which JSON can state and no answer can hold."""
    return text.encode(errors="replace").decode()


_Text = Annotated[str, AfterValidator(readable)]  # also of records of earlier versions
# In records, files are named inside the job's folder.
_Path = Annotated[Path, PlainSerializer(lambda path: path.name)]
_PathOrNone = Annotated[Path | None, PlainSerializer(lambda path: path and path.name)]
_Request = Annotated[JobRequest, PlainSerializer(lambda request: request.to_dict())]
_Steps = Annotated[tuple[StepInfo, ...], PlainSerializer(_write_steps)]


class Job(BaseModel):
    """A job at one moment, safe to hand to any thread; every change is another `Job`.

    `request` says what is done, with which options; `source` is the id of the job that it starts from, whose `asset`,
    or else a `mesh` file, is in this job's folder; `name` is what people call it, such as the picture's name; `owner`
    whose it is: a digest that cannot be turned back, or a program by its address (see CLIENT_OWNER; "" for who knows
    the job's id); `created` is in seconds since 1970, later than every other job's; `prompt` is the text it is made
    from, in place of pictures. `stages` are the last steps of every stage seen so far, in order, and `spent` the
    seconds that each took; `message` is one sentence for people when the job failed or was cancelled; `notes` are
    remarks on a result; `likeness`, `outside`, `notice` are as in `JobOutcome`; `files` its files by kind; `plan` is
    how the model was opened for it; `repeated` how often it was begun again after its worker had died. `ahead` counts
    the jobs before it in the queue.
    """

    model_config = ConfigDict(frozen=True, validate_by_name=True, serialize_by_alias=True)

    folder: Path

    # What is asked for: REQUEST_FILE.
    model: str
    pictures: tuple[_Path, ...] = ()
    prompt: _Text | None = None
    source: Annotated[str | None, Field(validation_alias="asset_of", serialization_alias="asset_of")] = None
    asset: _PathOrNone = None
    mesh: _PathOrNone = None
    name: _Text = ""
    owner: str = ""
    created: float = 0.0
    request: Annotated[_Request, Field(validation_alias="options", serialization_alias="options")]

    # What becomes of it: RESULT_FILE.
    state: JobState = JobState.QUEUED
    message: str = ""
    notes: tuple[str, ...] = ()
    likeness: float | None = None
    outside: dict[str, float] | None = None
    notice: str = ""
    files: dict[str, _Path] = {}
    took: Annotated[float, Field(validation_alias="seconds", serialization_alias="seconds")] = 0.0
    stages: _Steps = ()
    spent: dict[str, float] = {}
    plan: dict[str, Any] = {}
    repeated: int = 0

    # What is true only while the program runs; times are those of time.monotonic().
    ahead: int = 0
    started: float = 0.0
    stage_begin: tuple[float, int] = (0.0, 0)  # when the present stage was first told of, its step
    expected: dict[str, float] = {}  # the seconds by stage of the job before it that was most like it

    def changed(self, **values: Any) -> "Job":
        """The job with other values."""
        return self.model_copy(update=values)

    # What follows from it.

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def interrupted(self) -> bool:
        """Whether the end of the program stopped it."""
        return self.state is JobState.FAILED and self.message == CUT_OFF

    @property
    def seconds(self) -> float:
        """Time since the job was started, up to its end."""
        return time.monotonic() - self.started if self.state is JobState.RUNNING else self.took

    @property
    def progress(self) -> float:
        """The share of a job that is done, from 0 to 1; it never falls while the job goes on.

        It follows the time where that is known of a job before.
        """
        if self.state is JobState.DONE:
            return 1.0
        if self.expected and self.stages:
            return min(0.99, 1 - self._expected_left / sum(self.expected.values()))
        return min(0.99, max((info.share for info in self.stages if info.stage.share), default=0.0))

    @property
    def fetching(self) -> str | None:
        """What is being fetched, its steps megabytes; None where nothing is."""
        now = self.stages[-1] if self.stages and self.state is JobState.RUNNING else None
        return now.subject if now is not None and now.stage is Stage.FETCH else None

    @property
    def pace(self) -> float | None:
        """Steps of the present stage in a second, once there have been some in at least one second."""
        begun, first = self.stage_begin
        seconds = time.monotonic() - begun
        if not self.stages or seconds < 1.0 or self.stages[-1].step <= first:
            return None
        return (self.stages[-1].step - first) / seconds

    @property
    def seconds_left(self) -> float | None:
        """How long a running job may still take, as jobs before it took; None where there are none or it takes longer.

        Of what is fetched, the pace so far tells it.
        """
        if self.fetching is not None:
            now = self.stages[-1]
            return (now.total - now.step) / self.pace if self.pace else None
        if self.state is not JobState.RUNNING or not self.expected:
            return None
        return self._expected_left or None

    @property
    def _expected_left(self) -> float:
        """The seconds that a job takes yet which takes as long as was expected; they never rise.

        The clock counts them down, between what the stages beginning with the present one take and those after it.
        """
        names = list(self.expected)
        reached = max((names.index(stage) for stage in self.spent if stage in names), default=0)
        most, least = (sum(list(self.expected.values())[first:]) for first in (reached, reached + 1))
        clock = sum(self.expected.values()) - self.seconds + self.spent.get(Stage.FETCH, 0.0)
        return min(most, max(least, clock))

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

    @property
    def kept(self) -> bool:
        """Whether other files can be made of the same asset."""
        return self.state is JobState.DONE and self.has_asset

    @property
    def asset_request(self) -> AssetRequest:
        """The request of a job that makes an asset; raises InvalidInputError for another."""
        if not isinstance(self.request, AssetRequest):
            raise InvalidInputError("This job made no asset, of which there could be other files.")
        return self.request

    @property
    def is_draft(self) -> bool:
        """Whether it ends with a first look, and its files are made later, if at all."""
        return isinstance(self.request, AssetRequest) and self.request.draft

    # Its way.

    def begun(self) -> "Job":
        """The job as it is started, which is recorded; raises StorageError."""
        job = self.changed(state=JobState.RUNNING, started=time.monotonic(), expected=_expected_seconds(self))
        with storing(self.folder):
            job.record()
        return job

    def again(self, *, begun: bool = True) -> "Job":
        """The job as it waits to be carried out once more, from its beginning; begun: a worker had begun with it."""
        return self.changed(state=JobState.QUEUED, repeated=self.repeated + begun, stages=(), spent={})

    def stepped(self, info: StepInfo) -> "Job":
        """The job after a step."""
        now, stage = time.monotonic(), str(info.stage)
        since = now - self.started - sum(self.spent.values())
        job = self.changed(spent=self.spent | {stage: self.spent.get(stage, 0.0) + since})
        if self.stages and self.stages[-1].label == info.label:
            return job.changed(stages=(*self.stages[:-1], info))
        return job.changed(stages=(*self.stages, info), stage_begin=(now, info.step))

    def ended(self, state: JobState, *, message: str = "", outcome: JobOutcome | None = None) -> "Job":
        """The job at its end, which is recorded; one that is done, but cannot be recorded, has failed for that reason.

        What its request left open is as the memory preset of the outcome's plan sets it.
        """
        job = self.changed(state=state, message=message, took=round(self.seconds, 3))
        if outcome is not None:
            request = job.request.under(outcome.plan.get("preset"), outcome.plan.get("presets", "trellis"))
            job = job.changed(request=request, **vars(outcome))
        try:
            job.record()
        except OSError as error:
            _log.warning("The end of job %s is not recorded: %s", self.id, error)
            if state is JobState.CANCELLED:
                _discard(self.folder / REQUEST_FILE, self.folder / RESULT_FILE)  # it would go on after a restart
            if state is JobState.DONE:
                reason = storage_error(error, self.folder) or StorageError(full=False, reason=str(error.strerror))
                _discard(*job.files.values(), job.kept_file)  # nobody could find them after a restart
                return self.ended(JobState.FAILED, message=str(reason))
        return job

    # Its folder.

    @property
    def holds_assets(self) -> bool:
        """Whether its folder holds an asset: the job's own, or the one that it starts from."""
        return self.has_asset or (self.asset is not None and _is_there(self.asset))

    def give_up_asset(self) -> None:
        """Delete the asset itself and the one that it starts from, where the folder lets that be done."""
        _discard(self.kept_file, *([] if self.asset is None else [self.asset]))

    def mark_discarded(self, discarded: bool) -> None:
        """Say to the next start that the folder is to go, or that it stays, where the folder lets that be done."""
        with suppress(OSError):
            mark = self.folder / DISCARDED_FILE
            mark.touch() if discarded else mark.unlink(missing_ok=True)

    def established(self, kept: Path | None = None) -> "Job":
        """The job with its folder on disk, which shares the pictures (PNG) and what it starts from.

        kept: the asset that it makes, where that is there already. Raises StorageError; there is no folder then.
        """
        folder = self.folder
        try:
            with storing(folder.parent):
                folder.mkdir(parents=True)
                own = [_share(path, folder / f"picture_{index}.png") for index, path in enumerate(self.pictures)]
                if kept is not None:
                    _share(kept, self.kept_file)
                asset = self.asset and _share(self.asset, folder / SOURCE_FILE)
                mesh = self.mesh and _share(self.mesh, folder / (SOURCE_STEM + self.mesh.suffix.lower()))
                job = self.changed(pictures=tuple(own), asset=asset, mesh=mesh)
                job.record()
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return job

    def record(self) -> None:
        """Write the job's records; raises OSError."""
        for name, fields in ((REQUEST_FILE, ASKED), (RESULT_FILE, TOLD)):
            record = self.model_dump(mode="json", include=fields)
            write_bytes(self.folder / name, (json.dumps(record, indent=2) + "\n").encode())

    @classmethod
    def restore(cls, folder: Path, repeats: int = 0) -> "Job":
        """The job of a folder that an earlier start left; one that had begun, but not ended, waits again if it may be
        repeated so often, else it has failed.

        Raises InvalidInputError for a folder whose records cannot be read.
        """
        record = _read_json(folder / REQUEST_FILE)
        has_result = (folder / RESULT_FILE).is_file()  # records of earlier versions have none before the end
        record |= _read_json(folder / RESULT_FILE) if has_result else {"state": JobState.RUNNING}
        try:
            files = {kind: folder / Path(name).name for kind, name in record.get("files", {}).items()}
            record["files"] = {kind: path for kind, path in files.items() if path.is_file()}
            record["pictures"] = [folder / name for name in record["pictures"]]
            record |= {name: folder / record[name] for name in ("asset", "mesh") if record.get(name)}
            record["options"] = read_request(record["options"])
            record["stages"] = _read_steps(record.get("stages", ()))
            job = cls.model_validate({"created": folder.stat().st_mtime, **record, "folder": folder})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInputError(f"The records in {folder} are not those of a job: {error}") from error
        if job.state is not JobState.RUNNING:
            return job
        return job.again() if job.repeated < repeats else job.changed(state=JobState.FAILED, message=CUT_OFF)


def _read_steps(values: Sequence[Mapping[str, Any]]) -> list[StepInfo]:
    """The steps of a record; stages that an earlier version had are passed over."""
    steps = []
    for value in values:
        with suppress(ValueError):
            steps.append(StepInfo.parse(value["stage"], int(value["step"]), int(value["total"])))
    return steps


def new_folder(root: Path) -> Path:
    """A folder under `root` for a new job, by an unguessable name; it is not made."""
    return root / secrets.token_hex(16)


def _expected_seconds(job: Job) -> dict[str, float]:
    """The seconds by stage, in order, of the one of the last jobs done beside it that asked for most of the same.

    It is of the same model and operation, and began with an asset, or ended with a draft, if this one does.
    """
    most, spent = 0, dict[str, float]()
    asked, kind = job.request.to_dict(), (job.model, job.request.operation, job.is_draft, job.source is None)
    written = list[tuple[float, Path]]()
    for path in job.folder.parent.glob(f"*/{RESULT_FILE}"):
        with suppress(OSError):  # it has just gone
            written.append((path.stat().st_mtime, path.parent))
    for _, folder in sorted(written)[-RECENT:]:
        with suppress(OSError, InvalidInputError):  # of another version, or damaged: it tells nothing
            other = Job.restore(folder)
            given = other.request.to_dict()
            alike = sum(given.get(name) == value for name, value in asked.items())
            like = kind == (other.model, other.request.operation, other.is_draft, other.source is None)
            if other.state is JobState.DONE and like and alike >= most:
                most, spent = alike, other.spent
    return {stage: seconds for stage, seconds in spent.items() if stage != Stage.FETCH}


def _is_there(path: Path) -> bool:
    """Whether a file is there and its folder lets that be seen."""
    try:
        return path.is_file()
    except OSError:
        return False


def _discard(*paths: Path) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink(missing_ok=True)


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
