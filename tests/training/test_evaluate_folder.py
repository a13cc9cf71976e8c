"""Measuring a model on the objects of a data folder."""

from pathlib import Path

import pytest
import torch

from tests.training import tiny_data
from trellis.dataset.layout import CONDITIONED
from trellis.errors import InvalidInputError
from trellis.training.evaluate_folder import evaluate, front_picture
from trellis.training.folder_data import find_objects


def test_the_report_compares_the_model_with_the_nearest_and_the_best_known_object(tmp_path: Path) -> None:
    model = tiny_data.make_model(tmp_path / "model")
    known, tested = tiny_data.make_data(tmp_path / "known", range(5)), tiny_data.make_data(tmp_path / "tested", [1, 9])
    report = evaluate(model, tested, known, device=torch.device("cpu"))
    assert report["objects"] == 2 and report["known"] == 5
    known_one, new_one = sorted(report["each"], key=lambda row: -row["best_known"])
    assert known_one["nearest_features"] == known_one["best_known"] == 1.0
    assert 0 <= new_one["nearest_features"] <= new_one["best_known"] < 1.0
    assert all(0 <= row["model"] < 1 for row in report["each"])
    means = {key: sum(row[key] for row in report["each"]) / 2 for key in ("model", "nearest_features", "best_known")}
    assert report["summary"] == pytest.approx(means, abs=1e-3)


def test_the_picture_from_before_is_taken(tmp_path: Path) -> None:
    data = tiny_data.make_data(tmp_path, [0])
    source = find_objects([data], [CONDITIONED], least_score=0, most_voxels=None)[0][0]
    assert front_picture(source).name == "001.png"


def test_a_folder_without_objects_is_refused(tmp_path: Path) -> None:
    model = tiny_data.make_model(tmp_path / "model")
    with pytest.raises(InvalidInputError, match="has no objects"):
        evaluate(model, tmp_path, tmp_path, device=torch.device("cpu"))
