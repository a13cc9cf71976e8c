"""glTF files written by hand: frames, scenes, materials, skins, morphs, packing of numbers, and damage."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.encoding.meshes import CHECKER, TRIANGLE, GltfBuilder
from trellis.encoding.colors import surface_colors
from trellis.encoding.load import load_mesh
from trellis.encoding.normals import face_normals
from trellis.encoding.readers.files import LoadLimits
from trellis.errors import InvalidInputError

QUAD = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)


def in_world(points: object) -> torch.Tensor:
    """glTF (x, y, z) is our (x, -z, y)."""
    x, y, z = torch.tensor(np.asarray(points, np.float32)).unbind(1)
    return torch.stack([x, -z, y], 1)


@pytest.mark.parametrize("ending", ["glb", "gltf"])
def test_frame_front_and_winding(tmp_path: Path, ending: str) -> None:
    """glTF's front (+z) is our front (-y), its up (+y) our up (+z)."""
    builder = GltfBuilder()
    builder.node(mesh=builder.mesh([[0, 0, 1], [1, 0, 1], [0, 1, 1]]))
    mesh = load_mesh(builder.write(tmp_path / f"a.{ending}"))
    assert torch.equal(mesh.vertices, torch.tensor([[0.0, -1, 0], [1, -1, 0], [0, -1, 1]]))
    a, b, c = mesh.corners()[0]
    assert torch.equal(torch.linalg.cross(b - a, c - a), torch.tensor([0.0, -1, 0]))
    assert mesh.faces.tolist() == [[0, 1, 2]]


def test_nodes_are_flattened_and_mirrors_turn_faces(tmp_path: Path) -> None:
    builder = GltfBuilder()
    shape = builder.mesh()
    s = math.sqrt(0.5)
    child = builder.node(mesh=shape, rotation=[0, 0, s, s])  # 90 degrees about z
    builder.node(children=[child], translation=[10, 0, 0], scale=[2, 2, 2])
    builder.node(mesh=shape, matrix=[-1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 5, 1])
    mesh = load_mesh(builder.write(tmp_path / "a.glb"))
    first = in_world([[10, 0, 0], [10, 2, 0], [8, 0, 0]])
    second = in_world([[0, 0, 5], [-1, 0, 5], [0, 1, 5]])
    assert torch.allclose(mesh.vertices, torch.cat([first, second]), atol=1e-6)
    a, b, c = mesh.corners().unbind(1)
    normals = torch.linalg.cross(b - a, c - a)
    assert (normals[:, 1] < 0).all()  # both still face glTF's +z


def test_normals_stand_upright_on_scaled_surfaces(tmp_path: Path) -> None:
    """A slope of 45 degrees, stretched: its normal is that of the stretched surface."""
    builder = GltfBuilder()
    slope = np.array([[0, 0, 0], [1, 1, 0], [0, 0, -1]], np.float32)
    normal = builder.accessor(np.array([[-1, 1, 0]] * 3, np.float32))
    builder.node(mesh=builder.mesh(slope, attributes={"NORMAL": normal}), scale=[2, 1, 1])
    mesh = load_mesh(builder.write(tmp_path / "a.glb"))
    assert mesh.normals is not None
    expected = face_normals(mesh)[0][:, None].expand(-1, 3, -1)
    assert torch.allclose(mesh.normals, expected, atol=1e-6) or torch.allclose(mesh.normals, -expected, atol=1e-6)
    assert mesh.normals[0, 0, 2] > 0.8


def test_only_the_scene_counts(tmp_path: Path) -> None:
    builder = GltfBuilder()
    shape = builder.mesh()
    builder.node(mesh=shape, translation=[9, 0, 0])
    builder.node(mesh=shape)
    builder.add("scenes", nodes=[1])
    assert len(load_mesh(builder.write(tmp_path / "a.glb")).faces) == 1


