"""What starts from a job or from a mesh file: from the request to the record, and every refusal with its field."""

import base64
import gc
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from fastapi.testclient import TestClient
from PIL import Image

from tests.api.conftest import HOME, png
from tests.unit.app.engines import start_engine
from tests.unit.app.fakes import FakePipeline
from tests.unit.app.waiting import wait_until
from tests.unit.export.shapes import sphere
from tests.unit.export.test_texture import shell_of_gaussians
from trellis.app import view_worker
from trellis.app.api.application import create_api
from trellis.app.api.settings import ApiSettings
from trellis.app.engine import Engine
from trellis.app.generation import GRAFTED
from trellis.app.job_sources import COLORLESS, REENCODED
from trellis.app.jobs import Job
from trellis.app.picture_reader import PictureReader
from trellis.app.request import EditRequest, RetextureRequest, VariantRequest
from trellis.asset import Asset
from trellis.conditioning.view import PictureView

pytestmark = pytest.mark.usefixtures("meshes_read_here")  # the child reads them in test_hunyuan_clients.py
TEXT = base64.b64encode(png()).decode()
BOX = [[-0.5, 0, -0.5], [0.5, 0.5, 0.5]]
NOWHERE = "0" * 32


def glb() -> bytes:
    return bytes(trimesh.creation.icosphere(1).export(file_type="glb"))


FLAT = b"v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n"
MESH = base64.b64encode(glb()).decode()


@pytest.fixture
def pipeline() -> FakePipeline:
    return FakePipeline()


@pytest.fixture
def engine(tmp_path: Path, pipeline: FakePipeline, reader: PictureReader) -> Iterator[Engine]:
    engine = start_engine(lambda **_: pipeline, tmp_path / "jobs", models=["words", "bare"], texts=["words"])
    engine.models = type(engine.models)(
        engine.models.names, engine.models.of_texts, operations={"bare": ("generate", "variant", "retexture")}
    )
    engine.pictures = reader
    yield engine
    engine.close()


@pytest.fixture
def client(engine: Engine) -> Iterator[TestClient]:
    with TestClient(create_api(engine, ApiSettings()), base_url=HOME) as client:
        yield client


def finished(client: TestClient, answer: Any, state: str = "done") -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    url = answer.json()["url"]
    wait_until(lambda: client.get(url).json()["state"] in ("done", "failed", "cancelled"))
    job = dict(client.get(url).json())
    assert job["state"] == state, job
    return job


def generated(client: TestClient, **options: Any) -> dict[str, Any]:
    return finished(client, client.post("/jobs", json={"pictures": [TEXT], "seed": 3, "formats": ["glb"], **options}))


def test_an_edit_of_a_job_keeps_its_file_and_tells_what_changed(
    client: TestClient, engine: Engine, pipeline: FakePipeline
) -> None:
    source = generated(client)
    box = [[-0.5, 0.0, -0.5], [0.5, 0.5, 0.5]]
    values = {"operation": "edit", "source": source["id"], "pictures": [TEXT], "box": [box], "formats": ["ply"]}
    made = finished(client, client.post("/jobs", json=values))
    assert made["outside"] == {"voxels_changed": 0, "psnr": 46.0} and REENCODED not in made["notes"]
    call = pipeline.calls[-1]
    [found] = call["region"]
    assert ([list(found.low), list(found.high)], call["of"], call["resample"]) == (box, 3, 1)
    assert "box" not in call and call["view"] is None
    assert call["glb"].read_bytes() == engine.view(source["id"]).files["glb"].read_bytes(), "whose texture stays"
    removed = finished(client, client.post("/jobs", json=values | {"pictures": [], "remove": True}))
    assert pipeline.calls[-1]["remove"] is True and pipeline.calls[-1]["sizes"] == [] and removed["outside"]


def test_a_job_whose_files_were_moved_is_not_edited_at_a_wrong_place(client: TestClient) -> None:
    source = generated(client, pivot="base")
    values = {"operation": "edit", "source": source["id"], "box": [[[0, 0, 0], [1, 1, 1]]], "remove": True}
    answer = client.post("/jobs", json=values)
    assert answer.status_code == 422 and "another origin or size" in answer.text


