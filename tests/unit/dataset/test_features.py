"""The published step between voxels and latents: features on disk, and latents of them."""

from pathlib import Path

import numpy as np
import pytest

from tests.unit.encoding.test_encode import RUNTIME, image_model, opened
from trellis.dataset import prepare
from trellis.dataset.layout import FEATURE, LATENT, DataFolder
from trellis.dataset.prepare import ModelStep, encoding_model
from trellis.dataset.records import KEY, PLACE
from trellis.editing import from_mesh
from trellis.encoding.views import view_features
from trellis.errors import CheckpointError
from trellis.opening import open_model

ROCK = Path(__file__).parent / "models" / "rock2" / "rock2.obj"
ROW = {KEY: "ab" * 32, PLACE: str(ROCK)}


def test_latents_of_features_are_those_of_the_mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "network_stem", lambda location, role: Path("published") / role)
    monkeypatch.setattr(
        from_mesh, "view_features", lambda *args, **options: view_features(*args, **options | {"views": 3})
    )
    model = opened(image_model(tmp_path / "model"))

    def made(column: str, root: Path) -> dict[str, np.ndarray]:
        step = ModelStep("step", (column,), folder=DataFolder(root), model=model, views=1, threads=1)
        step.make(ROW, step.columns)
        with np.load(step.folder.path(step.columns[0], ROW[KEY])) as stored:
            return dict(stored)

    features = made(FEATURE, tmp_path / "steps")
    assert features["patchtokens"].dtype == np.float16 and features["patchtokens"].shape[1] == 12
    assert features["patchtokens"].std(0).min() > 0
    whole, apart = made(LATENT, tmp_path / "whole"), made(LATENT, tmp_path / "steps")
    assert np.array_equal(whole["coords"], apart["coords"]) and np.array_equal(features["indices"], apart["coords"])
    assert np.abs(whole["feats"] - apart["feats"]).max() < 0.01 < whole["feats"].std()
    assert not np.array_equal(whole["feats"], apart["feats"])  # the features on disk are halves


def test_the_embedded_model_reads_no_features(tmp_path: Path) -> None:
    model = encoding_model(open_model("nano", runtime=RUNTIME))
    with pytest.raises(CheckpointError, match="go on with encode_latent"):
        ModelStep("step", (FEATURE,), folder=DataFolder(tmp_path), model=model, views=1, threads=1)
