"""A part of a file in place of its own: what is outside keeps its bytes, what is across the border is cut there."""

from pathlib import Path

import numpy as np
import pytest

from tests.unit.encoding.meshes import GltfBuilder
from tests.unit.retexturing.samples import OLD, globe, half_globe
from trellis.encoding.load import load_mesh
from trellis.encoding.readers.files import LoadLimits, SourceFiles
from trellis.encoding.readers.gltf_document import parse_document
from trellis.geometry.axes import to_gltf_frame
from trellis.retexturing.clipping import in_boxes, outside_of_boxes
from trellis.retexturing.grafting import grafted_glb

BOXES = np.array([[[-1, 0.1234, -1], [1, 1, 1]], [[0.2, -0.3, -1], [1, 0, 1]]], dtype=np.float64)
OVERLAP = 0.03


def test_the_pieces_of_a_triangle_fill_what_is_outside() -> None:
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    box = np.array([[[0.2, 0.2, -1], [0.4, 0.3, 1]]])
    pieces = outside_of_boxes(corners, box)
    assert pieces is not None
    places = pieces @ corners
    areas = np.linalg.norm(np.cross(places[:, 1] - places[:, 0], places[:, 2] - places[:, 0]), axis=1) / 2
    assert areas.sum() == pytest.approx(0.5 - 0.02) and not in_boxes(places.mean(1), box).any()
    assert (np.cross(places[:, 1] - places[:, 0], places[:, 2] - places[:, 0])[:, 2] > 0).all(), "turned as before"
    assert outside_of_boxes(corners, box + 2) is None
    whole = outside_of_boxes(corners, np.array([[[-1.0] * 3, [2.0] * 3]]))
    assert whole is not None and len(whole) == 0


def edited(path: Path) -> Path:
    """A larger globe of one material."""
    builder = GltfBuilder()
    points, uvs, faces = half_globe(1.0, -1.0)
    attributes = {"TEXCOORD_0": builder.accessor(uvs.astype(np.float32))}
    material = builder.add(
        "materials", name="new", pbrMetallicRoughness={"baseColorTexture": {"index": builder.texture(OLD)}}
    )
    builder.node(mesh=builder.mesh(1.1 * points, faces.reshape(-1), attributes=attributes, material=material))
    return builder.write(path)


def areas(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Corners [F, 3, 3] in the frame of the file and areas [F] of its faces."""
    mesh = load_mesh(path)
    corners = to_gltf_frame(mesh.corners()).double().numpy()
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return corners, np.linalg.norm(cross, axis=1) / 2


@pytest.mark.parametrize("rigged", [False, True])
def test_what_is_outside_of_the_boxes_stays(rigged: bool, tmp_path: Path) -> None:
    own = globe(tmp_path / "own.glb", rigged=rigged)
    result = tmp_path / "result.glb"
    result.write_bytes(grafted_glb(own, edited(tmp_path / "new.glb"), BOXES, overlap=OVERLAP))
    before, after = (parse_document(SourceFiles(path, LoadLimits())) for path in (own, result))
    for number, entry in enumerate(before.json["accessors"]):
        assert after.json["accessors"][number] == entry
        assert after.view_bytes(entry["bufferView"]) == before.view_bytes(entry["bufferView"])
    assert after.json["materials"][:2] == before.json["materials"] and after.json["materials"][2]["name"] == "new"
    assert after.json.get("animations") == before.json.get("animations")
    primitives = after.json["meshes"][0]["primitives"]
    assert [one["attributes"] for one in primitives[:1]] == [before.json["meshes"][0]["primitives"][0]["attributes"]]
    assert (len(primitives) == 2) == rigged, "faces that a skin bends are not cut"

    (old, old_areas), (new, new_areas) = areas(own), areas(result)
    mine = np.linalg.norm(new, axis=2).max(1) < 0.48  # the new part is larger
    assert not in_boxes(new[mine].mean(1), BOXES).any(), "own faces inside are gone"
    grown = np.stack([BOXES[:, 0] - OVERLAP, BOXES[:, 1] + OVERLAP], 1)
    assert in_boxes(new[~mine].mean(1), grown).all() and (~mine).sum() > 100
    if not rigged:  # cut at the border: the areas are those of what lies beyond it, found by finer and finer faces
        outside = 0.0
        for corners, area in zip(old, old_areas):
            steps = np.random.default_rng(0).dirichlet((1, 1, 1), 400)
            outside += area * (~in_boxes(steps @ corners, BOXES)).mean()
        assert new_areas[mine].sum() == pytest.approx(outside, rel=5e-3)
