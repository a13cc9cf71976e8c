"""OBJ with material and maps, read back by trimesh and line by line."""

import io

import numpy as np
import pytest
import trimesh
from PIL import Image

from tests.unit.export.textured_samples import COLORS, EXTENTS, textured_box, y_up
from trellis.errors import InvalidInputError
from trellis.export.obj import write_obj
from trellis.representations import TexturedMesh


def test_trimesh_reads_shape_texture_and_material(tmp_path):
    box = textured_box()
    files = write_obj(box, tmp_path / "my box.obj")
    assert {kind: path.name for kind, path in files.items()} == {
        "obj": "my box.obj",
        "mtl": "my_box.mtl",
        "base_color": "my_box_base_color.png",
    }
    assert sorted(tmp_path.iterdir()) == sorted(files.values())
    shape = trimesh.load(files["obj"], process=False)
    assert shape.volume == pytest.approx(np.prod(EXTENTS), rel=1e-6)
    x, y, z = EXTENTS
    assert np.allclose(shape.extents, [x, z, y], atol=1e-5)
    assert np.array_equal(np.asarray(shape.visual.material.image.convert("RGB")), box.texture)
    corners = shape.vertices[shape.faces].reshape(-1, 3)
    assert np.allclose(corners, y_up(box.vertices)[box.faces].reshape(-1, 3), atol=1e-5)
    flat = shape.visual.uv[shape.faces].reshape(-1, 2) * [1, -1] + [0, 1]  # the format's v points up
    assert np.allclose(flat, box.uvs[box.faces].reshape(-1, 2), atol=1e-5)
    for index, face in enumerate(shape.faces):
        u, v = shape.visual.uv[face].mean(axis=0)
        seen = box.texture[int((1 - v) * 64), int(u * 64)]
        assert np.array_equal(seen, COLORS[index // 2])


def test_corners_share_points_so_that_the_surface_is_closed(tmp_path):
    lines = write_obj(textured_box(), tmp_path / "box.obj")["obj"].read_text().splitlines()
    counts = {word: sum(line.split()[0] == word for line in lines) for word in ("v", "vt", "vn", "f")}
    assert counts == {"v": 8, "vt": 24, "vn": 24, "f": 12}
    used = [tuple(int(corner.split("/")[0]) for corner in line.split()[1:]) for line in lines if line[:2] == "f "]
    edges = np.sort(np.array([(f[i], f[(i + 1) % 3]) for f in used for i in range(3)]), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()


def test_material_names_its_maps(tmp_path):
    box = textured_box(normal_map=True)
    files = write_obj(box, tmp_path / "box.obj")
    material = dict(line.split(maxsplit=1) for line in files["mtl"].read_text().splitlines())
    assert material["map_Kd"] == files["base_color"].name and material["norm"] == files["normal_map"].name
    assert (material["Pm"], material["Ks"]) == ("0", "0 0 0")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(files["normal_map"].read_bytes()))), box.normal_map)


def test_an_empty_mesh_is_refused_and_nothing_written(tmp_path):
    box = textured_box()
    empty = TexturedMesh(box.vertices, box.normals, box.uvs, box.faces[:0], box.texture)
    with pytest.raises(InvalidInputError, match="empty"):
        write_obj(empty, tmp_path / "new" / "box.obj")
    assert list(tmp_path.iterdir()) == []
