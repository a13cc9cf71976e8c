"""The contact sheet draws what another reader finds in a file, and says so when it finds nothing."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from benchmarks.contact_sheet import VIEWS, draw, main, on_white, read_glb
from tests.unit.export.shapes import textured_mesh
from trellis.export.glb import write_glb
from trellis.representations import Mesh


@pytest.fixture
def glb(tmp_path: Path) -> Path:
    """A box that is wider than deep, red at its front (-y) and blue behind."""
    shape = trimesh.creation.box(extents=(0.8, 0.3, 0.5)).subdivide().subdivide()
    vertices = torch.from_numpy(np.array(shape.vertices, dtype=np.float32))
    blue = vertices[:, 1] + 0.2 > 0.2
    colors = torch.stack([1.0 - blue.float(), torch.zeros(len(blue)), blue.float()], dim=1)
    mesh = Mesh(vertices, torch.from_numpy(np.array(shape.faces, dtype=np.int32)), colors)
    return write_glb(textured_mesh(mesh), tmp_path / "box.glb")


def test_a_wide_picture_keeps_its_shape(tmp_path: Path) -> None:
    Image.new("RGB", (40, 20), "black").save(tmp_path / "wide.png")
    dark = np.asarray(on_white(tmp_path / "wide.png", 32)).max(2) < 128
    assert dark.shape == (32, 32) and (dark.any(1).sum(), dark.any(0).sum()) == (16, 32)


def test_views_show_the_sides_they_name(glb: Path) -> None:
    mesh = read_glb(glb)
    assert mesh.watertight and mesh.source.vertices.abs().amax(0).tolist() == pytest.approx([0.4, 0.15, 0.25], abs=1e-6)
    front, side, back = map(np.asarray, draw(mesh, list(VIEWS.values()), 64))
    middle = slice(28, 36)
    red, blue = (picture[middle, middle].mean((0, 1)) for picture in (front, back))
    assert red[0] > 100 > 30 > red[2] and blue[2] > 100 > 30 > blue[0]

    def width(picture: np.ndarray) -> int:
        return int((picture < 250).any((0, 2)).sum())

    assert width(front) > 1.8 * width(side) and abs(width(front) - width(back)) <= 1
    # 0.8 wide at a distance of about 1.85, seen under 40 degrees
    assert width(front) == pytest.approx(64 * 0.8 / (2 * math.tan(math.radians(20)) * 1.85), abs=2)


def test_files_become_sheets_and_a_bad_one_fails(glb: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    pictures = [tmp_path / "box.png", tmp_path / "broken.png"]
    for picture in pictures:
        Image.new("RGBA", (40, 40), (0, 200, 0, 128)).save(picture)
    options = ["--assets", str(tmp_path), "--size", "48", "--output", str(tmp_path / "out")]
    assert main([str(pictures[0]), *options]) == 0
    sheet = np.asarray(Image.open(tmp_path / "out" / "contact_sheet.png").convert("RGB"))
    assert sheet.shape[1] == 48 * 4 and sheet[5, 5].tolist() == [127, 227, 127]
    assert (np.asarray(Image.open(tmp_path / "out" / "examples.png").convert("RGB")) < 250).any()
    (tmp_path / "broken.glb").write_bytes(glb.read_bytes()[:200])
    assert main([*map(str, pictures), *options]) == 1
    assert "broken" in capsys.readouterr().err
