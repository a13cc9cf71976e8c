"""Many pictures, one asset of each, with a manifest that says what became of every one.

The work runs in a process of its own (`trellis.app.worker_process`), so that nothing that happens to one picture, not
even the death of that process, keeps the others from their turn.
"""

import hashlib
import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from trellis.app.executor import Executor, Tool
from trellis.app.failures import explain
from trellis.app.jobs import Job, JobOutcome
from trellis.app.request import JobRequest
from trellis.app.writers import carry_out_apart
from trellis.atomic import write_bytes
from trellis.errors import Cancelled, InvalidInputError, TrellisError
from trellis.progress import CancelToken, StepInfo

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".heic", ".heif")
MANIFEST_FILE = "manifest.json"
MANIFEST_FORMAT = "trellis batch 1"
WORK_FOLDER = ".unfinished"  # of the results' folder: assets that are being made
WAITING, DONE, FAILED = "waiting", "done", "failed"


class BatchError(TrellisError):
    """The folder of the results cannot be used."""


@dataclass(frozen=True)
class BatchItem:
    """A picture, and its asset's name: a path below the folder of the results, with slashes and without ending."""

    picture: Path
    name: str


@dataclass(frozen=True)
class BatchEntry:
    """What became of one picture; a line of the manifest.

    sha256: of the picture; recipe: of model, request and picture together, so that a change of any of them is seen;
    files: by kind {"path" below the folder of the results, "bytes", "sha256"}; message: why it failed, for people;
    likeness: how much the asset looks like the picture, from 0 to 1;
    request, plan: what was carried out, and how the model was opened for it (`trellis.app.worker.resolved_plan`);
    notice: the line that the licence of the model asks for.
    """

    name: str
    picture: str
    state: str = WAITING
    sha256: str = ""
    recipe: str = ""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    likeness: float | None = None
    message: str = ""
    seconds: float = 0.0
    request: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    notice: str = ""


def find_pictures(sources: Sequence[Path], results: Path, *, recursive: bool = False) -> list[BatchItem]:
    """The pictures among files and folders, in the order given, a folder's by name; every asset gets its own name.

    A folder below a source appears in the name. Of a folder, files that end like a picture (PICTURE_ENDINGS) are taken
    but hidden ones and those of `results`, the folder of the results; files are taken as they are given. Raises
    InvalidInputError for a source that is not there or is `results` itself, or where nothing is found.
    """
    found: dict[Path, str] = {}
    for source in sources:
        if source.resolve() == results.resolve():
            raise InvalidInputError(f"{source} holds the pictures; choose another folder for the results.")
        if source.is_dir():
            paths = sorted(source.rglob("*") if recursive else source.iterdir())
            inside = [path for path in paths if _is_picture(path, source, results)]
            found |= {path: path.relative_to(source).with_suffix("").as_posix() for path in inside if path not in found}
        elif source.is_file():
            found.setdefault(source, source.stem)
        else:
            raise InvalidInputError(f"There is no picture or folder {source}.")
    if not found:
        raise InvalidInputError(f"No picture was found; they end in {', '.join(PICTURE_ENDINGS)}.")
    counts = Counter(name.casefold() for name in found.values())
    return [
        BatchItem(path, name if counts[name.casefold()] == 1 else f"{name}_{path.suffix[1:]}_{_short(str(path))}")
        for path, name in found.items()
    ]


