"""The job interface: submit, watch, cancel, fetch, delete; every route and every error."""

import base64
import errno
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import HOME, png
from tests.unit.app.engines import start_engine
from tests.unit.app.fakes import PICTURE as STORED
from tests.unit.app.process_fakes import CANCEL_ARRIVED, STAGES, UNLIKE_SEED, Control
from tests.unit.app.waiting import wait_until
from trellis.app import jobs
from trellis.app.api.application import create_api
from trellis.app.api.settings import ApiSettings
from trellis.app.engine import Engine
from trellis.app.jobs import CUT_OFF, GOES_ON, Job
from trellis.app.request import GenerationRequest

PICTURE = png()
TEXT = base64.b64encode(PICTURE).decode()
NOWHERE = "0" * 32


def submit(client: TestClient, **options: Any) -> dict[str, Any]:
    answer = client.post("/jobs", json={"pictures": [TEXT], "formats": ["glb"], **options})
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def wait(client: TestClient, job_id: str, state: str = "done") -> dict[str, Any]:
    def job() -> dict[str, Any]:
        return dict(client.get(f"/jobs/{job_id}").json())

    wait_until(lambda: job()["state"] in (state, "done", "failed", "cancelled"))
    assert job()["state"] == state, job()
    return job()


def test_a_job_from_json_to_its_file(client: TestClient, control: Control) -> None:
    answer = client.post("/jobs", json={"pictures": [TEXT, f"data:image/png;base64,{TEXT}"], "seed": 9})
    job = answer.json()
    assert answer.headers["location"] == job["url"] == f"/jobs/{job['id']}"
    done = wait(client, job["id"])
    assert done["progress"] == 1.0 and done["notes"] == ["A note of the pipeline."]
    assert [stage["stage"] for stage in done["stages"]] == ["load model", *(stage for stage, _ in STAGES)]
    result = client.get(f"/jobs/{job['id']}/result").json()
    assert result["files"] == done["files"]
    kinds = {entry["kind"]: entry for entry in result["files"]}
    assert set(kinds) == {"glb", "ply", "mp4"}
    fetched = client.get(kinds["glb"]["url"])
    assert fetched.content == b"glTF" + b" 9" * 100 and len(fetched.content) == kinds["glb"]["bytes"]
    assert fetched.headers["content-type"] == kinds["glb"]["media_type"] == "model/gltf-binary"
    part = client.get(kinds["glb"]["url"], headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"glTF")
    assert any(line.startswith("generate seed 9 pictures 2") for line in control.lines())


def test_the_likeness_of_a_result_is_told_and_stays_on_disk(client: TestClient, engine: Engine) -> None:
    for seed, expected in ((9, 0.75), (UNLIKE_SEED, 0.125)):
        job = submit(client, seed=seed)
        assert job["likeness"] is None
        assert wait(client, job["id"])["likeness"] == expected
        assert client.get(f"/jobs/{job['id']}/result").json()["likeness"] == expected
        assert Job.restore(engine.view(job["id"]).folder).likeness == expected


def test_a_first_look_is_there_before_the_files(client: TestClient, control: Control) -> None:
    control.set(stage="structure", step=1, fault="wait")
    job = submit(client)
    assert job["draft_url"] is None and client.get(f"/jobs/{job['id']}/draft").status_code == 404
    control.set(stage="texture", step=1, fault="wait")
    wait_until(lambda: client.get(job["url"]).json()["draft_url"])
    assert client.get(job["url"]).json()["state"] == "running"
    picture = client.get(client.get(job["url"]).json()["draft_url"])
    assert picture.headers["content-type"] == "image/png" and picture.content[:4] == b"\x89PNG"


def test_a_job_from_a_form(client: TestClient, control: Control) -> None:
    answer = client.post(
        "/jobs",
        data={"seed": "4", "texture_size": "2048", "formats": ["glb", "ply"], "simplify": "0,5", "latent_guidance": ""},
        files=[("pictures", ("a.png", PICTURE, "image/png")), ("pictures", ("b.png", PICTURE, "image/png"))],
    )
    assert answer.status_code == 202, answer.text
    wait(client, answer.json()["id"])
    assert any(line.startswith("generate seed 4 pictures 2") for line in control.lines())
    assert "save seed 4 texture 2048" in control.lines()


