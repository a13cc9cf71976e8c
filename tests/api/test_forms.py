"""The form routes of the StableProjectorz servers: one or several pictures, direct or with a preview."""

import base64
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import png
from tests.unit.app.process_fakes import Control
from tests.unit.app.waiting import wait_until
from trellis.app.api.stableprojectorz.options import FORM, form_request, next_size, simplify_share
from trellis.app.engine import Engine
from trellis.app.jobs import KEPT_FILE
from trellis.app.request import GenerationRequest

PICTURE = png()
TEXT = base64.b64encode(PICTURE).decode()
ROUTES = ("/generate_no_preview", "/generate_preview", "/generate_multi_no_preview", "/generate_multi_preview")
COMPLETE = {
    "status": "COMPLETE",
    "progress": 100,
    "message": "Generation complete",
    "preview_urls": None,
    "model_url": "/download/model",
}


def send(client: TestClient, route: str, pictures: int = 1, **fields: Any) -> Any:
    name = "file_list" if "multi" in route else "file"
    files = [(name, (f"{index}.png", PICTURE, "image/png")) for index in range(pictures)]
    return client.post(route, data=fields, files=files)


@pytest.mark.parametrize("route", ROUTES)
def test_each_route_with_files_and_with_base64(client: TestClient, control: Control, route: str) -> None:
    several = "multi" in route
    for answer in (
        send(client, route, pictures=3 if several else 1, seed="5"),
        client.post(route, data={"image_list_base64" if several else "image_base64": [TEXT] * (2 if several else 1)}),
    ):
        assert answer.status_code == 200, answer.text
        body = answer.json()
        if "no_preview" in route:
            assert body == COMPLETE
            assert client.get("/download/model").content[:4] == b"glTF"
        else:
            assert body["status"] == "PREVIEW_READY" and body["model_url"] is None
            for kind in ("gaussian", "mesh"):
                assert body["preview_urls"][kind] == f"/download/preview/{kind}"
                video = client.get(body["preview_urls"][kind])
                assert video.headers["content-type"] == "video/mp4" and video.content[:3] == b"mp4"
    counts = [int(line.split()[4]) for line in control.lines() if line.startswith("generate")]
    assert counts == ([3, 2] if several else [1, 1])


def test_resume_writes_the_model_of_the_previewed_asset(client: TestClient, control: Control) -> None:
    assert send(client, "/generate_preview", seed="77").json()["status"] == "PREVIEW_READY"
    assert client.get("/status").json()["status"] == "PREVIEW_READY"
    assert client.get("/download/model").status_code == 404
    answer = client.post("/resume_from_preview?mesh_simplify_ratio=0,9&texture_size=2000")
    assert answer.json() == COMPLETE
    assert client.get("/download/model").content == b"glTF" + b" 77" * 100
    assert "save seed 77 texture 2048" in control.lines()
    assert len([line for line in control.lines() if line.startswith("generate")]) == 1  # it is not sampled again
    again = client.post("/resume_from_preview")
    assert (again.status_code, again.json()["detail"]) == (
        409,
        "Current generation must be in preview_ready state to resume",
    )


def test_a_request_that_becomes_no_job_leaves_what_is_ready(
    client: TestClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert send(client, "/generate_preview").status_code == 200
    with monkeypatch.context() as full:
        full.setattr(engine, "_queue_limit", 0)
        assert client.post("/resume_from_preview").status_code == 503
    assert send(client, "/generate_no_preview", seed="x").status_code == 422
    assert client.get("/status").json()["status"] == "PREVIEW_READY"
    assert client.post("/resume_from_preview").json() == COMPLETE
    assert send(client, "/generate_no_preview", seed="x").status_code == 422
    assert client.get("/status").json()["status"] == "COMPLETE"


def test_resume_makes_the_asset_again_where_it_is_not_kept(
    client: TestClient, engine: Engine, control: Control
) -> None:
    assert send(client, "/generate_preview", seed="77").status_code == 200
    for view in engine.views():
        (view.files["mp4"].parent / KEPT_FILE).unlink()
    assert client.post("/resume_from_preview").json() == COMPLETE
    generated = [line for line in control.lines() if line.startswith("generate")]
    assert len(generated) == 2 and generated[0] == generated[1]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("mesh_simplify_ratio=0", "mesh_simplify_ratio"), ("mesh_simplify_ratio=1.1", "mesh_simplify_ratio"),
        ("mesh_simplify_ratio=nan", "mesh_simplify_ratio"), ("texture_size=0", "texture_size"),
        ("texture_size=4097", "texture_size"), ("texture_size=big", "texture_size"),
    ],
)  # fmt: skip
def test_resume_checks_its_query(client: TestClient, query: str, field: str) -> None:
    answer = client.post(f"/resume_from_preview?{query}")
    assert (answer.status_code, answer.json()["field"]) == (422, field)


