"""Inside by winding number: back ends agree with each other and with the truth."""

import numpy as np
import pytest
import torch
import trimesh

from trellis.errors import InvalidInputError
from trellis.ops.winding_number import inside_query


def tensors(shape: trimesh.Trimesh) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(np.array(shape.vertices, np.float32)), torch.from_numpy(np.array(shape.faces, np.int32))


POINTS = torch.rand(1000, 3, generator=torch.Generator().manual_seed(0)) - 0.5


@pytest.mark.parametrize("backend", ["reference", "warp"])
def test_torus(backend: str) -> None:
    x, y, z = POINTS.unbind(1)
    distance = ((x.square() + y.square()).sqrt() - 0.3).square() + z.square() - 0.1**2
    sure = distance.abs() > 3e-3
    shape = trimesh.creation.torus(0.3, 0.1, major_sections=40, minor_sections=40)
    found = inside_query(*tensors(shape), backend=backend)(POINTS)
    assert torch.equal(found[sure], (distance < 0)[sure]) and 30 < found.sum() < 300
    shape.invert()
    assert not inside_query(*tensors(shape), backend=backend)(POINTS).any()


def test_back_ends_agree_on_an_open_surface() -> None:
    shape = trimesh.creation.icosphere(subdivisions=3, radius=0.4)
    shape.update_faces(shape.triangles_center[:, 2] > -0.2)
    one, other = (inside_query(*tensors(shape), backend=backend)(POINTS) for backend in ("reference", "warp"))
    assert (one != other).float().mean() < 2e-3 and 100 < one.sum() < 900


def test_bad_input() -> None:
    vertices, faces = tensors(trimesh.creation.box())
    with pytest.raises(InvalidInputError, match="warp, reference"):
        inside_query(vertices, faces, backend="other")
    with pytest.raises(InvalidInputError, match="no faces"):
        inside_query(vertices, faces[:0])
    assert inside_query(vertices, faces, backend="reference")(POINTS[:0]).shape == (0,)
    assert inside_query(vertices, faces)(POINTS[:0]).shape == (0,)
