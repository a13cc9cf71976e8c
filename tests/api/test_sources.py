"""What a job is made of: pictures or a prompt, on which model; in both interfaces."""

import base64
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.api.conftest import HOME, listening, png
from tests.api.desktop_client import DesktopClient, parse_panel
from tests.api.test_jobs import wait
from tests.unit.app.engines import start_engine
from tests.unit.app.process_fakes import Control, open_pipeline
from trellis.app.api.application import create_api
from trellis.app.api.model_routes import model_routes
from trellis.app.api.settings import ApiSettings
from trellis.app.api.stableprojectorz.panel import panel_text
from trellis.app.engine import Engine
from trellis.app.job_sources import Models
from trellis.errors import InvalidInputError
from trellis.export.options import FileOptions

TEXT = base64.b64encode(png()).decode()
PROMPT = "a small red mug"


def setups(control: Control) -> list[str]:
    return [line for line in control.lines() if line.startswith("setup")]


def test_a_prompt_becomes_a_job_on_the_text_model(client: TestClient, control: Control) -> None:
    answer = client.post("/jobs", json={"prompt": PROMPT, "formats": ["glb"], "seed": 3})
    assert answer.status_code == 202, answer.text
    job = wait(client, answer.json()["id"])
    assert (job["model"], job["prompt"]) == ("words", PROMPT)
    assert any(line.startswith(f"generate seed 3 prompt {len(PROMPT)}") for line in control.lines())
    assert setups(control) == ['setup {"model": "words"}']


def test_prompt_and_model_of_a_form(client: TestClient, control: Control) -> None:
    answer = client.post("/jobs", data={"prompt": PROMPT, "model": "words", "formats": "glb"})
    assert answer.status_code == 202, answer.text
    assert wait(client, answer.json()["id"])["prompt"] == PROMPT
    answer = client.post("/jobs", data={"model": "other"}, files={"pictures": ("a.png", png())})
    job = wait(client, answer.json()["id"])
    assert (job["model"], job["prompt"]) == ("other", None)
    assert setups(control) == ['setup {"model": "words"}', 'setup {"model": "other"}']


def test_pictures_without_a_model_go_to_the_one_that_was_started_with(client: TestClient, control: Control) -> None:
    answer = client.post("/jobs", json={"pictures": [TEXT], "formats": ["glb"]})
    assert wait(client, answer.json()["id"])["model"] == "fake" and setups(control) == []


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({}, "pictures", "between 1 and"),
        ({"prompt": PROMPT, "pictures": [TEXT]}, "prompt", "not both"),
        ({"prompt": ""}, "prompt", "between 1 and 1000 characters"),
        ({"prompt": "  "}, "prompt", "between 1 and 1000 characters"),
        ({"prompt": "x" * 1001}, "prompt", "between 1 and 1000 characters"),
        ({"prompt": 7}, "prompt", "must be a text"),
        ({"prompt": None}, "prompt", "must be a text"),
        ({"prompt": PROMPT, "model": "fake"}, "model", "takes pictures, not a prompt; for prompt there are words"),
        ({"pictures": [TEXT], "model": "words"}, "model", "takes a prompt, not pictures"),
        ({"pictures": [TEXT], "model": "../../etc"}, "model", "one of fake, other, words"),
        ({"pictures": [TEXT], "model": ["fake"]}, "model", "must be a text"),
    ],
)
def test_what_does_not_go_together_is_named(client: TestClient, body: dict[str, Any], field: str, said: str) -> None:
    answer = client.post("/jobs", json=body)
    assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text
    assert said in answer.json()["detail"]


def test_a_prompt_with_half_a_character_is_refused(client: TestClient) -> None:
    body = b'{"prompt": "a \\ud800 cat", "model": "words"}'
    answer = client.post("/jobs", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["field"]) == (422, "prompt"), answer.text
    assert client.get("/jobs").json() == {"jobs": []}


