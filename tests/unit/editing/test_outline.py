"""The outline of a picture with a known camera: which object agrees with it, and what moves towards it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from trellis.conditioning import PreparedImage
from trellis.conditioning.view import PictureView
from trellis.editing.edit import NOISES, EditOptions, _Given, _Part, _sampled_occupancy
from trellis.editing.outline import Outline
from trellis.geometry.cameras import orbit_cameras
from trellis.models import SamplerConfig
from trellis.progress import Progress, StepInfo
from trellis.sampling import Known
from trellis.stages import Stage

SIDE, STEPS = 32, 12
CAMERA = orbit_cameras([3.5], [0.3])
WINDOW = (0, 0, 128, 128)
EVERYWHERE = torch.ones(SIDE, SIDE, SIDE, dtype=torch.bool)
NOTHING = torch.zeros(SIDE, SIDE, SIDE, dtype=torch.bool)


def ball(radius: float, x: float = 0.0) -> Tensor:
    """Voxels that a sphere's surface passes through, at `x` from the middle."""
    line = (torch.arange(SIDE) + 0.5) / SIDE - 0.5
    away = torch.stack(torch.meshgrid(line - x, line, line, indexing="ij"), -1).norm(dim=-1)
    return (away - radius).abs() < 0.75 / SIDE


def picture(radius: float) -> PreparedImage:
    """A ball in the middle, as CAMERA sees it."""
    distance, focal = float(CAMERA.positions.norm()), float(CAMERA.intrinsics[0, 0, 0])
    seen = focal * np.tan(np.arcsin(radius / distance)) * 128
    y, x = np.mgrid[:128, :128] + 0.5
    rgba = np.full((128, 128, 4), 255, np.uint8)
    rgba[np.hypot(x - 64, y - 64) > seen, 3] = 0
    return PreparedImage(Image.fromarray(rgba), rgba[..., :3], WINDOW, "alpha")


def outline(occupied: Tensor = NOTHING, region: Tensor = EVERYWHERE) -> Outline:
    return Outline.create(picture(0.3), CAMERA, occupied, region)


def test_the_object_of_the_picture_agrees_best() -> None:
    assert outline().agreement(ball(0.3)) > 0.96
    others = [ball(0.3, x=1 / SIDE), ball(0.3 - 1 / SIDE), ball(0.3 + 1 / SIDE)]
    assert max(outline().agreement(other) for other in others) < 0.95
    assert outline().loss(ball(0.3).float()) < min(outline().loss(other.float()) for other in others)


def test_what_is_kept_counts_as_it_is() -> None:
    half = torch.zeros_like(EVERYWHERE)
    half[16:] = True
    joined = outline(ball(0.3), half)
    assert joined.agreement(ball(0.3)) > 0.96
    assert joined.agreement(NOTHING) < 0.7
    top = torch.zeros_like(EVERYWHERE)
    top[..., 25:] = True
    small = outline(ball(0.3), top)
    assert small.agreement(ball(0.3)) > 0.8
    assert small.agreement(NOTHING) < 0.1, "what the rest covers does not count"
    grid = ball(0.3, x=1 / SIDE).float().requires_grad_()
    [slope] = torch.autograd.grad(joined.loss(grid), grid)
    assert bool(slope[half].any()) and not bool(slope[~half].any())


def test_what_lies_beside_the_picture_is_moved_in_its_plane() -> None:
    right, down = CAMERA.extrinsics[0, :2, :3] / SIDE
    assert abs(float(down[2])) * SIDE > 0.9, "as good as downwards"
    beside = ball(0.3, x=float(right[0])).float() - 0.5
    shift, agreement = outline().place(beside)
    assert shift == (-1.0, 0.0) and agreement > outline().agreement(beside > 0) + 0.02
    lower = outline().moved(ball(0.3).float(), (0.0, 1.0))
    places = lower.nonzero()
    moved = (places * lower[lower > 0, None]).sum(0) / lower.sum() / SIDE - (SIDE - 1) / 2 / SIDE
    assert torch.allclose(moved, down, atol=0.1 / SIDE)
    assert outline().place(ball(0.3).float() - 0.5)[0] == (0.0, 0.0)


