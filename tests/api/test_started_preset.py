"""A server that is started with a memory preset: what clients say goes first, what they leave out is the preset's."""

import base64
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import HOME, png
from tests.unit.app.engines import start_engine
from tests.unit.app.process_fakes import Control, open_pipeline
from tests.unit.app.waiting import wait_until
from trellis.app.api.application import create_api
from trellis.app.api.settings import ApiSettings

PICTURE = png()
TEXT = base64.b64encode(PICTURE).decode()
QUICK = ["steps 8 8", "texture 512", "24 frames, 256 px"]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """As `serve --preset prototype`."""
    load = partial(open_pipeline, folder=str(tmp_path), preset="prototype")
    engine = start_engine(load, tmp_path / "jobs")
    with TestClient(create_api(engine, ApiSettings()), base_url=HOME) as client:
        yield client
    engine.close()


def made(control: Control) -> list[str]:
    """Steps, texture and preview of the last job."""
    last = {line.split()[0]: line for line in control.lines() if line.startswith(("steps", "save", "video"))}
    return [last["steps"], last["save"].split(maxsplit=3)[-1], last["video"].removeprefix("video of ")]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, QUICK),
        ({"preset": None}, QUICK),
        ({"texture_size": 1024}, ["steps 8 8", "texture 1024", "24 frames, 256 px"]),  # the usual value, but stated
        ({"latent_steps": None, "preview_frames": 60}, ["steps 8 None", "texture 512", "60 frames, 256 px"]),
        ({"quality": "standard"}, ["steps 8 8", "texture 2048", "24 frames, 256 px"]),
    ],
)
def test_jobs(client: TestClient, control: Control, values: dict[str, Any], expected: list[str]) -> None:
    job = client.post("/jobs", json={"pictures": [TEXT], "formats": ["glb"], **values}).json()
    wait_until(lambda: client.get(f"/jobs/{job['id']}").json()["state"] == "done")
    assert made(control) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ["steps 8 8", "texture 512"]),
        ({"ss_steps": 12, "slat_steps": "12", "texture_size": 1}, ["steps 12 12", "texture 1024"]),  # as the panel says
        ({"ss_steps": None, "slat_steps": 20}, ["steps 8 20", "texture 512"]),
    ],
)
def test_the_desktop_client(client: TestClient, control: Control, values: dict[str, Any], expected: list[str]) -> None:
    answer = client.post("/generate", json={"single_multi_img_input": [TEXT], **values})
    assert answer.json()["status"] == "COMPLETE", answer.text
    assert made(control)[:2] == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, QUICK),
        ({"ss_sampling_steps": "12", "texture_size": "1024"}, ["steps 12 8", "texture 1024", "24 frames, 256 px"]),
        ({"preview_resolution": "512", "preview_frames": "150"}, ["steps 8 8", "texture 512", "150 frames, 512 px"]),
    ],
)
def test_forms(client: TestClient, control: Control, fields: dict[str, str], expected: list[str]) -> None:
    for route in ("/generate_no_preview", "/generate_preview"):
        answer = client.post(route, data=fields, files={"file": ("a.png", PICTURE, "image/png")})
        assert answer.status_code == 200, answer.text
        assert made(control) == expected


@pytest.mark.parametrize(("query", "texture"), [("", 512), ("?texture_size=1024", 1024)])
def test_resume(client: TestClient, control: Control, query: str, texture: int) -> None:
    form = {"data": {"texture_size": "2048"}, "files": {"file": ("a.png", PICTURE, "image/png")}}
    assert client.post("/generate_preview", **form).status_code == 200  # type: ignore[arg-type]
    assert client.post(f"/resume_from_preview{query}").status_code == 200
    assert made(control)[:2] == ["steps 8 8", f"texture {texture}"]
