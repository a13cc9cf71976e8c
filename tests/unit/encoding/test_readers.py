"""OBJ, PLY and STL: what they say arrives, in both encodings, and damaged files say what is wrong."""

import re
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from tests.unit.encoding.meshes import CHECKER, png, sphere
from trellis.encoding.colors import surface_colors
from trellis.encoding.load import load_mesh
from trellis.encoding.readers.files import LoadLimits
from trellis.encoding.source_mesh import SourceMesh
from trellis.errors import InvalidInputError

OBJ = """\
mtllib colors.mtl
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
v 0 0 1
vt 0 0
vt 1 0
vt 1 1
vt 0 1
vn 0 0 1
usemtl painted
f 1/1/1 2/2/1 3/3/1 4/4/1
usemtl plain
f -5//1 -4//1 \\
  -1//1
"""
MTL = (
    "newmtl plain\nKd 1 0.5 0\nd 0.25\nnewmtl painted\nKd 0 0 0\nmap_Kd -s 2 3 1 -o 0.5 0.25 -clamp on my picture.png\n"
)

PAINTED = "mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nusemtl a\nf 1 2 3\n"


def middle_color(mesh: SourceMesh, face: int) -> torch.Tensor:
    return surface_colors(mesh, torch.tensor([face]), torch.full((1, 3), 1 / 3))[0]


def written(folder: Path, files: dict[str, str | bytes]) -> Path:
    """The first of `files`, all of them written into `folder`."""
    for name, content in files.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder / next(iter(files))


def test_obj_with_materials(tmp_path: Path) -> None:
    mesh = load_mesh(written(tmp_path, {"a.obj": OBJ, "colors.mtl": MTL, "my picture.png": png(CHECKER)}))
    assert len(mesh.faces) == 3 and mesh.face_materials.tolist() == [0, 0, 1]
    corners = mesh.corners()
    assert torch.equal(corners[2], torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, -1, 0]]))  # y up: z = 1 is -y
    uvs = mesh.uvs[mesh.faces[0]]
    # (u, v) -> (2 u + 0.5, 3 v + 0.25) upwards, counted from the top here.
    assert torch.allclose(uvs, torch.tensor([[0.5, 0.75], [2.5, 0.75], [2.5, -2.25]]))
    assert mesh.textures[0].wrap == ("clamp", "clamp")
    assert mesh.materials[0].base_color[:3] == (1, 1, 1)  # black behind a picture means the picture
    assert middle_color(mesh, 2).tolist() == pytest.approx([1, 0.5, 0, 0.25], abs=1e-6)


@pytest.mark.parametrize(("up", "corner"), [("auto", [0, -1, 0]), ("y", [0, -1, 0]), ("z", [0, 0, 1])])
def test_up_axis(tmp_path: Path, up: str, corner: list[int]) -> None:
    path = written(tmp_path, {"a.obj": "v 0 0 0\nv 1 0 0\nv 0 0 1\nf 1 2 3\n"})
    assert load_mesh(path, up=up).vertices[2].tolist() == corner
    with pytest.raises(InvalidInputError, match="auto, y, z"):
        load_mesh(path, up="x")


