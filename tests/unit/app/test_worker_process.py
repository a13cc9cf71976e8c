"""Jobs in a worker process: order, cancel at every step, every way to die, restart, idle end, nothing left behind."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.app.engines import fake_source, start_workers
from tests.unit.app.fakes import PICTURE
from tests.unit.app.process_fakes import CANCEL_ARRIVED, MEMORY_FAULTS, STAGES, Control
from tests.unit.app.waiting import wait_until
from trellis.app.engine import Engine
from trellis.app.jobs import CUT_OFF, GOES_ON, Job, JobState
from trellis.app.presets import PRESETS
from trellis.app.request import read_request
from trellis.app.worker_process import BOOT, CANCEL_PATIENCE

EVERY_STEP = [(stage, step + 1) for stage, total in STAGES for step in range(total)]
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals")


@pytest.fixture
def control(tmp_path: Path) -> Control:
    return Control(tmp_path)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    engines = []

    def _start(workers: int = 1, preset: str | None = None, **options: float) -> Engine:
        source = fake_source(tmp_path, **({} if preset is None else {"preset": preset}))
        engines.append(start_workers([source] * workers, tmp_path / "jobs", **options))
        return engines[-1]

    yield _start
    for engine in engines:
        pids = [process.pid for process in engine.executor.tools]
        engine.close()
        assert not any(alive(pid) for pid in pids if pid is not None)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def pid_of(engine: Engine) -> int | None:
    """Of the first worker process."""
    return engine.executor.tools[0].pid


def submit(engine: Engine, **options: object) -> str:
    return engine.submit(read_request({"formats": ["glb"], **options}), [PICTURE])


def wait(engine: Engine, job_id: str, until: Callable[[Job], bool] = lambda view: view.state.final) -> Job:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        view = engine.view(job_id)
        if until(view):
            return view
        time.sleep(0.005)
    raise AssertionError(f"the job is still {view.state} at {view.stages}")


def wait_at(engine: Engine, control: Control, job_id: str, stage: str, step: int) -> None:
    """Wait until the process has begun this step, where the control file holds it."""
    deadline = time.monotonic() + 60
    while f"{stage} {step}" not in control.lines():
        view = engine.view(job_id)
        assert time.monotonic() < deadline and not view.state.final, view
        time.sleep(0.005)


def test_jobs_run_in_order_in_one_process(start: Callable[..., Engine], control: Control) -> None:
    engine = start()
    ids = [submit(engine, seed=seed) for seed in (3, 1, 2)]
    views = [wait(engine, job_id) for job_id in ids]
    assert [view.state for view in views] == [JobState.DONE] * 3, views
    generated = [line.split() for line in control.lines() if line.startswith("generate")]
    assert [words[2] for words in generated] == ["3", "1", "2"]
    assert {int(words[-1]) for words in generated} == {pid_of(engine)}
    assert pid_of(engine) != os.getpid()
    assert control.lines().count("open") == 1
    first = views[0]
    assert [info.stage for info in first.stages] == ["load model", *(stage for stage, _ in STAGES)]
    assert all(info.step == info.total for info in first.stages)
    assert first.notes == ("A note of the pipeline.",)
    assert first.files["glb"].read_bytes() == b"glTF" + b" 3" * 100
    assert first.files["glb"].parent.name == ids[0]


def test_cancel_takes_effect_within_the_step_at_every_step(start: Callable[..., Engine], control: Control) -> None:
    engine = start()
    assert wait(engine, submit(engine)).state is JobState.DONE
    pid = pid_of(engine)
    for index, (stage, step) in enumerate(EVERY_STEP):
        control.journal.unlink()
        control.set(stage=stage, step=step, fault="wait")
        job_id = submit(engine, seed=index + 1)
        wait_at(engine, control, job_id, stage, step)
        engine.cancel(job_id)
        wait_until(lambda: CANCEL_ARRIVED in control.lines())  # in the process, which is inside the step
        assert engine.view(job_id).state is JobState.RUNNING
        control.set()
        view = wait(engine, job_id)
        assert view.state is JobState.CANCELLED and view.files == {}
        steps = [line for line in control.lines() if line.split()[0] in dict(STAGES)]
        assert steps == [f"{name} {number}" for name, number in EVERY_STEP[: index + 1]]
    assert wait(engine, submit(engine)).state is JobState.DONE
    assert pid_of(engine) == pid  # the weights stayed


@posix
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("exit", "exit code 3"),
        ("kill", "SIGKILL"),
        ("segfault", "SIGSEGV"),
        ("memory", "not enough memory"),
        ("error", "(ValueError)"),
        ("input", "The picture shows nothing."),
    ],
)
@pytest.mark.parametrize("stage", ["latent", "texture"])
def test_whatever_happens_to_one_job_the_next_ones_succeed(
    start: Callable[..., Engine], control: Control, fault: str, message: str, stage: str
) -> None:
    control.set(stage=stage, step=2, fault=fault)
    engine = start()
    broken = submit(engine, seed=1)
    waiting = submit(engine, seed=2)
    view = wait(engine, broken)
    control.set()
    assert view.state is JobState.FAILED and view.files == {}
    assert message in view.message and "detail;" not in view.message and "internal detail" not in view.message
    # The waiting job may have met the same fault, before the file was changed; one submitted now must not.
    wait(engine, waiting)
    last = wait(engine, submit(engine, seed=3))
    assert last.state is JobState.DONE, last.message


@posix
def test_a_request_to_end_is_for_the_parent(start: Callable[..., Engine], control: Control) -> None:
    """As a service manager sends it to every process: what happens to the job is the parent's to say."""
    engine = start()
    control.set(stage="structure", step=1, fault="wait")
    job_id = submit(engine)
    wait_at(engine, control, job_id, "structure", 1)
    assert pid_of(engine) is not None
    os.kill(pid_of(engine), signal.SIGTERM)
    time.sleep(0.2)
    control.set()
    assert wait(engine, job_id).state is JobState.DONE


