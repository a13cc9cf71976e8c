"""Procedural objects: exact distances, surfaces, colours and pictures."""

import math
from dataclasses import replace

import pytest
import torch

from trellis.errors import InvalidInputError
from trellis.geometry.cameras import Cameras, orbit_cameras
from trellis.training.procedural import (
    FAMILIES,
    HELD_OUT_SEEDS,
    TRAINING_SEEDS,
    VOXEL_FEATURES,
    ObjectBatch,
    occupancy,
    occupied_coords,
    render_pictures,
    render_views,
    sample_objects,
    voxel_features,
)
from trellis.training.procedural.builder import Builder, Slots
from trellis.training.procedural.draws import Draws
from trellis.training.procedural.evaluate import distances
from trellis.training.procedural.primitives import support
from trellis.training.procedural.viewpoints import draw_cameras

SEEDS = range(HELD_OUT_SEEDS.start + 10, HELD_OUT_SEEDS.start + 14)


def surface_points(batch: ObjectBatch, dense: torch.Tensor, count: int, *, seed: int) -> torch.Tensor:
    """`count` random points an object on its surface: places in its occupied voxels, projected; [B, count, 3]."""
    generator = torch.Generator().manual_seed(seed)
    points = []
    for grid in dense:
        cells = grid.nonzero()
        cells = cells[torch.randint(len(cells), (count,), generator=generator)]
        points.append((cells + torch.rand(count, 3, generator=generator)) / len(grid) - 0.5)
    return batch.project(torch.stack(points), steps=3)


def test_seed_ranges_are_apart() -> None:
    assert TRAINING_SEEDS.stop == HELD_OUT_SEEDS.start == 1 << 31


def test_an_objects_seed_defines_it_in_any_batch() -> None:
    many = sample_objects(range(40))
    points = torch.rand(40, 200, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    rows = [31, 4, 17]
    few = sample_objects(rows)
    assert few.names() == [many.names()[row] for row in rows]
    assert torch.equal(few.sdf(points[rows]), many.sdf(points)[rows])
    assert torch.equal(few.color(points[rows]), many.select(rows).color(points[rows]))


def test_unknown_family_is_named() -> None:
    with pytest.raises(InvalidInputError, match="submarine"):
        sample_objects([1], ["submarine"])
    with pytest.raises(InvalidInputError, match="seeds"):
        sample_objects([])


def test_draws_are_even() -> None:
    draws = Draws(torch.arange(20000))
    first, second = draws.unit(), draws.unit()
    assert abs(float(first.mean()) - 0.5) < 0.01
    assert abs(float(torch.corrcoef(torch.stack([first, second]))[0, 1])) < 0.03
    assert first.min() >= 0 and first.max() < 1


def _single(name: str) -> Slots:
    builder = Builder(Draws(torch.arange(3)))
    material = builder.plain(builder.palette.main)
    parts = {
        "box": lambda: builder.box((0.5, 0.3, 0.4), material, rounding=0.1),
        "wedge": lambda: builder.box((0.5, 0.3, 0.4), material, grow=(-0.6, 0.2), shear=(0.1, 0)),
        "cylinder": lambda: builder.cylinder(0.4, 0.5, material, top=0.2),
        "capsule": lambda: builder.limb((0, 0, 0), (0.3, 0.2, 0.9), 0.2, material, end_radius=0.1),
        "torus": lambda: builder.torus(0.5, 0.1, material, half_angle=2.0, rotate=(30, 20, 10)),
        "ellipsoid": lambda: builder.ellipsoid((0.5, 0.2, 0.3), material, rotate=(0, 30, 40)),
        "ring": lambda: builder.sphere(0.1, material, radial=(5, 0.5)),
        "row": lambda: builder.sphere(0.1, material, array=(0, 0.4, 3), mirror="y", at=(0, 0.5, 0)),
    }
    parts[name]()
    return builder.slots()


@pytest.mark.parametrize("name", ["box", "wedge", "cylinder", "capsule", "torus", "ellipsoid", "ring", "row"])
def test_a_part_touches_the_sides_of_its_box(name: str) -> None:
    """The support functions and the distance agree: the longest axis spans 0.95 of the cube, exactly."""
    slots = _single(name)
    line = torch.linspace(-0.5, 0.5, 81)
    grid = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1).reshape(1, -1, 3)
    inside = grid[0][distances(slots, grid.expand(3, -1, -1))[0] < 0.004]
    extent = inside.amax(0) - inside.amin(0)
    assert float(extent.max()) == pytest.approx(0.95, abs=0.035)
    assert float((inside.amax(0) + inside.amin(0)).abs().max()) < 0.03