def test_the_models_are_listed(client: TestClient) -> None:
    listed = client.get("/models").json()["models"]
    assert [(entry["name"], entry["takes"], entry["default"]) for entry in listed] == [
        ("fake", "pictures", True),
        ("other", "pictures", False),
        ("words", "prompt", True),
    ]


def test_a_model_that_is_not_here_is_fetched_only_where_it_is_named() -> None:
    models = Models(("fake", "large", "words"), frozenset({"words"}), frozenset({"large", "words"}))
    assert models.choose(None, prompt=None, pictures=1) == "fake"
    assert models.choose("large", prompt=None, pictures=1) == "large"
    assert models.choose("words", prompt=PROMPT, pictures=0) == "words"
    with pytest.raises(InvalidInputError, match="name one to have it fetched: words") as error:
        models.choose(None, prompt=PROMPT, pictures=0)
    assert error.value.field == "prompt"
    started = Models(("large", "fake"), frozenset(), frozenset({"large"}))  # the program was started with it
    assert started.choose(None, prompt=None, pictures=1) == "large"
    app = FastAPI()
    app.include_router(model_routes(models))
    listed = TestClient(app).get("/models").json()["models"]
    assert [(entry["name"], entry["default"], entry["here"]) for entry in listed] == [
        ("fake", True, True),
        ("large", False, False),
        ("words", False, False),
    ]


def test_a_preset_fills_what_a_request_leaves_out(client: TestClient, engine: Engine) -> None:
    """As on the page: `JobRequest` is the one place of this rule."""
    answer = client.post("/jobs", json={"pictures": [TEXT], "preset": "prototype", "latent_steps": 3})
    request = engine.view(answer.json()["id"]).request
    assert request is not None
    assert (request.structure_steps, request.latent_steps, request.texture_size) == (8, 3, 512)
    assert (request.preview_size, request.preview_frames) == (256, 24)
    answer = client.post("/jobs", data={"preset": "minimal"}, files={"pictures": ("a.png", png())})
    request = engine.view(answer.json()["id"]).request
    assert request is not None
    assert (request.preview_size, request.preview_frames) == (256, FileOptions().preview_frames)


@pytest.fixture
def text_server(tmp_path: Path, control: Control) -> Iterator[int]:
    """A server that was started with a text model."""
    load = partial(open_pipeline, folder=str(tmp_path))
    engine = start_engine(load, tmp_path / "jobs", model="words", models=["fake"], texts=["words"])
    with listening(create_api(engine, ApiSettings())) as port:
        yield port
    engine.close()


def test_the_desktop_client_of_a_text_model_has_a_prompt(text_server: int, control: Control) -> None:
    desktop = DesktopClient("127.0.0.1", text_server)
    desktop._poll_panel()
    kinds = {element.kind: element.properties.get("code_name") for element in parse_panel(desktop.panel)}
    assert kinds["text_prompt"] == "prompt" and "single_multi_img_input" not in kinds
    assert desktop.generate([], prompt=PROMPT, seed=5) == "imported", desktop.log
    assert any(line.startswith(f"generate seed 5 prompt {len(PROMPT)}") for line in control.lines())
    for prompt in ("", "x" * 1001):
        shown = desktop.generate([], prompt=prompt)
        assert shown == "Generation failed: prompt must have between 1 and 1000 characters."


def test_the_desktop_route_takes_a_model(client: TestClient, control: Control) -> None:
    assert client.base_url == HOME
    values = {"single_multi_img_input": [TEXT], "model": "other"}
    assert client.post("/generate", json=values).json()["status"] == "COMPLETE"
    assert setups(control) == ['setup {"model": "other"}']
    answer = client.post("/generate", json=values | {"model": "words"}).json()
    assert answer["status"] == "FAILED" and answer["message"].startswith("model words takes a prompt")


def test_panels_are_constant_text() -> None:
    for of_texts in (False, True):
        assert (
            panel_text(of_texts=of_texts) == panel_text(of_texts=of_texts) and panel_text(of_texts=of_texts).isascii()
        )
