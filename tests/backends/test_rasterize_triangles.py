"""Triangle rasteriser: every back end against brute force and against each other."""

import pytest
import torch
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.ops.rasterize import TriangleSamples, interpolate_attributes, rasterize_triangles

SIZE = (48, 64)


def random_triangles(seed: int, *, flat: bool = False) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    span = torch.tensor([70.0, 54.0, 0.0 if flat else 1.0])
    points = torch.rand(100, 3, generator=generator) * span + torch.tensor([-3.0, -3.0, 0.0 if flat else 1.0])
    return points, torch.randint(0, 100, (60, 3), generator=generator)


def brute_force(points: Tensor, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Face [H, W], depth [H, W] and how near [H, W] any edge passes, face by face in float64."""
    points = points.double()
    y, x = torch.meshgrid(*[torch.arange(n, dtype=torch.float64) + 0.5 for n in SIZE], indexing="ij")
    depth = torch.full(SIZE, torch.inf, dtype=torch.float64)
    face_id = torch.full(SIZE, -1)
    margin = torch.full(SIZE, torch.inf, dtype=torch.float64)
    for index, face in enumerate(faces.tolist()):
        a, b, c = (points[corner] for corner in face)
        edges = torch.stack([(p[0] - x) * (q[1] - y) - (p[1] - y) * (q[0] - x) for p, q in ((b, c), (c, a), (a, b))])
        area = edges.sum(0)
        if abs(area[0, 0]) < 1e-9:
            continue
        weights = edges / area
        z = 1 / sum(weight / p[2] for weight, p in zip(weights, (a, b, c)))
        margin = torch.minimum(margin, edges.abs().amin(0))
        nearer = (weights >= 0).all(0) & (z < depth)
        depth[nearer], face_id[nearer] = z[nearer], index
    return face_id, depth, margin


@pytest.mark.parametrize("backend", ["reference", "warp"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_brute_force_agrees(backend: str, seed: int) -> None:
    points, faces = random_triangles(seed)
    samples = rasterize_triangles(points, faces, size=SIZE, backend=backend)
    face_id, depth, margin = brute_force(points, faces)
    clear = margin > 1e-3
    assert clear.float().mean() > 0.98 and 0.5 < samples.mask.float().mean() < 0.95
    assert torch.equal(samples.face_id[clear].long(), face_id[clear])
    seen = clear & samples.mask
    assert (samples.depth - depth)[seen].abs().max() < 2e-6
    corners = points[faces[samples.face_id.clamp(min=0).long()]]
    rebuilt = (corners * samples.barycentric[..., None]).sum(2)
    assert (rebuilt[..., 2] - samples.depth)[samples.mask].abs().max() < 2e-6
    assert (samples.barycentric.sum(2) - 1)[samples.mask].abs().max() < 1e-5
    assert (samples.barycentric[~samples.mask] == 0).all() and (samples.depth[~samples.mask] == 0).all()


@pytest.mark.parametrize("seed", [3, 4])
@pytest.mark.parametrize("perspective", [True, False])
def test_warp_equals_reference(seed: int, perspective: bool) -> None:
    points, faces = random_triangles(seed, flat=not perspective)
    first, second = (
        rasterize_triangles(points, faces, size=SIZE, perspective=perspective, backend=name)
        for name in ("reference", "warp")
    )
    assert torch.equal(first.face_id, second.face_id)
    torch.testing.assert_close(first.barycentric, second.barycentric, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(first.depth, second.depth, atol=1e-6, rtol=1e-5)
    attributes = torch.rand(100, 5, generator=torch.Generator().manual_seed(9))
    values = [interpolate_attributes(first, faces, attributes, backend=name) for name in ("reference", "warp")]
    assert values[0].shape == (*SIZE, 5) and values[0][first.mask].std() > 0.05
    torch.testing.assert_close(values[0], values[1], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("backend", ["reference", "warp"])
def test_shared_edges_leave_no_crack(backend: str) -> None:
    """A sheet of triangles whose vertices lie on sample points and anywhere else covers every sample inside."""
    generator = torch.Generator().manual_seed(5)
    n = 33
    x = torch.arange(n).float().repeat(n, 1)
    grid = torch.stack([x, x.T], dim=2) * 2 + 0.5
    grid[1:-1, 1:-1] += torch.rand(n - 2, n - 2, 2, generator=generator).mul(4).round() / 4 - 0.5
    points = torch.cat([grid.view(-1, 2), 1 + torch.rand(n * n, 1, generator=generator)], 1)
    index = torch.arange(n * n).view(n, n)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = torch.cat([torch.stack([a, b, c], -1).view(-1, 3), torch.stack([a, c, d], -1).view(-1, 3)])
    samples = rasterize_triangles(points, faces, size=65, backend=backend)
    assert samples.mask.all()


@pytest.mark.parametrize("backend", ["reference", "warp"])
def test_equal_depth_takes_the_lowest_face(backend: str) -> None:
    points = torch.tensor([[0.0, 0.0, 1.0], [20.0, 0.0, 1.0], [0.0, 20.0, 1.0]])
    faces = torch.tensor([[0, 0, 1], [0, 1, 2], [0, 1, 2]])
    samples = rasterize_triangles(points, faces, size=8, backend=backend)
    assert (samples.face_id == 1).all()


@pytest.mark.parametrize("backend", ["reference", "warp"])
def test_unusable_faces_are_left_out(backend: str) -> None:
    bad = [[torch.nan, 0.0, 1.0], [torch.inf, 3.0, 1.0], [3.0, 3.0, -1.0], [-1e30, 0.0, 1.0], [1e30, 1e30, 1.0]]
    points = torch.tensor([[0.0, 0.0, 2.0], [20.0, 0.0, 2.0], [0.0, 20.0, 2.0], *bad])
    faces = torch.tensor([[0, 1, 3], [0, 4, 2], [5, 1, 2], [0, 1, 2]])
    samples = rasterize_triangles(points, faces, size=8, backend=backend)
    assert (samples.face_id == 3).all()
    assert torch.isfinite(samples.depth).all() and torch.isfinite(samples.barycentric).all()
    huge = rasterize_triangles(points, torch.tensor([[0, 6, 7], [0, 1, 2]]), size=8, backend=backend)
    assert (huge.face_id >= 0).any()


@pytest.mark.parametrize("backend", ["reference", "warp"])
def test_nothing_to_draw(backend: str) -> None:
    samples = rasterize_triangles(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int32), size=(3, 5), backend=backend)
    assert samples.face_id.shape == (3, 5) and (samples.face_id == -1).all()
    values = interpolate_attributes(samples, torch.zeros(0, 3, dtype=torch.int32), torch.zeros(0, 2), backend=backend)
    assert values.shape == (3, 5, 2) and (values == 0).all()


@pytest.mark.parametrize("backend", ["reference", "warp"])
def test_a_large_image_is_drawn_in_pieces(backend: str) -> None:
    """More fragments than the reference works on at once give the same picture as few."""
    points = torch.tensor([[0.0, 0.0, 1.0], [3e3, 0.0, 1.0], [0.0, 3e3, 3.0], [1e3, 1e3, 0.5], [9e2, 1e3, 0.5]])
    faces = torch.tensor([[0, 1, 2], [0, 1, 2], [3, 4, 0]])
    samples = rasterize_triangles(points, faces, size=2000, backend=backend)
    y, x = torch.meshgrid(*[torch.arange(2000) + 0.5] * 2, indexing="ij")
    assert torch.equal(samples.mask, x + y <= 3000)
    assert (samples.face_id == 2).any() and not (samples.face_id == 1).any()


def test_reference_has_gradients() -> None:
    points, faces = random_triangles(6)
    points.requires_grad_()
    samples = rasterize_triangles(points, faces, size=SIZE)
    assert isinstance(samples, TriangleSamples)
    samples.depth.sum().backward()
    assert points.grad is not None and torch.isfinite(points.grad).all() and points.grad.abs().sum() > 0
    with pytest.raises(InvalidInputError, match="gradient"):
        rasterize_triangles(points, faces, size=SIZE, backend="warp")


def test_unusable_options_are_named() -> None:
    points, faces = random_triangles(0)
    with pytest.raises(InvalidInputError, match="auto, reference, warp"):
        rasterize_triangles(points, faces, size=8, backend="opengl")
    with pytest.raises(InvalidInputError, match=r"\[V, 3\]"):
        rasterize_triangles(points[:, :2], faces, size=8)
    with pytest.raises(InvalidInputError, match="at least one pixel"):
        rasterize_triangles(points, faces, size=(0, 8))
