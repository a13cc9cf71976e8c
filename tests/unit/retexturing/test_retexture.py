"""Whole files painted in two colours, above and below: kept coordinates, new ones, and every odd kind of source."""

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from tests.contract.sources import ROOT
from tests.unit.export.validator import VALIDATOR, WITHOUT_VALIDATOR, issues_of
from tests.unit.retexturing.samples import ABOVE, BELOW, globe, obj_globe, repaint, two_colored
from tests.unit.retexturing.test_gltf_pictures import accessor_bytes, document
from trellis.encoding.colors import surface_colors
from trellis.encoding.load import load_mesh
from trellis.encoding.source_mesh import SourceMesh
from trellis.errors import Cancelled, InvalidInputError
from trellis.export.picture_camera import front_turn
from trellis.progress import CancelToken, Progress
from trellis.representations import Mesh
from trellis.retexturing import sheets
from trellis.retexturing.obj_pictures import flattened
from trellis.retexturing.placement import PlacedMesh
from trellis.retexturing.retexture import NEW, retextured
from trellis.retexturing.sheets import lay_out, outward_mesh


def assert_two_colors(mesh: SourceMesh, *, most: float = 0.06, along: int = 2) -> None:
    """Faces well above and below the middle (of the axis `along`) have their colours; seams and hidden ones may err."""
    middle = mesh.corners().mean(1)[:, along]
    middle = (middle - middle.mean()) / (middle.max() - middle.min())
    faces = (middle.abs() > 0.15).nonzero().squeeze(1)
    found = surface_colors(mesh, faces, torch.full((len(faces), 3), 1 / 3))[:, :3]
    wanted = torch.where(middle[faces, None] > 0, torch.tensor(ABOVE), torch.tensor(BELOW))
    assert float((found - wanted).abs().mean()) < most


def test_a_rigged_glb_keeps_all_but_its_colours(tmp_path: Path) -> None:
    path = globe(tmp_path / "globe.glb", rigged=True, vertex_colors=True)
    made = repaint(path)
    result = made.save(tmp_path / "out", name="painted")
    assert set(result) == {"glb"} and made.notes == ()
    assert [picture.shape for picture in made.pictures] == [(256, 512, 3)] * 2
    old, new = document(path), document(result["glb"])
    assert accessor_bytes(new) == accessor_bytes(old)
    assert new.json["animations"] == old.json["animations"] and new.json["skins"] == old.json["skins"]
    assert_two_colors(load_mesh(result["glb"]))


def test_obj_lines_stay_and_the_library_is_new(tmp_path: Path) -> None:
    path = obj_globe(tmp_path / "globe.obj")
    result = repaint(path, texture_size=256).save(tmp_path / "out", name="my globe")
    kept = [
        [
            line
            for line in file.read_bytes().splitlines(keepends=True)
            if line.split(b" ")[0] in (b"v", b"vt", b"vn", b"f")
        ]
        for file in (path, result["obj"])
    ]
    assert kept[0] == kept[1] and len(kept[0]) > 1000
    library = result["mtl"].read_text()
    assert library.count("Kd 1 1 1") == 2 and "Kd 1 0 0" not in library and library.count("Ns 20") == 2
    assert (
        "map_Bump -bm 0.5 map_1_my_bump.png" in library
        and (tmp_path / "out" / "map_1_my_bump.png").read_bytes() == b"a bump"
    )
    assert "map_Kd -s 1 1 1 my_globe_base_color_2.png" in library
    assert_two_colors(load_mesh(result["obj"]))


def test_an_obj_without_materials_gets_one(tmp_path: Path) -> None:
    result = repaint(obj_globe(tmp_path / "globe.obj", materials=False)).save(tmp_path / "out")
    assert set(result) == {"obj", "mtl", "base_color"}
    assert result["obj"].read_bytes().startswith(b"mtllib asset.mtl\nusemtl surface\n# a globe")
    assert Image.open(result["base_color"]).size == (1024, 1024)
    assert_two_colors(load_mesh(result["obj"]))


def test_places_that_share_texels(tmp_path: Path) -> None:
    """Mirrored halves: new coordinates by themselves; the mean of both, and a note, where they are to be kept."""
    path = obj_globe(tmp_path / "globe.obj", materials=False, mirrored=True)
    made = repaint(path, texture_size=256)
    assert made.textured is not None and "100% of the texture is shared" in made.notes[0]
    kept = repaint(path, uvs="keep", texture_size=256)
    assert "100% of the texture is shared" in kept.notes[0] and kept.pictures[0].shape == (256, 256, 3)
    mean = (np.array(ABOVE) + np.array(BELOW)) / 2 * 255
    assert np.abs(kept.pictures[0].reshape(-1, 3).mean(0) - mean).max() < 8


