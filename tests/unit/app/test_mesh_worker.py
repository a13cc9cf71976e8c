"""What the child does that reads the mesh files of clients."""

from pathlib import Path

import numpy as np
import trimesh

from trellis.app.mesh_worker import problem_of


def test_the_shape_of_a_good_mesh_is_written_in_the_frame_of_boxes(tmp_path: Path) -> None:
    """An STL has z up, boxes and the page have y."""
    path, shape = tmp_path / "tower.stl", tmp_path / "shape.glb"
    trimesh.creation.box([0.2, 0.4, 6.0]).export(path)
    assert problem_of(path, "auto", shape) is None
    shown = trimesh.load(shape, force="mesh")
    assert np.allclose(shown.extents, [0.2, 6.0, 0.4]) and len(shown.faces) == 12


def test_of_what_cannot_be_used_nothing_is_written(tmp_path: Path) -> None:
    path, shape = tmp_path / "flat.obj", tmp_path / "shape.glb"
    path.write_text("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n")
    assert problem_of(path, "auto", shape) == "The mesh has no area, so it bounds nothing."
    assert not shape.exists()