@posix
def test_a_process_killed_between_jobs_is_replaced(start: Callable[..., Engine], control: Control) -> None:
    engine = start()
    assert wait(engine, submit(engine)).state is JobState.DONE
    first = pid_of(engine)
    assert first is not None
    os.kill(first, 9)
    assert wait(engine, submit(engine, seed=1)).state is JobState.DONE
    assert pid_of(engine) not in (None, first)
    assert control.lines().count("open") == 2


def test_a_step_that_never_ends_is_ended_with_its_process(start: Callable[..., Engine], control: Control) -> None:
    control.set(stage="decode", step=1, fault="hang")
    engine = start(patience=0.5)
    job_id = submit(engine)
    wait_at(engine, control, job_id, "decode", 1)
    pid = pid_of(engine)
    engine.cancel(job_id)
    started = time.monotonic()
    assert wait(engine, job_id).state is JobState.CANCELLED
    assert time.monotonic() - started < CANCEL_PATIENCE  # the usual patience was not the one that was waited
    assert pid is not None and not alive(pid)
    control.set()
    assert wait(engine, submit(engine)).state is JobState.DONE


def test_a_model_that_cannot_be_opened_is_tried_again(start: Callable[..., Engine], control: Control) -> None:
    control.set(fault="checkpoint")
    engine = start()
    view = wait(engine, submit(engine))
    assert (view.state, view.message) == (JobState.FAILED, "The folder has no pipeline.json.")
    control.set()
    assert wait(engine, submit(engine)).state is JobState.DONE


def test_preload_opens_before_the_first_job(start: Callable[..., Engine], control: Control) -> None:
    engine = start()
    engine.executor.open()
    deadline = time.monotonic() + 60
    while "open" not in control.lines():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    view = wait(engine, submit(engine))
    assert view.state is JobState.DONE and view.stages[0].stage == "prepare"
    assert control.lines().count("open") == 1


