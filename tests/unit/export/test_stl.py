"""STL: closed, in millimetres, on the bed; read back by trimesh and as plain records."""

import logging
import struct

import numpy as np
import pytest
import torch
import trimesh

from tests.unit.export.shapes import as_mesh, sphere, without_faces
from trellis.errors import InvalidInputError
from trellis.export.stl import write_stl
from trellis.representations import Mesh


def capsule() -> Mesh:
    return as_mesh(trimesh.creation.capsule(height=0.4, radius=0.15, count=[16, 16]))


def test_size_place_and_shape(tmp_path):
    mesh = capsule()
    shape = trimesh.load(write_stl(mesh, tmp_path / "a.stl"))
    assert shape.is_watertight and shape.is_winding_consistent
    assert shape.extents.max() == pytest.approx(100, abs=1e-3)
    low, high = shape.bounds
    assert low[2] == pytest.approx(0, abs=1e-5) and np.allclose((low + high)[:2], 0, atol=1e-4)
    factor = 100 / 0.7
    assert shape.volume == pytest.approx(trimesh.Trimesh(mesh.vertices, mesh.faces).volume * factor**3, rel=1e-5)


def test_records_hold_the_triangles_within_1e_5(tmp_path):
    mesh = capsule()
    data = write_stl(mesh, tmp_path / "a.stl", longest_side=0.7 * 25).read_bytes()
    assert not data.startswith(b"solid")
    (count,) = struct.unpack_from("<I", data, 80)
    assert count == len(mesh.faces) and len(data) == 84 + 50 * count
    corners = mesh.vertices[mesh.faces.long()].numpy().astype(float)
    for index in range(0, count, 7):
        values = struct.unpack_from("<12fH", data, 84 + 50 * index)
        points = np.array(values[3:12]).reshape(3, 3)
        back = points / 25 + [0, 0, corners[..., 2].min()]
        assert np.allclose(back, corners[index], atol=1e-5)
        normal = np.cross(points[1] - points[0], points[2] - points[0])
        assert np.allclose(values[:3], normal / np.linalg.norm(normal), atol=1e-4)


def test_holes_are_closed(tmp_path):
    whole = sphere(3)
    heights = whole.vertices[whole.faces.long()].mean(dim=1)[:, 2]
    shape = trimesh.load(write_stl(without_faces(whole, heights > 0.25), tmp_path / "a.stl", longest_side=80))
    assert shape.is_watertight and shape.volume > 0


def test_what_cannot_be_closed_is_said(tmp_path, caplog):
    # Three leaves at one edge: nothing that fills holes makes this a solid.
    vertices = torch.tensor([[0, 0, 0], [0, 0, 1], [1, 0, 0], [-1, 1, 0], [-1, -1, 0]], dtype=torch.float32)
    leaves = Mesh(vertices, torch.tensor([[0, 1, 2], [0, 1, 3], [0, 1, 4]], dtype=torch.int32))
    with caplog.at_level(logging.WARNING):
        write_stl(leaves, tmp_path / "a.stl")
    assert "not closed" in caplog.text


def test_bad_input_is_refused(tmp_path):
    mesh = sphere(1)
    for size in (0, -5, float("nan"), 1e6):
        with pytest.raises(InvalidInputError, match="longest side"):
            write_stl(mesh, tmp_path / "a.stl", longest_side=size)
    with pytest.raises(InvalidInputError, match="empty"):
        write_stl(Mesh(mesh.vertices, mesh.faces[:0]), tmp_path / "a.stl")
    with pytest.raises(InvalidInputError, match="extent"):
        write_stl(Mesh(torch.zeros_like(mesh.vertices), mesh.faces), tmp_path / "a.stl")
    assert list(tmp_path.iterdir()) == []
