"""The one model of a job: what it says of its way, what its folder keeps, and folders of earlier versions."""

import json
import os
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.unit.app.engines import start_engine
from tests.unit.app.fakes import PICTURE, FakePipeline
from tests.unit.app.waiting import wait_until
from trellis.app.jobs import CUT_OFF, GOES_ON, Job, JobOutcome, JobState
from trellis.app.request import GenerationRequest
from trellis.progress import StepInfo
from trellis.stages import Stage

REQUEST = GenerationRequest(seed=5, formats=("ply",))
# As version 0.1 wrote them.
OLD_REQUEST = {
    "model": "fake",
    "pictures": ["picture_0.png"],
    "name": "mug",
    "owner": "me",
    "created": 1700000000.5,
    "options": {"seed": 5, "formats": ["ply"], "structure_steps": None},
}
OLD_RESULT = {
    "state": "done",
    "message": "",
    "notes": ["A note."],
    "files": {"ply": "asset.ply", "mp4": "asset.mp4"},
    "seconds": 12.5,
    "stages": [
        {"stage": "download TRELLIS-image-large", "step": 9, "total": 9},
        {"stage": "background", "step": 1, "total": 1},
        {"stage": "load model", "step": 1, "total": 1},
    ],
    "plan": {"model": "fake"},
}


def job(**values: Any) -> Job:
    return Job(**{"folder": Path("x"), "model": "fake", "request": REQUEST} | values)


def old_folder(root: Path, result: dict[str, Any] | None) -> Path:
    folder = root / ("0" * 32)
    folder.mkdir(parents=True)
    shutil.copyfile(PICTURE, folder / "picture_0.png")
    (folder / "asset.ply").write_text("ply")
    (folder / "request.json").write_text(json.dumps(OLD_REQUEST))
    if result is not None:
        (folder / "result.json").write_text(json.dumps(result))
    return folder


def test_a_folder_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    folder = old_folder(tmp_path, OLD_RESULT)
    found = Job.restore(folder)
    assert found == Job(
        folder=folder,
        model="fake",
        pictures=(folder / "picture_0.png",),
        name="mug",
        owner="me",
        created=1700000000.5,
        request=REQUEST,
        state=JobState.DONE,
        notes=("A note.",),
        files={"ply": folder / "asset.ply"},  # the other has gone
        took=12.5,
        stages=(StepInfo(Stage.FETCH, 9, 9, "TRELLIS-image-large"), StepInfo(Stage.OPEN, 1, 1)),
        plan={"model": "fake"},
    )
    assert found.seconds == 12.5 and found.progress == 1 and found.request.operation == "generate"
    found.record()
    assert Job.restore(folder) == found


def test_a_record_with_half_a_character_can_be_shown(tmp_path: Path) -> None:
    folder = old_folder(tmp_path, OLD_RESULT)
    (folder / "request.json").write_text(json.dumps(OLD_REQUEST | {"prompt": "a \ud800 cat", "name": "\udfff"}))
    found = Job.restore(folder)
    assert (found.prompt, found.name) == ("a ? cat", "?")


def test_a_job_of_an_earlier_version_without_a_result_was_cut_off(tmp_path: Path) -> None:
    found = Job.restore(old_folder(tmp_path, None))
    assert (found.state, found.message) == (JobState.FAILED, CUT_OFF)


def test_what_is_recorded_is_what_is_read(tmp_path: Path) -> None:
    asked = job(folder=tmp_path / ("1" * 32), pictures=(PICTURE,), source="2" * 32, name="mug", owner="me", created=3.5)
    waiting = asked.established()
    assert Job.restore(waiting.folder) == waiting and waiting.pictures[0].read_bytes() == PICTURE.read_bytes()
    running = waiting.begun()
    assert Job.restore(waiting.folder) == waiting.changed(state=JobState.FAILED, message=CUT_OFF)
    (waiting.folder / "asset.ply").write_text("ply")
    outcome = JobOutcome({"ply": waiting.folder / "asset.ply"}, ("A note.",), {"preset": "prototype"})
    done = running.stepped(StepInfo(Stage.FETCH, 2, 2, "a b")).ended(JobState.DONE, outcome=outcome)
    assert Job.restore(waiting.folder) == done.changed(started=0.0, stage_begin=(0.0, 0))
    renamed = done.changed(name="cup")
    renamed.record()
    assert Job.restore(waiting.folder).name == "cup"


def test_a_snapshot_stays_as_it_is() -> None:
    before = job()
    after = before.stepped(StepInfo(Stage.LATENT, 1, 4)).stepped(StepInfo(Stage.LATENT, 2, 4))
    assert before.stages == () and after.stages == (StepInfo(Stage.LATENT, 2, 4),)
    with pytest.raises(ValueError, match="frozen"):
        before.name = "other"  # type: ignore[misc]