def test_events_tell_every_stage_and_end_with_the_job(client: TestClient, control: Control) -> None:
    control.set(step_seconds=0.25)
    first = submit(client)
    assert wait(client, first["id"])["state"] == "done"
    job = submit(client)
    with client.stream("GET", f"/jobs/{job['id']}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        events = [event for event in "".join(stream.iter_text()).split("\n\n") if event]
    assert all(event.startswith("event: job\ndata: {") for event in events)
    told = [json.loads(event.partition("data: ")[2]) for event in events]
    assert told[-1]["state"] == "done" and told[-1]["files"]
    assert {stage["stage"] for entry in told for stage in entry["stages"]} >= {stage for stage, _ in STAGES}
    shares = [entry["progress"] for entry in told]
    assert shares == sorted(shares) and len(set(shares)) > len(STAGES)
    assert any(entry["seconds_left"] for entry in told)


def test_events_of_a_deleted_job_end(client: TestClient, control: Control) -> None:
    control.set(stage="structure", step=1, fault="wait")
    job = submit(client)
    wait(client, job["id"], "running")
    threading.Timer(0.5, lambda: client.delete(f"/jobs/{job['id']}")).start()
    with client.stream("GET", f"/jobs/{job['id']}/events") as stream:
        text = "".join(stream.iter_text())
    assert text.endswith("event: deleted\ndata: {}\n\n")


def test_cancel_a_waiting_and_a_running_job(client: TestClient, control: Control) -> None:
    control.set(stage="structure", step=2, fault="wait")
    running, waiting = submit(client), submit(client)
    wait(client, running["id"], "running")
    assert client.get(f"/jobs/{waiting['id']}").json()["ahead"] == 1
    assert client.post(f"/jobs/{waiting['id']}/cancel").json()["state"] == "cancelled"
    assert client.post(f"/jobs/{running['id']}/cancel").status_code == 202
    control.set()
    wait(client, running["id"], "cancelled")
    answer = client.get(f"/jobs/{running['id']}/result")
    assert answer.status_code == 409 and "cancelled" in answer.json()["detail"]


def test_delete_takes_the_job_and_its_files_away(client: TestClient, engine: Engine) -> None:
    job = submit(client)
    done = wait(client, job["id"])
    folder = engine.view(job["id"]).files["glb"].parent
    assert folder.is_dir()
    assert client.delete(f"/jobs/{job['id']}").status_code == 204
    assert not folder.exists()
    assert client.delete(f"/jobs/{job['id']}").status_code == 404
    assert client.get(done["files"][0]["url"]).status_code == 404


def test_other_files_of_the_same_asset(client: TestClient, control: Control) -> None:
    first = wait(client, submit(client, seed=6)["id"])
    assert first["kept"]
    answer = client.post(f"/jobs/{first['id']}/files", json={"texture_size": 512, "formats": ["glb", "ply"]})
    assert answer.status_code == 202, answer.text
    second = wait(client, answer.json()["id"])
    assert {entry["kind"] for entry in second["files"]} == {"glb", "ply"}
    assert [line.split()[2] for line in control.lines() if line.startswith("generate")] == ["6"]
    assert "save seed 6 texture 512" in control.lines()
    for body, status in (({"seed": 1}, 422), ({"texture_size": 1}, 422), ({"x": 1}, 422)):
        assert client.post(f"/jobs/{first['id']}/files", json=body).status_code == status
    assert client.post(f"/jobs/{NOWHERE}/files", json={}).status_code == 404
    assert client.post(f"/jobs/{first['id']}/files", content=b"x").status_code == 415


def listed(client: TestClient, **headers: str) -> list[str]:
    return [job["id"] for job in client.get("/jobs", headers=headers).json()["jobs"]]


def test_the_list_shows_what_was_submitted_here_and_nothing_of_the_page(client: TestClient, engine: Engine) -> None:
    engine.submit(GenerationRequest(formats=("glb",)), [STORED], owner="a digest")
    ids = [submit(client)["id"] for _ in range(2)]
    assert listed(client) == ids
    client.delete(f"/jobs/{ids[0]}")
    assert listed(client) == ids[1:]


@pytest.mark.parametrize("token", [None, "a-token-for-all"])
def test_a_client_sees_its_own_jobs_and_an_operator_all(engine: Engine, tmp_path: Path, token: str | None) -> None:
    operator = {"Authorization": "Bearer operators-token"}
    application = create_api(engine, ApiSettings(token=token, operator_token="operators-token"))
    headers = {} if token is None else {"X-Trellis-Token": token}
    mine, others = (
        TestClient(application, base_url=HOME, client=(address, 50000), headers=headers)
        for address in ("192.168.1.5", "192.168.1.6")
    )
    of_page = engine.submit(GenerationRequest(formats=("glb",)), [STORED], owner="a digest")
    first, second = submit(mine)["id"], submit(others)["id"]
    wait(mine, first)
    again = others.post(f"/jobs/{first}/files", json={"formats": ["glb"]}).json()["id"]
    wait(others, again)
    assert (listed(mine), listed(others)) == ([first], [second, again])
    assert listed(others, **operator) == [of_page, first, second, again]
    assert others.get(f"/jobs/{first}").status_code == 200  # who knows the id needs no list
    assert listed(mine, Authorization="Bearer operators-toke") == [first]

    later = start_engine(lambda: None, tmp_path / "jobs")
    restarted = create_api(later, ApiSettings(operator_token="operators-token"))
    assert listed(TestClient(restarted, base_url=HOME, client=("192.168.1.6", 1))) == [second, again]
    assert len(listed(TestClient(restarted, base_url=HOME), **operator)) == 4
    later.close()


@pytest.mark.parametrize(("number", "status"), [(errno.ENOSPC, 507), (errno.EROFS, 503), (errno.EACCES, 503)])
def test_results_that_cannot_be_written_are_said_and_the_rest_works_on(
    client: TestClient, engine: Engine, monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    done = wait(client, submit(client)["id"])
    write = jobs.write_bytes

    def refuse(path: Path, data: bytes) -> Path:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(jobs, "write_bytes", refuse)
    for answer in (
        client.post("/jobs", json={"pictures": [TEXT]}),
        client.post(f"/jobs/{done['id']}/files", json={"formats": ["glb"]}),
        client.post("/generate_no_preview", data={"image_base64": TEXT}),
    ):
        assert answer.status_code == status and "of the results" in answer.json()["detail"], answer.text
    told = client.post("/generate", json={"single_multi_img_input": [TEXT]})
    assert told.status_code == 200 and told.json()["status"] == "FAILED" and "of the results" in told.json()["message"]
    assert listed(client) == [done["id"]] and client.get(done["files"][0]["url"]).status_code == 200
    assert [folder.name for folder in engine._folder.iterdir()] == [done["id"]]
    monkeypatch.setattr(jobs, "write_bytes", write)
    wait(client, submit(client)["id"])


def test_uploads_that_find_no_room_are_said(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk(SpooledTemporaryFile):
        def write(self, data: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("trellis.app.api.bodies.SpooledTemporaryFile", FullDisk)
    answer = client.post("/jobs", files={"pictures": ("a.png", PICTURE, "image/png")})
    assert answer.status_code == 507 and "full" in answer.json()["detail"]
    told = client.post("/generate", json={"single_multi_img_input": [TEXT]}).json()
    assert told["status"] == "FAILED" and "full" in told["message"]


def test_a_generation_that_the_end_of_the_program_cuts_off_is_not_called_cancelled(
    client: TestClient, engine: Engine, control: Control
) -> None:
    control.set(stage="structure", step=2, fault="wait")
    answers: list[dict[str, Any]] = []
    caller = threading.Thread(
        target=lambda: answers.append(client.post("/generate", json={"single_multi_img_input": [TEXT]}).json())
    )
    caller.start()
    wait_until(lambda: "structure 2" in control.lines())
    waiting = submit(client)
    ending = threading.Thread(target=engine.close)
    ending.start()
    wait_until(lambda: CANCEL_ARRIVED in control.lines())
    control.set()
    ending.join()
    caller.join()
    assert [(answer["status"], answer["message"]) for answer in answers] == [("FAILED", CUT_OFF)]
    assert wait(client, waiting["id"], "failed")["message"] == GOES_ON


def test_a_failed_job_says_why(client: TestClient, control: Control) -> None:
    control.set(stage="decode", step=1, fault="input")
    job = wait(client, submit(client)["id"], "failed")
    assert job["message"] == "The picture shows nothing."
    assert client.get(f"/jobs/{job['id']}/result").json()["detail"].endswith("The picture shows nothing.")


def test_a_full_queue_is_said_to_be_full(client: TestClient, control: Control) -> None:
    control.set(stage="structure", step=1, fault="wait")
    for _ in range(8):
        submit(client)
    answer = client.post("/jobs", json={"pictures": [TEXT]})
    assert answer.status_code == 503 and answer.headers["retry-after"] == "5"


@pytest.mark.parametrize("path", ["", "/events", "/result", "/draft", "/files/asset.glb"])
def test_unknown_jobs_are_not_found(client: TestClient, path: str) -> None:
    for job_id in (NOWHERE, "..", "%2e%2e%2f%2e%2e", "a" * 3000, "%00", "%ff"):
        assert client.get(f"/jobs/{job_id}{path}").status_code == 404


def test_only_results_are_served(client: TestClient) -> None:
    job = wait(client, submit(client)["id"])
    refused = ("request.json", "picture_0.png", "asset.ply", "..%2Frequest.json", "%2Fetc%2Fpasswd", "asset.glb%00")
    for name in (*refused, "....//x", "%ff"):
        assert client.get(f"/jobs/{job['id']}/files/{name}").status_code == 404, name
    assert client.get(f"/jobs/{job['id']}/files/asset.glb").status_code == 200


BAD_OPTIONS: list[tuple[str, Any]] = [
    ("seed", -1), ("seed", 2**31), ("seed", 10**400), ("seed", "7"), ("seed", True), ("seed", None), ("seed", 1.5),
    ("structure_steps", 0), ("structure_steps", 10**9), ("latent_guidance", -0.1), ("latent_guidance", 1e308),
    ("simplify", 1), ("simplify", "half"), ("texture_size", 1000), ("texture_size", 1024.5), ("formats", []),
    ("formats", ["glb", "exe"]), ("formats", "glb"), ("formats", ["glb", "glb"]), ("formats", {"glb": 1}),
    ("multi_image", "all"), ("faces", 1), ("preview_frames", 0), ("nonsense", 1), ("", 1), ("__class__", 1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD_OPTIONS, ids=[f"{n}={str(v)[:20]}" for n, v in BAD_OPTIONS])
def test_a_bad_option_is_named(client: TestClient, name: str, value: Any) -> None:
    answer = client.post("/jobs", json={"pictures": [TEXT], name: value})
    assert answer.status_code == 422, answer.text
    assert answer.json()["field"] == name and name in answer.json()["detail"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", "nan"),
        ("seed", "1e3000"),
        ("seed", "0x10"),
        ("seed", "1_000"),
        ("texture_size", "1000"),
        ("steps", "1"),
    ],
)
def test_a_bad_option_of_a_form_is_named(client: TestClient, name: str, value: str) -> None:
    answer = client.post("/jobs", data={name: value}, files={"pictures": ("a.png", PICTURE)})
    assert (answer.status_code, answer.json()["field"]) == (422, name)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"{", 400), (b"\xff\xfe", 400), (b'{"pictures": [NaN]}', 400), (b'{"seed": Infinity}', 400),
        (b"[" * 100_000, 400), (b'{"seed": ' + b"9" * 10_000 + b"}", 400), (b"[]", 422), (b'"x"', 422), (b"null", 422),
        (b"{}", 422), (b'{"pictures": "x"}', 422), (b'{"pictures": []}', 422), (b'{"pictures": [""]}', 422),
        (b'{"pictures": [["x"]]}', 422), (b'{"pictures": ["\\ud800"]}', 422),
        (b'{"\\ud800": 1, "pictures": ["AAAA"]}', 422),
    ],
)  # fmt: skip
def test_bodies_that_are_no_submission(client: TestClient, body: bytes, status: int) -> None:
    answer = client.post("/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]


@pytest.mark.parametrize("kind", ["", "text/plain", "application/xml", "multipart/form-data", "image/png"])
def test_other_types_are_refused(client: TestClient, kind: str) -> None:
    answer = client.post("/jobs", content=b"x", headers={"Content-Type": kind})
    assert answer.status_code in (400, 415)


def test_simplify_and_faces_exclude_each_other(client: TestClient) -> None:
    answer = client.post("/jobs", json={"pictures": [TEXT], "simplify": 0.5, "faces": 1000})
    assert answer.status_code == 422 and "exclude" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/jobs"), ("POST", "/ping"), ("GET", "/generate"), ("PATCH", "/x")]
)
def test_other_methods_and_paths(create_client: Callable[..., TestClient], method: str, path: str) -> None:
    answer = create_client().request(method, path)
    assert answer.status_code in (404, 405) and set(answer.json()) == {"detail", "field"}
    if path == "/jobs":
        assert answer.headers["allow"] == "GET, POST"