def test_strips_fans_and_faces_without_indices(tmp_path: Path) -> None:
    builder = GltfBuilder()
    builder.node(mesh=builder.mesh(QUAD[[0, 1, 3, 2]], mode=5))
    builder.node(mesh=builder.mesh(QUAD, [0, 1, 2, 3], mode=6))
    builder.node(mesh=builder.mesh(np.concatenate([QUAD[:3], QUAD[[0, 2, 3]]])))
    builder.node(mesh=builder.mesh(QUAD, [0, 1, 2], mode=1))  # lines: left out
    mesh = load_mesh(builder.write(tmp_path / "a.glb"))
    a, b, c = mesh.corners().unbind(1)
    normals = torch.linalg.cross(b - a, c - a)
    assert torch.equal(normals, torch.tensor([[0.0, -1, 0]]).expand(6, 3))


def test_numbers_may_be_strided_sparse_quantised(tmp_path: Path) -> None:
    builder = GltfBuilder()
    rows = np.zeros((3, 5), np.float32)
    rows[:, :3] = TRIANGLE
    view = builder.view(rows.tobytes(), byteStride=20)
    builder.json["accessors"].append({"bufferView": view, "componentType": 5126, "count": 3, "type": "VEC3"})
    builder.add("meshes", primitives=[{"attributes": {"POSITION": 0}}])
    places, news = builder.view(np.array([1], np.uint16).tobytes()), builder.view(np.float32([7, 8, 9]).tobytes())
    builder.json["accessors"].append(
        {
            **builder.json["accessors"][0],
            "sparse": {
                "count": 1,
                "indices": {"bufferView": places, "componentType": 5123},
                "values": {"bufferView": news},
            },
        }
    )
    builder.add("meshes", primitives=[{"attributes": {"POSITION": 1}}])
    quantised = builder.accessor(np.array([[0, 0, 0], [127, 0, 0], [0, -127, 0]], np.int8), normalized=True)
    builder.add("meshes", primitives=[{"attributes": {"POSITION": quantised}}])
    for index in range(3):
        builder.node(mesh=index)
    builder.json["extensionsRequired"] = ["KHR_mesh_quantization"]
    found = load_mesh(builder.write(tmp_path / "a.glb")).vertices
    assert torch.equal(found[:3], in_world(TRIANGLE))
    assert torch.equal(found[3:6], in_world([[0, 0, 0], [7, 8, 9], [0, 1, 0]]))
    assert torch.equal(found[6:], in_world([[0, 0, 0], [1, 0, 0], [0, -1, 0]]))


def test_materials_textures_and_vertex_colours_multiply(tmp_path: Path) -> None:
    builder = GltfBuilder()
    texture = builder.texture(CHECKER, wrapS=33071, wrapT=33648, magFilter=9728)
    uv = {"TEXCOORD_1": builder.accessor(np.full((3, 2), 0.25, np.float32))}
    colors = {"COLOR_0": builder.accessor(np.full((3, 4), 128, np.uint8), normalized=True)}
    builder.add(
        "materials",
        pbrMetallicRoughness={
            "baseColorFactor": [0.5, 1, 1, 0.5],
            "baseColorTexture": {"index": texture, "texCoord": 1},
        },
        alphaMode="BLEND",
    )
    builder.node(mesh=builder.mesh(attributes=uv | colors, material=0))
    mesh = load_mesh(builder.write(tmp_path / "a.glb"))
    assert mesh.textures[0].wrap == ("clamp", "mirror")
    assert torch.equal(mesh.textures[0].pixels[..., :3], torch.from_numpy(CHECKER))
    found = surface_colors(mesh, torch.tensor([0]), torch.full((1, 3), 1 / 3))[0]
    linear = 0.5 * 128 / 255  # the texel at (0.25, 0.25) is pure red
    assert found[0].item() == pytest.approx(1.055 * linear ** (1 / 2.4) - 0.055, abs=1e-5)
    assert found[1:3].tolist() == [0, 0] and found[3].item() == pytest.approx(0.5 * 128 / 255)