BAD = [
    ("ss_guidance_strength", "0"), ("ss_guidance_strength", "10.1"), ("ss_guidance_strength", "inf"),
    ("ss_sampling_steps", "0"), ("ss_sampling_steps", "51"), ("slat_guidance_strength", "-1"), ("seed", "one"),
    ("slat_sampling_steps", "9" * 5000), ("preview_frames", "15"), ("preview_frames", "1001"), ("preview_fps", "0"),
    ("preview_resolution", "1000000"), ("mesh_simplify_ratio", "101"), ("mesh_simplify_ratio", "-0.1"),
    ("texture_size", "0"), ("texture_size", "9000"), ("texture_size", "NaN"), ("output_format", "obj"),
]  # fmt: skip


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("field", "value"), BAD, ids=[f"{name}={value[:10]}" for name, value in BAD])
def test_a_bad_field_is_named_on_every_route(client: TestClient, route: str, field: str, value: str) -> None:
    answer = send(client, route, **{field: value})
    assert (answer.status_code, answer.json()["field"]) == (422, field)


@pytest.mark.parametrize("route", ROUTES)
def test_pictures_are_required_and_checked(client: TestClient, route: str) -> None:
    several = "multi" in route
    name, text = ("file_list", "image_list_base64") if several else ("file", "image_base64")
    for data, files, field in (
        ({"seed": "1"}, {}, name),
        ({text: ""}, {}, name),
        ({text: "*"}, {}, text),
        ({text: "AAAA"}, {}, text),
        ({name: "text"}, {}, name),
        ({}, {name: ("a.png", b"not a picture")}, name),
        ({}, {text: ("a.png", PICTURE)}, text),
    ):
        answer = client.post(route, data=data, files=files)
        assert answer.status_code == 422, answer.text
        assert answer.json()["field"].partition("[")[0] == field
    if not several:
        assert send(client, route, pictures=2).status_code == 422
    assert client.post(route, json={}).status_code == 415


def test_failures_have_codes_of_their_own(client: TestClient, control: Control) -> None:
    control.set(stage="latent", step=1, fault="input")
    answer = send(client, "/generate_no_preview")
    assert (answer.status_code, answer.json()["detail"]) == (500, "The picture shows nothing.")
    control.set(stage="structure", step=1, fault="wait")
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(send(client, "/generate_no_preview", seed="2")))
    thread.start()
    while "structure 1" not in control.lines()[-1]:
        time.sleep(0.01)
    assert client.post("/interrupt").json() == {"status": "interrupt_requested"}
    control.set()
    thread.join()
    assert (answers[0].status_code, answers[0].json()["detail"]) == (499, "Generation cancelled by user")
    assert client.post("/interrupt").json() == {"status": "no_generation_in_progress"}


def test_a_job_that_is_deleted_by_its_id_leaves_a_state(
    client: TestClient, control: Control, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trellis.app.api.jobs.POLL_SECONDS", 1.0)  # in which the POST does not know
    control.set(stage="structure", step=1, fault="wait")
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(send(client, "/generate_no_preview")))
    thread.start()
    wait_until(lambda: "structure 1" in control.lines())
    assert client.delete(f"/jobs/{engine.views()[0].id}").status_code == 204
    status, interrupt = client.get("/status"), client.post("/interrupt")
    control.set()
    thread.join()
    assert (status.status_code, status.json()["status"]) == (200, "PROCESSING")
    assert interrupt.json() == {"status": "interrupt_requested"}
    assert answers[0].status_code == 499


def test_busy_is_503(create_client: Callable[..., TestClient], control: Control) -> None:
    client = create_client(busy_seconds=0.3)
    control.set(stage="structure", step=1, fault="wait")
    thread = threading.Thread(target=lambda: send(client, "/generate_no_preview"))
    thread.start()
    while "structure 1" not in control.lines():
        time.sleep(0.01)
    answer = send(client, "/generate_preview")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert client.get("/ping").json() == {"status": "running", "message": "Trellis API is operational", "busy": True}
    control.set()
    thread.join()
    assert client.get("/ping").json()["busy"] is False


def test_downloads_that_are_not_there(client: TestClient) -> None:
    assert client.get("/download/model").json()["detail"] == "Mesh not found"
    assert client.get("/download/preview/gaussian").json()["detail"] == "Preview not found"
    assert client.get("/download/preview/radiance").status_code == 422


def test_fields_are_turned_into_the_request_s_units() -> None:
    plain = form_request({}, preview=False)
    assert plain == GenerationRequest(
        seed=1, structure_guidance=7.5, structure_steps=12, latent_guidance=3.0, latent_steps=12, simplify=0.95,
        texture_size=1024, preview_size=512, preview_frames=150, formats=("glb",),
    )  # fmt: skip
    assert form_request({"mesh_simplify_ratio": "95"}, preview=True).simplify == 0.95
    assert form_request({"seed": "-1"}, preview=False).seed != form_request({"seed": "-1"}, preview=False).seed
    assert form_request({"seed": "-5"}, preview=False).seed == 2**31 - 5
    assert [simplify_share(value) for value in (0, 0.5, 0.999, 1, 50, 100)] == [0, 0.5, 0.99, 0.01, 0.5, 0.99]
    assert [next_size("texture_size", size) for size in (1, 512, 513, 8192)] == [512, 512, 1024, 4096]
    assert all(number.low <= number.default <= number.high for number in FORM.values())
