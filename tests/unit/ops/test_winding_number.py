"""Inside by winding number: the kernel against the truth, and against the solid angle of every face."""

import math

import numpy as np
import pytest
import torch
import trimesh

from trellis.errors import InvalidInputError
from trellis.ops.winding_number import inside_query


def tensors(shape: trimesh.Trimesh) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(np.array(shape.vertices, np.float32)), torch.from_numpy(np.array(shape.faces, np.int32))


POINTS = torch.rand(1000, 3, generator=torch.Generator().manual_seed(0)) - 0.5


def winding_numbers(points: torch.Tensor, vertices: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """Sum of signed solid angles over 4 pi (Van Oosterom and Strackee 1983)."""
    a, b, c = (vertices[faces.long()][None] - points[:, None, None]).unbind(2)
    la, lb, lc = a.norm(dim=-1), b.norm(dim=-1), c.norm(dim=-1)
    above = (a * torch.linalg.cross(b, c)).sum(-1)
    below = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
    return torch.atan2(above, below).sum(1) / (2 * math.pi)


def test_torus() -> None:
    x, y, z = POINTS.unbind(1)
    distance = ((x.square() + y.square()).sqrt() - 0.3).square() + z.square() - 0.1**2
    sure = distance.abs() > 3e-3
    shape = trimesh.creation.torus(0.3, 0.1, major_sections=40, minor_sections=40)
    found = inside_query(*tensors(shape))(POINTS)
    assert torch.equal(found[sure], (distance < 0)[sure]) and 30 < found.sum() < 300
    shape.invert()
    assert not inside_query(*tensors(shape))(POINTS).any()


def test_an_open_surface_is_that_of_the_solid_angles() -> None:
    shape = trimesh.creation.icosphere(subdivisions=3, radius=0.4)
    shape.update_faces(shape.triangles_center[:, 2] > -0.2)
    one, other = winding_numbers(POINTS, *tensors(shape)) > 0.5, inside_query(*tensors(shape))(POINTS)
    assert (one != other).float().mean() < 2e-3 and 100 < one.sum() < 900


def test_bad_input() -> None:
    vertices, faces = tensors(trimesh.creation.box())
    with pytest.raises(InvalidInputError, match="no faces"):
        inside_query(vertices, faces[:0])
    assert inside_query(vertices, faces)(POINTS[:0]).shape == (0,)
