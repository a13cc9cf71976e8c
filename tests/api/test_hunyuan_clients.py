"""Clients of Hunyuan3D's server: one that speaks as its Blender add-on does, and what they must not be able to do."""

import base64
import dataclasses
import http.client
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import trimesh
from fastapi.testclient import TestClient

from tests.api.conftest import Server, png
from tests.api.desktop_client import DesktopClient
from tests.unit.app.waiting import PATIENCE, wait_until
from trellis.app.engine import Engine

PICTURE = base64.b64encode(png()).decode()
BALL = base64.b64encode(bytes(trimesh.creation.icosphere(1).export(file_type="glb"))).decode()
TAKES = ("surface_resolution", "texture_model")
REFUSAL = "shapes is under a licence, which nobody has accepted here."


class AddOn:
    """The keys, the types and the polls of the add-on; it knows no header but the content's type."""

    def __init__(self, port: int) -> None:
        self.port = port

    def call(self, method: str, path: str, values: object = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        body = None if values is None else json.dumps(values).encode()
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def generate(self, **values: Any) -> bytes:
        """What the add-on writes into a file that it then imports; raises as it shows the answer's text."""
        known = {"octree_resolution": 256, "num_inference_steps": 20, "guidance_scale": 5.5, "texture": False}
        status, content = self.call("POST", "/generate", known | values)
        assert status == 200, content.decode()
        return content

    def send(self, **values: Any) -> bytes:
        """The way without waiting: a uid, asked after until the model comes with the answer."""
        status, content = self.call("POST", "/send", values)
        assert status == 200, content
        while True:
            told = json.loads(self.call("GET", f"/status/{json.loads(content)['uid']}")[1])
            if told["status"] == "completed":
                return base64.b64decode(told["model_base64"])
            assert told["status"] in ("processing", "texturing"), told
            time.sleep(0.01)


def test_the_add_on_gets_its_model_both_ways(server: Server) -> None:
    add_on = AddOn(server.port)
    assert add_on.call("GET", "/health") == (200, b'{"status":"healthy"}')
    assert add_on.generate(image=PICTURE, seed=7) == b"glTF" + b" 7" * 100
    assert add_on.generate(text="a red chair", texture=True).startswith(b"glTF 1234")
    assert add_on.send(image=PICTURE, seed=9, num_chunks=8000, remove_background=True) == b"glTF" + b" 9" * 100
    lines = server.control.lines()
    assert [line.split(" in ")[0] for line in lines if line.startswith("generate")] == [
        "generate seed 7 pictures 1",
        "generate seed 1234 prompt 11",
        "generate seed 9 pictures 1",
    ]
    assert "steps None None" in lines  # 20 steps are meant for another kind of model
    assert [job.request.faces for job in server.engine.views()] == [40_000] * 3  # type: ignore[attr-defined]


def test_a_mesh_gets_new_colours(server: Server) -> None:
    models = dataclasses.replace(server.engine.models, operations={"other": ("generate", "retexture")})
    server.engine.models = models
    assert AddOn(server.port).generate(mesh=BALL, image=PICTURE, texture=True) == base64.b64decode(BALL)
    [job] = server.engine.views()
    assert (job.model, job.request.operation) == ("other", "retexture")


def test_what_a_shape_model_takes_reaches_it(client: TestClient, engine: Engine) -> None:
    engine.models = dataclasses.replace(engine.models, options={"fake": TAKES})
    body = {"image": PICTURE, "octree_resolution": 380, "num_inference_steps": 6, "guidance_scale": 4, "texture": False}
    assert client.post("/send", json=body).status_code == 200
    [job] = engine.views()
    stated = job.request.stated
    assert {name: stated[name] for name in ("surface_resolution", "structure_steps", "structure_guidance")} == {
        "surface_resolution": 380,
        "structure_steps": 6,
        "structure_guidance": 4,
    }
    assert stated["texture_model"] == "none" and stated["blend_picture"] is False


def test_the_desktop_client_beside_them_sees_none_of_it(server: Server) -> None:
    desktop = DesktopClient("127.0.0.1", server.port, speed=20).start()
    try:
        wait_until(lambda: desktop.connected and bool(desktop.panel) and bool(desktop.operations))
        assert desktop.generate([png()]) == "imported"
        AddOn(server.port).generate(image=PICTURE, seed=8)
        status, _ = AddOn(server.port).call("POST", "/generate", {"image": "?"})
        assert status == 422
        assert json.loads(AddOn(server.port).call("GET", "/status")[1])["status"] != "FAILED"
        assert desktop.generate([png()]) == "imported"
    finally:
        desktop.stop()


def test_a_failure_and_an_unknown_uid_are_told(client: TestClient, engine: Engine, server: Server) -> None:
    server.control.set(stage="structure", step=1, fault="input")
    add_on = AddOn(server.port)
    status, content = add_on.call("POST", "/generate", {"image": PICTURE})
    assert status == 500 and "The picture shows nothing." in content.decode()
    uid = client.post("/send", json={"image": PICTURE}).json()["uid"]
    wait_until(lambda: engine.view(uid).state.final)
    assert client.get(f"/status/{uid}").json() == {"status": "error", "message": "The picture shows nothing."}
    assert client.get("/status/" + "0" * 32).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"image": "?"}, "image"),
        ({"image": 3}, "image"),
        ({"image": ["x"]}, "image"),
        ({}, "pictures"),
        ({"image": PICTURE, "text": "a chair"}, "prompt"),
        ({"image": PICTURE, "octree_resolution": 4096}, "octree_resolution"),
        ({"image": PICTURE, "num_inference_steps": 1e9}, "num_inference_steps"),
        ({"image": PICTURE, "guidance_scale": "NaN"}, "guidance_scale"),
        ({"image": PICTURE, "seed": -1}, "seed"),
        ({"image": PICTURE, "face_count": 2**70}, "face_count"),
        ({"image": PICTURE, "type": "../../etc/passwd"}, "type"),
        ({"image": PICTURE, "texture": "yes"}, "texture"),
        ({"image": PICTURE, "mesh": "!"}, "mesh"),
        ({"image": PICTURE, "mesh": base64.b64encode(b"glTF nothing").decode()}, "mesh"),
    ],
)
def test_bad_input_is_a_sentence_and_no_job(
    body: dict[str, Any], field: str, client: TestClient, engine: Engine
) -> None:
    engine.models = dataclasses.replace(engine.models, operations={"fake": ("generate", "retexture")})
    for path in ("/send", "/generate") if any(name in body for name in ("image", "text", "mesh")) else ("/send",):
        answer = client.post(path, json=body)
        assert answer.status_code == 422 and answer.json()["field"] == field, answer.text
    assert engine.views() == []
    assert client.post("/send", content=b"[" * 50_000).status_code == 400


def test_a_licence_that_nobody_accepted_is_told_at_every_door(
    create_client: Callable[..., TestClient], engine: Engine
) -> None:
    def refusal(name: str) -> str | None:
        return REFUSAL if name == "shapes" else None

    names = ("shapes", "fake")
    engine.models = dataclasses.replace(engine.models, names=names, of_texts=frozenset(), refusal=refusal)
    client = create_client()
    answer = client.post("/jobs", json={"pictures": [PICTURE], "model": "shapes"})
    assert (answer.status_code, answer.json()) == (403, {"detail": REFUSAL, "field": "model"})
    assert {item["name"]: item["refusal"] for item in client.get("/models").json()["models"]} == {
        "shapes": REFUSAL,
        "fake": None,
    }
    told = client.post("/generate", json={"single_multi_img_input": [PICTURE], "model": "shapes"}).json()
    assert told["status"] == "FAILED" and told["message"] == REFUSAL
    assert engine.views() == []
    assert client.post("/send", json={"image": PICTURE}).status_code == 200
    assert engine.views()[0].model == "fake"  # never the other one unasked
