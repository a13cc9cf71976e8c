"""Results that cannot be written: said in a sentence, the queue goes on, and nothing unfinished is left."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.unit.app.engines import fake_source, start_engine, start_workers
from tests.unit.app.fakes import PICTURE, FakePipeline
from tests.unit.app.process_fakes import Control
from tests.unit.app.small_disk import SIZE, fill, small_disk
from tests.unit.app.waiting import wait_until
from trellis.app import jobs
from trellis.app.bundles import bundle_file
from trellis.app.engine import Engine
from trellis.app.jobs import Job, JobState
from trellis.app.request import GenerationRequest
from trellis.app.storage import StorageError, storage_error, storing
from trellis.atomic import written_aside
from trellis.errors import Cancelled, InvalidInputError, TrellisError
from trellis.export.video import write_video

REQUEST = GenerationRequest(formats=("ply",))
FULL = "The disk of the results is full"
UNUSABLE = "The folder of the results cannot be used"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small") as folder:
        yield folder


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    engines = []

    def _start(pipeline: FakePipeline | None = None) -> Engine:
        engines.append(start_engine(lambda: pipeline or FakePipeline(), tmp_path / "jobs"))
        return engines[-1]

    yield _start
    for engine in engines:
        engine.close()


def finished(engine: Engine, job_id: str) -> Job:
    wait_until(lambda: engine.view(job_id).state.final)
    return engine.view(job_id)


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, FULL),
        (errno.EDQUOT, FULL),
        (errno.EROFS, UNUSABLE),
        (errno.EACCES, UNUSABLE),
    ],
)
def test_a_result_that_cannot_be_recorded_is_a_failure_and_the_queue_goes_on(
    start: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch, number: int, sentence: str
) -> None:
    pipeline = FakePipeline()
    pipeline.gate.clear()
    engine = start(pipeline)
    broken, waiting = (engine.submit(REQUEST, [PICTURE]) for _ in range(2))
    write = jobs.write_bytes

    def refuse(path: Path, data: bytes) -> Path:
        if broken in str(path):
            raise OSError(number, os.strerror(number), str(path))
        return write(path, data)

    monkeypatch.setattr(jobs, "write_bytes", refuse)
    pipeline.gate.set()
    view = finished(engine, broken)
    assert view.state is JobState.FAILED and view.message.startswith(sentence) and not view.files
    assert not list((engine._folder / broken).glob("asset*"))  # their room is needed
    assert finished(engine, waiting).state is JobState.DONE
    assert [(view.id, view.state) for view in engine.history("")] == [
        (waiting, JobState.DONE),
        (broken, JobState.FAILED),
    ]


def test_a_cancel_that_cannot_be_recorded_is_not_undone_by_a_restart(
    start: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, _: bytes) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    pipeline = FakePipeline()
    pipeline.gate.clear()
    engine = start(pipeline)
    running, waiting = (engine.submit(REQUEST, [PICTURE]) for _ in range(2))
    wait_until(lambda: engine.view(running).state is JobState.RUNNING)
    with monkeypatch.context() as full:
        full.setattr(jobs, "write_bytes", refuse)
        engine.cancel(waiting)
    assert engine.view(waiting).state is JobState.CANCELLED
    pipeline.gate.set()
    finished(engine, running)
    engine.close()
    assert [view.id for view in start().views()] == [running]


def test_a_disk_that_is_full_when_a_job_ends(tmp_path: Path, disk: Path) -> None:
    """With a real worker process and a real disk."""
    control = Control(tmp_path)
    engine = start_workers([fake_source(tmp_path)], disk / "jobs")
    try:
        control.set(stage="texture", step=5, fault="wait")
        broken = engine.submit(REQUEST, [PICTURE])
        wait_until(lambda: "texture 5" in control.lines())
        filler = fill(disk)
        with pytest.raises(StorageError, match=FULL) as refused:
            engine.submit(REQUEST, [PICTURE])
        assert refused.value.full and len(list((disk / "jobs").iterdir())) == 1
        control.set()
        view = finished(engine, broken)
        assert view.state is JobState.FAILED and view.message.startswith(FULL)
        assert not engine.busy
        filler.unlink()
        assert finished(engine, engine.submit(REQUEST, [PICTURE])).state is JobState.DONE
    finally:
        engine.close()


def test_libraries_that_write_by_themselves_are_understood(disk: Path) -> None:
    fill(disk)
    with pytest.raises(StorageError, match=FULL), storing(disk), written_aside(disk / "a.safetensors") as aside:
        save_file({"a": torch.zeros(1000)}, aside)
    frames = [np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)] * 30
    with pytest.raises(StorageError, match=FULL), storing(disk):
        write_video(disk / "a.mp4", frames, quality=0)
    assert [path.name for path in disk.iterdir()] == ["filler"]


def test_a_video_that_was_cut_short_is_none(tmp_path: Path, disk: Path) -> None:
    """ffmpeg leaves a file without an index, and what drives it does not tell."""
    frame = np.random.default_rng(0).integers(0, 255, (512, 512, 3), dtype=np.uint8)
    assert write_video(tmp_path / "whole.mp4", [frame] * 3, quality=1).stat().st_size > 100_000
    os.truncate(fill(disk), SIZE - 60_000)
    with pytest.raises(OSError, match="No space left"):
        write_video(disk / "cut.mp4", [frame] * 3, quality=1)
    assert not list(disk.glob("*cut*"))


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (RuntimeError("I/O error: No space left on device (os error 28)"), True),
        (RuntimeError("There is not enough space on the disk. (os error 112)"), True),
        (RuntimeError("Read-only file system (os error 30)"), False),
        (PermissionError(errno.EACCES, "Permission denied", "/results/a/kept.safetensors"), False),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/results/a"), False),
        (PermissionError(errno.EACCES, "Permission denied", "/models/a.safetensors"), None),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), None),
        (ValueError("an internal detail"), None),
        (Cancelled("Cancelled."), None),
        (InvalidInputError("There is no model 'no space left on device' and no 'read-only file system'."), None),
    ],
)
def test_which_errors_are_about_the_results(error: Exception, full: bool | None) -> None:
    found = storage_error(error, Path("/results"))
    assert (None if found is None else found.full) == full
    wrapped = TrellisError("The video could not be written.")
    wrapped.__cause__ = error
    again = storage_error(wrapped, Path("/results"))
    assert (None if again is None else again.full) == full


def test_a_file_in_the_place_of_the_folder_is_said_and_the_rest_works_on(start: Callable[..., Engine]) -> None:
    engine = start()
    done = finished(engine, engine.submit(REQUEST, [PICTURE]))
    folder = engine._folder
    folder.rename(folder.with_name("moved"))
    folder.write_text("in the way")
    with pytest.raises(StorageError, match=UNUSABLE) as refused:
        engine.submit(REQUEST, [PICTURE])
    assert not refused.value.full
    assert [view.id for view in engine.views()] == [view.id for view in engine.history("")] == [done.id]
    folder.unlink()  # now the folder is gone: it is made again
    assert finished(engine, engine.submit(REQUEST, [PICTURE])).state is JobState.DONE


def test_a_bundle_that_cannot_be_written_is_said(start: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = start()
    view = finished(engine, engine.submit(REQUEST, [PICTURE]))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("zipfile.ZipFile.write", refuse)
    with pytest.raises(StorageError, match=FULL):
        bundle_file(view, "all")
    assert not list(view.files["ply"].parent.glob("*.zip"))
