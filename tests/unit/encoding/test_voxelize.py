"""Voxels that a surface touches: against exact rational arithmetic, closedness, and independence of the pieces."""

from fractions import Fraction
from itertools import product

import pytest
import torch

from tests.unit.encoding.meshes import source, sphere
from trellis.encoding.voxelize import voxelize
from trellis.errors import Cancelled, InvalidInputError
from trellis.progress import CancelToken, Progress
from trellis.representations import Mesh

Point = tuple[Fraction, Fraction, Fraction]


def touches(triangle: list[Point], low: list[Fraction], side: Fraction) -> bool:
    """Exactly: clip the triangle by the six planes of a closed box; something is left if they meet."""
    polygon = triangle
    for axis in range(3):
        for sign, bound in ((1, low[axis]), (-1, -(low[axis] + side))):
            kept: list[Point] = []
            for i, point in enumerate(polygon):
                before = polygon[i - 1]
                a, b = sign * before[axis] - bound, sign * point[axis] - bound
                if (a < 0) != (b < 0) and a != 0 and b != 0:
                    t = a / (a - b)
                    kept.append(tuple(p + t * (q - p) for p, q in zip(before, point)))  # type: ignore[arg-type]
                if b >= 0:
                    kept.append(point)
            polygon = kept
            if not polygon:
                return False
    return True


def brute_force(vertices: torch.Tensor, faces: torch.Tensor, resolution: int) -> set[tuple[int, ...]]:
    side = Fraction(1, resolution)
    exact = [[tuple(Fraction(v) for v in vertices[i].tolist()) for i in face] for face in faces.tolist()]
    return {
        cell
        for cell in product(range(resolution), repeat=3)
        if any(touches(triangle, [Fraction(c) * side - Fraction(1, 2) for c in cell], side) for triangle in exact)
    }


def cells(voxels: torch.Tensor) -> set[tuple[int, ...]]:
    return {tuple(row) for row in voxels.tolist()}


def soup(points: torch.Tensor) -> Mesh:
    return Mesh(points, torch.arange(len(points)).reshape(-1, 3).int())


@pytest.mark.parametrize("resolution", [4, 5, 8])
@pytest.mark.parametrize("scale", [0.15, 0.6, 1.5])
def test_random_triangles_match_exact_arithmetic(resolution: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(resolution)
    for _ in range(8):
        centre = torch.rand(1, 3, generator=generator) - 0.5
        mesh = soup(centre + scale * (torch.rand(3, 3, generator=generator) - 0.5))
        found = voxelize(mesh, resolution)
        assert cells(found) == brute_force(mesh.vertices, mesh.faces, resolution)


def test_triangles_on_corners_edges_and_faces_of_voxels_match_exact_arithmetic() -> None:
    """Vertices on a grid of eighths: planes between voxels, touched corners, lines and points without area."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        mesh = soup((torch.randint(-5, 6, (3, 3), generator=generator)).float() / 8)
        assert cells(voxelize(mesh, 4)) == brute_force(mesh.vertices, mesh.faces, 4)


def test_a_face_between_two_layers_touches_both() -> None:
    corners = torch.tensor([[-0.2, -0.2, 0.0], [0.2, -0.2, 0.0], [0.0, 0.2, 0.0]])
    assert {z for _, _, z in cells(voxelize(soup(corners), 8))} == {3, 4}


@pytest.mark.parametrize("resolution", [16, 32, 64])
def test_sphere_count_and_closedness(resolution: int) -> None:
    """The voxels of a closed surface are those that the sphere passes through, and let no path through."""
    radius = 0.4
    found = voxelize(source(sphere(5, radius=radius)), resolution)
    line = torch.arange(resolution) / resolution - 0.5
    low = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1).double()
    high = low + 1 / resolution
    nearest = torch.maximum(torch.maximum(low, -high), torch.zeros(1)).norm(dim=-1)
    farthest = torch.maximum(low.abs(), high.abs()).norm(dim=-1)
    sag = 3e-4  # of the faces of this icosphere below the sphere
    certain = (nearest < radius - sag) & (farthest > radius)
    possible = (nearest <= radius) & (farthest >= radius - sag)
    dense = torch.zeros_like(certain)
    dense[tuple(found.long().unbind(1))] = True
    assert int(dense.sum()) == len(found)
    assert (dense | ~certain).all() and (possible | ~dense).all()
    assert int(possible.sum()) - int(certain.sum()) < 0.03 * len(found)

    from scipy import ndimage

    label, count = ndimage.label((~dense).numpy())
    middle = resolution // 2
    assert count == 2 and label[0, 0, 0] != label[middle, middle, middle] != 0


def test_pieces_and_order_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = source(sphere(2))
    whole = voxelize(mesh, 24)
    monkeypatch.setattr("trellis.encoding.voxelize.PAIRS", 37)
    order = torch.randperm(len(mesh.faces), generator=torch.Generator().manual_seed(1))
    for other in (voxelize(mesh, 24), voxelize(Mesh(mesh.vertices, mesh.faces[order]), 24)):
        assert torch.equal(whole, other)
    keys = (whole[:, 0].long() * 24 + whole[:, 1]) * 24 + whole[:, 2]
    assert (keys.diff() > 0).all() and whole.dtype == torch.int32


def test_parts_outside_of_the_cube_touch_nothing() -> None:
    far = soup(torch.tensor([[3.0, 0, 0], [4, 0, 0], [3, 1, 0], [-1e30, 5, 0], [-1e30, 6, 0], [-1e30, 6, 1]]))
    assert len(voxelize(far, 8)) == 0
    assert len(voxelize(Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int32)), 8)) == 0
    through = soup(torch.tensor([[-5.0, -5, 0.01], [5, -5, 0.01], [0, 9, 0.01]]))
    assert cells(voxelize(through, 4)) == {(x, y, 2) for x in range(4) for y in range(4)}


def test_rejects_what_cannot_be_voxelised() -> None:
    mesh = source(sphere(1))
    for resolution in (0, 5000):
        with pytest.raises(InvalidInputError, match="1 to 2048"):
            voxelize(mesh, resolution)
    with pytest.raises(InvalidInputError, match="finite"):
        voxelize(Mesh(mesh.vertices * float("nan"), mesh.faces), 8)
    with pytest.raises(InvalidInputError, match="vertices"):
        voxelize(Mesh(mesh.vertices[:, :2], mesh.faces), 8)


def test_cancelled_between_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trellis.encoding.voxelize.PAIRS", 500)
    token = CancelToken()
    with pytest.raises(Cancelled):
        voxelize(source(sphere(2)), 32, progress=Progress(lambda _: token.cancel(), token))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_agrees() -> None:
    mesh = source(sphere(4))
    assert torch.equal(voxelize(mesh.to(torch.device("cuda")), 64).cpu(), voxelize(mesh, 64))