def test_texture_transform(tmp_path: Path) -> None:
    """A quarter turn: (u, v) -> (v, -u), after the scale and before the offset."""
    builder = GltfBuilder()
    texture = builder.texture(CHECKER)
    moved = {"offset": [0.5, 0.25], "rotation": math.pi / 2, "scale": [2, 3], "texCoord": 1}
    reference = {"index": texture, "extensions": {"KHR_texture_transform": moved}}
    builder.add("materials", pbrMetallicRoughness={"baseColorTexture": reference})
    uvs = np.float32([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
    builder.node(mesh=builder.mesh(attributes={"TEXCOORD_1": builder.accessor(uvs)}, material=0))
    builder.json["extensionsRequired"] = ["KHR_texture_transform"]
    found = load_mesh(builder.write(tmp_path / "a.glb")).uvs
    expected = np.stack([3 * uvs[:, 1] + 0.5, -2 * uvs[:, 0] + 0.25], 1)
    assert np.allclose(found.numpy(), expected, atol=1e-6)


def test_old_glossiness_materials_keep_their_colour(tmp_path: Path) -> None:
    builder = GltfBuilder()
    old = {"KHR_materials_pbrSpecularGlossiness": {"diffuseFactor": [0.1, 0.2, 0.3, 1]}}
    builder.add("materials", extensions=old)
    builder.node(mesh=builder.mesh(material=0))
    assert load_mesh(builder.write(tmp_path / "a.glb")).materials[0].base_color == (0.1, 0.2, 0.3, 1)


def test_a_skin_stands_at_rest(tmp_path: Path) -> None:
    """Vertices follow their joints, not their node: one joint stands where it was bound, one has moved up by 2."""
    builder = GltfBuilder()
    inverse = np.stack([np.eye(4), np.eye(4)]).astype(np.float32)
    inverse[1, 3, :3] = [0, -1, 0]  # column-major: bound at height 1
    attributes = {
        "JOINTS_0": builder.accessor(np.uint8([[0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]])),
        "WEIGHTS_0": builder.accessor(np.float32([[1, 0, 0, 0], [1, 0, 0, 0], [0.5, 0.5, 0, 0]])),
    }
    shape = builder.mesh(attributes=attributes)
    low, high = builder.node(), builder.node(translation=[0, 3, 0])
    builder.add("skins", joints=[low, high], inverseBindMatrices=builder.accessor(inverse.reshape(2, 16)))
    builder.node(mesh=shape, skin=0, translation=[100, 0, 0])
    builder.add("animations", channels=[], samplers=[])
    found = load_mesh(builder.write(tmp_path / "a.glb")).vertices
    assert torch.allclose(found, in_world([[0, 0, 0], [1, 2, 0], [0, 2, 0]]))


def test_morph_targets_stand_at_their_default_weights(tmp_path: Path) -> None:
    builder = GltfBuilder()
    target = {"POSITION": builder.accessor(np.full((3, 3), 2, np.float32))}
    shape = builder.mesh(targets=[target])
    builder.json["meshes"][shape]["weights"] = [0.5]
    builder.node(mesh=shape)
    builder.node(mesh=shape, weights=[0.0])
    found = load_mesh(builder.write(tmp_path / "a.glb")).vertices
    assert torch.equal(found, in_world(np.concatenate([TRIANGLE + 1, TRIANGLE])))


def built(**changes: object) -> GltfBuilder:
    builder = GltfBuilder()
    builder.node(mesh=builder.mesh(TRIANGLE, [0, 1, 2]))
    builder.json |= changes
    return builder


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"extensionsRequired": ["KHR_draco_mesh_compression"]}, "KHR_draco_mesh_compression"),
        ({"asset": {"version": "1.0"}}, "glTF 1.0"),
        ({"nodes": [{"mesh": 7}]}, "meshes has no entry 7"),
        ({"nodes": [{"mesh": -1}]}, "no entry -1"),
        ({"nodes": [{"children": [1]}, {"children": [0]}], "scenes": [{"nodes": [0]}]}, "reached twice"),
        ({"nodes": [{"mesh": 0, "matrix": [1, 2]}]}, "ValueError"),
        ({"nodes": "all"}, "usable glTF"),
        ({"meshes": [{}]}, "KeyError"),
        ({"accessors": []}, "accessors has no entry"),
        ({"nodes": []}, "holds no mesh"),
        ({"nodes": [{"mesh": 0, "scale": [1e30, 1e30, 1e30], "translation": [1e38, 0, 0]}]}, None),
        ({"nodes": [{"mesh": 0, "scale": [1e39, 1, 1]}]}, "finite"),
    ],
)
def test_damaged_documents_say_what_is_wrong(tmp_path: Path, changes: dict[str, object], said: str | None) -> None:
    path = built(**changes).write(tmp_path / "a.glb")
    if said is None:
        assert len(load_mesh(path).faces) == 1
        return
    with pytest.raises(InvalidInputError, match=said) as caught:
        load_mesh(path)
    assert "a.glb" in str(caught.value)


