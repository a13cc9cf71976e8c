"""A published model that is not here: fetched when it is opened, told in megabytes, stopped by a cancel."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.app.test_handlers import AskedEngine, last, sections_of
from tests.unit.app.waiting import wait_until
from tests.unit.families.hub_server import FakeHub
from tests.unit.families.test_acquire import ENCODER, FIRST, MODEL, SECOND, hub, runtime
from trellis.app.jobs import Job, JobState
from trellis.app.model_fetch import ModelFetches
from trellis.app.request import GenerationRequest
from trellis.errors import STARTER, Cancelled, FetchError
from trellis.families.acquire import obtain_model
from trellis.families.hunyuan_family import LICENCE
from trellis.families.trellis_family import NANO_FOLDER
from trellis.progress import CancelToken, Progress, StepInfo
from trellis.runtime import ModelFiles, Runtime

__all__ = ["hub", "runtime"]  # fixtures


@pytest.mark.parametrize("name", [MODEL, FIRST])
def test_it_is_fetched_once_and_its_megabytes_are_told(hub: FakeHub, runtime: Runtime, name: str) -> None:
    told: list[StepInfo] = []
    location = obtain_model(name, runtime=runtime, progress=Progress(told.append))
    assert location.local is not None
    job = Job(folder=Path("x"), model=name, request=GenerationRequest(), state=JobState.RUNNING)
    shown = [job.changed(stages=(info,)).fetching for info in told]
    assert set(shown) >= {MODEL} and None not in shown
    assert max(info.step for info in told if info.subject == MODEL) == 5
    asked = len(hub.asked)
    assert obtain_model(name, runtime=runtime) == location
    assert len(hub.asked) == asked and {SECOND, ENCODER} <= set(hub.repositories)


def test_nothing_is_fetched_unasked(hub: FakeHub, runtime: Runtime) -> None:
    assert obtain_model("nano", runtime=runtime).local == NANO_FOLDER
    location = obtain_model(FIRST, runtime=Runtime(offline=True, model_folder=runtime.model_folder))
    assert hub.asked == []
    with pytest.raises(FetchError, match=f"pipeline.json of {FIRST}.*offline.*{re.escape(STARTER)} models get {FIRST}"):
        location.describe()


def test_a_repository_that_is_not_there(hub: FakeHub, runtime: Runtime) -> None:
    with pytest.raises(FetchError, match="somebody/else: there is none"):
        obtain_model("somebody/else", runtime=runtime)
    assert [path for path, _ in hub.asked] == ["/api/models/somebody/else"]


def test_a_cancel_stops_it(hub: FakeHub, runtime: Runtime) -> None:
    cancel = CancelToken()

    def stop(info: StepInfo) -> None:
        if info.step >= 2:
            cancel.cancel()

    with pytest.raises(Cancelled):
        obtain_model(FIRST, runtime=runtime, progress=Progress(stop, cancel))


def test_a_folder_that_cannot_be_written_ends_a_fetch_in_words(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    fetches = ModelFetches(ModelFiles(model_folder=tmp_path / "file"))
    fetches.start(MODEL)
    wait_until(lambda: not fetches.active(MODEL))
    state = fetches.state(MODEL)
    assert state is not None and f"cannot be kept in {tmp_path / 'file'}" in state.message


def test_a_licence_that_cannot_be_kept_is_said_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    models = sections_of(AskedEngine()).models
    monkeypatch.setattr(models, "_files", ModelFiles(model_folder=tmp_path / "file"))
    monkeypatch.setattr(models, "_terms", dict.fromkeys(models._models, LICENCE))
    ticked: Any = SimpleNamespace(_data={"model": "words", "accepted": True})
    assert "It cannot be kept in" in str(last(models.choose("words", ticked)))
