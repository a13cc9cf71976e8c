"""The Blender add-on against the real interface: its own part anywhere, all of it where there is a Blender.

BPY_PYTHON may name a Python that has Blender as a module (`pip install bpy` in an environment of its own).
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.api.conftest import listening
from tests.contract.sources import ROOT
from tests.unit.app.engines import start_engine
from tests.unit.app.fakes import FakePipeline
from trellis.app.api.application import create_api
from trellis.app.api.settings import ApiSettings
from trellis.export.options import FileOptions

ADDON = ROOT / "extensions" / "blender" / "trellis_addon.py"
WALK = Path(__file__).with_name("addon_walk.py")
PICTURE = ROOT / "assets" / "example_image" / "mug.png"
FINISHED, PATIENCE = {"trellis_picture": str(PICTURE), "trellis_quality": "draft"}, 120


def blender_command() -> list[str] | None:
    """What runs a Python file inside Blender, if that is here."""
    python = os.environ.get("BPY_PYTHON") or (sys.executable if importlib.util.find_spec("bpy") else None)
    if python:
        return [python]
    blender, options = shutil.which("blender"), "--background --factory-startup --python-exit-code 1 --python"
    return None if blender is None else [blender, *options.split(" ")]


COMMAND = blender_command()


@pytest.fixture
def pipeline() -> FakePipeline:
    return FakePipeline()


@pytest.fixture
def server(pipeline: FakePipeline, tmp_path: Path) -> Iterator[str]:
    """The address of a server whose pipeline writes real GLB files."""
    engine = start_engine(lambda **_: pipeline, tmp_path / "jobs")
    try:
        with listening(create_api(engine, ApiSettings())) as port:
            yield f"http://127.0.0.1:{port}"
    finally:
        engine.close()


@pytest.fixture
def addon(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The add-on with a stand-in for Blender, which its thread must not need."""
    stand_in: Any = ModuleType("bpy")
    stand_in.types = SimpleNamespace(AddonPreferences=object, Operator=object, Panel=object)
    stand_in.props = SimpleNamespace(StringProperty=lambda **_: None)
    monkeypatch.setitem(sys.modules, "bpy", stand_in)
    specification = importlib.util.spec_from_file_location("trellis_addon", ADDON)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def ended(generation: Any) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not generation.ended and time.monotonic() < deadline:
        time.sleep(0.02)
    assert generation.ended
    return generation


def body(**others: Any) -> dict[str, Any]:
    import base64

    return {"formats": ["glb"], "pictures": [base64.b64encode(PICTURE.read_bytes()).decode()], **others}


def test_a_job_is_followed_to_its_model(addon: Any, server: str) -> None:
    generation = ended(addon.Generation(server + "/", "", body(quality="draft", pivot="base")))
    assert generation.model[:4] == b"glTF" and generation.progress == 1.0


def test_a_job_is_cancelled(addon: Any, server: str, pipeline: FakePipeline) -> None:
    pipeline._step_seconds = 1.0
    generation = addon.Generation(server, "", body())
    generation.cancel()
    assert ended(generation).model is None and "cancelled" in generation.line.lower()


def test_what_goes_wrong_is_a_sentence(addon: Any, server: str) -> None:
    assert ended(addon.Generation(server, "", body(quality="best"))).line.startswith("quality must be one of")
    assert ended(addon.Generation(server, "", {"prompt": "a teapot"})).line.startswith("prompt: no text model is here")
    for address in ("http://127.0.0.1:9", "127.0.0.1:7960"):
        line = ended(addon.Generation(address, "", body())).line
        assert line.startswith(f"No server answers at {address}") and line.endswith("start one with run.sh serve.")
    assert "no TRELLIS server" in ended(addon.Generation(server + "/openapi.json?", "", None)).line


def test_it_asks_for_options_that_there_are(addon: Any) -> None:
    from trellis.app.request import QUALITIES

    assert tuple(QUALITIES) == addon.QUALITIES
    FileOptions(formats=("glb",), pivot="base")


def walk(server: str, tmp_path: Path, *, cancel_after: float | None = None, **settings: str) -> dict[str, Any]:
    assert COMMAND is not None
    order = json.dumps({"server": server, "settings": settings, "cancel_after": cancel_after})
    separator = ["--"] if len(COMMAND) > 1 else []
    folder = tmp_path / "home"
    home = {"BLENDER_USER_RESOURCES": str(folder), "BLENDER_USER_SCRIPTS": str(folder / "scripts")}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | home
    (folder / "scripts").mkdir(parents=True)
    done = subprocess.run(
        [*COMMAND, str(WALK), *separator, str(ADDON), order],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("FACTS ")]
    assert found, done.stdout + done.stderr
    return dict(json.loads(found[0][6:]))


needs_blender = pytest.mark.skipif(COMMAND is None, reason="Blender is not here")


@pytest.mark.slow
@needs_blender
def test_a_model_arrives_at_the_cursor(server: str, pipeline: FakePipeline, tmp_path: Path) -> None:
    facts = walk(server, tmp_path, **FINISHED)
    assert facts["names"] == ["mug"] and facts["faces"] > 1000 and facts["gone"]
    assert facts["places"] == [[1, 2, 3]]
    assert pipeline.saves[0]["pivot"] == "base" and pipeline.saves[0]["faces"] == 5000


@pytest.mark.slow
@needs_blender
def test_a_cancelled_or_refused_job_leaves_the_scene_alone(server: str, pipeline: FakePipeline, tmp_path: Path) -> None:
    pipeline._step_seconds = 1.0
    facts = walk(server, tmp_path / "a", cancel_after=1.0, **FINISHED)
    assert facts["names"] == [] and "cancelled" in facts["said"].lower()
    facts = walk(server, tmp_path / "b", trellis_picture=str(tmp_path / "none.png"))
    assert facts["names"] == [] and "none.png cannot be read" in facts["said"]
    facts = walk(server, tmp_path / "c")
    assert "one of the two" in facts["said"]
