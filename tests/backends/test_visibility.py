"""Visibility from outside: the kernel and its plain twin against geometry and against each other."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import trimesh
from torch import Tensor

from tests.backends import plain_visibility
from trellis.errors import InvalidInputError
from trellis.ops.visibility import outside_visibility, warp_backend

BACKENDS = {"warp": warp_backend.count_free_rays, "plain": plain_visibility.count_free_rays}


@pytest.fixture
def seen_by(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tensor]:
    """`outside_visibility`, its rays counted by one of BACKENDS."""

    def seen(backend: str, *shape: Tensor, **options: Any) -> Tensor:
        monkeypatch.setattr(warp_backend, "count_free_rays", BACKENDS[backend])
        return outside_visibility(*shape, **options)

    return seen


def shape(made: trimesh.Trimesh) -> tuple[Tensor, Tensor]:
    return torch.tensor(made.vertices, dtype=torch.float32), torch.tensor(made.faces, dtype=torch.int32)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("turned", [False, True])
def test_convex_body_sees_half_of_everything_and_its_content_nothing(
    seen_by: Callable[..., Tensor], backend: str, turned: bool
) -> None:
    outer = trimesh.creation.icosphere(subdivisions=1)
    inner = trimesh.creation.box(extents=(0.6, 0.6, 0.6))
    if turned:
        inner.invert()
    vertices, faces = shape(trimesh.util.concatenate([outer, inner]))
    seen = seen_by(backend, vertices, faces, rays=256, enough=256)
    assert seen.shape == (92,)
    assert ((seen[:80] - 0.5).abs() < 0.06).all()
    assert (seen[80:] == 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_opening_gives_its_solid_angle(seen_by: Callable[..., Tensor], backend: str) -> None:
    """The middle of a box without lid sees the lid's solid angle."""
    box = trimesh.creation.box(extents=(1, 1, 1))
    box.update_faces(box.triangles_center[:, 2] < 0.49)
    small = trimesh.creation.icosphere(subdivisions=0, radius=1e-3)
    vertices, faces = shape(trimesh.util.concatenate([box, small]))
    patches = torch.cat([torch.zeros(len(box.faces)), torch.ones(len(small.faces))]).long()
    seen = seen_by(backend, vertices, faces, patches=patches, rays=4096, enough=4096)
    # Half of the directions are shaded by the small ball itself; one side of six is open.
    assert seen[1].item() == pytest.approx(1 / 12, abs=0.01)
    assert seen[0].item() > 0.4


def test_back_ends_agree(seen_by: Callable[..., Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    vertices = torch.rand(180, 3, generator=generator)
    faces = torch.arange(180).reshape(60, 3)
    patches = torch.randint(0, 7, (60,), generator=generator)
    assert len(patches.unique()) == 7
    for options in ({"rays": 64, "enough": 64}, {"rays": 200, "enough": 3}, {"patches": patches, "rays": 5}):
        one, other = (seen_by(backend, vertices, faces, **options) for backend in BACKENDS)
        assert (one - other).abs().max() < 0.02
        assert (one != other).float().mean() < 0.1  # a ray may graze an edge
        assert 0.05 < one.mean() < 0.95


@pytest.mark.parametrize("backend", BACKENDS)
def test_thin_sheet_is_seen_from_both_sides(seen_by: Callable[..., Tensor], backend: str) -> None:
    sheet = trimesh.creation.box(extents=(1, 1, 1e-4))
    vertices, faces = shape(sheet)
    flat = torch.tensor(sheet.face_normals[:, 2]).abs() > 0.5
    assert (seen_by(backend, vertices, faces, rays=128, enough=128)[flat] > 0.4).all()


def test_early_stop_nothing_and_bad_options() -> None:
    vertices, faces = shape(trimesh.creation.icosphere(subdivisions=1))
    assert (outside_visibility(vertices, faces, rays=64, enough=1) > 0.1).all()
    assert outside_visibility(vertices, faces[:0]).shape == (0,)
    with pytest.raises(InvalidInputError, match="at least 1"):
        outside_visibility(vertices, faces, rays=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
def test_gpu_gives_the_same() -> None:
    vertices, faces = shape(trimesh.creation.torus(major_radius=0.3, minor_radius=0.1))
    here = outside_visibility(vertices, faces, rays=64, enough=64)
    there = outside_visibility(vertices.cuda(), faces.cuda(), rays=64, enough=64).cpu()
    assert (here - there).abs().max() < 0.05 and math.isclose(here.mean(), there.mean(), rel_tol=1e-3)
