"""Processes that write the files of one job while the next one is made."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.app.engines import fake_source, start_workers
from tests.unit.app.fakes import PICTURE
from tests.unit.app.process_fakes import CANCEL_ARRIVED, Control
from tests.unit.app.waiting import wait_until
from trellis.app.batch import Batch, BatchItem
from trellis.app.engine import Engine
from trellis.app.executor import Executor
from trellis.app.jobs import CUT_OFF, JobState
from trellis.app.presets import GIB
from trellis.app.request import read_request
from trellis.app.worker_process import PipelineSource, WorkerProcess
from trellis.app.writers import writing_processes


@pytest.fixture
def control(tmp_path: Path) -> Control:
    return Control(tmp_path)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    engines = []

    def _start(writers: int) -> Engine:
        source = fake_source(tmp_path)
        engines.append(start_workers([source], tmp_path / "jobs", writers=[source] * writers))
        return engines[-1]

    yield _start
    for engine in engines:
        engine.close()


def submit(engine: Engine, **options: object) -> str:
    return engine.submit(read_request({"formats": ["glb"], **options}), [PICTURE])


def ended(engine: Engine, *ids: str) -> list[JobState]:
    wait_until(lambda: all(engine.view(job_id).state.final for job_id in ids))
    return [engine.view(job_id).state for job_id in ids]


def test_the_next_asset_is_made_while_files_are_written(start: Callable[..., Engine], control: Control) -> None:
    control.set(stage="texture", step=2, fault="wait")
    engine = start(writers=2)
    ids = [submit(engine, seed=seed) for seed in (1, 2, 3)]
    wait_until(lambda: sum(line.startswith("generate") for line in control.lines()) == 3)  # and no file is there
    assert not any(engine.view(job_id).files for job_id in ids)
    wait_until(lambda: control.lines().count("texture 2") == 2)  # two are written side by side
    control.set()
    assert ended(engine, *ids) == [JobState.DONE] * 3
    made = {line.split()[-1] for line in control.lines() if line.startswith("generate")}
    assert len(made) == 1 and engine.executor.tools[0].pid == int(made.pop())
    first = engine.view(ids[0])
    assert [info.stage for info in first.stages][-2:] == ["texture", "preview"]
    assert first.notes == ("A note of the pipeline.",) and first.likeness == 0.75

    alone = start(writers=0)
    again = submit(alone, seed=1)
    assert ended(alone, again) == [JobState.DONE]
    assert alone.view(again).files["glb"].read_bytes() == first.files["glb"].read_bytes()


@pytest.mark.parametrize("fault", ["kill", "error", "memory"])
def test_what_fails_a_file_costs_one_job(start: Callable[..., Engine], control: Control, fault: str) -> None:
    control.set(stage="texture", step=2, fault=fault)
    engine = start(writers=1)
    broken = submit(engine, seed=1)
    assert ended(engine, broken) == [JobState.FAILED] and engine.view(broken).message
    maker = engine.executor.tools[0].pid
    control.set()
    assert ended(engine, submit(engine, seed=2)) == [JobState.DONE]
    assert engine.executor.tools[0].pid == maker


def test_a_job_whose_files_are_written_or_wait_for_it_can_be_cancelled(
    start: Callable[..., Engine], control: Control
) -> None:
    control.set(stage="texture", step=2, fault="wait")
    engine = start(writers=1)
    ids = [submit(engine, seed=seed) for seed in (1, 2, 3)]
    wait_until(lambda: sum(line.startswith("generate") for line in control.lines()) == 3)
    wait_until(lambda: "texture 2" in control.lines())
    for job_id in ids[:2]:
        engine.cancel(job_id)
    assert engine.view(ids[1]).state is JobState.CANCELLED  # at once: nothing is done for it
    wait_until(lambda: CANCEL_ARRIVED in control.lines())  # in the process, before it goes on
    control.set()
    assert ended(engine, *ids) == [JobState.CANCELLED, JobState.CANCELLED, JobState.DONE]
    assert not any(path.suffix == ".glb" for job_id in ids[:2] for path in engine.view(job_id).folder.iterdir())


def test_the_end_of_the_program_tells_of_jobs_whose_files_wait(start: Callable[..., Engine], control: Control) -> None:
    control.set(stage="texture", step=2, fault="wait")
    engine = start(writers=1)
    ids = [submit(engine, seed=seed) for seed in (1, 2)]
    wait_until(lambda: sum(line.startswith("generate") for line in control.lines()) == 2)
    wait_until(lambda: "texture 2" in control.lines())
    engine.close()
    assert [engine.view(job_id).message for job_id in ids] == [CUT_OFF, CUT_OFF]


def test_of_a_batch_too(control: Control, tmp_path: Path) -> None:
    items = [BatchItem(PICTURE, name) for name in "abcd"]
    source = fake_source(tmp_path)
    executor, writers = (Executor([WorkerProcess(source) for _ in range(count)]) for count in (1, 2))
    control.set(stage="texture", step=2, fault="wait")
    request = read_request({"formats": ["glb"]})
    batch = Batch(items, tmp_path / "out", request=request, model="fake", executor=executor, writers=writers)
    try:
        with ThreadPoolExecutor(4) as threads:
            entries = [threads.submit(batch.carry_out, item) for item in items]
            wait_until(lambda: sum(line.startswith("generate") for line in control.lines()) == 4)
            assert not any(entry.done() for entry in entries)
            control.set()
        assert [entry.result().state for entry in entries] == ["done"] * 4
    finally:
        executor.close()
        writers.close()
    assert {path.name for path in (tmp_path / "out").glob("*.glb")} == {"a.glb", "b.glb", "c.glb", "d.glb"}


@pytest.mark.parametrize(
    ("plan", "count"),
    [
        ({"residency": "keep", "peak_device_memory": 0, "free_memory": 140 * GIB}, 6),
        ({"residency": "keep", "peak_device_memory": 0, "free_memory": 12 * GIB}, 1),
        ({"residency": "keep", "peak_device_memory": 0, "free_memory": 6 * GIB}, 0),
        ({"residency": "offload", "peak_device_memory": 0, "free_memory": 140 * GIB}, 0),
        ({"residency": "keep", "peak_device_memory": None, "free_memory": 140 * GIB}, 0),
    ],
)
def test_as_many_as_there_is_room_for(plan: dict[str, Any], count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.Process.cpu_affinity", lambda process: list(range(16)))
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=100 * GIB))
    assert len(writing_processes(PipelineSource(), plan)) == count
    assert writing_processes(PipelineSource(options={"memory_limit": 12.0}), plan) == []
