"""u2net as rembg runs it: used when its file is there, a clear error when it cannot be."""

import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from trellis.conditioning import cut_out
from trellis.errors import STARTER, InvalidInputError
from trellis.runtime import ModelFiles

EXAMPLES = Path(__file__).parents[3] / "assets" / "example_image"


class RedNetwork:
    """In place of u2net: what is red is the object. Keeps what it was given."""

    def __init__(self, path: str, providers: list[str]) -> None:
        self.seen: list[np.ndarray] = []
        sessions.append(self)
        assert Path(path).name == "u2net.onnx" and providers == ["CPUExecutionProvider"]

    def get_inputs(self) -> list[Any]:
        return [types.SimpleNamespace(name="picture")]

    def run(self, names: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        [batch] = inputs.values()
        assert list(inputs) == ["picture"]
        self.seen.append(batch)
        return [batch[:, :1] * 0.1 + 0.3, np.zeros_like(batch)]  # the first of its outputs counts


sessions: list[RedNetwork] = []


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    sessions.clear()
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    monkeypatch.setattr(onnxruntime, "InferenceSession", RedNetwork)
    (tmp_path / "u2net.onnx").write_bytes(b"weights")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "share"), [("bear", 0.239), ("cactus", 0.346), ("cake", 0.456), ("mug", 0.418), ("rocket", 0.164)]
)
def test_examples_with_a_background_are_cut_out_whole(name: str, share: float) -> None:
    """share: of the picture that the object covers, as it was drawn."""
    with Image.open(EXAMPLES / f"{name}.png") as picture:
        cutout, method, _ = cut_out(picture, background="grabcut", runtime=ModelFiles(offline=True))
    assert method == "grabcut"
    assert (np.asarray(cutout.getchannel("A")) > 127).mean() == pytest.approx(share, abs=0.004)


def test_the_picture_is_cut_out_by_the_networks_first_output(network: Path) -> None:
    picture = Image.new("RGB", (320, 320), (0, 100, 200))
    picture.paste((200, 0, 0), (0, 0, 160, 320))
    result, method, remark = cut_out(picture, background="auto", runtime=ModelFiles())
    assert (method, remark, result.mode, result.size) == ("rembg", None, "RGBA", (320, 320))
    assert result.getpixel((40, 160)) == (200, 0, 0, 255)
    assert result.getpixel((300, 160)) == (0, 0, 0, 0)  # the colours go with the mask, as rembg has it
    [batch] = sessions[0].seen
    assert batch.shape == (1, 3, 320, 320) and batch.dtype == np.float32
    # the brightest value counts as 1; mean and deviation are ImageNet's
    np.testing.assert_allclose(batch[0, :, 160, 10], [(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225], rtol=1e-6)
    np.testing.assert_allclose(batch[0, 2, 160, 310], (1 - 0.406) / 0.225, rtol=1e-6)


def test_the_mask_has_the_size_of_the_picture(network: Path) -> None:
    picture = Image.new("RGB", (64, 32), (0, 100, 200))
    picture.paste((200, 0, 0), (0, 0, 32, 32))
    alpha = np.asarray(cut_out(picture, background="auto", runtime=ModelFiles())[0])[..., 3]
    assert alpha.shape == (32, 64) and alpha[:, :28].min() > 200 and alpha[:, 36:].max() < 20


def test_a_picture_of_one_colour_has_no_object(network: Path) -> None:
    result, _, _ = cut_out(Image.new("RGB", (8, 8)), background="rembg", runtime=ModelFiles())
    assert result.getextrema()[3] == (0, 0)


def test_the_package_rembg_is_not_needed(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rembg", None)  # importing it fails
    assert cut_out(Image.new("RGB", (8, 8)), background="rembg", runtime=ModelFiles())[1] == "rembg"


@pytest.mark.parametrize(
    ("offline", "words"), [(True, r"u2net\.onnx.*offline.*grabcut"), (False, f"{re.escape(STARTER)} models get u2net")]
)
def test_a_missing_network_says_what_to_do(
    offline: bool, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    with pytest.raises(InvalidInputError, match=words):
        cut_out(Image.new("RGB", (32, 32)), background="rembg", runtime=ModelFiles(offline=offline))


@pytest.mark.parametrize("content", [b"", b"half of a file"])
def test_a_damaged_network_says_what_to_do(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    (tmp_path / "u2net.onnx").write_bytes(content)
    with pytest.raises(InvalidInputError, match="damaged"):
        cut_out(Image.new("RGB", (32, 32)), background="auto", runtime=ModelFiles())
