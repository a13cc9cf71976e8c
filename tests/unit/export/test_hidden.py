"""What nobody outside can see goes, what can be seen stays: hollow bodies with and without openings, vessels, walls."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import trimesh

from tests.unit.export.shapes import as_mesh, flipped, joined, painted, reader, sphere, without_faces
from trellis.export import clean as cleaning
from trellis.export.clean import clean
from trellis.export.topology import face_parts
from trellis.geometry.cameras import orbit_cameras
from trellis.rendering.mesh import rasterize_mesh
from trellis.representations import Mesh


def revolved(profile: np.ndarray, sections: int = 96) -> Mesh:
    """The closed surface that `profile` [n, 2] (radius, height) makes around z; its ends lie on the axis."""
    shape = trimesh.creation.revolve(profile, sections=sections)
    shape.merge_vertices()
    if shape.volume < 0:
        shape.invert()
    assert shape.is_watertight
    return as_mesh(shape)


def hollow_ball(opening: float, *, outer: float = 0.4, inner: float = 0.33, count: int = 90) -> Mesh:
    """A ball with a cavity behind an opening of this half angle (radians) at the top."""
    angle = np.linspace(0, np.pi - opening, count)
    skin = outer * np.stack([np.sin(angle), -np.cos(angle)], axis=1)
    wall = inner * np.stack([np.sin(angle), -np.cos(angle)], axis=1)[::-1]
    profile = np.concatenate([skin, wall])
    profile[[0, -1], 0] = 0
    return revolved(profile)


def ball_volume(radius: float) -> float:
    return 4 / 3 * np.pi * radius**3


def shown(mesh: Mesh) -> list[torch.Tensor]:
    """Depths seen from 12 sides."""
    cameras = orbit_cameras([i * np.pi / 3 for i in range(6)] * 2, [0.6] * 6 + [-0.6] * 6)
    return [rasterize_mesh(mesh, camera, size=96).depth for camera in cameras]


def changed(before: Mesh, after: Mesh) -> float:
    """Fraction of the object's pixels whose depth differs by more than 0.01."""
    pairs = list(zip(shown(before), shown(after)))
    differ = sum(((a - b).abs() > 0.01).sum().item() for a, b in pairs)
    return differ / sum((a > 0).sum().item() for a, _ in pairs)


@pytest.mark.parametrize("opening", [0.06, 0.15])
def test_cavity_behind_a_small_opening_is_cut_off_at_the_neck(opening):
    hollow = hollow_ball(opening)
    cleaned = clean(hollow)
    judge = reader(cleaned)
    assert judge.is_watertight and judge.is_winding_consistent and judge.euler_number == 2
    assert reader(hollow).volume < 0.5 * ball_volume(0.4)
    assert judge.volume == pytest.approx(ball_volume(0.4), rel=0.03)
    assert len(cleaned.faces) < 0.6 * len(hollow.faces)
    assert changed(hollow, cleaned) < 0.01
    # The vertices that stay are the old ones with their colours.
    assert torch.allclose(cleaned.attributes, painted(cleaned.vertices), atol=1e-6)


def test_pots_and_mugs_keep_their_inside():
    """Depth 0.6 at a mouth of 0.4 across: the bottom sees 3 % of the sphere."""
    outside = np.array([[0, -0.4], [0.25, -0.4], [0.25, 0.3], [0.2, 0.3], [0.2, -0.3], [0, -0.3]])
    fine = [np.linspace(a, b, 20, endpoint=False) for a, b in pairwise(outside)]
    mug = revolved(np.concatenate([*fine, outside[-1:]]))
    cleaned = clean(mug)
    assert len(cleaned.faces) == len(mug.faces)
    assert reader(cleaned).volume == pytest.approx(reader(mug).volume, rel=1e-6)


def test_shells_in_shells_leave_the_outermost(monkeypatch):
    for name in ("FLOATER_AREA", "FLOATER_EXTENT"):
        monkeypatch.setattr(cleaning, name, 0)
    nested = joined(sphere(radius=0.4), flipped(sphere(radius=0.3)), sphere(radius=0.2), flipped(sphere(radius=0.1)))
    cleaned = clean(nested)
    assert reader(cleaned).body_count == 1
    assert reader(cleaned).volume == pytest.approx(reader(sphere(radius=0.4)).volume, rel=1e-6)


