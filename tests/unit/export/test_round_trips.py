"""What is written comes back within 1e-5, in the world's frame, through the library's own readers of mesh files."""

from pathlib import Path

import numpy as np
import pytest

from tests.unit.export.shapes import sphere
from tests.unit.export.textured_samples import COLORS, textured_box
from trellis.encoding.load import load_mesh
from trellis.export.glb import write_glb
from trellis.export.obj import write_obj
from trellis.export.ply import write_mesh_ply
from trellis.export.stl import write_stl


@pytest.mark.parametrize("texture_format", ["png", "webp"])
@pytest.mark.parametrize("kind", ["glb", "obj"])
def test_textured_meshes(kind: str, texture_format: str, tmp_path: Path) -> None:
    box = textured_box()
    if kind == "glb":
        path = write_glb(box, tmp_path / "box.glb", texture_format=texture_format)
    else:
        path = write_obj(box, tmp_path / "box.obj")["obj"]
    back = load_mesh(path)
    expected = box.vertices[box.faces].reshape(-1, 3)
    found = back.vertices[back.faces.long()].reshape(-1, 3).numpy()
    assert np.abs(found - expected).max() <= 1e-5
    uvs = back.uvs[back.faces.long()].reshape(-1, 2).numpy()
    assert np.abs(uvs - box.uvs[box.faces].reshape(-1, 2)).max() <= 1e-5
    [texture] = back.textures
    pixels = texture.pixels.numpy()
    assert pixels.shape == (64, 64, 4)
    if texture_format == "png":
        assert np.array_equal(pixels[..., :3], box.texture)
    else:  # lossy, yet every side has its colour
        for index, color in enumerate(COLORS):
            middle = pixels[16 + 32 * (index // 3), 64 * (index % 3) // 3 + 10, :3].astype(int)
            assert np.abs(middle - color).max() < 12


def test_shapes(tmp_path: Path) -> None:
    mesh = sphere(2)
    ply = load_mesh(write_mesh_ply(mesh, tmp_path / "ball.ply"))
    assert np.abs(ply.vertices.numpy() - mesh.vertices.numpy()).max() <= 1e-5
    assert np.array_equal(ply.faces.numpy(), mesh.faces.numpy())
    stl = load_mesh(write_stl(mesh, tmp_path / "ball.stl", longest_side=800))
    assert len(stl.faces) == len(mesh.faces)
    found = stl.vertices[stl.faces.long()].numpy() / 1000 + [0, 0, float(mesh.vertices[:, 2].min())]
    assert np.abs(found - mesh.vertices[mesh.faces.long()].numpy()).max() <= 1e-5
