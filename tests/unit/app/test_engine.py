"""The engine with a fake pipeline: order, progress, cancel, faults, the bound of the queue, the record on disk."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trimesh
from PIL import Image

from tests.unit.app.engines import start_engine
from tests.unit.app.fakes import PICTURE, FakePipeline
from trellis.app.engine import KEPT_ASSETS, Engine, QueueFullError, UnknownJobError
from trellis.app.jobs import CUT_OFF, GOES_ON, Job, JobState
from trellis.app.request import GenerationRequest, read_request
from trellis.errors import InvalidInputError


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    engines = []

    def _start(load: Callable[..., FakePipeline], **options: Any) -> Engine:
        engines.append(start_engine(load, tmp_path / "jobs", **options))
        return engines[-1]

    yield _start
    for engine in engines:
        engine.close()


def wait(engine: Engine, job_id: str, until: Callable[[Job], bool] = lambda view: view.state.final) -> Job:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        view = engine.view(job_id)
        if until(view):
            return view
        time.sleep(0.01)
    raise AssertionError(f"the job is still {view.state} at {view.stages}")


def test_a_job_passes_its_options_and_leaves_files_and_records(start: Callable[..., Engine], tmp_path: Path) -> None:
    pipeline = FakePipeline()
    engine = start(lambda: pipeline)
    request = GenerationRequest(seed=11, latent_steps=4, formats=("glb", "ply"))
    job_id = engine.submit(request, [PICTURE])
    view = wait(engine, job_id)

    assert view.state is JobState.DONE, view.message
    assert [info.stage for info in view.stages] == ["load model", "prepare", "structure", "latent", "export"]
    assert all(info.step == info.total for info in view.stages)
    call = pipeline.calls[0]
    assert (call["seed"], call["latent_steps"], call["structure_steps"]) == (11, 4, None)
    assert call["sizes"] == [(32, 24)]
    assert view.notes == ("The background was removed without a network.",)
    assert sorted(view.files) == ["glb", "ply"]
    assert len(trimesh.load(view.files["glb"], force="mesh").faces) > 1000

    folder = tmp_path / "jobs" / job_id
    record = json.loads((folder / "request.json").read_text())
    assert record["model"] == "fake" and record["pictures"] == ["picture_0.png"]
    assert read_request(record["options"]) == request
    assert json.loads((folder / "result.json").read_text())["state"] == "done"


def test_jobs_run_one_after_the_other_in_order(start: Callable[..., Engine]) -> None:
    pipeline = FakePipeline()
    pipeline.gate.clear()
    engine = start(lambda: pipeline)
    ids = [engine.submit(GenerationRequest(seed=seed), [PICTURE]) for seed in (3, 1, 2)]
    wait(engine, ids[0], lambda view: view.state is JobState.RUNNING)
    assert [engine.view(job_id).ahead for job_id in ids] == [0, 1, 2]
    assert [engine.view(job_id).state for job_id in ids[1:]] == [JobState.QUEUED] * 2
    pipeline.gate.set()
    assert [wait(engine, job_id).state for job_id in ids] == [JobState.DONE] * 3
    assert [call["seed"] for call in pipeline.calls] == [3, 1, 2]


def test_cancel_stops_a_running_job_within_one_step(start: Callable[..., Engine]) -> None:
    pipeline = FakePipeline(step_seconds=0.05)
    engine = start(lambda: pipeline)
    job_id = engine.submit(GenerationRequest(), [PICTURE])
    wait(engine, job_id, lambda view: any(info.stage == "structure" and info.step >= 2 for info in view.stages))
    engine.cancel(job_id)
    before = pipeline.steps_done
    view = wait(engine, job_id)
    assert view.state is JobState.CANCELLED and not view.files
    assert pipeline.steps_done <= before + 1
    assert wait(engine, engine.submit(GenerationRequest(formats=("glb",)), [PICTURE])).state is JobState.DONE


def test_cancel_takes_a_waiting_job_out_at_once(start: Callable[..., Engine]) -> None:
    pipeline = FakePipeline()
    pipeline.gate.clear()
    engine = start(lambda: pipeline)
    first, second = (engine.submit(GenerationRequest(seed=seed), [PICTURE]) for seed in (0, 1))
    engine.cancel(second)
    assert engine.view(second).state is JobState.CANCELLED
    assert engine.executor.wanted == 1  # nothing of it waits on
    pipeline.gate.set()
    assert wait(engine, first).state is JobState.DONE
    assert [call["seed"] for call in pipeline.calls] == [0]
    engine.cancel(first)  # too late: nothing changes
    assert engine.view(first).state is JobState.DONE


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (InvalidInputError("The picture is empty."), "The picture is empty."),
        (RuntimeError("secret detail"), "Something went wrong inside the program (RuntimeError)"),
        (MemoryError(), "not enough memory"),
        (RuntimeError("CUDA out of memory. Tried"), "not enough memory"),
    ],
)
def test_a_fault_ends_only_its_job(start: Callable[..., Engine], fault: Exception, message: str) -> None:
    pipeline = FakePipeline(fault=fault)
    engine = start(lambda: pipeline)
    view = wait(engine, engine.submit(GenerationRequest(), [PICTURE]))
    assert view.state is JobState.FAILED
    assert message in view.message and "secret" not in view.message
    pipeline.fault = None
    assert wait(engine, engine.submit(GenerationRequest(formats=("glb",)), [PICTURE])).state is JobState.DONE


def test_the_queue_is_bounded_and_has_room_again(start: Callable[..., Engine]) -> None:
    pipeline = FakePipeline()
    pipeline.gate.clear()
    engine = start(lambda: pipeline, queue_limit=2)
    ids = [engine.submit(GenerationRequest(formats=("glb",)), [PICTURE]) for _ in range(2)]
    with pytest.raises(QueueFullError, match="2 jobs"):
        engine.submit(GenerationRequest(), [PICTURE])
    pipeline.gate.set()
    for job_id in ids:
        wait(engine, job_id)
    assert wait(engine, engine.submit(GenerationRequest(formats=("glb",)), [PICTURE])).state is JobState.DONE


def test_a_job_without_pictures_is_refused_before_the_queue(start: Callable[..., Engine], tmp_path: Path) -> None:
    engine = start(FakePipeline)
    with pytest.raises(InvalidInputError, match="between 1 and"):
        engine.submit(GenerationRequest(), [])
    assert not (tmp_path / "jobs").exists()


def test_unknown_ids_are_refused(start: Callable[..., Engine]) -> None:
    engine = start(FakePipeline)
    with pytest.raises(UnknownJobError, match="not known"):
        engine.view("../../etc/passwd")
    with pytest.raises(UnknownJobError):
        engine.cancel("0" * 32)


def test_close_ends_what_is_left_and_says_so(start: Callable[..., Engine]) -> None:
    pipeline = FakePipeline(step_seconds=0.05)
    engine = start(lambda: pipeline)
    ids = [engine.submit(GenerationRequest(), [PICTURE]) for _ in range(4)]
    wait(engine, ids[0], lambda view: view.state is JobState.RUNNING)
    engine.cancel(ids[1])
    engine.close()
    engine.close()
    views = [engine.view(job_id) for job_id in ids]
    assert views[1].state is JobState.CANCELLED  # that was somebody's wish
    assert [view.message for view in (views[0], *views[2:])] == [CUT_OFF, GOES_ON, GOES_ON]
    assert {view.state for view in (views[0], *views[2:])} == {JobState.FAILED}
    with pytest.raises(QueueFullError, match="shutting down"):
        engine.submit(GenerationRequest(), [PICTURE])


def test_views_list_every_job_and_busy_says_whether_one_waits_or_runs(start: Callable[..., Engine]) -> None:
    pipeline = FakePipeline()
    pipeline.gate.clear()
    engine = start(lambda: pipeline)
    assert engine.views() == [] and not engine.busy
    ids = [engine.submit(GenerationRequest(formats=("glb",)), [PICTURE]) for _ in range(2)]
    assert [view.id for view in engine.views()] == ids and engine.busy
    pipeline.gate.set()
    assert [wait(engine, job_id).state for job_id in ids] == [JobState.DONE] * 2
    assert not engine.busy


def test_remove_deletes_a_finished_a_waiting_and_a_running_job(start: Callable[..., Engine], tmp_path: Path) -> None:
    pipeline = FakePipeline()
    engine = start(lambda: pipeline)
    done = engine.submit(GenerationRequest(formats=("glb",)), [PICTURE])
    wait(engine, done)
    pipeline.gate.clear()
    running, waiting = (engine.submit(GenerationRequest(formats=("glb",)), [PICTURE]) for _ in range(2))
    wait(engine, running, lambda view: view.state is JobState.RUNNING)
    for job_id in (done, waiting, running):
        engine.remove(job_id)
        with pytest.raises(UnknownJobError):
            engine.view(job_id)
    assert engine.views() == []
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == [running]  # until its step has ended
    pipeline.gate.set()
    deadline = time.monotonic() + 10
    while engine.busy or any((tmp_path / "jobs").iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_other_files_of_an_asset_need_no_sampling(start: Callable[..., Engine], tmp_path: Path) -> None:
    pipeline = FakePipeline()
    engine = start(lambda: pipeline)
    first = engine.submit(GenerationRequest(seed=11, latent_steps=4, formats=("ply",)), [PICTURE])
    view = wait(engine, first)
    assert view.kept and view.draft is not None and Image.open(view.draft).size == (64, 32)
    second = engine.extract(first, {"formats": ["glb"], "texture_size": 2048, "normal_map": True})
    view = wait(engine, second)
    assert view.state is JobState.DONE and view.kept and list(view.files) == ["glb"]
    assert view.files["glb"].parent == tmp_path / "jobs" / second
    assert engine.view(first).files["ply"].is_file()
    assert len(pipeline.calls) == 1 and [save["seed"] for save in pipeline.saves] == [11, 11]
    assert pipeline.saves[1]["texture_size"] == 2048 and pipeline.saves[1]["normal_map"] is True
    record = json.loads((tmp_path / "jobs" / second / "request.json").read_text())
    assert record["asset_of"] == first and record["options"]["latent_steps"] == 4
    engine.remove(first)
    assert wait(engine, engine.extract(second, {"formats": ("stl",)})).state is JobState.DONE  # it has its own hold
    assert len(pipeline.calls) == 1


def test_extraction_refuses_what_it_cannot_do(start: Callable[..., Engine]) -> None:
    pipeline = FakePipeline()
    engine = start(lambda: pipeline)
    job_id = engine.submit(GenerationRequest(formats=("ply",)), [PICTURE])
    wait(engine, job_id)
    with pytest.raises(InvalidInputError, match="seed decides"):
        engine.extract(job_id, {"seed": 4})
    with pytest.raises(InvalidInputError, match="texture_size"):
        engine.extract(job_id, {"texture_size": 3})
    with pytest.raises(UnknownJobError):
        engine.extract("0" * 32, {})
    pipeline.gate.clear()
    running = engine.submit(GenerationRequest(), [PICTURE])
    with pytest.raises(InvalidInputError, match="not kept"):
        engine.extract(running, {})
    pipeline.gate.set()


def test_only_the_last_assets_are_kept(start: Callable[..., Engine], tmp_path: Path) -> None:
    engine = start(FakePipeline, queue_limit=KEPT_ASSETS + 2)
    ids = [engine.submit(GenerationRequest(seed=seed, formats=("ply",)), [PICTURE]) for seed in range(KEPT_ASSETS + 2)]
    for job_id in ids:
        assert wait(engine, job_id).state is JobState.DONE
    assert [engine.view(job_id).kept for job_id in ids] == [False] * 2 + [True] * KEPT_ASSETS
    with pytest.raises(InvalidInputError, match="generate it again"):
        engine.extract(ids[0], {})
    assert engine.view(ids[0]).files["ply"].is_file()


def test_a_job_is_made_of_pictures_or_of_a_prompt(start: Callable[..., Engine]) -> None:
    pipeline = FakePipeline()
    engine = start(lambda **_: pipeline, models=["words"], texts=["words"])
    assert wait(engine, engine.submit(GenerationRequest(formats=("ply",)), prompt="a red mug")).state is JobState.DONE
    assert pipeline.calls[0]["prompt"] == "a red mug"
    for pictures, prompt in (([], None), ([PICTURE], "both"), ([], "  "), ([], "x" * 1001)):
        with pytest.raises(InvalidInputError):
            engine.submit(GenerationRequest(), pictures, prompt=prompt)
    with pytest.raises(InvalidInputError, match="one of fake, words"):
        engine.submit(GenerationRequest(), [PICTURE], model="/etc")


def test_several_pictures_reach_the_pipeline_in_order(start: Callable[..., Engine], tmp_path: Path) -> None:
    pipeline = FakePipeline()
    engine = start(lambda: pipeline)
    pictures = [tmp_path / f"{index}.png" for index in range(12)]
    for index, picture in enumerate(pictures):
        Image.new("RGB", (16 + index, 16)).save(picture)
    request = GenerationRequest(formats=("ply",), multi_image="multidiffusion", speed="fast")
    assert wait(engine, engine.submit(request, pictures)).state is JobState.DONE
    assert pipeline.calls[0]["sizes"] == [(16 + index, 16) for index in range(12)]
    assert pipeline.calls[0]["multi_image"] == "multidiffusion" and pipeline.calls[0]["speed"] == "fast"