class Stages:
    """Structures are balls of given places, one for each noise that is drawn."""

    def __init__(self, places: list[float]) -> None:
        self.places, self.noises = places, list[float]()
        self.followed, self.fitted = list[int](), list[int]()

    def encode_structure(self, voxels: Tensor) -> Tensor:
        return torch.zeros(1, 8, 8, 8, 8)

    def sample_structure(
        self, condition: Any, sampler: Any, generator: torch.Generator, *given: Any, known: Known, **options: Any
    ) -> Tensor:
        noise = float(torch.rand((), generator=generator))
        if noise not in self.noises:
            self.noises.append(noise)
        number = self.noises.index(noise)
        if known.until is None:
            self.followed.append(number)
        steps = known.until or sampler.steps
        options["progress"].report(Stage.STRUCTURE, steps, steps)
        return torch.full((1, 8, 8, 8, 8), float(number))

    def decode_numbers(self, latent: Tensor) -> Tensor:
        return ball(0.3, x=self.places[int(latent[0, 0, 0, 0, 0])])[None].float() - 0.5

    def decode_occupancy(self, latent: Tensor) -> Tensor:
        return self.decode_numbers(latent) > 0

    def fit_structure(self, latent: Tensor, free: Tensor, loss: Callable[[Tensor], Tensor], *, steps: int) -> Tensor:
        self.fitted.append(int(latent[0, 0, 0, 0, 0]))
        assert float(loss(torch.zeros(SIDE, SIDE, SIDE))) > 0
        return latent


def sampled(stages: Any, *, camera: bool, progress: Progress, steps: int = STEPS) -> Tensor:
    part = _Part(EVERYWHERE, ball(0.2), ())
    view = PictureView((128, 128), WINDOW, CAMERA if camera else None)
    sampler = SamplerConfig(steps=steps, cfg_strength=0.0, cfg_interval=(0.0, 1.0), rescale_t=1.0)
    given = _Given((picture(0.3),), view, (), condition=object())  # type: ignore[arg-type]
    return _sampled_occupancy(stages, part, given, EditOptions(sampler, sampler), torch.Generator(), progress)


@pytest.mark.parametrize(("steps", "tried"), [(STEPS, 1), (STEPS - 1, 2), (3, 2), (1, 1)])
def test_the_noise_that_points_at_the_best_outline_is_followed(steps: int, tried: int) -> None:
    """Many steps tell by their first, few by their second."""
    told, total = list[StepInfo](), NOISES * tried + steps
    good, none = (Stages([*places, *[0.3] * (NOISES - 4)]) for places in ([0.2, 0.0, 0.2, 0.3], [0.3, 0.2, 0.25, 0.4]))
    assert torch.equal(sampled(good, camera=True, progress=Progress(told.append), steps=steps), ball(0.3))
    assert (len(good.noises), good.followed, good.fitted) == (NOISES, [1], [1])
    assert [(step.step, step.total) for step in told] == [
        *((tried * (n + 1), total) for n in range(NOISES)), (total, total)
    ]  # fmt: skip
    middle = (sampled(none, camera=True, progress=Progress()).nonzero() + 0.5).mean(0) / SIDE - 0.5
    assert 0.2 - 2.2 / SIDE < float(middle[0]) < 0.2 - 0.5 / SIDE, "the nearest, and nearer still"
    assert (none.followed, none.fitted) == ([1], [1])


def test_without_a_camera_the_first_structure_is_taken_as_it_is() -> None:
    stages = Stages([0.3, 0.0])
    assert torch.equal(sampled(stages, camera=False, progress=Progress()), ball(0.3, x=0.3))
    assert (stages.followed, stages.fitted) == ([0], [])