def test_an_idle_process_ends_and_comes_back(start: Callable[..., Engine], control: Control) -> None:
    engine = start(idle_seconds=0.3)
    assert wait(engine, submit(engine)).state is JobState.DONE
    pid = pid_of(engine)
    wait_until(lambda: pid_of(engine) is None)
    assert pid is not None and not alive(pid)
    assert wait(engine, submit(engine)).state is JobState.DONE


def test_other_files_of_the_same_asset_cost_no_sampling(start: Callable[..., Engine], control: Control) -> None:
    engine = start()
    first = submit(engine, seed=4, texture_size=512)
    assert wait(engine, first).state is JobState.DONE
    second = engine.extract(first, {"texture_size": 2048, "formats": ("glb",)})
    assert wait(engine, second).state is JobState.DONE
    assert [line.split()[2] for line in control.lines() if line.startswith("generate")] == ["4"]
    saved = [line.split()[2:] for line in control.lines() if line.startswith("save")]
    assert saved == [["4", "texture", "512"], ["4", "texture", "2048"]]


def test_close_ends_a_running_job_and_the_process(
    start: Callable[..., Engine], control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    control.set(stage="structure", step=1, fault="hang")
    engine = start()
    monkeypatch.setattr(engine.pictures, "close", lambda: time.sleep(0.3))  # the job hears of its end before
    ids = [submit(engine) for _ in range(3)]
    wait_at(engine, control, ids[0], "structure", 1)
    pid = pid_of(engine)
    started = time.monotonic()
    engine.close()
    assert time.monotonic() - started < CANCEL_PATIENCE
    assert {engine.view(job_id).state for job_id in ids} == {JobState.FAILED}
    assert [engine.view(job_id).message for job_id in ids] == [CUT_OFF, GOES_ON, GOES_ON]
    assert pid is not None and not alive(pid)


@pytest.mark.parametrize("fault", MEMORY_FAULTS)
def test_memory_that_ran_out_goes_with_its_process(start: Callable[..., Engine], control: Control, fault: str) -> None:
    engine = start()
    assert wait(engine, submit(engine)).state is JobState.DONE
    first = pid_of(engine)
    control.set(stage="latent", step=2, fault=fault)
    view = wait(engine, submit(engine, seed=1))
    assert view.state is JobState.FAILED and view.message.startswith("There was not enough memory")
    assert first is not None and not alive(first)
    control.set()
    assert wait(engine, submit(engine, seed=2)).state is JobState.DONE
    assert pid_of(engine) not in (None, first)


@posix
def test_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    script = (
        "import sys, time, os; from pathlib import Path\n"
        "from tests.unit.app.engines import fake_source, start_workers\n"
        "from trellis.app.request import GenerationRequest, read_request\n"
        f"folder = Path({str(tmp_path)!r}); engine = start_workers([fake_source(folder)], folder / 'jobs')\n"
        f"engine.submit(GenerationRequest(), [Path({str(PICTURE)!r})])\n"
        "time.sleep(600)\n"
    )
    Control(tmp_path).set(stage="structure", step=1, fault="hang")
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).resolve().parents[3])
    try:
        deadline = time.monotonic() + 60
        while "structure 1" not in Control(tmp_path).lines():
            assert parent.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        [line] = [line for line in Control(tmp_path).lines() if line.startswith("generate")]
        worker = int(line.split()[-1])
        assert alive(worker)
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not alive(worker))


def test_a_process_whose_parent_ended_before_its_first_order_says_nothing() -> None:
    for given in ("", json.dumps(sys.path) + "\n"):
        done = subprocess.run([sys.executable, "-c", BOOT], input=given, capture_output=True, text=True, check=True)
        assert done.stderr == ""


