"""The export benchmark: every row is measured and written, and its figures tell good atlases from bad ones."""

import json
import mmap
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.atlas_quality import measure_atlas
from benchmarks.export import FULL, GOALS, ProcessMemory, Row, describe, main
from benchmarks.export_scene import GAUSSIANS_PER_VOXEL, build_scene
from benchmarks.measures import tree_bytes
from trellis.errors import InvalidInputError
from trellis.export.surface import Surface
from trellis.export.unwrap import Unwrapped, unwrap

TINY = {"resolution": 8, "views": 4, "view-size": 64, "texture": 512, "frames": 2, "frame-size": 32, "repeats": 2}


def plane(scale: tuple[float, float] = (1.0, 1.0)) -> Unwrapped:
    """A square of two faces that fills a quarter of the texture, or is stretched over it."""
    vertices = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=np.float64)
    uvs = 0.5 * vertices[:, :2] * scale
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    return Unwrapped(vertices, np.tile([0, 0, 1.0], (4, 1)), uvs, faces, np.arange(4), 1, 0.25 * scale[0] * scale[1])


def test_every_row_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert (
        main(["--device", "cpu", "--output", str(tmp_path), *(f"--{name}={value}" for name, value in TINY.items())])
        == 0
    )
    result = json.loads((tmp_path / "export.json").read_text())
    assert [row["name"] for row in result["rows"]] == list(GOALS)
    for row in result["rows"]:
        assert (
            len(row["runs"]) == 2 and min(row["runs"]) > 0 and row["seconds"] == pytest.approx(np.median(row["runs"]))
        )
        assert row["ratio"] is None and row["reached"] is None  # a tiny scene is not compared with the published one
        assert row["gpu_peak_mib"] is None and row["process_peak_mib"] > 50
    rows = {row["name"]: row["facts"] for row in result["rows"]}
    assert 0 < rows["decimate"]["faces"] < 0.2 * result["scene"]["faces"]
    assert rows["unwrap"]["overlap"] == 0 and rows["unwrap"]["stretch"] < 1.1 and rows["unwrap"]["utilisation"] > 0.3
    assert rows["preview gaussians"]["frames"] == 2 and rows["export"]["bytes"] > 10_000
    table = capsys.readouterr().out
    assert all(name in table for name in GOALS)


def test_the_full_scene_is_compared() -> None:
    assert FULL["resolution"] == 64
    row = Row("unwrap", (2.0, 4.0, 3.0), 5.0, published=8.0, target=3.0, gpu_peak_mib=None, process_peak_mib=100.0)
    assert row.seconds == 3 and row.ratio == pytest.approx(0.375) and row.as_dict()["reached"] is True
    assert "reached" in describe(row) and "missed" in describe(replace(row, target=2.9))


def test_scene_is_what_it_says() -> None:
    first, second = build_scene(8), build_scene(8)
    assert torch.equal(first.mesh.vertices, second.mesh.vertices)
    assert len(first.gaussians) == GAUSSIANS_PER_VOXEL * first.voxels and len(first.mesh.faces) > 5000
    assert first.mesh.vertices.abs().max() <= 0.5 and first.gaussians.positions.abs().max() <= 0.5
    assert first.mesh.colors is not None and float(first.mesh.colors.std()) > 0.1
    with pytest.raises(InvalidInputError, match="resolution"):
        build_scene(65)


def test_quality_of_a_known_atlas() -> None:
    square = measure_atlas(plane())
    assert square.stretch == pytest.approx(1) and square.seams == 0 and square.overlap == 0
    # Singular values 2 and 1/2 at equal area: sqrt((4 + 1/4) / 2).
    assert measure_atlas(plane((2.0, 0.5))).stretch == pytest.approx(np.sqrt(2.125))


def test_quality_sees_overlap_and_seams() -> None:
    flat = plane()
    doubled = replace(
        flat,
        vertices=np.concatenate([flat.vertices, flat.vertices]),
        uvs=np.concatenate([flat.uvs, flat.uvs + np.array([0.25, 0])]),
        vertex_map=np.tile(np.arange(4), 2),
        faces=np.array([[0, 1, 2], [4, 6, 7]]),
    )
    found = measure_atlas(doubled)
    assert found.overlap > 0.1 and found.seams == pytest.approx(np.sqrt(2))


def test_atlas_of_the_scene_is_packed_better_than_by_xatlas() -> None:
    pytest.importorskip("xatlas")
    from trellis.export.simplify import simplify

    surface = Surface.from_mesh(simplify(build_scene(8).mesh, faces=1500))
    ours = measure_atlas(unwrap(surface, 1024))
    plain = measure_atlas(unwrap(surface, 1024, method="xatlas"))
    assert ours.overlap == 0 and ours.utilisation > plain.utilisation + 0.05
    assert ours.charts < 1.2 * plain.charts and ours.seams < 1.2 * plain.seams and ours.stretch < plain.stretch + 0.02


def test_memory_of_the_process_is_watched() -> None:
    before = tree_bytes(os.getpid())
    with ProcessMemory().watched() as memory, mmap.mmap(-1, 40_000_000) as block:  # never from what was freed before
        block.write(b"1" * len(block))
        deadline = time.monotonic() + 60
        while memory.peak <= before + 30_000_000 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert memory.peak > before + 30_000_000
