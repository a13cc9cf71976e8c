"""What clients of the page may not do: name files of this computer, use Gradio's other routes, take all there is.

The page stands where `serve` puts it: behind the interface, with the whole of Gradio.
"""

import io
import json
import os
import random
import string
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from PIL import Image

from tests.api.conftest import listening, png
from tests.unit.app.engines import start_engine
from tests.unit.app.waiting import wait_until
from trellis.app.api.application import create_api
from trellis.app.api.late_page import LatePage
from trellis.app.api.settings import ApiSettings
from trellis.app.bundles import bundled_files
from trellis.app.engine import Engine
from trellis.app.ui import guard
from trellis.app.ui.guard import PageGuard
from trellis.app.ui.page import create_page
from trellis.app.ui.studio import Studio
from trellis.app.ui.web import create_app, tell_failure

EXAMPLES = Path("assets/example_image")
SESSION = "abcdefghij"


@contextmanager
def home_of(engine: Engine) -> Iterator[httpx.Client]:
    """A client of a page that is served until the block ends."""
    examples = sorted(EXAMPLES.resolve().glob("*.png"))[:2]
    page = LatePage(lambda: create_app(engine, create_page(engine, examples=examples), examples=examples))
    with listening(create_api(engine, ApiSettings(), page=page)) as port, client_of(port) as home:
        wait_until(lambda: home.get("/").status_code != 503)
        yield home


def client_of(port: int) -> httpx.Client:
    """One client for many requests: each call of `httpx.get` would read the certificates of the machine anew."""
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, verify=False)


@pytest.fixture
def home(engine: Engine) -> Iterator[httpx.Client]:
    with home_of(engine) as home:
        yield home


@pytest.fixture(scope="module")
def closed_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """One for all tests of what is not there: they leave nothing behind."""
    engine = start_engine(lambda: None, tmp_path_factory.mktemp("closed"))
    with home_of(engine) as home:
        yield home
    engine.close()


@pytest.fixture
def plain_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many requests in one test are no attack here; the pace has a test of its own."""
    monkeypatch.setattr(PageGuard, "_check_pace", lambda self, client, cost: None)


def handlers_of(home: httpx.Client) -> list[tuple[int, list[Any]]]:
    """Number and inputs (kind of component) of every handler that a client can call."""
    config = home.get("/config").json()
    kinds = {component["id"]: component["type"] for component in config["components"]}
    return [(entry["id"], [kinds[number] for number in entry["inputs"]]) for entry in config["dependencies"]]


def call(home: httpx.Client, number: int, data: list[Any], *, session: str = SESSION, **more: Any) -> httpx.Response:
    event = {"fn_index": number, "data": data, "session_hash": session, "event_data": None, "trigger_id": None, **more}
    return home.post("/gradio_api/queue/join", json=event)


def heard(home: httpx.Client, *, session: str = SESSION) -> str:
    """What the page's events of a session say, up to their end."""
    with home.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as answer:
        said = ""
        for line in answer.iter_lines():
            said += line + "\n"
            if "process_completed" in line:
                break
    return said


def upload(home: httpx.Client, data: bytes, name: str = "a.png") -> str:
    answer = home.post("/gradio_api/upload", files={"files": (name, data)})
    assert answer.status_code == 200, answer.text
    [path] = answer.json()
    return str(path)


def picture_of(named: object) -> list[Any]:
    """The value of the field of pictures that names a file."""
    return [{"image": {"path": named, "meta": {"_type": "gradio.FileData"}}, "caption": None}]


def inputs_with(kinds: list[str], named: object) -> list[Any]:
    return [picture_of(named) if kind == "gallery" else {"path": named, "url": named} for kind in kinds]