def test_points_alone_are_no_surface(tmp_path: Path) -> None:
    builder = GltfBuilder()
    builder.node(mesh=builder.mesh(mode=0))
    with pytest.raises(InvalidInputError, match="3 points but no faces"):
        load_mesh(builder.write(tmp_path / "a.glb"))


def test_an_index_beyond_the_vertices(tmp_path: Path) -> None:
    builder = GltfBuilder()
    builder.node(mesh=builder.mesh(TRIANGLE, [0, 1, 3]))
    with pytest.raises(InvalidInputError, match="a vertex that is not there"):
        load_mesh(builder.write(tmp_path / "a.glb"))


def test_counts_are_checked_before_memory_is_taken(tmp_path: Path) -> None:
    builder = built()
    builder.json["accessors"][0] = {"componentType": 5126, "count": 1 << 40, "type": "VEC3"}
    with pytest.raises(InvalidInputError, match="limit"):
        load_mesh(builder.write(tmp_path / "a.glb"))
    with pytest.raises(InvalidInputError, match="3 vertices, more than the limit of 2"):
        load_mesh(built().write(tmp_path / "b.glb"), limits=LoadLimits(vertices=2))


def test_no_fault_of_a_file_gets_out_as_another_error(tmp_path: Path) -> None:
    """Files cut short at every length and with bytes changed at random: they load, or say that they are not usable."""
    builder = built()
    builder.texture(CHECKER)
    builder.add("materials", pbrMetallicRoughness={"baseColorTexture": {"index": 0}})
    builder.json["meshes"][0]["primitives"][0]["material"] = 0
    whole = builder.write(tmp_path / "whole.glb").read_bytes()
    path = tmp_path / "a.glb"
    for length in range(0, len(whole) - 1, 9):
        path.write_bytes(whole[:length])
        with pytest.raises(InvalidInputError):
            load_mesh(path)
    rng, failed = np.random.default_rng(0), 0
    for _ in range(400):
        damaged = bytearray(whole)
        for place in rng.integers(12, len(whole), 3):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            load_mesh(path)
        except InvalidInputError:
            failed += 1
    assert 50 < failed < 400


def test_random_values_in_the_document(tmp_path: Path) -> None:
    """Every value of the document replaced in turn by something of another kind."""
    builder = built()
    builder.add("materials", pbrMetallicRoughness={"baseColorFactor": [1, 1, 1, 1]}, alphaMode="MASK")
    builder.json["meshes"][0]["primitives"][0]["material"] = 0
    text = json.dumps(builder.json)
    places = list(_paths(json.loads(text)))
    assert len(places) > 40
    failed = 0
    for place in places:
        for other in (None, -1, "x", [], {}, 1e308, True):
            builder.json = json.loads(text)
            inner = builder.json
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = other
            try:
                load_mesh(builder.write(tmp_path / "a.glb"))
            except InvalidInputError:
                failed += 1
    assert failed > 100


def _paths(value: object, *above: object) -> list[tuple]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return ([above] if above else []) + [path for key, inner in items for path in _paths(inner, *above, key)]
