"""What an attack on the server found, each as it was done: the server goes on, and others are answered."""

import asyncio
import base64
import contextlib
import json
import random
import socket
import sys
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import png
from tests.api.test_hanging import port as port
from tests.unit.app.fakes import PICTURE
from tests.unit.app.test_handlers import last, sections_of
from tests.unit.app.waiting import wait_until
from trellis.app import bundles, mesh_reader
from trellis.app.api import bodies
from trellis.app.api import pictures as api_pictures
from trellis.app.bundles import bundle_file
from trellis.app.engine import Engine, UnknownJobError
from trellis.app.jobs import JobState
from trellis.app.long_texts import LONG, LongText
from trellis.app.mesh_reader import MeshReader
from trellis.app.picture_reader import PictureReader
from trellis.app.request import GenerationRequest
from trellis.app.result_file import ResultFile
from trellis.app.serve import PatientProtocol
from trellis.app.storage import StorageError
from trellis.app.ui.cutouts import CutoutTable
from trellis.errors import Cancelled, InvalidInputError, TrellisError
from trellis.runtime import ModelFiles


@pytest.mark.parametrize("value", [b"{},", b"[],", b"1,"])
def test_json_of_very_many_values_is_refused_before_it_is_read(client: TestClient, value: bytes) -> None:
    for route, field in (("/jobs", b"pictures"), ("/generate", b"single_multi_img_input")):
        body = b'{"%b": [' % field + value * 20_000 + b"1]}"
        answer = client.post(route, content=body, headers={"Content-Type": "application/json"})
        assert "values" in answer.text and answer.status_code == (400 if route == "/jobs" else 200)


def test_long_texts_of_json_stay_on_disk_as_they_were_written() -> None:
    data = base64.b64encode(random.Random(3).randbytes(2 * LONG)).decode()
    values = {"seed": 1, "pictures": [data, "short", data[:100]], "mesh": f"data:a/b;base64,{data}", "x": {"y": data}}
    plain = json.dumps(values)
    for written in (plain, plain.replace("/", "\\/").replace("+", "\\u002b"), plain.replace(data, data + "\\n")):
        with TemporaryFile() as body:
            body.write(written.encode())
            read = bodies.parse_json(body)
            [picture, *others], mesh = read["pictures"], read["mesh"]
            assert isinstance(picture, LongText) and isinstance(mesh, LongText) and others == ["short", data[:100]]
            assert b"".join(picture.pieces()).strip() == data.encode()
            assert b"".join(mesh.pieces()).strip() == values["mesh"].encode()  # type: ignore[attr-defined]
    for written in (f'{{"a": "\\"{data}"}}', f'{{"a": "{data}\\""}}'):  # a quote of its own is no end of a text
        with TemporaryFile() as body:
            body.write(written.encode())
            assert bodies.parse_json(body) == json.loads(written)


@pytest.mark.parametrize("option", ["seed", "formats", "preset"])
def test_a_long_text_in_the_place_of_an_option_is_told_by_its_length(client: TestClient, option: str) -> None:
    answer = client.post("/jobs", json={"pictures": ["AAAA"], option: "a" * 2 * LONG})
    assert (answer.status_code, answer.json()["field"]) == (422, option)
    assert "LongText" not in answer.text and "a text of 2 MB" in answer.text


def test_texts_that_are_no_pictures_are_bounded_in_json_and_in_forms(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "MOST_TEXT", 3 * LONG)
    monkeypatch.setattr(bodies, "MOST_ESCAPED_TEXT", LONG)
    picture = base64.b64encode(png()).decode()
    answer = client.post("/jobs", json={"pictures": [picture], "pad": "a b " * LONG})
    assert answer.status_code == 413 and "Without pictures and mesh" in answer.json()["detail"]
    answer = client.post("/jobs", json={"pictures": [picture], "prompt": "a" * 4 * LONG})
    assert answer.status_code == 422 and answer.json()["field"] == "prompt"
    fields = {f"pad{number}": (None, "a" * LONG) for number in range(4)}
    answer = client.post("/jobs", files=fields | {"pictures": ("a.png", png())})
    assert answer.status_code == 400 and "its texts are larger than 3 MB" in answer.json()["detail"]
    assert client.post("/generate_no_preview", data={"image_base64": "A" * 2 * LONG}).status_code == 413


