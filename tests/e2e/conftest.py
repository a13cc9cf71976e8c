"""The embedded model, opened once, and one asset of it with its files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from trellis import Asset, ImageTo3D, Runtime
from trellis.export.projection import VIEWS

MODEL = "nano"
STEPS = 4
TEXTURE_SIZE = 512
FRAMES = 4
PREVIEW_SIZE = 256
EXAMPLES = Path(__file__).resolve().parents[2] / "assets" / "example_image"
FAST = {"texture_size": TEXTURE_SIZE, "preview_frames": FRAMES, "preview_size": PREVIEW_SIZE}


@dataclass(frozen=True)
class Result:
    asset: Asset
    files: dict[str, Path]


@pytest.fixture(scope="session")
def picture() -> Path:
    return EXAMPLES / "lighthouse.png"


@pytest.fixture(scope="session")
def pipeline() -> ImageTo3D:
    return ImageTo3D.from_pretrained(MODEL, runtime=Runtime(offline=True))


@pytest.fixture(scope="session")
def result(pipeline: ImageTo3D, picture: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The asset of `picture` with seed 1; neither it nor its files are to be changed."""
    asset = make_asset(pipeline, picture, seed=1)
    return Result(asset, asset.save(tmp_path_factory.mktemp("result"), **FAST))


@pytest.fixture
def few_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that look at a save's steps or at equal bytes, not at how good a texture is."""
    for mode in ("fast", "best"):
        monkeypatch.setitem(VIEWS[mode], "cpu", (9, 128))


def make_asset(pipeline: ImageTo3D, picture: Path | Sequence[Path], *, seed: int) -> Asset:
    return pipeline(picture, seed=seed, structure_steps=STEPS, latent_steps=STEPS)
