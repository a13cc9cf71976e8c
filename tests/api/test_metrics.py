"""Figures for Prometheus: what they say while jobs wait, run and end, and who sees them."""

from collections.abc import Callable

from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from tests.api.test_guards import ELSEWHERE, TOKEN
from tests.unit.app.fakes import PICTURE
from tests.unit.app.process_fakes import Control
from tests.unit.app.waiting import wait_until
from trellis.app.engine import Engine
from trellis.app.jobs import JobState
from trellis.app.request import read_request


def figures(client: TestClient) -> dict[tuple[str, ...], float]:
    """Values by name and labels, read as Prometheus reads them."""
    answer = client.get("/metrics")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


def test_figures_follow_the_jobs(client: TestClient, engine: Engine, control: Control) -> None:
    control.set(stage="latent", step=2, fault="wait")
    ids = [engine.submit(read_request({"formats": ["glb"], "seed": seed}), [PICTURE]) for seed in (1, 2)]
    wait_until(lambda: "latent 2" in control.lines())
    told = figures(client)
    assert (told["trellis_jobs", "running"], told["trellis_jobs", "queued"], told["trellis_queue_length",]) == (1, 1, 1)
    assert told["trellis_workers", "jobs"] == 1 and told["trellis_workers", "files"] == 0
    assert told["trellis_memory_bytes", "server"] > 1e7
    control.set()
    wait_until(lambda: engine.view(ids[1]).state is JobState.DONE)
    told = figures(client)
    assert (told["trellis_jobs", "done"], told["trellis_queue_length",]) == (2, 0)
    spent = [engine.view(job_id).spent["latent"] for job_id in ids]
    assert told["trellis_stage_seconds_total", "latent"] == sum(spent) > 0


def test_other_computers_see_them_where_that_is_stated_and_with_the_token(
    create_client: Callable[..., TestClient],
) -> None:
    home = f"http://{ELSEWHERE}:7960"
    named = {"headers": {"X-Trellis-Token": TOKEN}}
    assert create_client(home, host=ELSEWHERE, token=TOKEN).get("/metrics", **named).status_code == 404
    client = create_client(home, host=ELSEWHERE, token=TOKEN, metrics=True)
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", **named).status_code == 200