@pytest.mark.parametrize("name", ["/etc", "../x", "somebody/model", "\\\\server\\share", "fakes"])
def test_clients_name_no_folder_and_no_repository_for_the_colours(
    client: TestClient, engine: Engine, name: str
) -> None:
    picture = base64.b64encode(png()).decode()
    answer = client.post("/jobs", json={"pictures": [picture], "texture_model": name})
    assert answer.status_code == 422 and answer.json()["field"] == "texture_model" and engine.views() == []
    assert client.post("/jobs", json={"pictures": [picture], "texture_model": "none"}).status_code == 202


def test_meshes_of_page_and_programs_are_tried_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, most = threading.Semaphore(1), []

    def tried(*_: Any) -> None:
        most.append(now.acquire(blocking=False))
        time.sleep(0.05)
        now.release()

    monkeypatch.setattr(mesh_reader, "_tried", tried)
    reader = MeshReader()
    kept = mesh_reader.keep_mesh(BytesIO(b"v"), "a.obj", tmp_path)
    for waiting in [reader.check(kept) for _ in range(3)]:
        waiting.result(30)
    assert most == [True, True, True]
    reader.close()
    assert reader.check(kept).cancelled()


def test_a_mesh_that_is_tried_at_the_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(mesh_reader, "child_command", lambda *_: sleeper)
    reader = MeshReader()
    trial = reader.check(mesh_reader.keep_mesh(BytesIO(b"v"), "a.obj", tmp_path))
    begun = time.monotonic()
    wait_until(trial.running)
    reader.close()
    assert time.monotonic() - begun < 20 and isinstance(trial.exception(), Cancelled)