@pytest.fixture
def forbidden(tmp_path: Path, engine: Engine) -> Callable[[str], list[str]]:
    """Names that no client may have opened, given the path of an upload of its own."""
    secret = tmp_path / "secret.png"
    Image.new("RGB", (64, 64), (10, 200, 30)).save(secret)
    folder = engine.pictures.folder

    def names(own: str) -> list[str]:
        link, pipe = folder / "link.png", folder / "pipe.png"
        link.symlink_to(secret)
        os.mkfifo(pipe)
        (folder / "inside").symlink_to(tmp_path)
        return [
            str(secret),
            f"{folder}/../../../{secret.name}",
            f"{Path(own).parent}/../../{secret.name}",
            os.path.relpath(secret),
            str(link),
            str(folder / "inside" / secret.name),
            str(pipe),
            str(folder),
            f"file://{secret}",
            f"file:{secret}",
            "/dev/zero",
            "/dev/stdin",
            "/proc/self/environ",
            "/etc/passwd",
            "C:\\Windows\\win.ini",
            "\\\\server\\share\\a.png",
            "//server/share/a.png",
            "~/a.png",
            "http://127.0.0.1:9/a.png",
            "https://example.org/a.png",
            "data:image/png;base64,AAAA",
            f"{own}\0.png",
            own.upper(),
            own + "/",
            "",
            "." * 5000,
        ]

    return names


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
@pytest.mark.usefixtures("plain_pace")
def test_no_handler_opens_what_a_client_may_not_name(home: httpx.Client, forbidden: Callable[[str], list[str]]) -> None:
    own = upload(home, png())
    names: list[object] = [*forbidden(own), 7, None, ["x"], {"path": "/etc/passwd"}]
    handlers = handlers_of(home)
    assert any("gallery" in kinds for _, kinds in handlers) and len(handlers) > 10
    for number, kinds in handlers:
        for name in names if kinds else ():
            answer = call(home, number, inputs_with(kinds, name))
            assert answer.status_code == 403, (number, name, answer.text)
            assert "choose it again" in answer.json()["detail"]
    # also where the event, and not its data, names it, and where Gradio would not look for a file
    none = next(number for number, kinds in handlers if not kinds)
    one = next(number for number, kinds in handlers if len(kinds) == 1)
    for name in names:
        assert call(home, none, [], event_data={"value": {"path": name}}).status_code == 403
        assert call(home, one, [{"a": [{"b": {"path": name}}]}]).status_code == 403
    assert call(home, none, [1]).status_code == call(home, 10**9, []).status_code == 422


def test_what_a_client_uploaded_is_cut_out(home: httpx.Client) -> None:
    picture = Image.new("RGB", (64, 64), (230, 230, 235))
    picture.paste((200, 40, 30), (20, 20, 44, 44))
    target = io.BytesIO()
    picture.save(target, "PNG")
    own = upload(home, target.getvalue())
    number = next(number for number, kinds in handlers_of(home) if kinds == ["gallery", "radio"])
    assert call(home, number, [picture_of(own), "grabcut"]).status_code == 200
    assert "data:image/png;base64," in heard(home)


def test_gradio_itself_refuses_files_from_outside(engine: Engine, tmp_path: Path) -> None:
    """The second door: what it offers is on, should an event ever pass the first."""
    page = create_page(engine)
    assert not page.has_launched
    create_app(engine, page)
    assert page.has_launched
    from gradio import processing_utils
    from gradio.context import LocalContext
    from gradio.exceptions import InvalidPathError

    LocalContext.blocks.set(page)
    try:
        with pytest.raises(InvalidPathError):
            processing_utils._check_allowed("/etc/passwd", check_in_upload_folder=True)
    finally:
        LocalContext.blocks.set(None)


@pytest.mark.parametrize(
    "path",
    [
        "file=/etc/passwd",
        "file=/dev/zero",
        "file=http://127.0.0.1:9/a.png",
        "file=https://example.org/a.png",
        "file=//server/share/a.png",
        "file=C:/Windows/win.ini",
        "proxy=http://127.0.0.1:9/",
        "proxy=https://example.org/",
        "runs",
        "call/generate/x",
        "openapi.json",
        "stream/a/1/2/playlist.m3u8",
        "vibe-code",
    ],
)
def test_other_routes_of_gradio_are_not_there(closed_home: httpx.Client, path: str) -> None:
    assert closed_home.get(f"/gradio_api/{path}").status_code == 404


@pytest.mark.parametrize(
    "path", ["run/predict", "api/predict", "call/x", "component_server", "cancel", "reset", "login"]
)
def test_other_ways_to_call_gradio_are_not_there(closed_home: httpx.Client, path: str) -> None:
    assert closed_home.post(f"/gradio_api/{path}", json={"data": [], "fn_index": 0}).status_code == 404
    assert closed_home.post(f"/{path}", json={"data": [], "fn_index": 0}).status_code in (404, 405)