def test_the_seconds_of_every_stage_are_told_apart() -> None:
    running = job(state=JobState.RUNNING, started=time.monotonic() - 5.0).stepped(StepInfo(Stage.LATENT, 1, 2))
    after = running.stepped(StepInfo(Stage.LATENT, 2, 2)).stepped(StepInfo(Stage.TEXTURE, 1, 1))
    assert after.spent["latent"] == pytest.approx(5.0, abs=0.5) and after.spent["texture"] < 0.5


def test_the_time_left_is_that_of_the_job_before_and_untold_without_one() -> None:
    def running(seconds: float, stage: Stage, **values: Any) -> Job:
        begun = {"state": JobState.RUNNING, "started": time.monotonic() - seconds, "spent": {stage: seconds}}
        return job(**begun | values, stages=(StepInfo(stage, 5, 10),))

    assert running(20, Stage.LATENT).progress == pytest.approx((Stage.LATENT.begin + Stage.LATENT.end) / 2)
    assert running(20, Stage.LATENT).seconds_left is None and job().progress == 0
    assert running(0, Stage.LATENT, state=JobState.DONE).progress == 1
    expected = {"latent": 2.6, "export": 9.9, "texture": 3.5, "preview": 6.5}
    known = partial(running, expected=expected)
    assert known(1.2, Stage.LATENT).seconds_left == pytest.approx(21.3, abs=0.1)
    assert known(9.0, Stage.LATENT).seconds_left == pytest.approx(19.9)  # slower than before
    assert known(9.0, Stage.EXPORT).seconds_left == pytest.approx(13.5, abs=0.1)
    assert known(9.0, Stage.EXPORT).progress == pytest.approx(9 / 22.5, abs=0.01)
    assert known(9.0, Stage.PREVIEW).seconds_left == pytest.approx(6.5)  # faster than before
    assert known(30.0, Stage.PREVIEW).seconds_left is None and known(30.0, Stage.PREVIEW).progress == 0.99
    assert known(5, Stage.LATENT, state=JobState.QUEUED).seconds_left is None


def test_a_job_is_expected_to_take_as_long_as_the_one_most_like_it(tmp_path: Path) -> None:
    def put(state: JobState = JobState.DONE, **values: Any) -> Job:
        made = job(folder=tmp_path / f"{len(list(tmp_path.iterdir())):032x}", state=state, **values).established()
        os.utime(made.folder / "result.json", (made_at := 1e9 + len(list(tmp_path.iterdir())), made_at))
        return made

    def expected(**values: Any) -> dict[str, float]:
        return put(JobState.QUEUED, **values).begun().expected

    assert expected() == {}
    put(spent={"download": 50.0, "latent": 1.0})
    put(spent={"latent": 2.0, "preview": 3.0}, request=GenerationRequest(seed=5, formats=("ply", "mp4")))
    put(spent={"latent": 4.0}, model="another")
    put(spent={"latent": 5.0}, request=GenerationRequest(seed=5, draft=True))
    put(spent={"export": 6.0}, source="0" * 32)
    put(JobState.FAILED, spent={"latent": 7.0})
    assert expected() == {"latent": 1.0}
    assert expected(request=GenerationRequest(seed=5, formats=("ply", "mp4"))) == {"latent": 2.0, "preview": 3.0}
    assert expected(source="0" * 32) == {"export": 6.0}
    (damaged := put().folder / "result.json").write_text("nothing")
    os.utime(damaged, (1e9, 1e9))  # the first to be read
    put(spent={"latent": 8.0})
    assert expected() == {"latent": 8.0}  # the newest of those that are as much like it


def test_jobs_that_waited_go_on_after_a_restart(tmp_path: Path) -> None:
    pipeline = FakePipeline(step_seconds=0.05)
    engine = start_engine(lambda: pipeline, tmp_path / "jobs")
    running, *waiting = (engine.submit(GenerationRequest(seed=seed, formats=("ply",)), [PICTURE]) for seed in range(4))
    cancelled = waiting.pop()
    wait_until(lambda: engine.view(running).state is JobState.RUNNING)
    engine.cancel(cancelled)
    engine.close()
    told = [engine.view(job_id) for job_id in (running, *waiting)]
    assert {view.state for view in told} == {JobState.FAILED}  # whoever waits for them has an answer
    assert [view.message for view in told] == [CUT_OFF, GOES_ON, GOES_ON]

    pipeline = FakePipeline()
    engine = start_engine(lambda: pipeline, tmp_path / "jobs")
    wait_until(lambda: not engine.busy)
    engine.close()
    states = {view.id: view.state for view in engine.views()}
    assert states == {
        running: JobState.FAILED,
        **dict.fromkeys(waiting, JobState.DONE),
        cancelled: JobState.CANCELLED,
    }
    assert [call["seed"] for call in pipeline.calls] == [1, 2]


def test_stages_beside_a_generation_move_no_bar() -> None:
    begun = job().stepped(StepInfo(Stage.STRUCTURE, 1, 1))
    assert begun.stepped(StepInfo(Stage.VOXELIZE, 1, 1)).progress == begun.progress == Stage.STRUCTURE.end