def test_a_variant_of_a_job(client: TestClient, engine: Engine, pipeline: FakePipeline) -> None:
    source = generated(client)
    kept = engine.view(source["id"]).kept_file
    before = {path.name: path.read_bytes() for path in kept.parent.iterdir()}
    values = {"operation": "variant", "source": source["id"], "pictures": [TEXT], "strength": 0.5, "formats": ["ply"]}
    made = finished(client, client.post("/jobs", json=values))
    assert (made["operation"], made["source"], made["outside"]) == ("variant", source["id"], None)
    assert (pipeline.calls[-1]["of"], pipeline.calls[-1]["strength"], len(pipeline.calls[-1]["sizes"])) == (3, 0.5, 1)
    assert [file["kind"] for file in made["files"]] == ["ply"] and made["kept"]
    assert {path.name: path.read_bytes() for path in kept.parent.iterdir()} == before
    # The record says all of it, also after a restart.
    job = engine.view(made["id"])
    again = Job.restore(job.folder)
    assert again.request == job.request and isinstance(again.request, VariantRequest)
    assert (again.source, again.asset, again.mesh) == (source["id"], job.folder / "source.safetensors", None)
    assert json.loads((job.folder / "request.json").read_text())["asset"] == "source.safetensors"


def test_a_mesh_file_of_a_form_and_of_json(client: TestClient, engine: Engine, pipeline: FakePipeline) -> None:
    files = [("pictures", ("a.png", png(), "image/png")), ("mesh", ("Chair.GLB", glb(), "model/gltf-binary"))]
    data = {"operation": "variant", "up": "z", "front": "90", "formats": "ply"}
    made = finished(client, client.post("/jobs", data=data, files=files))
    read, used = pipeline.calls[-2:]
    assert (read["mesh"], read["bytes"], read["up"], read["front"]) == ("source.glb", len(glb()), "z", "90")
    assert read["picture"] is not None and used["strength"] == 1.0
    assert engine.view(made["id"]).mesh == engine.view(made["id"]).folder / "source.glb" and made["source"] is None
    values = {"operation": "encode", "mesh": MESH, "mesh_name": "chair.glb", "formats": ["glb"]}
    encoded = finished(client, client.post("/jobs", json=values))
    assert encoded["kept"] and pipeline.calls[-1]["mesh"] == "source.glb" and pipeline.calls[-1]["picture"] is None
    assert engine.view(encoded["id"]).mesh is not None
    # Nothing of what was sent stays beside the jobs.
    assert not [path for path in engine.uploads.rglob("*") if path.is_file() and path.suffix == ".glb"]


def test_a_new_texture_of_a_job_starts_from_its_glb(client: TestClient, engine: Engine) -> None:
    source = generated(client)
    values = {"operation": "retexture", "source": source["id"], "pictures": [TEXT], "uvs": "keep"}
    made = finished(client, client.post("/jobs", json=values))
    job, first = engine.view(made["id"]), engine.view(source["id"])
    assert isinstance(job.request, RetextureRequest) and job.request.uvs == "keep"
    assert job.files["glb"].read_bytes() == first.files["glb"].read_bytes()
    assert made["likeness"] == 0.5 and made["notes"] == ["The texture coordinates are the mesh's own."]
    assert not made["kept"] and client.post(f"{made['url']}/files", json={}).status_code == 422


def test_a_source_whose_asset_is_gone_is_encoded_again(
    client: TestClient, engine: Engine, pipeline: FakePipeline
) -> None:
    source = generated(client)
    engine.view(source["id"]).give_up_asset()
    values = {"operation": "variant", "source": source["id"], "pictures": [TEXT], "formats": ["ply"]}
    made = finished(client, client.post("/jobs", json=values))
    assert pipeline.calls[-2]["mesh"] == "source.glb" and REENCODED in made["notes"] and made["source"] == source["id"]
    other = generated(client, formats=["obj"])
    engine.view(other["id"]).give_up_asset()
    bare = finished(client, client.post("/jobs", json=values | {"source": other["id"]}))
    assert COLORLESS.format("OBJ") in bare["notes"] and not any("no GLB" in note for note in made["notes"])
    engine.view(source["id"]).files["glb"].unlink()
    refused = client.post("/jobs", json=values)
    assert refused.status_code == 422 and refused.json()["field"] == "source", refused.text


