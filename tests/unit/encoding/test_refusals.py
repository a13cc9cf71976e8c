"""Files that are not there, of another kind, or that reach for something outside of their folder."""

import json
from pathlib import Path

import pytest

from tests.unit.encoding.meshes import CHECKER, TRIANGLE, GltfBuilder, png
from trellis.encoding.load import load_mesh
from trellis.encoding.readers.files import LoadLimits
from trellis.errors import InvalidInputError

SECRET = "secret.bin"
OUTSIDE = [
    (f"../{SECRET}", "out of its folder"),
    (f"inner/../../{SECRET}", "out of its folder"),
    (f"%2e%2e/{SECRET}", "out of its folder"),
    (f"..\\{SECRET}", "out of its folder"),
    (f"link/{SECRET}", "out of its folder"),
    ("linked.bin", "out of its folder"),
    ("/etc/passwd", "absolute path"),
    ("%2fetc/passwd", "absolute path"),
    ("C:/secret.bin", "absolute path"),
    ("C:\\secret.bin", "absolute path"),
    ("//host/share/secret.bin", "nothing is fetched"),
    ("\\\\host\\share\\secret.bin", "nothing is fetched"),
    ("https://example.com/a.bin", "nothing is fetched"),
    ("http://127.0.0.1/a.bin", "nothing is fetched"),
    ("file:///etc/passwd", "nothing is fetched"),
    ("a\0.bin", "no usable address"),
    ("missing.bin", "does not exist"),
    (".", "is a folder"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with links out of it; beside it a file that nobody may read."""
    inside = tmp_path / "models"
    inside.mkdir()
    secret = bytearray(TRIANGLE.tobytes())
    (tmp_path / SECRET).write_bytes(secret)
    (inside / "link").symlink_to(tmp_path, target_is_directory=True)
    (inside / "linked.bin").symlink_to(tmp_path / SECRET)
    return inside


def recorded(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of the files that are read from now on."""
    names, read_bytes = set(), Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (names.add(path.name), read_bytes(path))[1])
    return names


def gltf_with_buffer(uri: str, path: Path) -> Path:
    builder = GltfBuilder()
    builder.node(mesh=builder.mesh())
    document = json.loads(builder.write(path).read_text())
    document["buffers"][0]["uri"] = uri
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(("uri", "said"), OUTSIDE)
def test_gltf_buffers(folder: Path, uri: str, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said) as refused:
        load_mesh(gltf_with_buffer(uri, folder / "a.gltf"))
    assert str(folder) not in str(refused.value)  # it is told to clients


@pytest.mark.parametrize(("uri", "said"), [pair for pair in OUTSIDE if pair[0] not in ("a\0.bin", ".")])
def test_obj_libraries_and_pictures(folder: Path, uri: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They add colours alone: the mesh is read without them, a note says so, and nothing is opened."""
    path = folder / "a.obj"
    opened = recorded(monkeypatch)
    path.write_text(f"mtllib {uri}\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    assert [said in note for note in load_mesh(path).notes] == [True]
    path.write_text("mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nusemtl a\nf 1 2 3\n")
    (folder / "a.mtl").write_text(f"newmtl a\nmap_Kd {uri}\n")
    mesh = load_mesh(path)
    assert [said in note for note in mesh.notes] == [True] and mesh.textures == ()
    assert opened == {"a.obj", "a.mtl"}


def test_gltf_pictures(folder: Path) -> None:
    for uri, said in OUTSIDE:
        builder = GltfBuilder()
        builder.add("images", uri=uri)
        builder.add("textures", source=0)
        color = {"baseColorTexture": {"index": 0}, "baseColorFactor": [0, 1, 0, 1]}
        builder.add("materials", pbrMetallicRoughness=color)
        builder.node(mesh=builder.mesh(material=0))
        mesh = load_mesh(builder.write(folder / "a.glb"))
        assert [said in note for note in mesh.notes] == [True], uri
        assert mesh.materials[0].texture is None and mesh.materials[0].base_color == (0, 1, 0, 1)


def test_files_beside_it_are_read(folder: Path) -> None:
    (folder / "parts of it").mkdir()
    (folder / "parts of it" / "a b.bin").write_bytes(TRIANGLE.tobytes())
    mesh = load_mesh(gltf_with_buffer("parts%20of%20it/a%20b.bin", folder / "a.gltf"))
    assert len(mesh.faces) == 1
    with pytest.raises(InvalidInputError, match="cut short"):
        (folder / "short.bin").write_bytes(b"1234")
        load_mesh(gltf_with_buffer("short.bin", folder / "a.gltf"))


@pytest.mark.parametrize("uri", ["data:application/octet-stream;base64,!!!", "data:,plain", "data:x"])
def test_damaged_inline_data(folder: Path, uri: str) -> None:
    with pytest.raises(InvalidInputError, match="inline file"):
        load_mesh(gltf_with_buffer(uri, folder / "a.gltf"))


def test_files_that_are_not_there_or_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="does not exist"):
        load_mesh(tmp_path / "a.glb")
    (tmp_path / "b.glb").mkdir()
    with pytest.raises(InvalidInputError, match="is a folder"):
        load_mesh(tmp_path / "b.glb")
    for name in ("c.fbx", "c"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(InvalidInputError, match=r"\.glb, \.gltf, \.obj, \.ply, \.stl"):
            load_mesh(tmp_path / name)
    (tmp_path / "d.glb").write_bytes(b"")
    with pytest.raises(InvalidInputError, match=r"d\.glb is not a usable glTF file"):
        load_mesh(tmp_path / "d.glb")


def test_pictures_are_limited_before_they_are_decoded(tmp_path: Path) -> None:
    builder = GltfBuilder()
    builder.texture(CHECKER)
    builder.add("materials", pbrMetallicRoughness={"baseColorTexture": {"index": 0}})
    builder.node(mesh=builder.mesh(material=0))
    path = builder.write(tmp_path / "a.glb")
    assert len(load_mesh(path, limits=LoadLimits(texture_pixels=4)).textures) == 1
    with pytest.raises(InvalidInputError, match="more than 3 pixels"):
        load_mesh(path, limits=LoadLimits(texture_pixels=3))


def test_a_damaged_picture(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text("mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nusemtl a\nf 1 2 3\n")
    (tmp_path / "a.mtl").write_text("newmtl a\nmap_Kd a.png\n")
    whole = png(CHECKER)
    for length in (0, 10, 30, 44):
        (tmp_path / "a.png").write_bytes(whole[:length])
        with pytest.raises(InvalidInputError, match=r"a\.png cannot be read"):
            load_mesh(tmp_path / "a.obj")
