"""What our own writers write is read back: frame, shape and colours."""

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from tests.unit.encoding.meshes import source
from tests.unit.encoding.samples import sample_surface
from trellis.encoding.load import load_mesh
from trellis.encoding.solid import SolidField
from trellis.encoding.source_mesh import SourceMesh
from trellis.export.glb import write_glb
from trellis.export.obj import write_obj
from trellis.export.ply import write_mesh_ply
from trellis.export.stl import write_stl
from trellis.representations import Mesh, TexturedMesh

SIZE = 128


def painted(points: torch.Tensor) -> torch.Tensor:
    """A smooth colour [n, 3] of every point: another one along each axis, so that turned axes are seen."""
    return 0.5 + 0.4 * torch.stack([2 * points[:, 0], torch.sin(3 * points[:, 1]), torch.cos(4 * points[:, 2])], 1)


def painted_box() -> TexturedMesh:
    """A box with every face in a cell of its own of the texture, painted by the place in the world."""
    shape = trimesh.creation.box([0.8, 0.6, 0.4])
    shape.apply_translation([0.05, 0.1, -0.02])
    corners = np.asarray(shape.triangles, np.float32)
    texture = np.zeros((SIZE, SIZE, 3), np.uint8)
    uvs = np.zeros((12, 3, 2), np.float32)
    cell, unit = SIZE // 4, np.array([[0.15, 0.15], [0.85, 0.15], [0.15, 0.85]])
    centres = (np.arange(cell) + 0.5) / cell
    v, u = np.meshgrid(centres, centres, indexing="ij")
    for face in range(12):
        row, column = divmod(face, 4)
        uvs[face] = (np.array([column, row]) + unit) / 4
        s, t = ((u - 0.15) / 0.7)[..., None], ((v - 0.15) / 0.7)[..., None]
        a, b, c = corners[face]
        place = torch.from_numpy(a + s * (b - a) + t * (c - a)).reshape(-1, 3)
        colors = (painted(place).clamp(0, 1) * 255).round().byte().numpy().reshape(cell, cell, 3)
        texture[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] = colors
    return TexturedMesh(
        vertices=corners.reshape(-1, 3),
        normals=np.repeat(np.asarray(shape.face_normals, np.float32), 3, 0),
        uvs=uvs.reshape(-1, 2),
        faces=np.arange(36, dtype=np.int32).reshape(-1, 3),
        texture=texture,
    )


def check_colors(mesh: SourceMesh) -> None:
    samples = sample_surface(mesh, 3000, generator=torch.Generator().manual_seed(0))
    assert (samples.colors - painted(samples.points)).abs().max() < 3 / 255
    assert samples.colors.std(0).min() > 0.03
    outward = samples.points - torch.tensor([0.05, 0.1, -0.02])
    assert ((samples.normals * outward).sum(1) > 0).all()


@pytest.mark.parametrize("ending", ["glb", "obj"])
def test_textured_files(tmp_path: Path, ending: str) -> None:
    box = painted_box()
    path = tmp_path / f"box.{ending}"
    (write_glb if ending == "glb" else write_obj)(box, path)
    mesh = load_mesh(path)
    assert np.allclose(mesh.corners().numpy(), box.vertices[box.faces], atol=1e-6)
    check_colors(mesh)


def test_mesh_ply(tmp_path: Path) -> None:
    shape = trimesh.creation.box([0.8, 0.6, 0.4]).subdivide().subdivide()
    vertices = torch.from_numpy(np.array(shape.vertices, np.float32))
    mesh = Mesh(vertices, torch.from_numpy(np.array(shape.faces, np.int32)), painted(vertices))
    found = load_mesh(write_mesh_ply(mesh, tmp_path / "a.ply"))
    assert torch.allclose(found.vertices, mesh.vertices) and torch.equal(found.faces, mesh.faces.long())
    expected = SourceMesh.from_mesh(mesh)
    assert (found.vertex_colors - expected.vertex_colors).abs().max() < 0.01


def test_stl_is_scaled_but_otherwise_the_same(tmp_path: Path) -> None:
    """STL is in millimetres: after normalisation the solid is the one that was written."""
    from trellis.encoding.source_mesh import normalize_mesh

    mesh = source(trimesh.creation.cylinder(radius=0.2, height=0.8, sections=24))
    path = write_stl(Mesh(mesh.vertices, mesh.faces.int()), tmp_path / "a.stl")
    found = normalize_mesh(load_mesh(path)).mesh
    field = SolidField.create(normalize_mesh(mesh).mesh, resolution=16)
    samples = sample_surface(found, 500, generator=torch.Generator().manual_seed(0))
    assert field.sample(samples.points).distance.abs().max() < 1e-5