def test_the_progress_of_an_upload_is_kept_for_nobody(closed_home: httpx.Client) -> None:
    answer = closed_home.get("/gradio_api/upload_progress", params={"upload_id": "x"})
    assert answer.status_code == 200 and answer.text == 'data: {"msg": "done"}\n\n'


def test_files_are_fetched_from_uploads_and_examples_alone(home: httpx.Client, engine: Engine, tmp_path: Path) -> None:
    own = upload(home, png())
    (tmp_path / "secret.png").write_bytes(png())
    fetch = "/gradio_api/file="
    assert home.get(fetch + own).content == png()
    for other in (tmp_path / "secret.png", engine.pictures.folder / ".." / ".." / "secret.png"):
        answer = home.get(fetch + quote(str(other), safe=""))
        assert answer.status_code in (403, 404), other


def test_uploads_are_bounded(home: httpx.Client, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    address = "/gradio_api/upload"
    assert home.post(address, files=[("files", (f"{i}.png", png())) for i in range(65)]).status_code == 400
    assert home.post(address, data={"files": "text"}, files={"x": ("a", b"")}).status_code == 400
    assert home.post(address, content=b"x", headers={"content-type": "text/plain"}).status_code == 400
    cut_off = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\nabc'
    kind = {"content-type": "multipart/form-data; boundary=x"}
    assert home.post(address, content=cut_off, headers=kind).status_code in (200, 400)
    monkeypatch.setattr("trellis.app.ui.uploads.MOST_UPLOADS", 1000)
    monkeypatch.setattr("trellis.app.ui.uploads.FRESH_SECONDS", -1.0)
    held = engine.pictures.read(io.BytesIO(png())).result(60)
    first = upload(home, b"1" * 900)
    second = upload(home, b"2" * 900, "../../../b.png")
    assert Path(second).is_relative_to(engine.pictures.folder) and Path(second).name == "b.png"
    assert Path(first).is_file()  # what came before the second was not too much
    upload(home, b"3" * 10)
    assert not Path(first).exists() and Path(second).is_file()
    assert held.path.is_file()  # somebody waits for it
    monkeypatch.setattr("trellis.app.ui.uploads.FRESH_SECONDS", 600.0)
    monkeypatch.setattr("trellis.app.ui.uploads.MOST_UPLOADS", 100)
    full = home.post(address, files={"files": ("c.png", b"4")})
    assert full.status_code == 507 and "no room" in full.json()["detail"]


def test_a_large_upload_is_refused(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastapi.testclient import TestClient

    monkeypatch.setattr("trellis.app.ui.web.MOST_UPLOAD", 100_000)
    app = create_app(engine, create_page(engine))
    answer = TestClient(app).post("/gradio_api/upload", files={"files": ("a.png", bytes(200_000))})
    assert answer.status_code == 413
    assert not any(path.is_file() and path.stat().st_size > 90_000 for path in engine.pictures.folder.rglob("*"))


def test_a_client_that_asks_too_fast_waits(home: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BURST", 40)
    monkeypatch.setattr(guard, "PER_SECOND", 0.5)
    states = [home.get("/robots.txt").status_code for _ in range(60)]
    assert 429 in states and 35 <= states.index(429) <= 50
    assert home.get("/ping").status_code == 200  # the interface is not the page
    assert home.post("/gradio_api/queue/join", json={}).status_code == 429
    time.sleep(3)
    assert home.get("/robots.txt").status_code != 429
    assert home.post("/gradio_api/queue/join", json={}).status_code == 429  # it costs more


def test_sessions_that_are_made_up_are_forgotten(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trellis.app.ui.web.MOST_SESSIONS", 5)
    monkeypatch.setattr("trellis.app.ui.studio.MOST_SESSIONS", 5)
    page = create_page(engine)
    app = create_app(engine, page)
    with listening(app) as port, client_of(port) as home:
        number = next(number for number, fn in page.fns.items() if getattr(fn.fn, "__name__", "") == "watch")
        for index in range(20):
            assert call(home, number, [], session=f"made{index}").status_code == 200
            heard(home, session=f"made{index}")
        kept = page.state_holder.session_data
        assert 1 <= len(kept) <= 5 and "made19" in kept and "made0" not in kept
        studios = {fn.fn.__self__ for fn in page.fns.values() if isinstance(getattr(fn.fn, "__self__", None), Studio)}
        assert [len(studio.sessions) for studio in studios] == [5]


@pytest.mark.usefixtures("plain_pace")
def test_sessions_of_a_strange_form_are_refused(home: httpx.Client) -> None:
    number = next(number for number, kinds in handlers_of(home) if kinds == [])
    for session in ("", "a" * 65, "a/b", "ä", 5, None):
        assert call(home, number, [], session=session).status_code == 400  # type: ignore[arg-type]


def anything(dice: random.Random, depth: int = 0) -> Any:
    """A value of any kind that JSON knows, often of a kind that the page sends."""
    kinds: list[Callable[[], Any]] = [
        lambda: None,
        lambda: dice.choice([True, False]),
        lambda: dice.choice([0, -1, 2**63, 10**400, 0.5, 1e308]),
        lambda: "".join(dice.choices(string.printable, k=dice.randint(0, 20))),
        lambda: dice.choice(["auto", "nano", "draft", "\ud800", "a" * 3000, "../x"]),
        lambda: [anything(dice, depth + 1) for _ in range(dice.randint(0, 4))] if depth < 4 else [],
        lambda: (
            {dice.choice(["path", "url", "image", "value", "__type__", "é"]): anything(dice, depth + 1)}
            if depth < 4
            else {}
        ),
    ]
    return dice.choice(kinds)()


@pytest.mark.usefixtures("plain_pace")
def test_two_thousand_made_up_requests_break_nothing(
    home: httpx.Client, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    dice = random.Random(11)
    handlers = handlers_of(home)
    routes = ["queue/join", "upload", "queue/data", "heartbeat/x y", "file=", "info", "startup-events", "cancel"]
    counts: dict[int, int] = {}
    for index in range(2000):
        number, kinds = dice.choice(handlers)
        event = {"fn_index": number, "data": [anything(dice) for _ in kinds], "session_hash": f"s{index % 50}"}
        for _ in range(dice.choice([0, 0, 0, 1, 2])):
            event[dice.choice(["fn_index", "data", "session_hash", "event_data", "trigger_id"])] = anything(dice)
        body = json.dumps(event).encode("utf-8", "surrogatepass")
        if dice.random() < 0.2:
            damaged = bytearray(body)
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
            body = bytes(damaged)
        route = "queue/join" if dice.random() < 0.7 else dice.choice(routes)
        kind = dice.choice(["application/json", "multipart/form-data; boundary=x", "text/plain"])
        if route == "queue/join":
            kind = "application/json"
        method = "GET" if route in ("info", "startup-events", "file=") else "POST"
        answer = home.request(method, f"/gradio_api/{route}", content=body, headers={"content-type": kind})
        counts[answer.status_code] = counts.get(answer.status_code, 0) + 1
        assert answer.status_code < 500, (route, body, answer.text)
    assert home.get("/").status_code == 200 and home.get("/ping").status_code == 200
    assert counts[200] > 100 and sum(counts.values()) == 2000, counts
    assert not [record for record in caplog.records if record.exc_info]
    assert "Traceback" not in capfd.readouterr().err


def test_a_fault_of_the_program_is_logged_with_its_way(caplog: pytest.LogCaptureFixture) -> None:
    for fault in (lambda: bundled_files(None, "all"), lambda: [][0]):  # type: ignore[arg-type]
        try:
            fault()
        except (AttributeError, IndexError):
            tell_failure()
    assert [bool(record.exc_info) for record in caplog.records] == [True, False]


def test_the_event_loop_goes_on_while_a_device_is_named(home: httpx.Client) -> None:
    """Once, this stopped the whole server for good."""
    done = threading.Event()
    number = next(number for number, kinds in handlers_of(home) if kinds == ["gallery", "radio"])

    def attack() -> None:
        for _ in range(5):
            call(home, number, [picture_of("/dev/zero"), "auto"])
        done.set()

    thread = threading.Thread(target=attack, daemon=True)
    thread.start()
    slowest = 0.0
    while not done.is_set():
        begun = time.monotonic()
        assert home.get("/ping", timeout=10).status_code == 200
        slowest = max(slowest, time.monotonic() - begun)
    assert slowest < 5
