"""rembg behind its adapter: used when its model file is there, a clear error when it cannot be."""

import sys
import types
from pathlib import Path

import pytest
from PIL import Image

from trellis.conditioning import cut_out
from trellis.errors import InvalidInputError
from trellis.runtime import Runtime


def fake_rembg(calls: list[tuple]) -> types.ModuleType:
    module = types.ModuleType("rembg")

    def new_session(name: str, providers: list[str]) -> str:
        calls.append((name, tuple(providers)))
        return "session"

    def remove(picture: Image.Image, session: str) -> Image.Image:
        assert session == "session"
        result = picture.convert("RGBA")
        result.putalpha(200)
        return result

    module.new_session, module.remove = new_session, remove
    module.__spec__ = types.SimpleNamespace(name="rembg")
    return module


def test_rembg_runs_on_the_cpu_when_its_model_is_present(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple] = []
    (tmp_path / "u2net.onnx").write_bytes(b"weights")
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "rembg", fake_rembg(calls))
    result, method, remark = cut_out(Image.new("RGB", (32, 32)), background="auto", runtime=Runtime())
    assert method == "rembg" and remark is None
    assert calls == [("u2net", ("CPUExecutionProvider",))]
    assert result.getpixel((0, 0))[3] == 200


def test_rembg_offline_without_its_model_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    with pytest.raises(InvalidInputError, match=r"u2net\.onnx.*grabcut"):
        cut_out(Image.new("RGB", (32, 32)), background="rembg", runtime=Runtime(offline=True))