def test_pictures_that_repeat_take_faces_beyond_their_border(tmp_path: Path) -> None:
    shifted = obj_globe(tmp_path / "globe.obj", materials=False)
    lines = shifted.read_bytes().splitlines(keepends=True)
    moved = [
        b"vt %.6f %.6f\n" % (float(line.split()[1]) + 3.5, float(line.split()[2]) - 2) if line[:3] == b"vt " else line
        for line in lines
    ]
    shifted.write_bytes(b"".join(moved))
    made = repaint(shifted, texture_size=256)
    assert made.notes == () and made.layout is not None and made.layout.overlap == 0
    assert_two_colors(load_mesh(made.save(tmp_path / "out")["obj"]))


def test_tiles_are_pictures_of_the_whole_mesh(tmp_path: Path) -> None:
    """UDIM: the upper half on tile 1001, the lower one on 1012."""
    path = obj_globe(tmp_path / "globe.obj", mirrored=True)
    lines, half = path.read_bytes().splitlines(keepends=True), 0
    for number, line in enumerate(lines):
        half += line.startswith(b"usemtl")
        if line.startswith(b"vt ") and half:
            u, v = map(float, line.split()[1:])
            lines[number] = b"vt %.6f %.6f\n" % (u * 0.999 + 1.0005, v * 0.999 + 1.0005)
    path.write_bytes(b"".join(lines))
    result = repaint(path, uvs="tiles", texture_size=256).save(tmp_path / "out", name="a")
    assert {kind: file.name for kind, file in result.items()} == {
        "base_color_1001": "a_1001.png",
        "base_color_1012": "a_1012.png",
    }
    for file, color in zip(result.values(), (ABOVE, BELOW)):
        assert np.abs(np.array(Image.open(file)).reshape(-1, 3).mean(0) - np.array(color) * 255).max() < 12


@pytest.mark.parametrize("ending", ["stl", "ply"])
def test_files_without_coordinates_get_new_ones_and_their_place_back(ending: str, tmp_path: Path) -> None:
    """Z up, a kilometre large, far from the origin, turned by a quarter on its way into the cube."""
    shape = trimesh.creation.icosphere(subdivisions=3, radius=500.0)
    shape.apply_scale([1, 0.6, 1])
    shape.apply_translation([2000, 0, 500])
    path = tmp_path / f"ball.{ending}"
    shape.export(path)
    made = repaint(path, texture_size=512, front="90")
    assert made.notes[-1] == NEW  # nothing of skins, which such files have not
    result = made.save(tmp_path / "out")
    mesh = load_mesh(result["glb"])
    assert torch.allclose(mesh.vertices.amin(0), torch.tensor([1500.0, -300, 0]), atol=1.0)
    assert torch.allclose(mesh.vertices.amax(0), torch.tensor([2500.0, 300, 1000]), atol=1.0)
    assert_two_colors(mesh)
    with pytest.raises(InvalidInputError, match="is not kept: choose uvs"):
        repaint(path, uvs="keep")


@pytest.mark.skipif(not VALIDATOR, reason=WITHOUT_VALIDATOR)
def test_new_coordinates_are_valid(tmp_path: Path) -> None:
    path = globe(tmp_path / "globe.glb")
    result = repaint(path, uvs="new", texture_size=512).save(tmp_path)
    assert issues_of(result["glb"].read_bytes(), tmp_path)["messages"] == []
    assert_two_colors(load_mesh(result["glb"]))


def edited(path: Path, change: str) -> Path:
    """The globe as OBJ with something odd about it."""
    lines = path.read_bytes().splitlines(keepends=True)
    if change == "no coordinates":
        lines = [
            b"f " + b" ".join(c.split(b"/")[0] for c in line.split()[1:]) + b"\n" if line[:2] == b"f " else line
            for line in lines
        ]
    elif change == "no area":
        lines = [b"vt 0.5 0.5\n" if line[:3] == b"vt " else line for line in lines]
    elif change == "open":
        lines = [line for n, line in enumerate(lines) if line[:2] != b"f " or n % 3]
    elif change == "turned over":
        lines = [b"f " + b" ".join(line.split()[:0:-1]) + b"\n" if line[:2] == b"f " else line for line in lines]
    elif change == "non-manifold":
        lines += [b"f 60/60 61/60 90/60\n", b"f 60/60 61/60 200/60\n", b"f 60/60 61/60 220/60\n"]
    path.write_bytes(b"".join(lines))
    return path


@pytest.mark.parametrize("change", ["no coordinates", "no area", "open", "turned over", "non-manifold"])
def test_odd_surfaces(change: str, tmp_path: Path) -> None:
    path = edited(obj_globe(tmp_path / "globe.obj", materials=False), change)
    made = repaint(path, texture_size=256)
    assert (made.textured is not None) == change.startswith("no ")
    if change.startswith("no "):
        assert made.notes[0] == "100% of the surface has no area in a texture."
        with pytest.raises(InvalidInputError, match="has no texture coordinates: choose uvs"):
            repaint(path, uvs="keep")
    assert_two_colors(load_mesh(next(iter(made.save(tmp_path / "out").values()))))


