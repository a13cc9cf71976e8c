"""Hostile and damaged uploads on every route that takes a picture: an answer that names the field, and no harm."""

import base64
import io
import random
import struct
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.api.conftest import png
from trellis.app.api.settings import MAX_UPLOAD_BYTES

PICTURE = png()
ROUTES = ("/jobs", "/generate", "/generate_no_preview", "/generate_multi_preview")
Create = Callable[..., TestClient]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(side: int, rows: int) -> bytes:
    """A PNG that claims side x side pixels, with `rows` rows of zeros in a few kilobytes."""
    header = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
    data = zlib.compress(bytes(rows * (4 * side + 1)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    """A PNG of a megabyte with a compressed comment of 200 MB."""
    comment = b"Comment\0\0" + zlib.compress(bytes(200 * 2**20), 1)
    return PICTURE[:33] + chunk(b"zTXt", comment) + PICTURE[33:]


def saved(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    target = io.BytesIO()
    Image.new(mode, (40, 30), 120).save(target, kind, **options)
    return target.getvalue()


HOSTILE = {
    "bomb that claims 30000 x 30000": png_bomb(30_000, 2),
    "bomb of 8000 x 8000": png_bomb(8_000, 200),
    "bomb in a comment": text_bomb(),
    "one pixel": png(size=(1, 1)),
    "no rows": png_bomb(64, 0),
    "cut off": PICTURE[:40],
    "text": b"GET / HTTP/1.1",
    "empty": b"",
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n(%pipe%id) (r) file\n",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    "pdf": saved("PDF"),
    "netpbm that claims much": b"P6 60000 60000 255\n",
}
GOOD = {
    "png with alpha": saved("PNG", "LA"),
    "jpeg": saved("JPEG"),
    "webp": saved("WEBP"),
    "gif": saved("GIF", "P"),
    "tiff": saved("TIFF"),
    "bmp": saved("BMP"),
}


def send(client: TestClient, route: str, data: bytes) -> tuple[int, str]:
    """Status and message of a picture sent to a route; (200, "") where a generation was taken on."""
    text = base64.b64encode(data).decode()
    if route == "/generate":
        answer = client.post(route, json={"single_multi_img_input": [text]})
        assert answer.status_code == 200
        body = answer.json()
        return (422, body["message"]) if body["status"] == "FAILED" else (200, "")
    if route == "/jobs":
        answer = client.post(route, json={"pictures": [text], "formats": ["glb"]})
    else:
        field = "file_list" if "multi" in route else "file"
        answer = client.post(route, files={field: ("a.png", data)})
    return (200, "") if answer.status_code < 300 else (answer.status_code, f"{answer.json()['field']}: {answer.text}")


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pictures_are_refused_quickly_by_name(client: TestClient, route: str, name: str) -> None:
    started = time.process_time()  # not the clock on the wall: other programs may keep us waiting
    status, message = send(client, route, HOSTILE[name])
    assert status == 422, message
    assert message.startswith(("pictures", "single_multi_img_input", "file")), message
    assert time.process_time() - started < 5


@pytest.mark.parametrize("name", GOOD)
def test_usual_formats_are_taken(client: TestClient, name: str) -> None:
    assert send(client, "/jobs", GOOD[name]) == (200, "")


def test_damaged_pictures_never_break_the_server(client: TestClient) -> None:
    """Files with flipped bytes are either read or refused; 5xx is neither."""
    dice = random.Random(7)
    counts = {202: 0, 422: 0}
    for data in GOOD.values():
        for _ in range(25):
            damaged = bytearray(data)
            for _ in range(dice.randint(1, 8)):
                damaged[dice.randrange(len(damaged))] = dice.randrange(256)
            answer = client.post("/jobs", json={"pictures": [base64.b64encode(damaged).decode()], "formats": ["glb"]})
            assert answer.status_code in (202, 422, 503), answer.text
            if answer.status_code == 202:
                client.delete(answer.json()["url"])
            counts[answer.status_code] = counts.get(answer.status_code, 0) + 1
    assert counts[422] > 10, counts


def test_bodies_over_the_limit_are_refused_with_and_without_a_length(create_client: Create) -> None:
    client = create_client(max_upload_bytes=100_000)
    big = png(size=(32, 24)) + bytes(200_000)
    for kind, body in (
        ("application/json", b'{"pictures": ["' + b"A" * 200_000 + b'"]}'),
        ("multipart/form-data; boundary=x", big),
    ):
        assert client.post("/jobs", content=body, headers={"Content-Type": kind}).status_code == 413

        def pieces(body: bytes = body) -> Any:
            for begin in range(0, len(body), 8192):
                yield body[begin : begin + 8192]

        assert client.post("/jobs", content=pieces(), headers={"Content-Type": kind}).status_code == 413
    answer = client.post("/generate", content=b'{"single_multi_img_input": ["' + b"A" * 200_000 + b'"]}')
    assert answer.status_code == 200 and "larger than" in answer.json()["message"]
    assert client.post("/jobs", content=b"{}", headers={"Content-Type": "application/json"}).status_code == 422


def test_a_client_hears_the_answer_to_a_body_that_is_too_large(server: Any) -> None:
    """Over a real connection, to the end of what it sends: not a reset in the middle."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    body = b'{"pictures": ["' + b"A" * (MAX_UPLOAD_BYTES + 2**20) + b'"]}'
    connection.request("POST", "/jobs", body, {"Content-Type": "application/json"})
    assert connection.getresponse().status == 413
    connection.close()


def test_more_pictures_than_allowed(client: TestClient) -> None:
    text = base64.b64encode(PICTURE).decode()
    assert client.post("/jobs", json={"pictures": [text] * 65}).json()["field"] == "pictures"
    message = client.post("/generate", json={"single_multi_img_input": [text] * 65}).json()["message"]
    assert message.startswith("single_multi_img_input must hold between 1 and 64")
    files = [("file_list", ("a.png", PICTURE))] * 65
    assert client.post("/generate_multi_no_preview", files=files).json()["field"] == "file_list"


def test_a_second_picture_that_is_bad_is_named_by_its_place(client: TestClient) -> None:
    text = base64.b64encode(PICTURE).decode()
    assert client.post("/jobs", json={"pictures": [text, "AAAA"]}).json()["field"] == "pictures[1]"


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(PICTURE).decode(),
        "data:image/png;base64," + base64.b64encode(PICTURE).decode(),
        base64.b64encode(PICTURE).decode().rstrip("="),
        base64.encodebytes(PICTURE).decode(),
    ],
)
def test_base64_in_its_usual_forms(client: TestClient, text: str) -> None:
    assert client.post("/jobs", json={"pictures": [text]}).status_code == 202


@pytest.mark.parametrize(
    "kind", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=x"]
)
def test_forms_that_cannot_be_read(client: TestClient, kind: str) -> None:
    for body in (b"", b"--x", b"--x\r\nContent-Disposition: form-data\r\n\r\nv\r\n--x--", b"\x00\xff" * 100):
        answer = client.post("/generate_no_preview", content=body, headers={"Content-Type": kind})
        assert answer.status_code in (400, 422), answer.text


def test_a_form_with_too_many_fields(client: TestClient) -> None:
    answer = client.post("/generate_no_preview", data={f"field_{i}": "x" for i in range(1000)})
    assert answer.status_code == 400 and "Too many fields" in answer.json()["detail"]
