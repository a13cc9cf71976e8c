"""Texture atlases: nothing overlaps, little is stretched, charts keep their distance, hard surfaces end well."""

import numpy as np
import pytest
import trimesh
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from trellis.export.unwrap import CHART_AREA, PADDING
from trellis.ops.atlas import Atlas, build_atlas
from trellis.ops.atlas.charts import MergeOptions, merge_faces
from trellis.ops.atlas.flatten import flatten
from trellis.ops.atlas.masks import draw_charts, masks_of, turned
from trellis.ops.atlas.packing import Borders, pack
from trellis.ops.atlas.topology import border_half_edges, cut_vertices, find_neighbours
from trellis.ops.atlas.validity import crossing_faces, crowded_faces, distortion, signed_areas


def arrays(shape: trimesh.Trimesh) -> tuple[np.ndarray, np.ndarray]:
    return np.array(shape.vertices, dtype=np.float64), np.array(shape.faces, dtype=np.int64)


def bumpy_sphere() -> tuple[np.ndarray, np.ndarray]:
    vertices, faces = arrays(trimesh.creation.icosphere(subdivisions=4))
    waves = 1 + 0.15 * np.sin(7 * vertices[:, :1]) * np.cos(9 * vertices[:, 1:2]) + 0.05 * np.sin(20 * vertices[:, 2:])
    return vertices * waves, faces


def crumpled() -> tuple[np.ndarray, np.ndarray]:
    vertices, faces = arrays(trimesh.creation.icosphere(subdivisions=3))
    return vertices + np.random.default_rng(0).normal(scale=0.08, size=vertices.shape), faces


def non_manifold() -> tuple[np.ndarray, np.ndarray]:
    """Two boxes that share an edge, a sheet doubled back to back, and a face without area."""
    one, two = trimesh.creation.box(), trimesh.creation.box()
    two.apply_translation((1, 1, 0))
    shape = trimesh.util.concatenate([one, two])
    shape.merge_vertices()
    vertices, faces = arrays(shape)
    sheet = np.array([[3, 0, 0], [4, 0, 0], [3, 1, 0], [4, 1, 0]])
    n = len(vertices)
    extra = np.array([[0, 1, 2], [1, 3, 2], [0, 2, 1], [1, 2, 3], [0, 0, 1]]) + n
    return np.concatenate([vertices, sheet]), np.concatenate([faces, extra])


SHAPES = {
    "bumpy sphere": bumpy_sphere,
    "torus": lambda: arrays(trimesh.creation.torus(0.4, 0.15)),
    "box": lambda: arrays(trimesh.creation.box()),
    "cone": lambda: arrays(trimesh.creation.cone(0.3, 1.0, sections=48)),
    "crumpled": crumpled,
    "non-manifold": non_manifold,
    "one face": lambda: (np.eye(3), np.array([[0, 1, 2]])),
}


def stretch_of(atlas: Atlas, vertices: np.ndarray) -> float:
    """L2 over all charts, 1 is none."""
    # Scaled up, for faces that are squashed to nothing do not count; the scale itself does not.
    found = distortion(vertices[atlas.source], 100 * atlas.uvs, atlas.faces, atlas.chart)
    return float(np.sqrt((found.stretch**2 * found.areas).sum() / found.areas.sum()))


def covered_twice(atlas: Atlas, size: int) -> tuple[int, int]:
    """Texel centres in two faces, well inside both, and in any: brute force over the box of every face."""
    count = np.zeros((size, size), dtype=np.int64)
    for corners in atlas.uvs[atlas.faces] * size:
        low = np.floor(corners.min(axis=0)).astype(int)
        high = np.ceil(corners.max(axis=0)).astype(int)
        x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
        inside = np.ones(x.shape, dtype=bool)
        for i in range(3):
            a, b = corners[i], corners[(i + 1) % 3]
            inside &= (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]) > 1e-9
        count[low[1] : high[1], low[0] : high[0]] += inside
    return int((count > 1).sum()), int((count > 0).sum())


