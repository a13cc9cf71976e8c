"""GLB and PLY: independent readers find what was written; the same input gives the same bytes; no half-written file.

The reference numbers of the Gaussian PLY (`gaussian_ply`) are checked by tests/parity.
"""

import json
import struct

import numpy as np
import pygltflib
import pytest
import torch
import trimesh
from plyfile import PlyData

from tests.clouds import random_cloud
from tests.unit.export.shapes import painted, reader, sphere, textured_mesh
from trellis.atomic import write_bytes, written_aside
from trellis.errors import InvalidInputError
from trellis.export.glb import glb_bytes, write_glb
from trellis.export.ply import GAUSSIAN_FIELDS, gaussian_columns, write_gaussian_ply, write_mesh_ply
from trellis.geometry.rotations import quaternion_to_matrix
from trellis.representations import GaussianCloud, TexturedMesh


@pytest.fixture(scope="module")
def textured() -> TexturedMesh:
    return textured_mesh(sphere(4), faces=1500)


def test_glb_read_by_pygltflib(textured, tmp_path):
    path = write_glb(textured, tmp_path / "object.glb")
    gltf = pygltflib.GLTF2().load(str(path))
    primitive = gltf.meshes[0].primitives[0]
    position = gltf.accessors[primitive.attributes.POSITION]
    assert position.count == len(textured.vertices)
    x, y, z = textured.vertices.T
    turned = np.stack([x, z, -y], axis=1)
    assert np.allclose(position.min, turned.min(0)) and np.allclose(position.max, turned.max(0))
    assert primitive.attributes.NORMAL is not None and primitive.attributes.TEXCOORD_0 is not None
    assert gltf.accessors[primitive.indices].count == textured.faces.size
    material = gltf.materials[primitive.material]
    assert material.pbrMetallicRoughness.metallicFactor == 0
    assert material.pbrMetallicRoughness.roughnessFactor == pytest.approx(0.9)
    assert not material.doubleSided
    assert gltf.images[0].mimeType == "image/png"
    for view in gltf.bufferViews:
        assert view.byteOffset % 4 == 0 and view.byteOffset + view.byteLength <= gltf.buffers[0].byteLength


def test_glb_read_by_trimesh_shows_the_painted_sphere(textured, tmp_path):
    scene = trimesh.load(write_glb(textured, tmp_path / "object.glb"))
    (shape,) = scene.geometry.values()
    assert len(shape.faces) == len(textured.faces)
    assert shape.volume > 0  # the turn to y-up keeps the winding
    assert (np.sum(shape.vertex_normals * shape.vertices, axis=1) > 0.9 * 0.4).all()
    picture = np.asarray(shape.visual.material.baseColorTexture.convert("RGB")).astype(float)
    uv = shape.visual.uv[shape.faces].mean(axis=1)  # trimesh turns v upward
    size = len(picture)
    seen = picture[((1 - uv[:, 1]) * size).astype(int), (uv[:, 0] * size).astype(int)]
    x, y, z = shape.triangles_center.T
    world = torch.from_numpy(np.stack([x, -z, y], axis=1)).float()
    expected = painted(0.4 * torch.nn.functional.normalize(world, dim=1)).numpy() * 255
    # One texel is at most 0.01 wide here and the paint changes by 2.5 a unit: 3 levels of bake, 3 of reading.
    assert np.abs(seen - expected).max() < 6


def test_glb_is_the_same_every_time(textured):
    again = textured_mesh(sphere(4), faces=1500)
    assert glb_bytes(again) == glb_bytes(textured)


def test_glb_options_and_limits(textured):
    def material(mesh: TexturedMesh) -> dict:
        data = glb_bytes(mesh)
        return json.loads(data[20 : 20 + struct.unpack("<I", data[12:16])[0]])["materials"][0]

    values = {name: getattr(textured, name) for name in ("vertices", "normals", "uvs", "faces", "texture")}
    assert material(TexturedMesh(**values, double_sided=True))["doubleSided"] is True
    assert "doubleSided" not in material(textured)
    with pytest.raises(InvalidInputError, match="empty"):
        glb_bytes(TexturedMesh(**{**values, "faces": values["faces"][:0]}))


def test_large_mesh_gets_wide_indices(textured, tmp_path):
    repeats = 65536 // len(textured.vertices) + 1
    count = len(textured.vertices)
    large = TexturedMesh(
        np.tile(textured.vertices, (repeats, 1)),
        np.tile(textured.normals, (repeats, 1)),
        np.tile(textured.uvs, (repeats, 1)),
        np.concatenate([textured.faces + np.int32(i * count) for i in range(repeats)]),
        textured.texture,
    )
    gltf = pygltflib.GLTF2().load(str(write_glb(large, tmp_path / "large.glb")))
    assert gltf.accessors[3].componentType == pygltflib.UNSIGNED_INT
    (shape,) = trimesh.load(tmp_path / "large.glb", process=False).geometry.values()
    assert shape.faces.max() == len(large.vertices) - 1


def test_gaussian_ply_fields_and_frame(tmp_path):
    gaussians = random_cloud(500)
    vertex = PlyData.read(str(write_gaussian_ply(gaussians, tmp_path / "a.ply")))["vertex"].data
    assert vertex.dtype.names == GAUSSIAN_FIELDS and len(vertex) == 500
    x, y, z = gaussians.positions.unbind(1)
    assert np.allclose(vertex["x"], x) and np.allclose(vertex["y"], -z) and np.allclose(vertex["z"], y)
    assert np.allclose(1 / (1 + np.exp(-vertex["opacity"])), gaussians.opacities[:, 0], atol=1e-6)
    assert np.allclose(np.exp(vertex["scale_1"]), gaussians.scales[:, 1], rtol=1e-5)
    assert np.allclose(vertex["f_dc_2"], gaussians.features_dc[:, 2]) and not vertex["nx"].any()
    turned = torch.from_numpy(np.stack([vertex[f"rot_{i}"] for i in range(4)], axis=1))
    frame = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # (x, y, z) -> (x, -z, y)
    assert torch.allclose(quaternion_to_matrix(turned), frame @ quaternion_to_matrix(gaussians.rotations), atol=1e-5)


def test_full_and_no_opacity_stay_finite():
    one = random_cloud(2)
    extreme = GaussianCloud(one.positions, one.features_dc, one.scales, one.rotations, torch.tensor([[0.0], [1.0]]))
    assert torch.isfinite(gaussian_columns(extreme)).all()


def test_mesh_ply_read_by_trimesh(tmp_path):
    mesh = sphere(2)
    shape = trimesh.load(write_mesh_ply(mesh, tmp_path / "mesh.ply"), process=False)
    assert np.array_equal(shape.faces, mesh.faces) and np.allclose(shape.vertices, mesh.vertices, atol=1e-6)
    assert np.abs(shape.visual.vertex_colors[:, :3] / 255 - mesh.attributes.numpy()).max() <= 0.5 / 255 + 1e-6
    assert shape.volume == pytest.approx(reader(mesh).volume, rel=1e-5)


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path):
    path = write_bytes(tmp_path / "new" / "file.bin", b"old")
    with pytest.raises(RuntimeError), written_aside(path) as aside:
        aside.write_bytes(b"half")
        assert aside.suffix == ".bin"
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]