def test_obj_vertex_colours(tmp_path: Path) -> None:
    for scale in (1, 255):
        rows = "".join(f"v {i} {i * i} 0 {scale * 0.2} {scale * 0.4} {scale}\n" for i in range(3))
        mesh = load_mesh(written(tmp_path, {"a.obj": rows + "f 1 2 3"}))
        assert middle_color(mesh, 0).tolist() == pytest.approx([0.2, 0.4, 1, 1], abs=1e-6)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.obj": "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 4\n"}, "a vertex that is not there"),
        ({"a.obj": "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1/1 2/2 3/3\n"}, "a vertex that is not there"),
        ({"a.obj": "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 0 1 2\n"}, "line 4"),
        ({"a.obj": "v 0 0 0\nf 1 1\n"}, "1 points but no faces"),
        ({"a.obj": "v 0 0\nf 1 1 1\n"}, "fewer than 3 numbers"),
        ({"a.obj": "v 0 0 x\nv 0 0 0\nv 0 1 0\nf 1 2 3\n"}, "line 1: .*could not convert"),
        ({"a.obj": "v 0 0 0\nf 1 9999999999999 1\n"}, "line 2: .*entry 9999999999999"),
        ({"a.obj": "v 0 0 nan\nv 1 0 0\nv 0 1 inf\nf 1 2 3\n"}, "not a finite number"),
        ({"a.obj": "v 0 0 0\nv 1 0 0\n"}, "2 points but no faces"),
        ({"a.obj": ""}, "holds no mesh"),
        ({"a.obj": "v 0 0 0\nf 1 1 1\n"}, "no faces"),
        ({"a.obj": PAINTED, "a.mtl": "newmtl a\nKd red\n"}, "material a: .*red"),
        ({"a.obj": PAINTED, "a.mtl": "newmtl a\nmap_Kd a.png\n", "a.png": "none"}, "a.png cannot be read"),
        ({"a.ply": "ply\nformat ascii 1.0\n"}, "no header"),
        ({"a.ply": "ply\nelement vertex 1\nproperty float x\nend_header\n0\n"}, "no format"),
        ({"a.ply": "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nend_header\n0\n"}, "cut short"),
        ({"a.ply": "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n0\n"}, "x, y and z"),
        ({"a.ply": "ply\nformat ascii 1.0\nproperty float x\nend_header\n"}, "unknown line"),
        ({"a.stl": "solid a\nfacet\nvertex 0 0 0\nvertex 1 0 0\nendfacet\n"}, "three corners"),
        ({"a.stl": b"\0" * 80 + struct.pack("<I", 7)}, "7 faces"),
        ({"a.stl": b"\0" * 80 + struct.pack("<I", 0)}, "holds no mesh"),
        ({"a.stl": "hello"}, "not a usable STL"),
    ],
)  # fmt: skip
def test_damaged_files_say_what_is_wrong(tmp_path: Path, files: dict[str, str | bytes], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        load_mesh(written(tmp_path, files))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"a.obj": PAINTED + "f 1 2\nf 3\nf\n"},
            ["1 pictures or material.*a.mtl does not exist", "3 faces with fewer"],
        ),
        ({"a.obj": PAINTED, "a.mtl": "newmtl a\nKd 1 0 0\nmap_Kd gone.png\n"}, ["gone.png does not exist"]),
        ({"a.obj": PAINTED, "a.mtl": "newmtl a\nKd 1 0 0\nmap_Kd C:\\me\\a.png\n"}, ["an absolute path"]),
        (
            {
                "a.ply": "ply\nformat ascii 1.0\ncomment TextureFile gone.png\nelement vertex 3\nproperty float x\n"
                "property float y\nproperty float z\nelement face 2\nproperty list uchar int vertex_index\n"
                "end_header\n0 0 0\n1 0 0\n0 1 0\n2 0 1\n3 0 1 2\n"
            },
            ["gone.png does not exist", "1 faces with fewer than three corners"],
        ),
    ],
)
def test_what_is_missing_is_counted_and_the_rest_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, files: dict[str, str | bytes], said: list[str]
) -> None:
    mesh = load_mesh(written(tmp_path, files))
    assert len(mesh.faces) == 1 and len(mesh.notes) == len(said)
    for note, words in zip(mesh.notes, said):
        assert re.search(words, note) and note in caplog.text
    if "Kd 1 0 0" in str(files.get("a.mtl")):
        assert middle_color(mesh, 0).tolist() == pytest.approx([1, 0, 0, 1], abs=1e-6)


def test_normals_of_corners(tmp_path: Path) -> None:
    """In our world (y up becomes z up), unit; a corner without one, or with one that is no normal, has zeros."""
    obj = tmp_path / "a.obj"
    obj.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nvn 0 2 0\nvn nonsense\nvn 0 0 1\nf 1//1 2//2 3//-1\nf 1 2//9 3//1\n")
    mesh = load_mesh(obj)
    assert mesh.normals is not None and mesh.normals.tolist() == [
        [[0, 0, 1], [0, 0, 0], [0, -1, 0]],
        [[0, 0, 0], [0, 0, 0], [0, 0, 1]],
    ]
    assert len(mesh.vertices) == 3  # normals cut no vertices apart
    ply = tmp_path / "a.ply"
    names = "".join(f"property float {name}\n" for name in ("x", "y", "z", "nx", "ny", "nz"))
    head = f"ply\nformat ascii 1.0\nelement vertex 3\n{names}element face 1\nproperty list uchar int vertex_indices\n"
    ply.write_text(head + "end_header\n0 0 0 0 0 3\n1 0 0 0 0 1\n0 1 0 1 0 0\n3 0 1 2\n")
    normals = load_mesh(ply).normals
    assert normals is not None and normals.tolist() == [[[0, 0, 1], [0, 0, 1], [1, 0, 0]]]


def test_negative_numbers_of_an_obj_count_from_where_they_stand(tmp_path: Path) -> None:
    """Kinds of corners may differ from face to face, and a line may go on behind a number."""
    rows = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvn 0 0 1\nf -3 -2 -1\nf -3//1 -2//1 -1//1\nv 5 5 5\nvt 0.5 0.5\n"
    mesh = load_mesh(written(tmp_path, {"a.obj": rows + "f -4/1 -3/1\\\n -2/1\nf 1 2 4 3 1 2\n"}))
    assert mesh.corners()[:3].tolist() == [[[0, 0, 0], [1, 0, 0], [0, 0, 1]]] * 3
    assert mesh.uvs[mesh.faces[2]].tolist() == [[0.5, 0.5]] * 3 and len(mesh.faces) == 5


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_stl_text_with_words_in_its_names(tmp_path: Path, newline: str) -> None:
    """Two solids whose names hold keywords."""
    facet = "facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n"
    text = f"solid vertex endfacet\n{facet}endsolid vertex\nsolid b\n{facet}endsolid\n"
    mesh = load_mesh(written(tmp_path, {"a.stl": text.replace("\n", newline)}))
    assert mesh.corners().tolist() == [[[0, 0, 0], [1, 0, 0], [0, 1, 0]]] * 2


