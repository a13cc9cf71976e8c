"""The texture benchmark: its figures mean what they say, and its views are unseen."""

import numpy as np
import pytest
import torch

from benchmarks.texture import Row, compare, decibels, main, means, unseen_cameras
from tests.clouds import round_cloud
from tests.unit.export.shapes import sphere
from trellis.export.projection import VIEWS, view_cameras
from trellis.representations import GaussianCloud, TexturedMesh


def ball_of_splats() -> GaussianCloud:
    positions = sphere(5).vertices
    red = torch.tensor([0.8, 0.3, 0.2]).expand(len(positions), 3)
    return round_cloud(positions, red, scale=0.006, opacity=0.98)


def painted(color: tuple[int, int, int]) -> TexturedMesh:
    mesh = sphere(5)
    vertices = mesh.vertices.numpy()
    texture = np.full((4, 4, 3), color, dtype=np.uint8)
    normals = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    uvs = np.full((len(vertices), 2), 0.5, dtype=np.float32)
    return TexturedMesh(vertices, normals, uvs, mesh.faces.numpy(), texture)


def test_figures_tell_right_from_wrong_textures():
    cloud, cameras = ball_of_splats(), unseen_cameras(3)
    right = compare(painted((204, 76, 51)), cloud, cameras=cameras, size=96)
    wrong = compare(painted((204, 76, 151)), cloud, cameras=cameras, size=96)
    assert right["surface_psnr"] > 40 and right["overlap"] > 0.9
    assert right["limit"] >= right["psnr"] > 20  # only outlines differ
    # One channel of three is off by 100 / 255.
    assert wrong["surface_psnr"] == pytest.approx(-10 * np.log10((100 / 255) ** 2 / 3), abs=0.2)
    assert wrong["psnr"] < right["psnr"] and wrong["overlap"] == right["overlap"]


@pytest.mark.parametrize("count", sorted({views[0] for modes in VIEWS.values() for views in modes.values()}))
def test_views_of_the_benchmark_are_not_those_of_the_export(count):
    mesh = sphere(2)
    unseen = torch.nn.functional.normalize(unseen_cameras(24).positions, dim=1)
    used = torch.nn.functional.normalize(view_cameras(mesh, count, seed=0).positions, dim=1)
    apart = (unseen @ used.T).clamp(-1, 1).acos().rad2deg()
    assert apart.min() > 0.3


def test_means_are_taken_per_mode_and_size():
    rows = [
        Row("a", "fast", 1024, 10, 1.0, 30.0, 31.0, 32.0, 0.9),
        Row("b", "fast", 1024, 30, 3.0, 20.0, 33.0, 34.0, 0.7),
        Row("a", "best", 1024, 10, 9.0, 40.0, 41.0, 42.0, 1.0),
    ]
    fast, best = means(rows)
    assert (fast.psnr, fast.seconds, fast.faces, fast.overlap) == (25.0, 2.0, 20, pytest.approx(0.8))
    assert best.psnr == 40.0 and fast.name == "mean of 2"
    assert decibels(torch.tensor([0.1, 0.001])) == pytest.approx(20.0)


def test_unknown_examples_are_named(capsys, tmp_path):
    with pytest.raises(SystemExit):
        main(["spaceship", "--output", str(tmp_path)])
    assert "spaceship" in capsys.readouterr().err
