"""Facts are read correctly from what programs and pages print."""

import json
import platform
import socket
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from installer import probe
from installer.probe import Gpu, configured_cpu_torch, local_wheel, offered_builds, parse_nvidia, wheel_is_listed
from tests.installer.fake_shell import FakeShell

TAG = f"cp{sys.version_info[0]}{sys.version_info[1]}"
PLATFORM = {
    "Linux": f"manylinux_2_28_{platform.machine()}",
    "Windows": "win_amd64",
    "Darwin": f"macosx_11_0_{platform.machine()}",
}[platform.system()]


def test_nvidia_lines() -> None:
    text = "NVIDIA H200, 590.44.01, 9.0, 143771 MiB\nQuadro, with a comma, 572.16, 12.0, [N/A]\n"
    assert parse_nvidia(text) == (
        Gpu("NVIDIA H200", 590, (9, 0), 143771 * 2**20),
        Gpu("Quadro, with a comma", 572, (12, 0)),
    )


@pytest.mark.parametrize(
    "text", [None, "", "No devices were found\n", 'Field "compute_cap" is not a valid field to query.\n', "a, b, c\n"]
)
def test_no_nvidia(text: str | None) -> None:
    assert parse_nvidia(text) == ()


@pytest.mark.parametrize("separator", ["%2B", "+"])
def test_wheel_of_this_python_is_found(separator: str) -> None:
    page = f'<a href="/whl/cu130/torch-2.13.0{separator}cu130-{TAG}-{TAG}-{PLATFORM}.whl#sha256=0">torch</a>'
    assert wheel_is_listed(page, "2.13.0", "cu130")
    assert not wheel_is_listed(page, "2.13.1", "cu130")
    assert not wheel_is_listed(page, "2.13.0", "cu126")
    assert not wheel_is_listed(page.replace(TAG, "cp39"), "2.13.0", "cu130")
    assert not wheel_is_listed(page.replace(PLATFORM, "other_system"), "2.13.0", "cu130")


def test_unreachable_index_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fetch(url: str) -> None:
        asked.append(url)

    monkeypatch.setattr(probe, "_fetch", fetch)
    assert offered_builds("https://index.example", ("cu130", "cu126", "cpu"), "2.13.0") == frozenset()
    assert len(asked) == 1


def test_missing_page_does_not_hide_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = f"torch-2.13.0%2Bcu126-{TAG}-{TAG}-{PLATFORM}.whl"
    monkeypatch.setattr(probe, "_fetch", lambda url: wheel if "/cu126/" in url else "")
    assert offered_builds("https://index.example", ("cu130", "cu126"), "2.13.0") == {"cu126"}


def test_pages_over_http(tmp_path: Path) -> None:
    page = tmp_path / "cu130" / "torch" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f'<a href="torch-2.13.0%2Bcu130-{TAG}-{TAG}-{PLATFORM}.whl">torch</a>')
    handler = partial(QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        assert offered_builds(address, ("cu128", "cu130", "cpu"), "2.13.0") == {"cu130"}
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing on the terminal."""


def test_an_index_that_accepts_and_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "INDEX_TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert offered_builds(f"http://127.0.0.1:{server.getsockname()[1]}", ("cpu",), "2.13.0") == frozenset()


def test_nothing_answers_on_a_closed_port() -> None:
    assert offered_builds("http://127.0.0.1:9/whl", ("cpu",), "2.13.0") == frozenset()


def report(url: str) -> str:
    return json.dumps({"version": "1", "install": [{"download_info": {"url": url}}]})


def test_tagged_build_of_the_configured_index() -> None:
    shell = FakeShell(answers={"torch==2.13.0+cpu": report("https://mirror.example/torch.whl")})
    assert configured_cpu_torch(shell, Path("python"), "2.13.0") == "torch==2.13.0+cpu"


def test_local_wheel_without_a_tag() -> None:
    wheel = "file:///wheels/torch-2.13.0-cp311-cp311-linux_x86_64.whl"
    shell = FakeShell(answers={"--no-index": report(wheel)})
    assert configured_cpu_torch(shell, Path("python"), "2.13.0") == wheel


def test_plain_wheel_of_an_index_is_never_taken_for_a_cpu_build() -> None:
    assert configured_cpu_torch(FakeShell(), Path("python"), "2.13.0") is None
    assert local_wheel(report("https://mirror.example/torch-2.13.0.whl")) is None
    assert local_wheel("no json") is None
    assert local_wheel('{"install": []}') is None
