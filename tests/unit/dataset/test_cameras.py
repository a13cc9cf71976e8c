"""The published cameras, and that pictures, transforms.json and the object belong together."""

import json
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from trellis.dataset.cameras import condition_cameras, frame_fault, transforms
from trellis.dataset.pictures import studio_pictures, write_pictures
from trellis.encoding.load import load_mesh
from trellis.encoding.source_mesh import normalize_mesh

CRATE = Path(__file__).parent / "models" / "crate" / "crate.obj"
SHA = "ab" * 32


def test_condition_cameras_hold_the_cube_and_depend_on_the_object() -> None:
    cameras = condition_cameras(200, SHA)
    radius = cameras.positions.norm(dim=1)
    assert torch.allclose(cameras.fov, 2 * torch.asin(math.sqrt(3) / 2 / radius), atol=1e-3)
    degrees = torch.rad2deg(cameras.fov)
    assert 9.9 < degrees.min() < 20 and 66 < degrees.max() < 70.1
    # 1 / radius^2 is uniform: half of the views are nearer than where it has its middle.
    low, high = (math.sin(math.radians(a / 2)) ** 2 * 4 / 3 for a in (10, 70))
    assert 0.4 < (radius**-2 > (low + high) / 2).float().mean() < 0.6
    assert torch.equal(cameras.extrinsics, condition_cameras(200, SHA).extrinsics)
    assert not torch.equal(cameras.extrinsics, condition_cameras(200, "cd" * 32).extrinsics)


def test_matrices_look_along_minus_z_with_y_up() -> None:
    cameras = condition_cameras(4, SHA)
    placed = normalize_mesh(load_mesh(CRATE))
    frames = transforms(cameras, list("abcd"), placed.to_cube)["frames"]
    assert [frame_fault(frame) for frame in frames] == [None] * 4
    for frame, eye in zip(frames, cameras.positions):
        matrix = np.array(frame["transform_matrix"])
        assert np.allclose(matrix[:3, 3], eye, atol=1e-4) and matrix[2, 1] > 0
        assert np.allclose(-matrix[:3, 2], -eye.numpy() / np.linalg.norm(eye), atol=1e-5)  # towards the origin


def test_pictures_show_the_object_where_the_cameras_say(tmp_path: Path) -> None:
    placed = normalize_mesh(load_mesh(CRATE))
    folder = tmp_path / SHA
    folder.mkdir()
    (folder / "left.webp").write_bytes(b"of a killed process")
    cameras = condition_cameras(2, SHA)
    drawn = studio_pictures(placed.mesh, cameras, size=96)
    write_pictures(folder, drawn, cameras, placed.to_cube, threads=1, mesh=placed.mesh)
    stated = json.loads((folder / "transforms.json").read_text())
    assert sorted(path.name for path in folder.iterdir()) == ["000.webp", "001.webp", "mesh.ply", "transforms.json"]
    shape = load_mesh(folder / "mesh.ply", up="z")
    assert torch.equal(shape.vertices[shape.faces], placed.mesh.corners())
    corners = load_mesh(CRATE).vertices.numpy() * stated["scale"] + stated["offset"]
    for frame in stated["frames"]:
        with Image.open(folder / frame["file_path"]) as picture:
            alpha = np.asarray(picture)[..., 3]
            assert picture.mode == "RGBA" and picture.size == (96, 96)
        matrix = np.array(frame["transform_matrix"])
        x, y, z = ((corners - matrix[:3, 3]) @ matrix[:3, :3]).T
        focal = 48 / math.tan(frame["camera_angle_x"] / 2)
        across, down = 48 - focal * x / z, 48 + focal * y / z
        rows, columns = np.nonzero(alpha)
        assert abs(columns.min() - across.min()) < 1.5 and abs(columns.max() + 1 - across.max()) < 1.5
        assert abs(rows.min() - down.min()) < 1.5 and abs(rows.max() + 1 - down.max()) < 1.5