def test_a_mesh_whose_reader_cannot_be_started_is_told(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(mesh_reader.subprocess, "Popen", refuse)
    body = {"operation": "encode", "mesh": base64.b64encode(b"v").decode(), "mesh_name": "a.obj"}
    answer = client.post("/jobs", json=body)
    assert answer.status_code == 503 and "Too many open files" in answer.json()["detail"]


def test_what_cannot_be_drawn_is_told(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_: Any, **__: Any) -> Any:
        raise TrellisError("The view could not be drawn: ask for a smaller one.")

    monkeypatch.setattr("trellis.app.api.jobs.asset_view", late)
    url = client.post("/jobs", files={"pictures": ("a.png", png())}).json()["url"]
    wait_until(lambda: client.get(url).json()["state"] == "done")
    answer = client.get(f"{url}/view")
    assert answer.status_code == 500 and "could not be drawn" in answer.json()["detail"]


def test_bodies_of_all_clients_together_are_bounded(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MOST_HELD", 1000)
    for _ in range(3):
        assert client.post("/jobs", files={"pictures": ("a.png", bytes(2000))}).status_code == 503
    assert bodies._Held.total == 0
    monkeypatch.setattr(bodies, "MOST_HELD", 10**6)
    assert client.post("/jobs", files={"pictures": ("a.png", png())}).status_code == 202


@pytest.mark.parametrize("kept", [0, 1])  # the body, and what is taken out of it
def test_what_finds_no_room_for_its_time_on_disk_is_told(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    places = [BytesIO() for _ in range(kept)]

    def next_place(**_: Any) -> Any:
        if not places:
            raise OSError(28, "No space left on device")
        return places.pop()

    monkeypatch.setattr("tempfile.TemporaryFile", next_place)
    answer = client.post("/jobs", files={"pictures": bytes(2**16)})
    assert answer.status_code == 507 and "disk of its temporary files is full" in answer.json()["detail"]


@pytest.mark.parametrize("said", ["no space left on device", "read-only file system"])
def test_words_of_a_client_are_no_fault_of_the_disk(client: TestClient, said: str) -> None:
    for fields in ({"model": said}, {"seed": said}):
        answer = client.post("/jobs", data=fields, files={"pictures": ("a.png", png())})
        assert (answer.status_code, answer.json()["field"]) == (422, *fields), answer.text


def test_a_character_set_that_does_not_exist_is_no_fault(client: TestClient) -> None:
    kind = "multipart/form-data; boundary=b; charset=undefined"
    body = b'--b\r\nContent-Disposition: form-data; name="seed"\r\n\r\n1\r\n--b--\r\n'
    for route in ("/jobs", "/generate_no_preview"):
        assert client.post(route, content=body, headers={"Content-Type": kind}).status_code in (400, 422)


def test_the_pictures_of_one_request_take_no_more_than_their_time(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_pictures, "MOST_SECONDS", 0.0)
    answer = client.post("/jobs", files={"pictures": ("a.png", png())})
    assert answer.status_code == 422 and "take too long" in answer.json()["detail"]
    monkeypatch.setattr(api_pictures, "MOST_SECONDS", 60.0)
    assert client.post("/jobs", files={"pictures": ("a.png", png())}).status_code == 202


def test_a_picture_that_only_waited_is_not_at_fault(
    client: TestClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, others = {"pictures": ("a.png", png())}, threading.Event()
    engine.pictures._thread.submit(others.wait, 60)  # a cut-out that takes its time
    monkeypatch.setattr(api_pictures, "LONGEST_WAIT", 0.2)
    answer = client.post("/jobs", files=picture)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5"), answer.text
    monkeypatch.setattr(api_pictures, "LONGEST_WAIT", 60.0)
    threading.Timer(0.2, others.set).start()
    assert client.post("/jobs", files=picture).status_code == 202


def test_a_reader_that_cannot_be_started_is_told_and_started_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = PictureReader(tmp_path / "uploads")
    import subprocess

    start = subprocess.Popen

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(24, "Too many open files")

    try:
        monkeypatch.setattr(subprocess, "Popen", refuse)
        with pytest.raises(StorageError, match="Too many open files"):
            reader.cut_out(PICTURE, "alpha").result(30)
        monkeypatch.setattr(subprocess, "Popen", start)
        with PICTURE.open("rb") as file:
            assert reader.read(file).result(30).path.is_file()
    finally:
        reader.close()


def test_a_page_names_no_more_pictures_than_a_job_takes(tmp_path: Path) -> None:
    table = CutoutTable(PictureReader(tmp_path / "uploads"), ModelFiles())
    with pytest.raises(InvalidInputError, match="At most 64"):
        asyncio.run(table.cut_out(["/x.png"] * 65, "auto"))


def test_what_a_client_says_of_its_address_is_not_believed(port: int) -> None:
    home = f"http://127.0.0.1:{port}"
    with httpx.Client(headers={"X-Forwarded-For": "192.168.1.77"}, timeout=30) as disguised:
        job = disguised.post(f"{home}/jobs", files={"pictures": ("a.png", png())}).json()
        assert [known["id"] for known in httpx.get(f"{home}/jobs").json()["jobs"]] == [job["id"]]


def test_connections_of_one_client_are_bounded(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatientProtocol, "most", 20)
    monkeypatch.setattr(PatientProtocol, "head_seconds", 5.0)
    idle = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(40)]
    try:
        refused = 0
        for connection in idle[20:]:
            try:
                refused += connection.recv(1) == b""
            except ConnectionResetError:
                refused += 1
        assert refused >= 19
    finally:
        for connection in idle:
            connection.close()
    wait_until(lambda: not PatientProtocol.open)
    assert httpx.get(f"http://127.0.0.1:{port}/ping", timeout=30).status_code == 200


def finished(engine: Engine) -> str:
    job_id = engine.submit(GenerationRequest(formats=("glb",)), [PICTURE])
    wait_until(lambda: engine.view(job_id).state.final)
    assert engine.view(job_id).state is JobState.DONE
    return job_id


def test_an_archive_made_while_its_job_is_deleted_leaves_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = finished(engine)
    view = engine.view(job_id)
    zip_file = bundles.zipfile.ZipFile

    class Deleting(zip_file):
        def write(self, *arguments: Any, **options: Any) -> None:
            super().write(*arguments, **options)
            engine.remove(job_id)

    monkeypatch.setattr(bundles.zipfile, "ZipFile", Deleting)
    with contextlib.suppress(StorageError):
        assert bundle_file(view, "all") is None
    assert not view.files["glb"].parent.exists()


def test_a_file_that_is_deleted_while_it_is_asked_for_is_not_there(tmp_path: Path) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Route

    path = tmp_path / "a.glb"
    path.write_bytes(b"glTF")

    async def answer(_: Any) -> ResultFile:
        made = ResultFile(path)
        path.unlink()
        return made

    client = TestClient(Starlette(routes=[Route("/", answer)]))
    gone = client.get("/")
    assert gone.status_code == 404 and "does not exist any more" in gone.text


BROWSER: Any = SimpleNamespace(session_hash="page", cookies={})


class DeletedEngine:
    """Every job that is asked for was deleted by somebody else."""

    pictures = None
    opening = False

    def __init__(self) -> None:
        self.executor = SimpleNamespace(plan={}, opening=False)

    def history(self, owner: str) -> list[Any]:
        return []

    def submit(self, *_: Any, **__: Any) -> str:
        return "gone"

    def view(self, job_id: str) -> Any:
        raise UnknownJobError("This job is not known; it may have been deleted.")


def test_a_page_whose_job_was_deleted_elsewhere_can_generate_again() -> None:
    sections = sections_of(DeletedEngine())  # type: ignore[arg-type]
    session, actions = sections.studio.session(BROWSER), sections.actions
    session.finished = ("gone too", "mug")
    assert "may have been deleted" in last(sections.jobs.follow(BROWSER, "gone"))[sections.progress.panel]
    updates = last(sections.jobs.watch(BROWSER))
    assert session.job is None and updates[sections.again.button].visible is False
    assert updates[actions.cancel].interactive is False


def test_a_page_that_waits_is_not_forgotten_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trellis.app.ui.studio.MOST_SESSIONS", 3)
    engine = DeletedEngine()
    running = SimpleNamespace(state=JobState.RUNNING)
    engine.view = lambda job_id: running  # type: ignore[method-assign]
    cancelled: list[str] = []
    engine.cancel = cancelled.append  # type: ignore[attr-defined]
    studio = sections_of(engine).studio  # type: ignore[arg-type]
    studio.session(BROWSER).job = "mine"
    for index in range(20):
        other: Any = SimpleNamespace(session_hash=f"other{index}", cookies={})
        studio.session(other)
        studio.cancel(SimpleNamespace(session_hash=f"unknown{index}", cookies={}))  # type: ignore[arg-type]
    assert len(studio.sessions) <= 4
    studio.cancel(BROWSER)
    assert cancelled == ["mine"]


def test_jobs_cancelled_while_they_wait_count_as_history(tmp_path: Path) -> None:
    from tests.unit.app.engines import start_engine
    from tests.unit.app.fakes import FakePipeline
    from trellis.app.history import HistoryLimits

    pipeline = FakePipeline()
    pipeline.gate.clear()
    engine = start_engine(lambda: pipeline, tmp_path / "jobs", history=HistoryLimits(jobs=2), queue_limit=50)
    try:
        ids = [engine.submit(GenerationRequest(), [PICTURE]) for _ in range(6)]
        for job_id in ids[1:]:
            engine.cancel(job_id)
        assert len(engine.views()) <= 3
    finally:
        pipeline.gate.set()
        engine.close()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = {thread.name for thread in threading.enumerate()}
    yield
    assert "picture watch" not in {thread.name for thread in threading.enumerate()} - before
