"""The files of a generated asset, read back by programs that know nothing of ours."""

import io
from collections.abc import Callable
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import pygltflib
import pytest
import trimesh
from PIL import Image
from plyfile import PlyData
from scipy.spatial import cKDTree

from tests.e2e.conftest import FRAMES, PREVIEW_SIZE, TEXTURE_SIZE, Result
from tests.unit.export.validator import VALIDATOR, WITHOUT_VALIDATOR, issues_of

# properties of the PLY files that viewers of Gaussian splats read
GAUSSIAN_PROPERTIES = {
    *("x", "y", "z", "opacity", "f_dc_0", "f_dc_1", "f_dc_2"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
}


@pytest.fixture(scope="module")
def scene(result: Result) -> trimesh.Trimesh:
    return trimesh.load(result.files["glb"], file_type="glb", force="mesh", process=False)


def test_glb_holds_a_textured_matte_surface(result: Result) -> None:
    gltf = pygltflib.GLTF2().load(result.files["glb"])
    [mesh] = gltf.meshes
    [primitive] = mesh.primitives
    attributes = primitive.attributes
    counts = {gltf.accessors[i].count for i in (attributes.POSITION, attributes.NORMAL, attributes.TEXCOORD_0)}
    assert len(counts) == 1 and counts.pop() > 50
    assert gltf.accessors[primitive.indices].count >= 3 * 50
    material = gltf.materials[primitive.material].pbrMetallicRoughness
    assert material.metallicFactor == 0
    image = gltf.images[gltf.textures[material.baseColorTexture.index].source]
    view = gltf.bufferViews[image.bufferView]
    begin = view.byteOffset or 0
    texture = Image.open(io.BytesIO(gltf.binary_blob()[begin : begin + view.byteLength]))
    assert texture.size == (TEXTURE_SIZE, TEXTURE_SIZE)
    pixels = np.asarray(texture.convert("RGB"), dtype=float).reshape(-1, 3)
    assert pixels.std(axis=0).max() > 5
    assert len(np.unique(pixels, axis=0)) > 100


@pytest.mark.skipif(not VALIDATOR, reason=WITHOUT_VALIDATOR)
def test_glb_passes_the_validator(result: Result, tmp_path: Path) -> None:
    assert issues_of(result.files["glb"].read_bytes(), tmp_path)["messages"] == []


def test_glb_surface_is_sound(scene: trimesh.Trimesh, record_property: Callable[[str, object], None]) -> None:
    assert len(scene.faces) > 50 and np.isfinite(scene.vertices).all()
    assert np.abs(scene.bounds).max() < 0.6 and scene.extents.max() > 0.2
    assert np.allclose(np.linalg.norm(scene.vertex_normals, axis=1), 1, atol=1e-3)
    uv = scene.visual.uv
    assert uv.min() >= 0 and uv.max() <= 1 and uv.std() > 0.05
    assert min(scene.visual.material.baseColorTexture.size) == TEXTURE_SIZE
    closed = trimesh.Trimesh(*_welded(scene))
    share = float(np.mean(np.unique(np.sort(closed.edges, axis=1), axis=0, return_counts=True)[1] == 2))
    record_property("watertight", closed.is_watertight)
    record_property("share of edges with two faces", share)
    assert share > 0.9


def _welded(mesh: trimesh.Trimesh) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces without the doubles along seams and creases."""
    vertices, index = np.unique(mesh.vertices.round(6), axis=0, return_inverse=True)
    faces = index.ravel()[mesh.faces]
    return vertices, faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]


def test_glb_stands_upright_with_its_front_at_plus_z(result: Result, scene: trimesh.Trimesh) -> None:
    assert result.asset.mesh is not None
    x, y, z = result.asset.mesh.vertices.numpy().T
    distances = {
        name: cKDTree(np.stack(axes, axis=1)).query(scene.vertices)[0].mean()
        for name, axes in {"y-up": (x, z, -y), "as it was": (x, y, z), "upside down": (x, -z, y)}.items()
    }
    assert distances["y-up"] < 0.02
    assert min(distances, key=lambda name: distances[name]) == "y-up"


def test_ply_holds_every_gaussian(result: Result) -> None:
    assert result.asset.gaussians is not None
    vertices = PlyData.read(result.files["ply"])["vertex"]
    names = {field.name for field in vertices.properties}
    assert names >= GAUSSIAN_PROPERTIES
    columns = {name: np.asarray(vertices[name], dtype=float) for name in names}
    assert {len(column) for column in columns.values()} == {len(result.asset.gaussians.positions)}
    assert len(columns["x"]) > 1000
    assert all(np.isfinite(column).all() for column in columns.values())
    for name in GAUSSIAN_PROPERTIES - {"rot_1", "rot_2", "rot_3"}:
        assert columns[name].std() > 0 or name.startswith("rot"), name
    rotations = np.stack([columns[f"rot_{i}"] for i in range(4)], axis=1)
    assert np.linalg.norm(rotations, axis=1).min() > 1e-3


def test_video_has_the_frames_asked_for(result: Result) -> None:
    frames = [np.asarray(frame, dtype=float) for frame in imageio.get_reader(result.files["mp4"])]
    assert [frame.shape for frame in frames] == [(PREVIEW_SIZE, 2 * PREVIEW_SIZE, 3)] * FRAMES
    assert all(frame.std() > 5 for frame in frames)
    for index, frame in enumerate(frames):
        assert all(np.abs(frame - other).mean() > 0.1 for other in frames[:index])
