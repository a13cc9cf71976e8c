"""The embedded model, opened once, and one asset of it with its files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.charts_here import charts_here
from trellis import Asset, ImageTo3D, Runtime
from trellis.export.projection import VIEWS

MODEL = "nano"
STEPS = 2
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


@pytest.fixture(scope="session", autouse=True)
def few_views() -> Iterator[None]:
    """Enough for steps, equal bytes, and colours of whole objects; how good a texture is, other tests look at."""
    with pytest.MonkeyPatch.context() as patch:
        for mode in ("fast", "best"):
            patch.setitem(VIEWS[mode], "cpu", (9, 192))
        with charts_here():  # but for those of worker processes
            yield


def make_asset(pipeline: ImageTo3D, picture: Path | Sequence[Path], *, seed: int) -> Asset:
    return pipeline(picture, seed=seed, structure_steps=STEPS, latent_steps=STEPS)