def test_a_thin_plate_has_a_colour_on_both_ends(tmp_path: Path) -> None:
    path = tmp_path / "plate.obj"
    path.write_text(
        "v -0.1 -0.5 0\nv 0.1 -0.5 0\nv 0.1 0.5 0\nv -0.1 0.5 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3 4/4\n"
    )
    placed = PlacedMesh.create(load_mesh(path), None, front="0", local=True, progress=Progress())
    assert len(placed.voxels(32, local=True, progress=Progress())) > 100
    assert len(placed.voxels(32, local=False, progress=Progress())) > 100


def test_voxels_are_sorted_and_in_a_batch_of_one() -> None:
    ball = trimesh.creation.icosphere(subdivisions=2)
    mesh = SourceMesh.from_mesh(Mesh(torch.tensor(ball.vertices).float(), torch.tensor(ball.faces).int()))
    placed = PlacedMesh.create(mesh, None, local=False, progress=Progress())
    voxels = placed.voxels(16, local=False, progress=Progress())
    assert voxels.dtype == torch.int32 and voxels.shape[1] == 4 and not voxels[:, 0].any()
    assert torch.equal(voxels, torch.unique(voxels, dim=0)) and int(voxels.max()) == 15


def test_the_front_is_found_by_the_outline() -> None:
    """A long wedge seen from its broad side; a ball, which looks alike from everywhere, stays as it is."""
    wedge = trimesh.creation.box((0.3, 0.95, 0.3))
    mesh = Mesh(torch.tensor(wedge.vertices).float(), torch.tensor(wedge.faces).int())
    picture = np.zeros((256, 256, 4), np.uint8)
    picture[95:161, 22:234] = (200, 100, 50, 255)  # broad: the mesh must turn by a quarter
    assert front_turn(mesh, picture) in (1, 3)
    picture[:] = 0
    picture[:20, :20] = picture[-20:, -20:] = 255  # two corners: from no side
    assert front_turn(mesh, picture) is None
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.475)
    ys, xs = np.mgrid[:256, :256]
    picture[:] = 0
    picture[(ys - 127.5) ** 2 + (xs - 127.5) ** 2 < 106**2] = 255
    assert front_turn(Mesh(torch.tensor(ball.vertices).float(), torch.tensor(ball.faces).int()), picture) == 0


def test_cancel_is_honoured(tmp_path: Path) -> None:
    token = CancelToken()
    placed = PlacedMesh.create(load_mesh(globe(tmp_path / "a.glb")), None, front="0", local=True, progress=Progress())
    with pytest.raises(Cancelled):
        retextured(tmp_path / "a.glb", placed, two_colored(), progress=Progress(lambda _: token.cancel(), token))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.fbx", b"Kaydara", "not read from files ending in .fbx"),
        ("a.glb", b"glTF\2\0\0\0", "damaged"),
        ("a.obj", b"v 0 0 0\n", "1 points but no faces"),
        ("a.blend", b"", "not read from files ending in .blend"),
    ],
)
def test_what_is_no_mesh_is_refused(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInputError, match=said):
        load_mesh(tmp_path / name)


def test_unknown_choices_are_named(tmp_path: Path) -> None:
    path = globe(tmp_path / "a.glb")
    with pytest.raises(InvalidInputError, match="uvs must be one of auto, keep, new, tiles, not 'best'"):
        repaint(path, uvs="best")
    with pytest.raises(InvalidInputError, match="front must be one of"):
        repaint(path, front="45")


def test_a_face_covers_its_texels_exactly(tmp_path: Path) -> None:
    """A square of 8 x 4 texels: each knows its point."""
    path = tmp_path / "square.obj"
    path.write_text("v 0 0 0\nv 2 0 0\nv 2 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3 4/4\n")
    mesh = load_mesh(path)
    layout = lay_out(mesh, outward_mesh(mesh), apart=0.1, texture_size=8)
    [sheet] = layout.sheets
    assert layout.lost == layout.overlap == 0 and sheet.texels.index.tolist() == list(range(64))
    column, row = sheet.texels.index % 8, sheet.texels.index // 8
    wanted = torch.stack([(column + 0.5) / 4, torch.zeros(64), 1 - (row + 0.5) / 8], 1)
    assert torch.allclose(sheet.texels.points, wanted, atol=1e-5)


def test_pictures_that_come_along_do_not_take_each_other_s_names() -> None:
    others: dict[str, bytes] = {}
    for name, data in (("wood/normal.png", b"1"), ("metal\\normal.png", b"2"), ("wood/normal.png", b"1")):
        others[flattened(name, others, data)] = data
    assert others == {"map_1_normal.png": b"1", "map_2_normal.png": b"2"}
    assert flattened("../../x y/..//é?.PNG", {}, b"") == "map_1_é_.PNG"


def test_more_texels_than_fit_are_refused_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = load_mesh(ROOT / "assets" / "example_model" / "mug.glb")
    monkeypatch.setattr(sheets, "MOST_TEXELS", 1000)
    with pytest.raises(InvalidInputError, match="choose a smaller texture_size"):
        lay_out(mesh, outward_mesh(mesh), apart=0.01)
