"""Measuring a model on the objects of a data folder."""

from pathlib import Path

import pytest
import torch

from tests.training import tiny_data
from trellis.dataset.layout import CONDITIONED
from trellis.errors import InvalidInputError
from trellis.training.evaluate_folder import evaluate, front_picture
from trellis.training.folder_data import find_objects, read_occupancy
from trellis.training.generate import BatchGenerator


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


def test_a_score_is_the_mean_over_the_seeds_that_the_report_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of these seeds, two make the truth and the others nothing."""
    model, tested = tiny_data.make_model(tmp_path / "model"), tiny_data.make_data(tmp_path / "tested", [1])
    asked: list[int] = []

    def structure(self: BatchGenerator, cond: torch.Tensor, *, seed: int) -> torch.Tensor:
        asked.append(seed)
        source = find_objects([tested], [CONDITIONED], least_score=0, most_voxels=None)[0][0]
        truth = read_occupancy(source, self.resolution)
        return truth if seed in (8, 10) else torch.zeros_like(truth)

    monkeypatch.setattr(BatchGenerator, "structure", structure)
    report = evaluate(model, tested, None, device=torch.device("cpu"), seed=7)
    assert report["seeds"] == asked == [7, 8, 9, 10, 11]
    assert report["summary"]["model"] == pytest.approx(2 / 5)


def test_the_picture_from_before_is_taken(tmp_path: Path) -> None:
    data = tiny_data.make_data(tmp_path, [0])
    source = find_objects([data], [CONDITIONED], least_score=0, most_voxels=None)[0][0]
    assert front_picture(source).name == "001.png"


def test_a_folder_without_objects_is_refused(tmp_path: Path) -> None:
    model = tiny_data.make_model(tmp_path / "model")
    with pytest.raises(InvalidInputError, match="has no objects"):
        evaluate(model, tmp_path, tmp_path, device=torch.device("cpu"))
