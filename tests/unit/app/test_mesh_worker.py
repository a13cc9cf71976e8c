"""What the child does that reads the mesh files of clients."""

import base64
import subprocess
from pathlib import Path

import numpy as np
import pytest
import trimesh

from trellis.app.mesh_reader import child_command, keep_mesh
from trellis.app.mesh_worker import problem_of
from trellis.app.views import asset_view
from trellis.errors import InvalidInputError


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


def test_base64_may_have_line_breaks(tmp_path: Path) -> None:
    content = bytes(range(256)) * 3000  # several pieces
    for text in (base64.encodebytes(content).decode(), "data:a/b;base64,\r\n" + base64.b64encode(content).decode()):
        assert keep_mesh(text, "a.glb", tmp_path).path.read_bytes() == content


@pytest.mark.parametrize("worker", ["mesh_worker", "view_worker"])
def test_a_child_ends_with_whoever_asked_it(tmp_path: Path, worker: str) -> None:
    """The other end of its input is gone, which a killed program leaves behind."""
    command = child_command(worker, tmp_path / "a.glb", *(["auto"] if worker == "mesh_worker" else [0, 0, 64]))
    done = subprocess.run(command, input=b"", capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, b""), done.stderr


def test_a_view_that_somebody_waits_for_is_told(tmp_path: Path) -> None:
    """For a mesh, test_hunyuan_clients.py has a child."""
    (tmp_path / "a.safetensors").write_bytes(b"none")
    with pytest.raises(InvalidInputError, match="safetensors"):
        asset_view(tmp_path / "a.safetensors", yaw=0, pitch=0, size=64)