class Batch:
    """Assets of `items` under `folder`, made one after the other, and the manifest `folder/manifest.json`.

    What an earlier run of the same request and model finished is not made again; what it left unfinished goes on from
    the last asset that the networks made. Entries of pictures that are not among `items` stay in the manifest. Raises
    InvalidInputError for a manifest that cannot be read.
    """

    def __init__(
        self,
        items: Sequence[BatchItem],
        folder: Path,
        *,
        request: JobRequest,
        model: str,
        executor: Executor,
        writers: Executor,
    ) -> None:
        self.items = tuple(items)
        self.manifest = folder / MANIFEST_FILE
        self._folder = folder
        self._request = request
        self._model = model
        self._executor = executor
        self._writers = writers
        self._noting = threading.Lock()
        self._entries = self._read()
        for item in self.items:
            self._entries.setdefault(item.name, BatchEntry(item.name, str(item.picture)))
        self._write()

    @property
    def entries(self) -> list[BatchEntry]:
        """What became of `items`, in their order."""
        return [self._entries[item.name] for item in self.items]

    def remaining(self) -> list[BatchItem]:
        """The items that are to be made: new ones, failed ones, those whose picture, options or files changed."""
        return [item for item in self.items if not self._is_done(item)]

    def carry_out(
        self, item: BatchItem, *, on_step: Callable[[StepInfo], None] | None = None, cancel: CancelToken | None = None
    ) -> BatchEntry:
        """Make one asset and note in the manifest what came of it; whatever is wrong with it becomes its message.

        Several may be made at once, each in a thread. Raises only Cancelled, and BatchError when
        the manifest itself cannot be written.
        """
        started = time.monotonic()
        try:
            entry = self._make(item, on_step or (lambda info: None), cancel or CancelToken())
        except Cancelled:
            raise
        except (TrellisError, OSError, MemoryError) as error:
            message = str(error) if isinstance(error, OSError) else explain(error)
            entry = BatchEntry(item.name, str(item.picture), FAILED, message=message)
            shutil.rmtree(self._work_folder(item), ignore_errors=True)
        entry = replace(entry, seconds=round(time.monotonic() - started, 2))
        with self._noting:
            self._entries[item.name] = entry
            self._write()
        return entry

    def tidy(self) -> None:
        """Remove what interrupted runs left of assets, when all items have had their turn."""
        shutil.rmtree(self._folder / WORK_FOLDER, ignore_errors=True)

    def _make(self, item: BatchItem, on_step: Callable[[StepInfo], None], cancel: CancelToken) -> BatchEntry:
        digest = _digest(item.picture)
        aside = self._work_folder(item) / self._recipe(digest)[:16]  # another recipe never meets this one's asset
        aside.mkdir(parents=True, exist_ok=True)
        job = Job(folder=aside, model=self._model, pictures=(item.picture,), request=self._request)

        def work(tool: Tool, *, write: bool) -> JobOutcome:
            return tool.run(job, on_step=on_step, cancel=cancel, name=Path(item.name).name, write=write)

        outcome = carry_out_apart(self._executor, self._writers, work)
        place = self._folder / Path(item.name).parent
        place.mkdir(parents=True, exist_ok=True)
        made = {}
        for kind, path in outcome.files.items():
            final = path.replace(place / path.name)
            made[kind] = {
                "path": final.relative_to(self._folder).as_posix(),
                "bytes": final.stat().st_size,
                "sha256": _digest(final),
            }
        shutil.rmtree(self._work_folder(item), ignore_errors=True)
        request = self._request.under(outcome.plan.get("preset"), outcome.plan.get("presets", "trellis"))
        return BatchEntry(
            item.name,
            str(item.picture),
            DONE,
            digest,
            self._recipe(digest),
            made,
            outcome.notes,
            outcome.likeness,
            request=request.to_dict(),
            plan=outcome.plan,
            notice=outcome.notice,
        )

    def _is_done(self, item: BatchItem) -> bool:
        entry = self._entries[item.name]
        if entry.state != DONE or not item.picture.is_file() or entry.recipe != self._recipe(_digest(item.picture)):
            return False
        places = [(self._folder / file["path"], file["bytes"]) for file in entry.files.values()]
        return all(path.is_file() and path.stat().st_size == size for path, size in places)

    def _recipe(self, digest: str) -> str:
        facts = {"model": self._model, "request": self._request.to_dict(), "picture": digest}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def _work_folder(self, item: BatchItem) -> Path:
        return self._folder / WORK_FOLDER / _short(item.name)

    def _read(self) -> dict[str, BatchEntry]:
        if not self.manifest.exists():
            return {}
        try:
            record = json.loads(self.manifest.read_text(encoding="utf-8"))
            if record["format"] != MANIFEST_FORMAT:
                raise ValueError(f"its format is {record['format']!r}")
            entries = [BatchEntry(**{**values, "notes": tuple(values["notes"])}) for values in record["assets"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InvalidInputError(
                f"{self.manifest} cannot be read ({error}); remove it, or choose another folder for the results."
            ) from error
        return {entry.name: entry for entry in entries}

    def _write(self) -> None:
        states = Counter(entry.state for entry in self._entries.values())
        record = {
            "format": MANIFEST_FORMAT,
            "model": self._model,
            "request": self._request.to_dict(),
            "counts": {state: states[state] for state in (DONE, FAILED, WAITING)},
            "assets": [asdict(entry) for entry in self._entries.values()],
        }
        try:
            write_bytes(self.manifest, (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())
        except OSError as error:
            raise BatchError(f"The manifest {self.manifest} cannot be written: {error}.") from error


def _is_picture(path: Path, source: Path, results: Path) -> bool:
    if path.suffix.lower() not in PICTURE_ENDINGS or not path.is_file():
        return False
    if any(part.startswith(".") for part in path.relative_to(source).parts):
        return False
    inside = source.resolve() in results.resolve().parents
    return not (inside and results.resolve() in path.resolve().parents)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]