@pytest.mark.parametrize("name", ["box", "cylinder", "capsule", "torus"])
def test_exact_parts_have_unit_gradients(name: str) -> None:
    slots = _single(name)
    points = (torch.rand(3, 4000, 3, generator=torch.Generator().manual_seed(1)) - 0.5).double()
    slots = Slots(slots.specs, slots.params.double(), slots.materials, slots.scale.double(), slots.offset.double())
    points.requires_grad_(True)
    value = distances(slots, points)
    (gradient,) = torch.autograd.grad(value.sum(), points)
    length = gradient.norm(dim=-1)[(value > 0.005) & (value < 0.1)]
    assert len(length) > 100
    assert float((length - 1).abs().quantile(0.99)) < 1e-3


def test_support_of_a_capsule() -> None:
    dims = torch.tensor([[0.5, 0.2, 0.1, 0, 0, 0, 0]])
    assert float(support(2, torch.tensor([[0.0, 0.0, 1.0]]), dims, torch.zeros(1))) == pytest.approx(0.6)
    assert float(support(2, torch.tensor([[1.0, 0.0, 0.0]]), dims, torch.zeros(1))) == pytest.approx(0.2)


def test_kinds_that_share_slots_are_what_they_are_alone() -> None:
    """Parts of two kinds whose specs agree take one slot, in any order, and every object keeps its own."""

    def ball(b: Builder, here: torch.Tensor) -> None:
        b.box((0.5, 0.4, 0.3), b.plain(b.palette.main), at=(0, 0, -0.4), present=here)
        b.sphere(0.6, b.plain(b.palette.accent), at=(0, 0, 0.3), present=here)

    def tower(b: Builder, here: torch.Tensor) -> None:
        b.cylinder(0.3, 0.9, b.plain(b.palette.dark), present=here)
        b.box((0.6, 0.6, 0.1), b.plain(b.palette.light), at=(0, 0, -0.9), present=here)
        b.sphere(0.35, b.plain(b.palette.second), at=(0, 0, 0.9), present=here)

    style = torch.tensor([0, 1, 1, 0])
    shared, apart = (Builder(Draws(torch.arange(4), 1)) for _ in range(2))
    shared.one_of(style, ball, tower)
    for number, kind in enumerate((ball, tower)):
        kind(apart, style == number)
    points = torch.rand(4, 500, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    slots = [one.slots() for one in (shared, apart)]
    assert [len(one.specs) for one in slots] == [3, 5]
    found = [distances(one, points) for one in slots]
    assert torch.allclose(*found, atol=1e-6) and float(found[0].std()) > 0.05


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_family_fills_the_cube_with_a_sane_shell(family: str) -> None:
    batch = sample_objects(SEEDS, [family])
    many = sample_objects(range(64), [family]).groups[0].slots
    assert many.params.isfinite().all() and many.materials.isfinite().all() and many.scale.isfinite().all()
    dense = occupancy(batch)
    counts = dense.flatten(1).sum(1)
    assert int(counts.min()) > 300 and int(counts.max()) < 9000
    spans = []
    for voxels in dense:
        cells = voxels.nonzero()
        spans.append(int((cells.amax(0) - cells.amin(0)).max()) + 1)
    assert min(spans) >= 27, "the longest side fills the cube"
    assert len({int(count) for count in counts}) > 1, "objects of a family differ"


@pytest.mark.parametrize(
    ("family", "axis"), [("mug", 2), ("table", 1), ("car", 1), ("robot", 1), ("bus", 1), ("toilet", 1)]
)
def test_families_face_one_way(family: str, axis: int) -> None:
    """Left and right of most families mirror each other; a mug's handle lies at the right, so its front and back do."""
    grid = occupancy(sample_objects(range(32), [family]), resolution=32)
    mirrored = grid.flip(axis)
    overlap = (grid & mirrored).flatten(1).sum(1) / (grid | mirrored).flatten(1).sum(1)
    assert overlap.median() > 0.97, overlap


def test_projected_points_lie_on_the_surface_and_normals_point_out() -> None:
    batch = sample_objects(range(24))
    dense = occupancy(batch)
    points = surface_points(batch, dense, 300, seed=0)
    normals, colors = batch.normal(points), batch.color(points)
    distance = batch.sdf(points).abs()
    assert float((distance < 2e-3).float().mean()) > 0.97
    out = batch.sdf(points + 0.004 * normals) - batch.sdf(points - 0.004 * normals)
    assert float((out > 0.004).float().mean()) > 0.95
    assert colors.min() >= 0 and colors.max() <= 1.001
    assert float(colors.std()) > 0.05


def test_the_shell_has_no_gaps() -> None:
    """Every surface point's voxel, or a face neighbour, is occupied (thick shell around the surface)."""
    batch = sample_objects(range(24))
    dense = occupancy(batch)
    points = surface_points(batch, dense, 500, seed=2)
    cell = ((points + 0.5) * 32).long().clamp(0, 31)
    inside = dense[torch.arange(24)[:, None], cell[..., 0], cell[..., 1], cell[..., 2]]
    assert float(inside.float().mean()) > 0.985


def test_features_follow_their_layout() -> None:
    batch = sample_objects(range(5))
    coords = occupied_coords(occupancy(batch))
    features = voxel_features(batch, coords)
    assert features.shape == (len(coords), VOXEL_FEATURES.size)
    assert bool(features.isfinite().all())
    distance = features[:, VOXEL_FEATURES.distance]
    assert float(distance.abs().max()) <= 2 and float(distance.abs().amin(1).max()) < 1.2
    assert torch.allclose(features[:, VOXEL_FEATURES.normal].norm(dim=-1), torch.ones(len(coords)), atol=1e-3)
    alone = voxel_features(batch.select([3]), occupied_coords(occupancy(batch.select([3]))))
    assert torch.allclose(alone, features[coords[:, 0] == 3], atol=1e-5)


def test_pictures_are_framed_as_the_conditioning_crop() -> None:
    """The alpha box's longer side is 1/1.2 of the picture, centred, for every family at once."""
    batch = sample_objects(range(30))
    pictures = render_pictures(batch, views=1, size=96)
    assert pictures.images.shape == (30, 1, 96, 96, 4) and pictures.images.dtype == torch.uint8
    for image in pictures.images[:, 0]:
        cells = (image[..., 3] > 204).nonzero()
        low, high = cells.amin(0), cells.amax(0) + 1
        assert float((high - low).max()) == pytest.approx(96 / 1.2, abs=3)
        assert float(((high + low) / 2 - 48).abs().max()) <= 2
    again = render_pictures(batch.select([7]), views=1, size=96)
    assert torch.equal(again.images[0], pictures.images[7])


def test_silhouette_agrees_with_projected_surface() -> None:
    """Surface points seen through the returned camera fall on opaque pixels: the camera is that of the window."""
    batch = sample_objects(range(6))
    dense = occupancy(batch)
    pictures = render_pictures(batch, views=2, size=96, dense=dense)
    points = surface_points(batch, dense, 400, seed=0)
    cameras: Cameras = pictures.cameras
    for index in range(12):
        camera = cameras[index : index + 1]
        local = points[index // 2] @ camera.extrinsics[0, :3, :3].T + camera.extrinsics[0, :3, 3]
        image = local[:, :2] / local[:, 2:] * camera.intrinsics[0, 0, 0] + camera.intrinsics[0, :2, 2]
        cell = (image * 96).long().clamp(0, 95)
        # One pixel of tolerance at the outline: a point's pixel may have its centre just outside.
        alpha = pictures.images.flatten(0, 1)[index, ..., 3].float()
        grown = torch.nn.functional.max_pool2d(alpha[None], 3, stride=1, padding=1)[0]
        assert float((grown[cell[:, 1], cell[:, 0]] > 0).float().mean()) > 0.99


def test_a_ball_is_rendered_with_the_area_of_its_outline() -> None:
    """A ball of radius r at distance d covers tan(asin(r / d))^2 pi of the image plane at unit focal length."""
    builder = Builder(Draws(torch.arange(1)))
    builder.sphere(1.0, builder.plain(builder.palette.main))
    template = sample_objects([0])
    group = replace(template.groups[0], slots=builder.slots())
    batch = replace(template, groups=(group,))
    image = render_views(batch, orbit_cameras([math.pi], [0.3], radius=2.5, fov_degrees=40), size=128)[0, 0]
    focal = 0.5 / math.tan(math.radians(20))
    expected = math.pi * (math.tan(math.asin(0.475 / 2.5)) * focal * 128) ** 2
    assert int((image[..., 3] > 0).sum()) == pytest.approx(expected, rel=0.01)


def test_front_view_differs_from_behind_and_camera_ranges_hold() -> None:
    draws = Draws(torch.arange(500))
    cameras = draw_cameras(draws)
    eyes = torch.nn.functional.normalize(cameras.positions, dim=-1)
    assert float(eyes[:, 1].max()) < 0, "every camera is on the front side, world -y"
    assert float(eyes[:, 2].min()) > -0.18 and float(eyes[:, 2].max()) < 0.65
    degrees = cameras.fov.rad2deg()
    assert float(degrees.min()) >= 20 and float(degrees.max()) <= 50.01
    batch = sample_objects(SEEDS, ["robot"])
    views = orbit_cameras([math.pi, 0.0] * len(batch), [0.2] * 2 * len(batch))
    images = render_views(batch, views, size=48).float()
    assert float((images[:, 0] - images[:, 1].flip(2)).abs().mean()) > 1
