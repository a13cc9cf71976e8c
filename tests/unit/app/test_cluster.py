"""Jobs on the nodes of a Ray cluster on this machine: results, all ways to lose a worker, cancel, restart, refusals."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.contract.sources import ROOT
from tests.unit.app.engines import fake_source, named, start_workers
from tests.unit.app.fakes import PICTURE
from tests.unit.app.process_fakes import CANCEL_ARRIVED, STAGES, Control
from tests.unit.app.waiting import wait_until
from trellis.app.cluster import crew as crews
from trellis.app.cluster import shares
from trellis.app.cluster.crew import REPEATS, ClusterError, Crew, joined
from trellis.app.cluster.node import program_version
from trellis.app.cluster.options import LOCAL, ClusterOptions
from trellis.app.cluster.shares import hand_out
from trellis.app.engine import Engine, QueueFullError
from trellis.app.executor import Executor
from trellis.app.jobs import JobState
from trellis.app.request import read_request
from trellis.errors import MissingDependencyError
from trellis.runtime import secure_ray

NODE = {"include_log_monitor": False}  # one process less of each node
SYSTEM = {"health_check_initial_delay_ms": 500, "health_check_period_ms": 500}  # a node that is gone is known soon


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that does not work, and two nodes of one core; this process is in it."""
    secure_ray(local=True)
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "no_monitor": True, "_system_config": SYSTEM} | NODE
    )
    for _ in range(2):
        made.add_node(num_cpus=1, wait=False, **NODE)
    made.wait_for_nodes()
    with joined(made.address):
        yield made
    made.shutdown()


@contextmanager
def started(cluster: Any, folder: Path, *, idle_seconds: float = 0.0) -> Iterator[Engine]:
    """An engine on the nodes; its pipelines obey the control file in `folder`."""
    executor = Executor([], repeats=REPEATS)
    choice = ClusterOptions(cluster.address)
    crew = Crew(executor, fake_source(folder), choice, idle_seconds=idle_seconds, keep=True)
    crew.start()
    engine = Engine(executor, folder / "jobs", models=named("fake"), queue_limit=19)
    yield engine
    engine.close()
    crew.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="module")
def engine(cluster: Any, folder: Path) -> Iterator[Engine]:
    with started(cluster, folder) as engine:
        yield engine


@pytest.fixture
def control(folder: Path) -> Control:
    control = Control(folder)
    control.set()
    control.journal.unlink(missing_ok=True)
    return control


def submit(engine: Engine, **options: object) -> str:
    return engine.submit(read_request({"formats": ["glb", "ply"], **options}), [PICTURE])


def ended(engine: Engine, *ids: str) -> list[JobState]:
    wait_until(lambda: all(engine.view(job_id).state.final for job_id in ids))
    return [engine.view(job_id).state for job_id in ids]


def pids(control: Control) -> list[int]:
    """Of the worker processes that generated, in their order."""
    return [int(line.split()[-1]) for line in control.lines() if line.startswith("generate")]


def worker_of(control: Control) -> psutil.Process:
    """Ray's process that has the worker process which generated last."""
    actor = psutil.Process(pids(control)[-1]).parent()
    assert actor is not None
    return actor


def test_a_worker_that_idles_ends_and_comes_again(cluster: Any, tmp_path: Path) -> None:
    control = Control(tmp_path)
    with started(cluster, tmp_path, idle_seconds=0.1) as engine:
        assert ended(engine, submit(engine, seed=1)) == [JobState.DONE]
        first = worker_of(control)
        wait_until(lambda: not first.is_running())
        assert ended(engine, submit(engine, seed=2)) == [JobState.DONE]


HEAD = """
import sys
from pathlib import Path
from tests.contract.sources import ROOT
from tests.unit.app.engines import fake_source, named
from tests.unit.app.fakes import PICTURE
from trellis.app.cluster.crew import cluster_executor
from trellis.app.cluster.options import ClusterOptions
from trellis.app.engine import Engine
from trellis.app.request import read_request
folder = Path(sys.argv[1])
with cluster_executor(ClusterOptions(sys.argv[2], workers=1), fake_source(folder), keep=True) as executor:
    engine = Engine(executor, folder / "jobs", models=named("fake"))
    for seed in (1, 2, 3):
        engine.submit(read_request({"formats": ["glb"], "seed": seed}), [PICTURE])
    sys.stdin.read()
"""


def test_the_head_dies_and_another_start_carries_everything_out(cluster: Any, tmp_path: Path) -> None:
    control = Control(tmp_path)
    control.set(stage="latent", step=2, fault="wait")
    command = [sys.executable, "-c", HEAD, str(tmp_path), cluster.address]
    head = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT)
    wait_until(lambda: "latent 2" in control.lines())
    head.kill()
    head.communicate()
    control.set()
    with started(cluster, tmp_path) as engine:
        ids = [job.id for job in engine.views()]
        assert len(ids) == 3 and ended(engine, *ids) == [JobState.DONE] * 3
        assert [engine.view(job_id).repeated for job_id in ids] == [1, 0, 0]


def test_twenty_jobs_on_two_nodes_give_what_one_machine_gives(engine: Engine, control: Control, folder: Path) -> None:
    ids = [submit(engine, seed=seed) for seed in range(20)]
    assert ended(engine, *ids) == [JobState.DONE] * 20
    assert len(pids(control)) == 20 and len(set(pids(control))) == 2
    jobs = [engine.view(job_id) for job_id in ids]
    alone = start_workers([fake_source(folder)], folder / "alone")
    same = submit(alone, seed=19)
    assert ended(alone, same) == [JobState.DONE]
    one, other = jobs[19], alone.view(same)
    alone.close()
    assert {path.name: path.read_bytes() for path in one.folder.iterdir() if "js" not in path.suffix} == {
        path.name: path.read_bytes() for path in other.folder.iterdir() if "js" not in path.suffix
    }
    assert one.notes == other.notes and one.likeness == other.likeness and one.files.keys() == other.files.keys()
    assert [info.label for info in one.stages][-7:] == [info.label for info in other.stages][-7:]