def test_a_repeated_variant_starts_from_the_same(client: TestClient, engine: Engine, pipeline: FakePipeline) -> None:
    source = generated(client)
    values = {"operation": "variant", "source": source["id"], "pictures": [TEXT], "formats": ["ply"]}
    made = engine.view(finished(client, client.post("/jobs", json=values))["id"])
    made.kept_file.unlink()
    calls = len(pipeline.calls)
    again = engine.repeat(made.id)
    wait_until(lambda: engine.view(again).state.final)
    assert pipeline.calls[calls]["of"] == 3 and engine.view(again).source == source["id"]
    # Other files of a variant need neither its source nor the networks.
    other = engine.extract(again, {"formats": ["glb"]})
    wait_until(lambda: engine.view(other).state.final)
    assert len(pipeline.calls) == calls + 1 and engine.view(other).files.keys() == {"glb"}
    engine.view(other).give_up_asset()
    engine.view(again).give_up_asset()
    with pytest.raises(Exception, match="repeat the job it came from"):
        engine.repeat(other)
    # The asset that it started from is given up with its own, and found again at the source.
    assert not engine.view(again).holds_assets
    last = engine.repeat(again)
    wait_until(lambda: engine.view(last).state.final)
    assert pipeline.calls[-1]["of"] == 3


def test_a_repeated_edit_starts_from_its_own_file_where_the_source_is_gone(
    client: TestClient, engine: Engine, pipeline: FakePipeline
) -> None:
    source = generated(client)
    values = {"operation": "edit", "source": source["id"], "box": [BOX], "remove": True, "formats": ["ply"]}
    made = engine.view(finished(client, client.post("/jobs", json=values))["id"])
    made.give_up_asset()
    engine.remove(source["id"])
    again = engine.repeat(made.id)
    wait_until(lambda: engine.view(again).state.final)
    assert REENCODED in engine.view(again).notes and pipeline.calls[-2]["mesh"] == "source.glb"


def test_a_job_that_waited_goes_on_after_a_restart(
    tmp_path: Path, pipeline: FakePipeline, reader: PictureReader
) -> None:
    engine = start_engine(lambda **_: pipeline, tmp_path / "jobs")
    engine.pictures = reader
    pipeline.gate.clear()
    with TestClient(create_api(engine, ApiSettings()), base_url=HOME) as client:
        running = client.post("/jobs", json={"pictures": [TEXT]}).json()
        body = {"operation": "encode", "mesh": MESH, "mesh_name": "a.glb", "formats": ["ply"]}
        waiting = client.post("/jobs", json=body).json()
        assert client.get(waiting["url"]).json()["ahead"] == 1
    wait_until(lambda: engine.view(running["id"]).stages)
    pipeline.gate.set()
    engine.close()
    second = start_engine(lambda **_: pipeline, tmp_path / "jobs")
    wait_until(lambda: second.view(waiting["id"]).state.final)
    assert second.view(waiting["id"]).files.keys() == {"ply"} and pipeline.calls[-1]["mesh"] == "source.glb"
    second.close()


