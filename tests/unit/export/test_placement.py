"""Origin and real size of the files that other programs open."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from pxr import Usd, UsdGeom

from tests.clouds import random_cloud
from tests.unit.export.shapes import painted, sphere
from tests.unit.export.textured_samples import EXTENTS, textured_box
from trellis.errors import InvalidInputError
from trellis.export.chain import FileSources
from trellis.export.files import write_files
from trellis.export.glb import glb_bytes
from trellis.export.options import FileOptions
from trellis.export.placement import placed, placed_gaussians
from trellis.geometry.axes import to_gltf_frame
from trellis.geometry.cameras import Cameras, look_at
from trellis.geometry.rotations import quaternion_to_matrix
from trellis.geometry.similarity import Similarity
from trellis.progress import Progress
from trellis.representations import Mesh, TexturedMesh

AWAY = np.array([0.1, -0.2, 0.05], dtype=np.float32)  # where the box's middle is


def box() -> TexturedMesh:
    """A box that is not in the middle of its space, seen by a camera."""
    eye = torch.tensor([[0.4, 1.9, 0.6]], dtype=torch.float64)
    extrinsics = look_at(eye, torch.zeros_like(eye), torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)).float()
    intrinsics = torch.tensor([[[1.2, 0, 0.48], [0, 1.2, 0.53], [0, 0, 1]]])
    made = textured_box()
    return dataclasses.replace(made, vertices=made.vertices + AWAY, picture_camera=Cameras(extrinsics, intrinsics))


def seen(mesh: TexturedMesh) -> np.ndarray:
    """Where the camera sees the vertices [V, 2], in sides of its picture."""
    camera = mesh.picture_camera
    assert camera is not None
    local = torch.from_numpy(mesh.vertices) @ camera.extrinsics[0, :3, :3].T + camera.extrinsics[0, :3, 3]
    flat = local @ camera.intrinsics[0].T
    return (flat[:, :2] / flat[:, 2:]).numpy()


@pytest.mark.parametrize("real_size", [None, 0.12, 30.0])
@pytest.mark.parametrize("pivot", ["center", "base"])
def test_origin_size_and_camera(pivot: str, real_size: float | None) -> None:
    mesh = box()
    made = placed(mesh, pivot=pivot, real_size=real_size)
    low, high = made.vertices.min(axis=0), made.vertices.max(axis=0)
    scale = 1.0 if real_size is None else real_size / max(EXTENTS)
    assert high - low == pytest.approx(scale * np.array(EXTENTS), rel=1e-4)
    middle = scale * AWAY if pivot == "center" else np.array([0, 0, scale * EXTENTS[2] / 2])
    assert (low + high) / 2 == pytest.approx(middle, abs=1e-4 * scale)
    assert np.abs(seen(made) - seen(mesh)).max() < 1e-5
    if (pivot, real_size) == ("center", None):
        assert glb_bytes(made) == glb_bytes(mesh)
    with pytest.raises(InvalidInputError, match="cannot be made"):
        placed(dataclasses.replace(mesh, vertices=np.zeros_like(mesh.vertices)), pivot=pivot, real_size=2.0)


def test_every_file_of_a_textured_mesh_has_them(tmp_path: Path) -> None:
    mesh = sphere(3)
    shape = mesh.vertices * torch.tensor([0.5, 0.7, 1.0]) + torch.tensor([0.0, 0.1, 0.0])
    colored = Mesh(shape, mesh.faces, painted(mesh.vertices))
    options = FileOptions(
        formats=("glb", "obj", "usdz", "stl"), texture_size=512, simplify=0, pivot="base", real_size=2.5
    )
    files = write_files(
        FileSources(None, colored),
        tmp_path,
        name="mug",
        options=options,
        progress=Progress(),
        on_note=lambda note: None,
    )
    bounds = {kind: trimesh.load(files[kind], force="mesh").bounds for kind in ("glb", "obj", "stl")}
    stage = Usd.Stage.Open(str(files["usdz"]))
    extent = UsdGeom.BBoxCache(0, [UsdGeom.Tokens.default_]).ComputeWorldBound(stage.GetDefaultPrim())
    found = extent.ComputeAlignedRange()
    bounds["usdz"] = np.array([found.GetMin(), found.GetMax()])
    for kind in ("glb", "obj", "usdz"):
        low, high = bounds[kind]  # y-up
        assert (high - low).max() == pytest.approx(2.5, rel=1e-3), kind
        assert low[1] == pytest.approx(0, abs=1e-4) and low[[0, 2]] == pytest.approx(-high[[0, 2]], abs=1e-3), kind
    assert np.ptp(bounds["stl"], axis=0).max() == pytest.approx(100, rel=1e-3)  # which has millimetres of its own


def test_the_camera_in_the_file_moves_along(tmp_path: Path) -> None:
    """The extras hold the camera's place in the file's own frame, y-up."""
    data = glb_bytes(placed(box(), pivot="base", real_size=8.0))
    length = int.from_bytes(data[12:16], "little")
    node = json.loads(data[20 : 20 + length])["nodes"][0]
    assert not {"translation", "scale", "matrix"} & set(node)
    eye = (np.array([0.4, 1.9, 0.6]) - AWAY + [0, 0, EXTENTS[2] / 2]) * 8 / max(EXTENTS)
    assert node["extras"]["picture_camera"]["matrix"][12:15] == pytest.approx([eye[0], eye[2], -eye[1]], abs=1e-4)


@pytest.mark.parametrize("turns", range(4))
def test_results_go_back_to_where_their_source_was(turns: int, tmp_path: Path) -> None:
    """Vertices, normals and Gaussians lie as in the source; the picture's camera sees the same of them."""
    to_world = Similarity(0.01, (3.0, -20.0, 0.5), turns).inverse()
    mesh = box()
    made = placed(mesh, pivot="center", real_size=None, to_world=to_world)
    there = to_world.apply(torch.from_numpy(mesh.vertices).double()).numpy()
    assert np.abs(made.vertices - there).max() < 1e-2 and np.abs(there).max() > 100
    assert np.abs(seen(made) - seen(mesh)).max() < 1e-4
    corner = torch.from_numpy(mesh.vertices + 0.01 * mesh.normals).double()
    away = to_world.apply(corner).numpy() - there
    assert np.abs(away / np.linalg.norm(away, axis=1, keepdims=True) - made.normals).max() < 1e-4
    gaussians = random_cloud(20)
    moved = placed_gaussians(gaussians, to_world)
    assert torch.allclose(moved.positions, to_world.apply(gaussians.positions))
    # A step along the first axis of each ellipsoid, before and after.
    first, other = (
        item.positions + item.scales[:, :1] * quaternion_to_matrix(item.rotations)[..., 0]
        for item in (gaussians, moved)
    )
    assert torch.allclose(to_world.apply(first.double()).float(), other, atol=1e-3)


def test_files_of_a_placed_asset(tmp_path: Path) -> None:
    shape = sphere(2)
    colored = Mesh(shape.vertices, shape.faces, painted(shape.vertices))
    to_world = Similarity(1 / 40, (-7.5, -0.25, 1.75), 1).inverse()
    for kind, name in (("glb", "glb"), ("mesh_ply", "mesh_ply")):
        options = FileOptions(formats=(kind,), texture_size=512, simplify=0)
        sources = FileSources(None, colored, to_world=to_world)
        files = write_files(
            sources, tmp_path, name="a", options=options, progress=Progress(), on_note=lambda note: None
        )
        bounds = np.sort(np.asarray(trimesh.load(files[name], force="mesh").bounds).ravel())
        there = to_world.apply(shape.vertices.double())
        if kind == "glb":
            there = to_gltf_frame(there)
        expected = np.sort(np.concatenate([there.amin(0).numpy(), there.amax(0).numpy()]))
        assert np.abs(bounds - expected).max() < 1e-3 and np.abs(expected).max() > 280, kind