@pytest.mark.parametrize("encoding", ["binary", "ascii"])
def test_ply_and_stl_of_another_writer(tmp_path: Path, encoding: str) -> None:
    shape = sphere(2)
    shape.visual.vertex_colors = np.random.default_rng(0).integers(0, 255, (len(shape.vertices), 4))
    triangles = np.asarray(shape.triangles, np.float32)
    ply = tmp_path / "a.ply"
    ply.write_bytes(trimesh.exchange.ply.export_ply(shape, encoding=encoding))
    found = load_mesh(ply)
    assert np.allclose(found.corners().numpy(), triangles, atol=1e-6)
    expected = shape.visual.vertex_colors[shape.faces[5][0]] / 255
    corner = surface_colors(found, torch.tensor([5]), torch.tensor([[1.0, 0, 0]]))[0, :3]
    assert np.allclose(corner.numpy(), expected[:3], atol=1e-5)
    stl = tmp_path / "a.stl"
    shape.export(stl, file_type="stl" if encoding == "binary" else "stl_ascii")
    assert np.allclose(load_mesh(stl).corners().numpy(), triangles, atol=1e-6)


@pytest.mark.parametrize("order", ["<", ">"])
def test_ply_with_polygons_of_many_sizes_in_both_byte_orders(tmp_path: Path, order: str) -> None:
    name = "little" if order == "<" else "big"
    header = (
        f"ply\nformat binary_{name}_endian 1.0\nelement vertex 5\nproperty float x\n"
        "property double y\nproperty float z\n"
        "element face 2\nproperty uchar flag\nproperty list uchar int vertex_indices\nend_header\n"
    )
    points = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1)]
    body = b"".join(struct.pack(f"{order}fdf", *point) for point in points)
    body += struct.pack(f"{order}BB4i", 9, 4, 0, 1, 2, 3) + struct.pack(f"{order}BB3i", 9, 3, 0, 1, 4)
    mesh = load_mesh(written(tmp_path, {"a.ply": header.encode() + body}))
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 4]]
    assert mesh.vertices.tolist() == [list(map(float, point)) for point in points]
    for length in range(len(header), len(header) + len(body)):
        with pytest.raises(InvalidInputError):
            load_mesh(written(tmp_path, {"a.ply": (header.encode() + body)[:length]}))


def test_ply_with_a_picture_and_coordinates_of_corners(tmp_path: Path) -> None:
    text = (
        "ply\nformat ascii 1.0\ncomment TextureFile skin.png\nelement vertex 3\nproperty float x\nproperty float y\n"
        "property float z\nelement face 1\nproperty list uchar int vertex_indices\n"
        "property list uchar float texcoord\nend_header\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2 6 0.75 0.75 0.75 0.75 0.75 0.75\n"
    )
    mesh = load_mesh(written(tmp_path, {"a.ply": text, "skin.png": png(CHECKER)}))
    assert middle_color(mesh, 0).tolist() == pytest.approx([0, 1, 0, 1], abs=1e-6)  # v = 0.75 upwards: the upper row


def test_gaussians_are_told_from_meshes(tmp_path: Path) -> None:
    names = "".join(f"property float {name}\n" for name in ("x", "y", "z", "rot_0"))
    path = written(tmp_path, {"a.ply": f"ply\nformat ascii 1.0\nelement vertex 1\n{names}end_header\n0 0 0 1\n"})
    with pytest.raises(InvalidInputError, match="Gaussians"):
        load_mesh(path)


def test_stl_colours(tmp_path: Path) -> None:
    record = struct.pack("<12fH", 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0x8000 | 31 << 10 | 0 << 5 | 31)
    path = written(tmp_path, {"a.stl": b"solid but binary".ljust(80) + struct.pack("<I", 1) + record})
    assert middle_color(load_mesh(path), 0).tolist() == pytest.approx([1, 0, 1, 1], abs=1e-6)


def test_limits(tmp_path: Path) -> None:
    path = tmp_path / "a.obj"
    sphere(1).export(path)
    assert len(load_mesh(path, limits=LoadLimits(faces=80, vertices=42)).faces) == 80
    for limits, said in (
        (LoadLimits(faces=79), "faces"),
        (LoadLimits(vertices=41), "vertices"),
        (LoadLimits(file_bytes=100), "MiB"),
    ):
        with pytest.raises(InvalidInputError, match=said):
            load_mesh(path, limits=limits)
    with pytest.raises(InvalidInputError, match="at least 1"):
        LoadLimits(faces=0)
