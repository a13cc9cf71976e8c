"""The page that is put together while the interface answers already."""

import threading
from collections.abc import Callable

import pytest
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient

from tests.api.conftest import HOME
from tests.unit.app.waiting import wait_until
from trellis.app.api.application import create_api
from trellis.app.api.late_page import LatePage
from trellis.app.api.settings import ApiSettings
from trellis.app.engine import Engine


def client_of(engine: Engine, build: Callable[[], FastAPI]) -> TestClient:
    return TestClient(create_api(engine, ApiSettings(), page=LatePage(build)), base_url=HOME)


def test_the_interface_answers_while_the_page_is_made(engine: Engine) -> None:
    go_on, ended = threading.Event(), []

    def build() -> FastAPI:
        go_on.wait(60)
        page = FastAPI(on_shutdown=[lambda: ended.append(True)])
        page.get("/")(lambda: PlainTextResponse("the page"))
        return page

    with client_of(engine, build) as client:
        assert client.get("/ping").status_code == 200
        early = client.get("/")
        assert early.status_code == 503 and 'http-equiv="refresh"' in early.text and early.headers["retry-after"]
        assert client.get("/viewer.js").status_code == 503
        go_on.set()
        wait_until(lambda: client.get("/").text == "the page")
        assert client.get("/ping").status_code == 200 and ended == []
    assert ended == [True]


def test_a_page_that_cannot_be_made_leaves_the_interface(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    def build() -> FastAPI:
        raise ImportError("no module of that name")

    with client_of(engine, build) as client:
        wait_until(lambda: client.get("/").status_code == 500)
        assert client.get("/ping").status_code == 200
    assert "no module of that name" in caplog.text


def test_an_end_while_the_page_is_made_is_an_end(engine: Engine) -> None:
    begun = threading.Event()

    def build() -> FastAPI:
        begun.set()
        return FastAPI()

    with client_of(engine, build):
        assert begun.wait(60)