def lose_worker(cluster: Any, actor: psutil.Process) -> None:
    actor.kill()


def lose_node(cluster: Any, actor: psutil.Process) -> None:
    """Kill the node, and have another come."""
    above = {process.pid for process in actor.parents()}
    [node] = [node for node in cluster.worker_nodes if node.all_processes["raylet"][0].process.pid in above]
    cluster.remove_node(node, allow_graceful=False)
    cluster.add_node(num_cpus=1, wait=False, **NODE)


def test_what_is_lost_in_any_stage_costs_no_job(engine: Engine, cluster: Any, control: Control) -> None:
    losses = (lose_worker, lose_worker, lose_worker, lose_node, lose_worker, lose_node, lose_worker)
    for seed, ((stage, _), lose) in enumerate(zip(STAGES, losses)):
        control.journal.unlink(missing_ok=True)
        control.set(stage=stage, step=1, fault="wait")
        job_id = submit(engine, seed=seed)
        wait_until(lambda stage=stage: f"{stage} 1" in control.lines())
        lose(cluster, worker_of(control))
        wait_until(lambda: len(pids(control)) == 2)
        control.set()
        assert ended(engine, job_id) == [JobState.DONE], engine.view(job_id).message
        job = engine.view(job_id)
        assert job.repeated == 1 and job.files["glb"].read_bytes() == b"glTF" + f" {seed}".encode() * 100
        assert len(set(pids(control))) == 2 and job.stages[-1].stage == "preview"


def test_a_job_that_kills_its_worker_fails_after_two_repeats_and_others_go_on(engine: Engine, control: Control) -> None:
    control.set(stage="latent", step=2, fault="kill")
    broken = submit(engine, seed=1)
    assert ended(engine, broken) == [JobState.FAILED]
    assert "SIGKILL" in engine.view(broken).message and len(pids(control)) == 1 + REPEATS
    control.set()
    assert ended(engine, submit(engine, seed=2)) == [JobState.DONE]


def test_cancel_reaches_nodes_and_what_waits_and_the_queue_keeps_its_limit(engine: Engine, control: Control) -> None:
    wait_until(lambda: engine.executor.room == 2)
    control.set(stage="structure", step=2, fault="wait")
    ids = [submit(engine, seed=seed) for seed in range(20)]  # one more than on one machine
    with pytest.raises(QueueFullError):
        submit(engine)
    wait_until(lambda: control.lines().count("structure 2") == 2)
    for job_id in ids[:19]:
        engine.cancel(job_id)
    assert engine.view(ids[18]).state is JobState.CANCELLED
    wait_until(lambda: control.lines().count(CANCEL_ARRIVED) == 2)
    control.set()
    assert ended(engine, *ids) == [JobState.CANCELLED] * 19 + [JobState.DONE]
    assert not any(engine.view(job_id).files for job_id in ids[:2])


def test_a_node_of_another_version_is_refused(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ours = "0.0.1-other"
    monkeypatch.setattr(crews, "program_version", lambda: ours)
    executor = Executor([])
    crew = Crew(executor, fake_source(tmp_path), ClusterOptions(LOCAL), idle_seconds=0, keep=True)
    monkeypatch.setattr(crews, "program_version", program_version)
    with pytest.raises(ClusterError, match="No node of the cluster has this version"):
        crew.start()
    assert executor.tools == []
    assert f"has another version of the program ({program_version()}, here {ours}) and is left out" in caplog.text


def test_a_cluster_of_this_machine_listens_here_alone_and_asks_for_a_token(cluster: Any) -> None:
    from ray._private.authentication.authentication_utils import is_token_auth_enabled

    programs = [cluster.head_node, *cluster.worker_nodes]
    pids = {one.process.pid for node in programs for found in node.all_processes.values() for one in found}
    listening = [
        place.laddr.ip for pid in pids for place in psutil.Process(pid).net_connections() if place.status == "LISTEN"
    ]
    assert listening and all(ip.endswith("127.0.0.1") for ip in listening)
    assert is_token_auth_enabled()


def rank_that_dies_once(folder: Path, rank: int, count: int) -> int:
    """What a rank does whose process is killed the first time."""
    begun = folder / f"begun_{rank}"
    if rank == 1 and not begun.exists():
        begun.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / f"done_{rank}_of_{count}").touch()
    return 3 * rank


def test_ranks_are_handed_out_and_begun_again(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, options = partial(rank_that_dies_once, tmp_path), ClusterOptions(cluster.address)
    assert hand_out(options, work, device="auto") == [0, 3]
    assert {path.name for path in tmp_path.iterdir()} == {"begun_1", "done_0_of_2", "done_1_of_2"}
    assert hand_out(ClusterOptions(cluster.address, workers=1), work, device="cpu") == [0]
    with pytest.raises(ClusterError, match="no node that can work"):
        hand_out(options, work, device="cuda")
    monkeypatch.setattr(shares, "program_version", lambda: "0.0.1-other")
    with pytest.raises(ClusterError, match="another version"):
        hand_out(options, work, device="cpu")


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match="setup --extra cluster"), joined(LOCAL):
        raise AssertionError
