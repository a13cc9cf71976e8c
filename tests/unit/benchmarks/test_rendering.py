"""The rendering benchmark measures what it says: assets of the stated size, every side, every key of its report."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import rendering, rendering_scenes
from benchmarks.rendering_scenes import SCENES, SceneSize

TINY = SceneSize(resolution=16, voxels=200, gaussians=2, faces=12 * 6**2)


def test_the_large_scene_is_the_published_one() -> None:
    size = SCENES["large"]
    assert size.voxels * size.gaussians == 20_232 * 32 and size.faces == 1_080_000
    assert len(rendering_scenes.gaussian_cloud(TINY)) == 400
    assert len(rendering_scenes.radiance_field(TINY).positions) == 200


def test_the_mesh_is_a_ball_seen_from_outside() -> None:
    mesh = rendering_scenes.mesh(TINY)
    assert len(mesh.faces) == TINY.faces
    a, b, c = mesh.vertices[mesh.faces.long()].unbind(1)
    normals = torch.linalg.cross(b - a, c - a)
    assert ((normals * (a + b + c)).sum(1) > 0).all()
    lengths = mesh.vertices.norm(dim=1)
    assert 0.3 < lengths.min() < lengths.max() < 0.45


def test_a_run_reports_every_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(rendering_scenes.SCENES, "nano", TINY)
    rendering.main(
        ["--scene", "nano", "--size", "144", "--frames", "2", "--repeats", "1", "--profile", "--output", str(tmp_path)]
    )
    report = json.loads((tmp_path / "rendering.json").read_text(encoding="utf-8"))
    shown = [(row["sides"], row["supersampling"]) for row in report["rows"]]
    singles = [("gaussians", 2), ("radiance_field", 2), ("normals", 2), ("normals", 4), ("colors", 2), ("textured", 2)]
    assert shown == [*singles, ("gaussians+normals", 2)]
    assert all(0 < row["seconds"] < 60 and row["frames"] == 2 for row in report["rows"])
    assert all(row["published_ratio"] is None for row in report["rows"])  # not the published size
    assert {"_splat_rows", "_project"} <= set(report["kernels"]["gaussians x2"])
    assert "ms in kernels" in capsys.readouterr().out