def test_content_of_a_sphere_with_a_wide_hole_is_seen_and_stays(monkeypatch):
    monkeypatch.setattr(cleaning, "MOST_HOLE_EDGES", 0)
    outer = sphere(4, radius=0.4)
    hole = outer.vertices[outer.faces.long()].mean(1)[:, 2] > 0.3
    bowl = without_faces(outer, hole)
    cleaned = clean(joined(bowl, sphere(3, radius=0.15)))
    assert face_parts(cleaned.faces, len(cleaned.vertices))[0] == 2


def test_content_of_a_sphere_with_a_small_hole_goes_and_the_hole_is_closed():
    outer = sphere(4, radius=0.4)
    hole = outer.vertices[outer.faces.long()].mean(1)[:, 2] > 0.396
    assert hole.sum() > 5
    cleaned = clean(joined(without_faces(outer, hole), sphere(3, radius=0.2)))
    judge = reader(cleaned)
    assert judge.is_watertight and judge.body_count == 1
    assert judge.volume == pytest.approx(reader(outer).volume, rel=0.01)


def test_bodies_that_overlap_stay_closed():
    """Parts that pass through each other: their hidden ends may go only if what is left can be closed."""
    rod = trimesh.creation.cylinder(radius=0.06, height=0.9, sections=48).subdivide().subdivide().subdivide()
    both = joined(sphere(4, radius=0.3), as_mesh(rod))
    cleaned = clean(both)
    assert reader(cleaned).is_watertight and reader(cleaned).is_winding_consistent
    assert changed(both, cleaned) < 0.003


def test_boxes_that_stand_on_each_other_stay_whole():
    low = trimesh.creation.box(bounds=[[-0.3, -0.3, -0.4], [0.3, 0.3, 0]]).subdivide().subdivide().subdivide()
    high = trimesh.creation.box(bounds=[[-0.2, -0.2, 0], [0.2, 0.2, 0.4]]).subdivide().subdivide().subdivide()
    both = joined(as_mesh(low), as_mesh(high))
    cleaned = clean(both)
    assert reader(cleaned).is_watertight
    assert reader(cleaned).volume == pytest.approx(low.volume + high.volume, rel=0.01)
    assert changed(both, cleaned) < 0.003


@pytest.mark.parametrize("thickness", [0.02, 0.002, 0.0002])
def test_thin_sheets_keep_both_sides(thickness):
    sheet = as_mesh(trimesh.creation.box(extents=(0.8, 0.6, thickness)).subdivide().subdivide().subdivide())
    cleaned = clean(sheet)
    assert torch.equal(cleaned.faces, sheet.faces) and torch.equal(cleaned.vertices, sheet.vertices)


def test_deep_groove_does_not_tear_the_surface():
    """A groove 0.3 deep and 0.004 wide around a drum: dark at its bottom; the drum stays closed and looks the same."""
    outline = [(0, -0.3), (0.4, -0.3), (0.4, -0.002), (0.1, -0.002), (0.1, 0.002), (0.4, 0.002), (0.4, 0.3), (0, 0.3)]
    ends = np.array(outline)
    fine = [np.linspace(a, b, 12, endpoint=False) for a, b in pairwise(ends)]
    drum = revolved(np.concatenate([*fine, ends[-1:]]))
    cleaned = clean(drum)
    assert reader(cleaned).is_watertight and reader(cleaned).is_winding_consistent
    assert changed(drum, cleaned) < 0.005


def test_the_same_input_gives_the_same_result():
    one, other = clean(hollow_ball(0.1)), clean(hollow_ball(0.1))
    assert torch.equal(one.vertices, other.vertices) and torch.equal(one.faces, other.faces)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
def test_gpu_cleans_like_the_cpu():
    hollow = hollow_ball(0.1)
    there = clean(Mesh(hollow.vertices.cuda(), hollow.faces.cuda(), hollow.attributes.cuda()))
    assert there.vertices.device.type == "cuda"
    judge = trimesh.Trimesh(there.vertices.cpu().numpy(), there.faces.cpu().numpy(), process=False)
    assert judge.is_watertight
    assert judge.volume == pytest.approx(reader(clean(hollow)).volume, rel=1e-3)