VIEW = {"size": [9, 9], "box": [0, 0, 9, 9]}
EDIT = {"operation": "edit", "box": [BOX], "mesh": MESH, "mesh_name": "a.glb", "pictures": [TEXT]}
VARIANT = {"operation": "variant", "mesh": MESH, "mesh_name": "a.glb", "pictures": [TEXT]}


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({**VARIANT, "strength": 0.01}, "strength", "from 0.05 to 1"),
        ({**VARIANT, "shape_strength": 2}, "shape_strength", "from 0 to 1"),
        ({**VARIANT, "box": [BOX]}, "box", "Unknown option"),
        ({**VARIANT, "source": NOWHERE}, "mesh", "not both"),
        ({**VARIANT, "up": "x"}, "up", "auto, y, z"),
        ({**VARIANT, "front": "45"}, "front", "auto, 0, 90"),
        ({**VARIANT, "pictures": []}, "pictures", "between 1 and"),
        ({**VARIANT, "prompt": "a mug"}, "prompt", "not both"),
        ({**VARIANT, "mesh_name": "a.fbx"}, "mesh_name", ".glb, .gltf, .obj, .ply, .stl"),
        ({**VARIANT, "mesh": ""}, "mesh", "empty"),
        ({**VARIANT, "mesh": "~~"}, "mesh", "base64"),
        ({**VARIANT, "mesh": 3}, "mesh", "must be a base64 text"),
        ({**VARIANT, "mesh": base64.b64encode(b"glTF").decode()}, "mesh", "mesh.glb"),
        ({**VARIANT, "mesh_name": "a.obj", "mesh": base64.b64encode(FLAT).decode()}, "mesh", "no area"),
        ({"operation": "variant", "pictures": [TEXT]}, "source", "finished job"),
        ({"operation": "variant", "pictures": [TEXT], "source": NOWHERE}, "source", "not known"),
        ({"operation": "encode"}, "mesh", "needs a mesh file"),
        ({"operation": "encode", "source": NOWHERE}, "source", "starts from no source"),
        ({"operation": "encode", "mesh": MESH, "mesh_name": "a.glb", "pictures": [TEXT]}, "pictures", "neither"),
        ({"operation": "encode", "mesh": MESH, "mesh_name": "a.glb", "model": "bare"}, "model", "cannot encode"),
        ({"operation": "generate", "pictures": [TEXT], "mesh": MESH, "mesh_name": "a.glb"}, "mesh", "no mesh"),
        ({**EDIT, "box": None}, "box", "needs a box"),
        ({**EDIT, "box": []}, "box", "1 to 32 boxes"),
        ({**EDIT, "box": [BOX] * 33}, "box", "1 to 32 boxes"),
        ({**EDIT, "box": [[[0, 0, 0], [1, 0, 1]]]}, "box", "below the second"),
        ({**EDIT, "box": [[[0, 0, 0], [1, 1]]]}, "box", "1 to 32 boxes"),
        ({**EDIT, "remove": True}, "pictures", "remove takes neither"),
        ({**EDIT, "pictures": [], "prompt": "a mug", "remove": True}, "prompt", "remove takes neither"),
        ({**EDIT, "resample": 11}, "resample", "from 1 to 10"),
        ({**EDIT, "view": "no"}, "view", "view must be"),
        ({**EDIT, "view": {"size": [1]}}, "view", "view"),
        ({**EDIT, "view": {"size": [9, 9], "box": [0, 0, 9, 5]}}, "view", "view must be"),
        ({**EDIT, "view": {"size": [9, 9], "box": [0, 0, 10**6, 10**6]}}, "view", "view must be"),
        ({**EDIT, "view": VIEW | {"camera": {"extrinsics": [[0.0] * 5] * 4}}}, "view", "view must be"),
        ({**EDIT, "box": json.loads("[" * 500 + "]" * 500)}, "box", "1 to 32 boxes"),
        ({**EDIT, "model": "bare"}, "model", "cannot edit"),
        ({**VARIANT, "operation": "retexture", "uvs": "x"}, "uvs", "keep"),
        ({**VARIANT, "operation": "retexture", "faces": 9}, "faces", "Unknown"),
    ],
)  # fmt: skip
def test_bad_input_is_told_with_its_field(client: TestClient, body: dict[str, Any], field: str, said: str) -> None:
    answer = client.post("/jobs", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["field"] == field and said in answer.json()["detail"], answer.text


def test_boxes_of_a_form(client: TestClient, engine: Engine) -> None:
    files = {"mesh": ("a.glb", glb(), "model/gltf-binary"), "pictures": ("a.png", png(), "image/png")}
    view = {"size": [32, 24], "box": [0, 0, 24, 24]}
    data = {"operation": "edit", "box": ["-0.5,0,-0.5,0.5,0.5,0.5", "0,0,0, 1,1,1"], "view": json.dumps(view)}
    request = engine.view(client.post("/jobs", data=data, files=files).json()["id"]).request
    assert isinstance(request, EditRequest)
    assert request.box == (((-0.5, 0, -0.5), (0.5, 0.5, 0.5)), ((0, 0, 0), (1, 1, 1)))
    assert request.view is not None and (request.view.size, request.view.box) == ((32, 24), (0, 0, 24, 24))
    bad = client.post("/jobs", data=data | {"view": "{"}, files=files)
    assert (bad.status_code, bad.json()["field"]) == (422, "view")
    long = client.post("/jobs", data=data | {"view": "[" * 20_000}, files=files)
    assert (long.status_code, long.json()["field"]) == (422, "view") and "too long" in long.text
    refused = client.post("/jobs", data=data | {"box": "1,2,3"}, files=files)
    assert (refused.status_code, refused.json()["field"]) == (422, "box")


def test_a_picture_of_another_size_than_its_view_is_refused_at_once(client: TestClient, engine: Engine) -> None:
    source = generated(client)
    view = VIEW | {"size": [512, 512]}
    values = {"operation": "edit", "source": source["id"], "pictures": [TEXT], "box": EDIT["box"], "view": view}
    answer = client.post("/jobs", json=values)
    assert answer.status_code == 422 and answer.json()["field"] == "view", answer.text
    assert "its view 512 x 512: save it at the size" in answer.json()["detail"] and len(engine.views()) == 1


def test_what_is_sent_as_a_mesh_goes_when_its_job_is_refused(client: TestClient, engine: Engine) -> None:
    body = {"operation": "encode", "mesh": MESH, "mesh_name": "a.glb"}
    engine._queue_limit = 0
    assert client.post("/jobs", json=body).status_code == 503
    gc.collect()  # the file goes with the last that knows it, which the refusal's traceback may be
    assert not list(engine.uploads.rglob("*.glb"))


def test_pictures_do_not_wait_for_a_mesh_that_is_tried(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr("trellis.app.mesh_reader.check_mesh", lambda *_, **__: (begun.set(), go_on.wait(30)))
    body = {"operation": "encode", "mesh": MESH, "mesh_name": "a.glb", "formats": ["ply"]}
    with ThreadPoolExecutor(1) as thread:
        slow = thread.submit(client.post, "/jobs", json=body)
        assert begun.wait(30)
        assert generated(client)["state"] == "done" and not slow.done()
        go_on.set()
        assert slow.result().status_code == 202


def test_a_part_of_an_own_file_is_grafted_onto_it_unless_one_mesh_is_asked_for(
    client: TestClient, engine: Engine
) -> None:
    values = EDIT | {"formats": ["glb"], "box": [[[0, 0, -1], [2, 2, 2]]]}
    grafted = finished(client, client.post("/jobs", json=values))
    assert GRAFTED in grafted["notes"] and grafted["outside"] == {"voxels_changed": 0}
    scene = trimesh.load(engine.view(grafted["id"]).files["glb"])
    assert len(scene.geometry) == 3, "what stays of the ball, its cut faces, and the part of the knot"
    merged = finished(client, client.post("/jobs", json=values | {"keep": "merge"}))
    assert GRAFTED not in merged["notes"] and len(trimesh.load(engine.view(merged["id"]).files["glb"]).geometry) == 1
    # A later edit grafts onto the job's own file where that is stated, and nothing else can be grafted onto.
    later = {"operation": "edit", "pictures": [TEXT], "box": values["box"], "formats": ["glb"], "keep": "graft"}
    again = finished(client, client.post("/jobs", json=later | {"source": grafted["id"]}))
    assert GRAFTED in again["notes"]
    bad = client.post("/jobs", json=values | {"keep": "graft", "formats": ["ply"]})
    assert "choose merge" in finished(client, bad, state="failed")["message"]


def test_a_view_to_paint_over(client: TestClient, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    source = generated(client)
    asked: list[Any] = []

    def drawn(path: Path, **side: float) -> tuple[bytes, dict[str, Any]]:
        asked.append((path, side))
        return png(), VIEW

    monkeypatch.setattr("trellis.app.api.jobs.asset_view", drawn)
    answer = client.get(f"{source['url']}/view?yaw=30&size=64")
    assert asked == [(engine.view(source["id"]).kept_file, {"yaw": 30.0, "pitch": 20.0, "size": 64})]
    assert answer.content == png() and json.loads(answer.headers["X-Trellis-View"]) == VIEW
    for side, field in (("yaw=nan", "yaw"), ("pitch=91", "pitch"), ("size=4096", "size")):
        wrong = client.get(f"{source['url']}/view?{side}")
        assert (wrong.status_code, wrong.json()["field"]) == (422, field)
    engine.view(source["id"]).give_up_asset()
    assert client.get(f"{source['url']}/view").status_code == 409


def test_a_stored_asset_is_drawn_by_a_child(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ball = sphere()
    cloud = shell_of_gaussians(ball, torch.full((len(ball.vertices), 3), 0.5))
    voxels, latent = torch.zeros(1, 3, dtype=torch.int32), torch.zeros(1, 8)
    path = Asset(cloud, None, None, voxels, latent, 32, ()).store(tmp_path / "a.safetensors")
    view_worker.main(str(path), "30", "10", "64")
    told = json.loads(capsys.readouterr().out)
    picture = Image.open(BytesIO(base64.b64decode(told["picture"])))
    assert picture.size == (64, 64) and picture.mode == "RGBA" and np.asarray(picture)[32, 32, 3] > 100
    assert PictureView.from_dict(told["view"]).camera is not None
    view_worker.main(str(path), "0", "0", "7")
    assert "64 to 1024 pixels" in json.loads(capsys.readouterr().out)["error"]
