"""GET /metrics: figures of queue, workers and memory as Prometheus reads them."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import psutil
from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from trellis.app.engine import Engine
from trellis.app.jobs import JobState


class EngineFigures(Collector):
    """What is true of an engine whenever it is asked."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        states = Counter(job.state for job in self._engine.views())
        jobs = GaugeMetricFamily("trellis_jobs", "Jobs that are known, by state.", labels=["state"])
        for state in JobState:
            jobs.add_metric([state], states[state])
        yield jobs
        yield GaugeMetricFamily("trellis_queue_length", "Jobs that wait.", value=states[JobState.QUEUED])
        seconds = CounterMetricFamily("trellis_stage_seconds", "Seconds of ended jobs.", labels=["stage"])
        for stage, spent in list(self._engine.spent.items()):
            seconds.add_metric([stage], spent)
        yield seconds
        workers = GaugeMetricFamily("trellis_workers", "Workers that can be used, by their task.", labels=["task"])
        for task, executor in (("jobs", self._engine.executor), ("files", self._engine.writers)):
            workers.add_metric([task], len(executor.tools))
        yield workers
        memory = GaugeMetricFamily("trellis_memory_bytes", "Resident memory on this machine.", labels=["process"])
        server = psutil.Process()
        memory.add_metric(["server"], server.memory_info().rss)
        memory.add_metric(["workers"], sum(_resident(child) for child in server.children(recursive=True)))
        yield memory


def metrics_route(engine: Engine) -> APIRouter:
    """The route /metrics."""
    router = APIRouter()
    registry = CollectorRegistry()
    registry.register(EngineFigures(engine))

    @router.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router


def _resident(process: psutil.Process) -> int:
    with suppress(psutil.NoSuchProcess):
        return int(process.memory_info().rss)
    return 0
