"""Evaluation, end to end on a tiny assembled model and without any optional package."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trellis.errors import CheckpointError
from trellis.training import baselines, truth
from trellis.training.evaluate import Options, evaluate, main
from trellis.training.procedural import HELD_OUT_SEEDS, sample_objects
from trellis.training.procedural.pictures import render_pictures
from trellis.training.report import METHODS, make_report, mean_scores, text
from trellis.training.worst import main as draw_worst

CPU = torch.device("cpu")
SCORES = {"iou", "chamfer", "f_score"}
VIEWS = {f"{name}_{side}" for name in ("psnr_gaussians", "psnr_mesh", "silhouette_iou") for side in ("input", "behind")}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without the packages that export needs."""
    for name in ("trimesh", "xatlas"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("bare")
def test_report_of_a_tiny_model(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(baselines, "_CHUNK", 2)
    caplog.set_level("INFO")
    output = tmp_path / "report.json"
    sizes = ["--count", "2", "--left-out", "1", "--fine", "1", "--known", "6", "--steps", "2"]
    assert main(["--model", str(model), "--device", "cpu", "--output", str(output), *sizes]) == 0
    report = json.loads(output.read_text())
    assert set(report) == {"settings", "counts", "summary", "families", "objects"}
    assert report["settings"]["structure_sampler"]["steps"] == 2
    assert report["counts"] == {"held_out": 2, "left_out_family": 5, "fine_patterns": 1}
    assert set(report["summary"]) == set(report["counts"])
    for methods in report["summary"].values():
        assert set(methods) == set(METHODS)
        for method, scores in methods.items():
            assert set(scores) == SCORES | (VIEWS if method == "model" else set())
            assert all(math.isfinite(value) for value in scores.values())
            assert 0 <= scores["iou"] <= 1 and 0 <= scores["f_score"] <= 1 and 0 < scores["chamfer"] < 1.8
    assert report["families"]["windmill"]["objects"] == 1
    assert sum(family["objects"] for family in report["families"].values()) == 8
    assert [row["seed"] for row in report["objects"][:2]] == [HELD_OUT_SEEDS.start, HELD_OUT_SEEDS.start + 1]
    scored = {(row["iou"], row["f_score"]) for row in report["objects"]}
    assert len(scored) == 8, "every object has scores of its own"
    held_out = report["summary"]["held_out"]
    assert len({held_out[method]["chamfer"] for method in METHODS}) >= 3
    assert held_out["model"]["psnr_mesh_input"] != held_out["model"]["psnr_mesh_behind"]
    sheet = tmp_path / "worst.png"
    words = ["--model", str(model), "--report", str(output), "--device", "cpu", "--output", str(sheet)]
    assert draw_worst([*words, "--count", "2"]) == 0
    picture = np.asarray(Image.open(sheet))
    side = picture.shape[1] // 2
    assert picture.shape == (5 * side, 2 * side, 3)
    seen = picture.reshape(5, side, 2, side, 3).swapaxes(1, 2).reshape(10, -1).std(1) > 5
    assert all(seen[[0, 1, 4, 5, 8, 9]]), "pictures and truths of both show something"
    first = min(report["objects"][:2], key=lambda row: row["iou"])
    assert caplog.messages[-1].startswith(f"{first['family']} {first['iou']:.2f}, ")
    assert draw_worst([*words, "--group", "chairs"]) == 1 and "no group 'chairs'; it has fine_patt" in caplog.text
    assert f"held_out (2), model: chamfer {held_out['model']['chamfer']:g}, " in caplog.text


def test_only_an_assembled_model_is_evaluated(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"training\.json"):
        evaluate(tmp_path, Options(), device=CPU)
    assert main(["--model", str(tmp_path), "--device", "cpu"]) == 1


def row(group: str, family: str, iou: float, chamfer: float) -> dict[str, object]:
    scores = {method: {"iou": iou, "f_score": iou / 2, "chamfer": chamfer} for method in METHODS}
    return {"group": group, "family": family, "seed": 1} | scores


def test_means_and_lines() -> None:
    rows = [row("held_out", "ice_cream", 0.2, 0.1), row("held_out", "mug", 0.6, math.inf)]
    assert mean_scores(rows, "model") == {"iou": 0.4, "f_score": 0.2, "chamfer": round((0.1 + math.sqrt(3)) / 2, 4)}
    lines = text(make_report(rows, {})).splitlines()
    assert "held_out (2), model: chamfer 0.916, f_score 0.2, iou 0.4" in lines
    families = [
        "mug: objects 1, chamfer 1.7321, f_score 0.3, iou 0.6",
        "ice_cream: objects 1, chamfer 0.1, f_score 0.1, iou 0.2",
    ]
    assert lines[-2:] == families


def test_true_pictures_show_the_object_where_the_input_does() -> None:
    objects = sample_objects([HELD_OUT_SEEDS.start], ["car"])
    pictures = render_pictures(objects, size=64)
    colors, masks = truth.albedo_pictures(objects, pictures.cameras, size=64)
    alpha = pictures.images[:, 0, ..., 3].float() / 255
    overlap = (masks * alpha).sum() / torch.maximum(masks, alpha).sum()
    assert float(overlap) > 0.9
    assert float(colors.amax(1)[masks == 0].max()) == 0 and float(colors.std()) > 0.05
    behind = truth.opposite(pictures.cameras)
    expected = pictures.cameras.positions * torch.tensor([-1.0, -1.0, 1.0])
    assert torch.allclose(behind.positions, expected, atol=1e-5)
    _, other = truth.albedo_pictures(objects, behind, size=64)
    assert float(other.sum()) > 100 and not torch.equal(other, masks)