@pytest.fixture(scope="module", params=SHAPES)
def shape(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    return SHAPES[request.param]()


def test_atlas_covers_the_surface_once(shape) -> None:
    vertices, faces = shape
    atlas = build_atlas(vertices, faces, size=512, padding=PADDING, chart_area=CHART_AREA)
    assert np.array_equal(atlas.source[atlas.faces], faces)
    assert atlas.uvs.min() >= 0 and atlas.uvs.max() <= 1
    twice, once = covered_twice(atlas, 512)
    assert twice == 0 and once > 0.2 * 512**2
    flat = signed_areas(atlas.uvs, atlas.faces)
    corners = vertices[faces]
    areas = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    real = areas > 1e-9 * areas.max()
    assert (flat[real] > 0).all()  # turned like the face as seen from its front
    ratio = flat[real] / areas[real] * (areas.sum() / flat.sum())
    assert np.quantile(ratio, 0.01) > 0.2 and np.quantile(ratio, 0.99) < 5  # one scale for all
    assert 1 - 1e-6 <= stretch_of(atlas, vertices) < 1.15


def test_charts_are_connected_and_apart(shape) -> None:
    vertices, faces = shape
    size, padding = 512, 6
    atlas = build_atlas(vertices, faces, size=size, padding=padding, chart_area=CHART_AREA)
    links = atlas.faces[:, [0, 1, 1, 2]].reshape(-1, 2)
    graph = coo_matrix((np.ones(len(links)), links.T), shape=(len(atlas.source),) * 2)
    parts, label = connected_components(graph, directed=False)
    assert parts == atlas.chart.max() + 1
    assert len(np.unique(np.stack([label[atlas.faces[:, 0]], atlas.chart]), axis=1).T) == parts
    # Vertices of different charts keep the padding (up to what the last trial is squeezed by).
    tree = cKDTree(atlas.uvs * size)
    near = tree.query_pairs(0.95 * padding, output_type="ndarray")
    assert (label[near[:, 0]] == label[near[:, 1]]).all()


def test_same_input_same_atlas() -> None:
    vertices, faces = bumpy_sphere()
    first, second = (build_atlas(vertices, faces, size=512, padding=PADDING, chart_area=CHART_AREA) for _ in range(2))
    assert first.uvs.tobytes() == second.uvs.tobytes() and np.array_equal(first.faces, second.faces)


def test_flat_sides_are_single_charts() -> None:
    vertices, faces = arrays(trimesh.creation.box().subdivide().subdivide())
    atlas = build_atlas(vertices, faces, size=512, padding=PADDING, chart_area=CHART_AREA)
    assert atlas.chart.max() + 1 == 6 and stretch_of(atlas, vertices) == pytest.approx(1, abs=1e-6)


def test_merging_stops_at_creases_and_at_the_largest_area() -> None:
    vertices, faces = arrays(trimesh.creation.box().subdivide().subdivide().subdivide())
    neighbours = find_neighbours(faces, len(vertices))
    label = merge_faces(vertices, faces, neighbours, options=MergeOptions(scale=0.01, max_area=1 / 12, roundness=0.05))
    normals = np.cross(vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    for chart in range(label.max() + 1):
        assert np.ptp(normals[label == chart], axis=0).max() < 1e-9
    assert np.bincount(label).max() <= len(faces) / 12 and label.max() + 1 >= 12


def test_flattening_unrolls_half_a_cylinder_without_stretch() -> None:
    angle, height = np.meshgrid(np.linspace(0, np.pi, 25), np.linspace(0, 1, 9))
    vertices = np.stack([np.cos(angle), np.sin(angle), height], axis=-1).reshape(-1, 3)
    corner = (np.arange(8)[:, None] * 25 + np.arange(24)).reshape(-1, 1)
    faces = np.concatenate([corner + np.array([0, 1, 25]), corner + np.array([1, 26, 25])])
    chart = np.zeros(len(faces), dtype=np.int64)
    projected = distortion(vertices, flatten(vertices, faces, chart, iterations=0), faces, chart)
    rolled_out = flatten(vertices, faces, chart, iterations=60)
    found = distortion(vertices, rolled_out, faces, chart)
    assert projected.stretch[0] > 1.1 > 1.005 > found.stretch[0] >= 1 - 1e-9 and not found.lost.any()
    width = np.linalg.norm(rolled_out[24] - rolled_out[0])
    assert width == pytest.approx(24 * 2 * np.sin(np.pi / 48), rel=0.01)


def test_crossing_borders_are_found() -> None:
    """A flat spiral ramp of one turn and a half lies on itself."""
    angle = np.linspace(0, 3 * np.pi, 61)
    rim = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    flat = np.concatenate([1.0 * rim, 1.5 * rim])
    start = np.arange(60)[:, None]
    faces = np.concatenate([start + np.array([0, 61, 1]), start + np.array([61, 62, 1])])

    def crossings(count: int) -> int:
        some = np.concatenate([faces[:count], faces[60 : 60 + count]])
        chart = np.zeros(len(some), dtype=np.int64)
        joined = find_neighbours(some, len(flat))
        assert (signed_areas(flat, some) > 0).all()
        slanted = flat + 0.03 * np.arange(122)[:, None] / 122  # sides on sides would touch, not cross
        return int(crossing_faces(slanted, some, chart, joined).sum())

    assert crossings(60) > 0 and crossings(35) == 0


@pytest.mark.parametrize(("degrees", "crowded"), [(350, False), (360, False), (380, True), (500, True)])
def test_fans_of_more_than_a_turn_are_found(degrees: float, crowded: bool) -> None:
    angle = np.radians(np.linspace(20, 20 + degrees, 13))
    flat = np.concatenate([np.zeros((1, 2)), np.stack([np.cos(angle), np.sin(angle)], axis=1)])
    first = np.arange(1, 13)
    faces = np.stack([np.zeros(12, dtype=np.int64), first, first + 1], axis=1)
    assert (signed_areas(flat, faces) > 0).all()
    assert crowded_faces(flat, faces, find_neighbours(faces, len(flat))).any() == crowded


@pytest.mark.parametrize(("apart", "crowded"), [(90, False), (30, True)])
def test_two_narrow_fans_at_one_vertex_may_lie_on_each_other(apart: float, crowded: bool) -> None:
    angle = np.radians([0, 60, apart, apart + 60])
    flat = np.concatenate([np.zeros((1, 2)), np.stack([np.cos(angle), np.sin(angle)], axis=1)])
    faces = np.array([[0, 1, 2], [0, 3, 4]])
    assert crowded_faces(flat, faces, find_neighbours(faces, 5)).any() == crowded


def test_corners_part_where_charts_meet_only_in_a_vertex() -> None:
    faces = np.array([[0, 1, 2], [0, 3, 4]])  # a bow tie
    source, cut = cut_vertices(faces, find_neighbours(faces, 5))
    assert len(source) == 6 and len(np.unique(cut)) == 6 and np.array_equal(source[cut], faces)


def test_borders_are_listed_side_by_side_of_the_faces() -> None:
    faces = np.array([[0, 1, 2], [3, 2, 1], [4, 5, 6]])  # the first two share their second sides
    assert border_half_edges(find_neighbours(faces, 7)).tolist() == [0, 3, 6, 7, 2, 5, 8]


def test_pictures_hold_area_and_margin() -> None:
    corners = np.array([[3.0, 3.0], [9.0, 3.0], [9.0, 7.0], [3.0, 7.0]])
    side = np.arange(4)
    (picture,) = draw_charts(
        corners[side], corners[(side + 1) % 4], np.zeros(4, dtype=np.int64), np.array([[12, 10]]), reach=1.25
    )
    assert picture[3:7, 3:9].all()  # the rectangle
    assert picture[2:8, 2:10].sum() == 6 * 8  # and the cells next to it
    assert not picture[0].any() and not picture[:, 0].any()


def test_masks_hold_the_runs_of_every_turn() -> None:
    pictures = [np.array([[True, True, False, True], [True, False, False, True]]), np.ones((3, 2), dtype=bool)]
    for quarter in range(4):
        for picture, mask in zip(pictures, masks_of(turned(pictures, quarter))):
            assert np.array_equal(mask.filled, np.rot90(picture, -quarter))
            filled = np.zeros_like(mask.filled)
            for row, first, length in mask.runs:
                assert not filled[row, first : first + length].any()
                filled[row, first : first + length] = True
            assert np.array_equal(filled, mask.filled) and mask.runs[0, 2] == mask.runs[:, 2].max()
            assert len(mask.runs) == (np.diff(mask.filled.astype(int), axis=1, prepend=0) == 1).sum()


def test_packing_fills_the_square() -> None:
    generator = np.random.default_rng(1)
    sizes = generator.uniform(0.3, 1.5, size=(150, 2))
    unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    points = (sizes[:, None] * unit).reshape(-1, 2)
    turn = generator.uniform(0, 2 * np.pi, 150).repeat(4)
    turned = np.stack(
        [
            np.cos(turn) * points[:, 0] - np.sin(turn) * points[:, 1],
            np.sin(turn) * points[:, 0] + np.cos(turn) * points[:, 1],
        ],
        axis=1,
    )
    first = np.arange(150)[:, None] * 4
    start, end = (first + np.array([0, 1, 2, 3])).ravel(), (first + np.array([1, 2, 3, 0])).ravel()
    borders = Borders(start, end, np.arange(150).repeat(4))
    uvs = pack(turned, borders, size=1024, padding=2, cells=512)
    quads = uvs.reshape(150, 4, 2)
    lengths = np.linalg.norm(quads[:, 1] - quads[:, 0], axis=1), np.linalg.norm(quads[:, 3] - quads[:, 0], axis=1)
    assert (lengths[0] * lengths[1]).sum() > 0.8  # rectangles pack well
    assert np.ptp(lengths[0] / sizes[:, 0]) < 1e-9  # one scale
