"""A published model that is not here: fetched when it is opened, told in megabytes, stopped by a cancel."""

import dataclasses

import huggingface_hub.constants
import pytest

from tests.unit.models.hub_server import FakeHub
from tests.unit.models.test_acquire import ENCODER, FIRST, MODEL, SECOND, hub, runtime
from trellis.app.jobs import JobState, JobView
from trellis.app.stage_progress import fetching
from trellis.app.worker import fetch_missing
from trellis.errors import Cancelled
from trellis.progress import CancelToken, Progress, StepInfo
from trellis.runtime import Runtime

__all__ = ["hub", "runtime"]  # fixtures


@pytest.fixture(autouse=True)
def endpoint(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.address)


@pytest.mark.parametrize("name", [MODEL, FIRST])
def test_it_is_fetched_once_and_its_megabytes_are_told(hub: FakeHub, runtime: Runtime, name: str) -> None:
    told: list[StepInfo] = []
    fetch_missing(name, runtime, Progress(told.append))
    view = JobView("x", JobState.RUNNING, 0, (), 1.0, "", (), {})
    shown = [fetching(dataclasses.replace(view, stages=(info,))) for info in told]
    assert set(shown) >= {MODEL} and None not in shown
    assert max(info.step for info in told if info.stage.endswith(MODEL)) == 5
    asked = len(hub.asked)
    fetch_missing(name, runtime, None)
    assert len(hub.asked) == asked and {SECOND, ENCODER} <= set(hub.repositories)


def test_nothing_else_is_fetched(hub: FakeHub, runtime: Runtime) -> None:
    for name, where in (
        ("nano", runtime),
        ("somebody/else", runtime),
        (FIRST, Runtime(offline=True, model_folder=runtime.model_folder)),
    ):
        fetch_missing(name, where, None)
    assert hub.asked == []


def test_a_cancel_stops_it(runtime: Runtime) -> None:
    cancel = CancelToken()

    def stop(info: StepInfo) -> None:
        if info.step >= 2:
            cancel.cancel()

    with pytest.raises(Cancelled):
        fetch_missing(FIRST, runtime, Progress(stop, cancel))