def test_two_workers_carry_out_two_jobs_at_once(start: Callable[..., Engine], control: Control) -> None:
    engine = start(workers=2)
    control.set(stage="structure", step=1, fault="wait")
    ids = [submit(engine, seed=seed) for seed in range(3)]
    for job_id in ids[:2]:
        wait(engine, job_id, lambda view: any(info.stage == "encode" for info in view.stages))
    assert engine.view(ids[2]).state is JobState.QUEUED
    engine.cancel(ids[0])  # ends one, and the third takes its place
    wait_until(lambda: CANCEL_ARRIVED in control.lines())
    control.set()
    assert [wait(engine, job_id).state for job_id in ids] == [JobState.CANCELLED, JobState.DONE, JobState.DONE]
    pids = {line.split()[-1] for line in control.lines() if line.startswith("generate")}
    assert len(pids) == 2


def test_a_setup_of_its_own_opens_the_pipeline_anew(start: Callable[..., Engine], control: Control) -> None:
    engine = start()
    for values in ({}, {"preset": "minimal"}, {"preset": "minimal"}, {}):
        assert wait(engine, submit(engine, **values)).state is JobState.DONE
    assert [line for line in control.lines() if line.startswith(("open", "setup"))] == [
        "open",
        "open",
        'setup {"preset": "minimal"}',
        "open",
    ]


def test_a_model_that_is_fetched_tells_its_megabytes_and_can_be_cancelled(
    start: Callable[..., Engine], control: Control
) -> None:
    engine = start()
    control.set(fetch_megabytes=9, stage="download large", step=4, fault="wait")
    job_id = submit(engine)
    wait_at(engine, control, job_id, "fetched", 4)
    wait(engine, job_id, lambda view: view.fetching == "large" and view.stages[-1].step == 4)
    wait(engine, job_id, lambda view: view.pace is None or view.pace > 0)
    engine.cancel(job_id)
    wait_until(lambda: CANCEL_ARRIVED in control.lines())
    control.set(fetch_megabytes=9)
    assert wait(engine, job_id).state is JobState.CANCELLED
    assert "fetched 5" not in control.lines()
    control.set(fetch_megabytes=3)
    assert [info.step for info in wait(engine, submit(engine)).stages if info.subject == "large"] == [3]


def records(view: Job) -> tuple[dict[str, object], dict[str, object]]:
    """The options and the plan that are kept beside a job's files."""
    folder = view.files["glb"].parent
    request, result = (json.loads((folder / name).read_text()) for name in ("request.json", "result.json"))
    return request["options"], result["plan"]


def test_the_preset_of_the_start_sets_what_requests_leave_open(start: Callable[..., Engine], control: Control) -> None:
    engine = start(preset="prototype")
    plain = wait(engine, submit(engine, seed=1))
    stated = wait(engine, submit(engine, seed=2, latent_steps=3, texture_size=1024))
    other = wait(engine, submit(engine, seed=3, preset="minimal"))
    again = wait(engine, engine.extract(plain.id, {"formats": ["glb"]}))
    assert {view.state for view in (plain, stated, other, again)} == {JobState.DONE}
    done = [line for line in control.lines() if line.startswith(("steps", "save", "video"))]
    assert done[:3] == ["steps 8 8", "save seed 1 texture 512", "video of 24 frames, 256 px"]
    assert done[3:6] == ["steps 8 3", "save seed 2 texture 1024", "video of 24 frames, 256 px"]
    assert done[6:9] == ["steps None None", "save seed 3 texture 1024", "video of 60 frames, 256 px"]
    assert done[9:] == ["save seed 1 texture 512", "video of 24 frames, 256 px"]
    for view, name in ((plain, "prototype"), (stated, "prototype"), (other, "minimal"), (again, "prototype")):
        options, plan = records(view)
        assert read_request(options) == view.request
        assert plan["preset"] == name and plan["memory_plan"] == dataclasses.asdict(PRESETS[name].plan)
    assert records(plain)[0]["structure_steps"] == 8 and records(again)[0]["preview_frames"] == 24


def test_what_was_carried_out_is_known_after_a_restart(start: Callable[..., Engine]) -> None:
    first = start(preset="prototype")
    done = wait(first, submit(first, seed=1))
    first.close()
    restored = start().view(done.id).request
    assert restored == done.request and restored is not None and restored.structure_steps == 8
