"""Mode best: the fit finds the texture behind the pixels, sharper than the closed form, and the same every time."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.unit.export.shapes import painted, sphere, textured_mesh
from tests.unit.export.test_texture import RADIUS, on_sphere, shell_of_gaussians
from trellis.errors import Cancelled
from trellis.export import refine
from trellis.export.refine import TextureEquations, refine_texture
from trellis.ops.rasterize import TriangleSamples, rasterize_triangles
from trellis.progress import CancelToken, Progress, StepInfo

SIZE = 16


def square() -> tuple[torch.Tensor, torch.Tensor]:
    """A square that shows the whole texture: uvs and faces."""
    return torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]]), torch.tensor([[0, 2, 1], [0, 3, 2]], dtype=torch.int32)


def view_of(texture: torch.Tensor, pixels: int, *, shift: float = 0.0) -> tuple[TriangleSamples, torch.Tensor]:
    """A picture of `texture` [S, S, 3] filling `pixels` a side, moved by `shift` pixels, and what is behind it."""
    uvs, faces = square()
    points = torch.cat([uvs * pixels + shift, torch.ones(4, 1)], 1)
    samples = rasterize_triangles(points, faces, size=pixels, perspective=False)
    place = (torch.arange(pixels) + 0.5 - shift) / pixels * 2 - 1
    grid = torch.stack(torch.meshgrid(place, place, indexing="xy"), -1)[None]
    seen = torch.nn.functional.grid_sample(
        texture.permute(2, 0, 1)[None], grid, padding_mode="border", align_corners=False
    )
    return samples, seen[0].permute(1, 2, 0)


def equations_of(texture: torch.Tensor, views: list[tuple[int, float]]) -> TextureEquations:
    uvs, faces = square()
    equations = TextureEquations(uvs, faces, SIZE)
    for pixels, shift in views:
        samples, seen = view_of(texture, pixels, shift=shift)
        equations.add(samples, seen, samples.mask.float())
    return equations


def test_the_texture_behind_the_pixels_is_found(monkeypatch):
    wanted = torch.rand(SIZE, SIZE, 3, generator=torch.Generator().manual_seed(0))
    equations = equations_of(wanted, [(40, 0.0), (37, 0.4), (23, -0.3)])
    surface = torch.ones(SIZE, SIZE, dtype=torch.bool)
    start = torch.full((SIZE, SIZE, 3), 0.5)
    steps: list[StepInfo] = []
    for name, value in (("STEPS", 200), ("SMOOTHNESS", 0.0), ("PRIOR", 1e-4)):
        monkeypatch.setattr(refine, name, value)
    found = refine_texture(start, surface, equations=equations, progress=Progress(steps.append))
    assert (found - wanted).abs().max() < 2 / 255
    assert [step.step for step in steps] == list(range(1, 201)) and {step.stage for step in steps} == {"refine"}


def test_the_matrix_is_that_of_the_pixels():
    """The gathered normal equations against the same sums with a dense matrix of bilinear weights."""
    texture = torch.rand(SIZE, SIZE, 3, generator=torch.Generator().manual_seed(1))
    equations = equations_of(texture, [(21, 0.2)])
    basis = torch.eye(SIZE * SIZE).reshape(-1, SIZE, SIZE)
    samples, _ = view_of(texture, 21, shift=0.2)
    rows = torch.stack([view_of(one[..., None].expand(-1, -1, 3), 21, shift=0.2)[1][..., 0] for one in basis])
    rows = rows[:, samples.mask]  # [texels, pixels]
    dense = rows @ rows.T
    diagonal, couplings, _ = equations.system()
    assert torch.allclose(diagonal.reshape(-1), dense.diagonal(), atol=1e-3)
    right = couplings[0].reshape(-1)[:-1]
    assert torch.allclose(right, dense.diagonal(1), atol=1e-3) and right.abs().max() > 0.1
    assert torch.allclose(couplings[3].reshape(-1)[: -SIZE + 1], dense.diagonal(SIZE - 1), atol=1e-3)


def test_texels_that_no_pixel_sees_stay(monkeypatch):
    wanted = torch.zeros(SIZE, SIZE, 3)
    uvs, faces = square()
    equations = TextureEquations(uvs, faces, SIZE)
    samples, seen = view_of(wanted, 32)
    left = torch.zeros(32, 32)
    left[:, :12] = 1
    equations.add(samples, seen, left)
    surface = torch.ones(SIZE, SIZE, dtype=torch.bool)
    start = torch.full((SIZE, SIZE, 3), 0.5)
    monkeypatch.setattr(refine, "SMOOTHNESS", 0.0)
    found = refine_texture(start, surface, equations=equations, progress=Progress())
    assert (found[:, :5] < 0.02).all() and torch.equal(found[:, 8:], start[:, 8:])


def test_best_is_closer_to_the_gaussians_than_fast_and_repeats_itself():
    ball = sphere(5, radius=RADIUS)
    stripes = (torch.sin(60 * ball.vertices[:, 2:]) > 0).float().expand(-1, 3) * 0.8 + 0.1
    cloud = shell_of_gaussians(ball, stripes)

    def result(mode: str, seed: int = 0) -> np.ndarray:
        ball = sphere(5, radius=RADIUS)
        return textured_mesh(ball, cloud, views=(10, 256), seed=seed, simplify=0.5, texture_mode=mode).texture

    fast, best = result("fast"), result("best")
    assert best.astype(float).std() > fast.astype(float).std()  # stripes keep more of their contrast
    assert np.array_equal(best, result("best")) and not np.array_equal(best, result("best", seed=1))


def test_painted_sphere_within_three_levels_in_best_mode():
    ball, fine = sphere(5, radius=RADIUS), sphere(6, radius=RADIUS)
    # Small discs: large ones smear the paint by more than the three levels themselves.
    cloud = shell_of_gaussians(fine, painted(fine.vertices))
    cloud = replace(cloud, scales=cloud.scales * torch.tensor([0.5, 0.5, 1.0]))
    result = textured_mesh(ball, cloud, views=(24, 384), texture_mode="best")
    uvs = torch.from_numpy(result.uvs)
    seen = torch.nn.functional.grid_sample(
        torch.from_numpy(result.texture).float().permute(2, 0, 1)[None] / 255,
        (uvs * 2 - 1)[None, None],
        align_corners=False,
    )[0, :, 0].T
    error = (seen - painted(on_sphere(torch.from_numpy(result.vertices)))).abs() * 255
    assert error.mean() < 1 and error.flatten().quantile(0.999) <= 3


def test_every_step_can_be_cancelled():
    equations = equations_of(torch.rand(SIZE, SIZE, 3), [(20, 0.0)])
    surface = torch.ones(SIZE, SIZE, dtype=torch.bool)
    token = CancelToken()
    reached: list[int] = []

    def listen(info: StepInfo) -> None:
        reached.append(info.step)
        if info.step == 3:
            token.cancel()

    with pytest.raises(Cancelled):
        refine_texture(
            torch.zeros(SIZE, SIZE, 3),
            surface,
            equations=equations,
            progress=Progress(listen, token),
        )
    assert reached == [1, 2, 3]
