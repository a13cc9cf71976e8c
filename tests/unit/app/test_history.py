"""Jobs survive a restart with request and results, within limits of age, number and size; owners see their own."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.app.engines import start_engine
from tests.unit.app.fakes import PICTURE, FakePipeline
from tests.unit.app.waiting import wait_until
from trellis.app.engine import Engine, UnknownJobError
from trellis.app.history import HistoryLimits, folder_bytes, restore_jobs, surplus_jobs
from trellis.app.jobs import Job, JobState
from trellis.app.request import GenerationRequest, read_request
from trellis.errors import InvalidInputError

REQUEST = GenerationRequest(seed=5, formats=("ply",))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    engines = []

    def _start(pipeline: FakePipeline | None = None, **options: Any) -> Engine:
        engines.append(start_engine(lambda: pipeline or FakePipeline(), tmp_path / "jobs", **options))
        return engines[-1]

    yield _start
    for engine in engines:
        engine.close()


def finished(engine: Engine, job_id: str) -> Job:
    deadline = time.monotonic() + 20
    while not (view := engine.view(job_id)).state.final:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return view


def test_jobs_survive_a_restart(start: Callable[..., Engine]) -> None:
    first = start()
    job_id = first.submit(REQUEST, [PICTURE], owner="me", name="mug")
    before = finished(first, job_id)
    first.close()

    pipeline = FakePipeline()
    second = start(pipeline)
    after = second.view(job_id)
    assert (after.state, after.request, after.files) == (JobState.DONE, REQUEST, before.files)
    assert after == before.changed(started=0.0, stage_begin=(0.0, 0)) and after.name == "mug" and after.kept
    again = finished(second, second.extract(job_id, {"formats": ["glb"]}))  # other files, after a restart
    assert again.state is JobState.DONE and not pipeline.calls and pipeline.saves[0]["seed"] == 5
    assert [view.id for view in second.history("me")] == [again.id, job_id]


def test_the_same_request_again_is_the_same_call(start: Callable[..., Engine]) -> None:
    pipeline = FakePipeline()
    engine = start(pipeline)
    first = finished(engine, engine.submit(REQUEST, [PICTURE]))
    record = json.loads((first.files["ply"].parent / "request.json").read_text())
    pictures = [first.files["ply"].parent / name for name in record["pictures"]]
    second = finished(engine, engine.submit(read_request(record["options"]), pictures))
    assert pipeline.calls[0] == pipeline.calls[1]
    assert first.files["ply"].read_bytes() == second.files["ply"].read_bytes()


def test_a_job_that_was_cut_off_has_failed(start: Callable[..., Engine], tmp_path: Path) -> None:
    engine = start()
    job_id = engine.submit(REQUEST, [PICTURE])
    finished(engine, job_id)
    engine.close()
    (tmp_path / "jobs" / job_id / "result.json").unlink()
    view = start().view(job_id)
    assert view.state is JobState.FAILED and "generate it again" in view.message and not view.files


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"options": {"seed": "x"}}', '{"options": 3, "pictures": 4}'])
def test_damaged_records_are_passed_over(start: Callable[..., Engine], tmp_path: Path, content: str) -> None:
    engine = start()
    kept, damaged = (engine.submit(REQUEST, [PICTURE]) for _ in range(2))
    finished(engine, damaged)
    engine.close()
    (tmp_path / "jobs" / damaged / "request.json").write_text(content)
    (tmp_path / "jobs" / "notes").mkdir()
    assert [view.id for view in start().views()] == [kept]
    assert (tmp_path / "jobs" / damaged).is_dir()  # left for people to look at


def test_owners_see_their_own_history(start: Callable[..., Engine]) -> None:
    engine = start()
    mine, yours = (engine.submit(REQUEST, [PICTURE], owner=owner) for owner in ("me", "you"))
    finished(engine, yours)
    assert [view.id for view in engine.history("me")] == [mine]
    assert [view.id for view in engine.history("you")] == [yours]
    assert engine.history("nobody") == []
    engine.remove(mine)
    assert engine.history("me") == []


def test_the_order_of_jobs_survives_a_clock_that_stands_still_or_is_set_back(
    start: Callable[..., Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([1.7e9, 1.7e9, 1.7e9 - 3600, 1.7e9])
    monkeypatch.setattr("trellis.app.engine.time", SimpleNamespace(time=lambda: next(times)))
    engine = start(history=HistoryLimits(days=0))
    ids = [engine.submit(REQUEST, [PICTURE]) for _ in range(3)]
    for job_id in ids:
        finished(engine, job_id)
    ids.append(engine.extract(ids[0], {"formats": ["glb"]}))
    finished(engine, ids[-1])
    engine.close()
    jobs = restore_jobs(tmp_path / "jobs")
    assert [job.id for job in jobs] == ids
    assert len({job.created for job in jobs}) == 4 and all(0 <= job.created - 1.7e9 < 0.01 for job in jobs)


def test_age_number_and_size_limit_what_stays(start: Callable[..., Engine], tmp_path: Path) -> None:
    engine = start()
    ids = [engine.submit(REQUEST, [PICTURE]) for _ in range(4)]
    for job_id in ids:
        finished(engine, job_id)
    engine.close()
    jobs = restore_jobs(tmp_path / "jobs")
    assert [job.id for job in jobs] == ids
    size = folder_bytes(jobs[0].folder) / 1e9
    assert surplus_jobs(jobs, HistoryLimits()) == []
    assert surplus_jobs(jobs, HistoryLimits(jobs=3)) == jobs[:1]
    assert {job.id for job in surplus_jobs(jobs, HistoryLimits(gigabytes=2.5 * size))} == set(ids[:2])
    jobs[1] = jobs[1].changed(created=jobs[1].created - 10 * 86400)
    assert surplus_jobs(jobs, HistoryLimits(days=9)) == [jobs[1]]
    assert surplus_jobs(jobs, HistoryLimits(days=0, jobs=0, gigabytes=0)) == []

    engine = start(history=HistoryLimits(jobs=2))  # at the start
    assert [view.id for view in engine.views()] == ids[2:]
    newest = engine.submit(REQUEST, [PICTURE])  # and after every job
    finished(engine, newest)
    deadline = time.monotonic() + 5
    while len(engine.views()) > 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [view.id for view in engine.views()] == [ids[3], newest]
    with pytest.raises(UnknownJobError):
        engine.view(ids[2])
    assert sorted(path.name for path in (tmp_path / "jobs").iterdir()) == sorted([ids[3], newest])


def test_what_has_just_ended_stays_whatever_waits_and_however_large_it_is(start: Callable[..., Engine]) -> None:
    pipeline = FakePipeline()
    pipeline.writing.clear()
    engine = start(pipeline, history=HistoryLimits(jobs=1, gigabytes=1e-9))
    first, second = (engine.submit(REQUEST, [PICTURE]) for _ in range(2))
    wait_until(lambda: pipeline.saves)
    pipeline.gate.clear()
    pipeline.writing.set()
    assert finished(engine, first).state is JobState.DONE
    assert engine.view(second).state is not JobState.DONE
    pipeline.gate.set()
    assert finished(engine, second).state is JobState.DONE
    assert [job.id for job in engine.views()] == [second]


def test_limits_are_checked() -> None:
    with pytest.raises(InvalidInputError, match="days"):
        HistoryLimits(days=-1)
    with pytest.raises(InvalidInputError, match="jobs"):
        HistoryLimits(jobs=-1)
    with pytest.raises(InvalidInputError, match="gigabytes"):
        HistoryLimits(gigabytes=float("nan"))


def test_one_line_of_the_log_says_how_many_results_are_deleted(
    start: Callable[..., Engine], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="trellis.app.engine")
    engine = start()
    for job_id in [engine.submit(REQUEST, [PICTURE]) for _ in range(3)]:
        finished(engine, job_id)
    engine.close()
    assert not [record for record in caplog.records if "deleted" in record.message]
    start(history=HistoryLimits(jobs=1))
    [record] = [record for record in caplog.records if "deleted" in record.message]
    assert record.levelno == logging.INFO and record.message.startswith("Old results deleted: 2 (--keep-days")


def test_the_history_has_jobs_in_every_state(start: Callable[..., Engine]) -> None:
    pipeline = FakePipeline()
    engine = start(pipeline)
    done = engine.submit(REQUEST, [PICTURE], owner="me")
    finished(engine, done)
    pipeline.gate.clear()
    running, waiting, cancelled = (engine.submit(REQUEST, [PICTURE], owner="me") for _ in range(3))
    engine.cancel(cancelled)
    wait_until(lambda: engine.view(running).state is JobState.RUNNING)
    assert [(job.id, job.state.value) for job in engine.history("me")] == [
        (cancelled, "cancelled"),
        (waiting, "queued"),
        (running, "running"),
        (done, "done"),
    ]
    pipeline.gate.set()


def test_the_same_job_can_be_had_again(start: Callable[..., Engine]) -> None:
    pipeline = FakePipeline(fault=ValueError("no"))
    engine = start(pipeline)
    first = finished(engine, engine.submit(REQUEST, [PICTURE], owner="me", name="mug"))
    assert first.state is JobState.FAILED and not first.interrupted
    pipeline.fault = None
    again = finished(engine, engine.repeat(first.id))
    assert again.state is JobState.DONE and again.id != first.id and again.created > first.created
    assert (again.owner, again.name, again.request, again.model) == ("me", "mug", REQUEST, first.model)
    assert pipeline.calls[0] == pipeline.calls[1]
    assert again.pictures[0].read_bytes() == first.pictures[0].read_bytes()
    engine.remove(first.id)
    assert finished(engine, engine.repeat(again.id)).state is JobState.DONE
    assert len(pipeline.calls) == 2  # its asset is there


def test_an_interrupted_job_says_so_and_can_be_had_again(start: Callable[..., Engine], tmp_path: Path) -> None:
    engine = start()
    job_id = engine.submit(REQUEST, [PICTURE], owner="me")
    finished(engine, job_id)
    engine.close()
    for name in ("result.json", "kept.safetensors"):
        (tmp_path / "jobs" / job_id / name).unlink()
    engine = start()
    [job] = engine.history("me")
    assert job.interrupted
    assert finished(engine, engine.repeat(job_id)).state is JobState.DONE


def test_a_new_name_stays(start: Callable[..., Engine]) -> None:
    engine = start()
    job_id = engine.submit(REQUEST, [PICTURE], owner="me", name="mug")
    finished(engine, job_id)
    engine.rename(job_id, "  A  red\ncup ")
    for name in ("", " \n", "\x00"):
        with pytest.raises(InvalidInputError, match="name"):
            engine.rename(job_id, name)
    engine.rename(job_id, "A red cup " + "long " * 40)
    assert len(engine.view(job_id).name) == 80
    engine.close()
    job = start().view(job_id)
    assert job.name.startswith("A red cup long") and job.state is JobState.DONE


def test_a_discarded_job_can_be_brought_back_for_a_while(
    start: Callable[..., Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start()
    job_id = engine.submit(REQUEST, [PICTURE], owner="me")
    before = finished(engine, job_id)
    engine.discard(job_id)
    assert engine.history("me") == engine.views() == []
    with pytest.raises(UnknownJobError):
        engine.view(job_id)
    engine.bring_back(job_id)
    assert engine.view(job_id) == before and before.files["ply"].is_file()
    monkeypatch.setattr("trellis.app.engine.UNDO_SECONDS", 0.05)
    engine.discard(job_id)
    wait_until(lambda: not before.folder.exists())
    with pytest.raises(UnknownJobError):
        engine.bring_back(job_id)


def test_the_next_start_deletes_what_was_discarded(start: Callable[..., Engine], tmp_path: Path) -> None:
    engine = start()
    kept, gone, back = (engine.submit(REQUEST, [PICTURE], owner="me") for _ in range(3))
    finished(engine, back)
    for job_id in (gone, back):
        engine.discard(job_id)
    engine.bring_back(back)
    engine.close()
    assert (tmp_path / "jobs" / gone).is_dir()
    assert [job.id for job in start().history("me")] == [back, kept]
    assert not (tmp_path / "jobs" / gone).exists()


def test_a_running_job_that_is_discarded_ends(start: Callable[..., Engine]) -> None:
    pipeline = FakePipeline()
    pipeline.gate.clear()
    engine = start(pipeline)
    job_id = engine.submit(REQUEST, [PICTURE], owner="me")
    wait_until(lambda: engine.view(job_id).state is JobState.RUNNING)
    engine.discard(job_id)
    pipeline.gate.set()
    wait_until(lambda: not engine.busy)
    engine.bring_back(job_id)
    assert engine.view(job_id).state is JobState.CANCELLED
