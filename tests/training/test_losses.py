"""Values and gradients of the losses, on cases that can be worked out by hand."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from trellis.models import SamplerConfig
from trellis.sampling.schedule import TIME_SCALE
from trellis.training import losses, mesh_loss
from trellis.training.few_steps import LATENTS, STRUCTURES, draw_times, visited
from trellis.training.generate import sample_structure
from trellis.training.targets import LATTICE, encode_unit

GENERATOR = torch.Generator().manual_seed(3)


def random(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=GENERATOR, dtype=torch.float64)


def test_divergence_of_known_gaussians() -> None:
    zero = torch.zeros(3, 4)
    assert float(losses.kl_divergence(zero, zero)) == 0
    assert float(losses.kl_divergence(zero + 1, zero)) == pytest.approx(0.5)
    variance = 4.0
    wide = losses.kl_divergence(zero, zero + math.log(variance))
    assert float(wide) == pytest.approx(0.5 * (variance - 1 - math.log(variance)))


def test_occupancy_losses_know_right_from_wrong() -> None:
    truth = torch.zeros(2, 1, 4, 4, 4, dtype=torch.bool)
    truth[:, :, :2] = True
    right = torch.where(truth, 20.0, -20.0)
    assert float(losses.dice(right, truth)) < 1e-3 < 0.9 < float(losses.dice(-right, truth))
    assert float(losses.occupancy_bce(right, truth)) < 1e-6
    assert float(losses.occupancy_bce(-right, truth)) == pytest.approx(20)
    assert float(losses.occupancy_bce(torch.zeros_like(right), truth)) == pytest.approx(math.log(2))
    for loss in (losses.dice, losses.occupancy_bce):
        logits = torch.zeros(truth.shape, requires_grad=True)
        (gradient,) = torch.autograd.grad(loss(logits, truth), logits)
        assert bool((gradient[truth] < 0).all()) and bool((gradient[~truth] > 0).all())


def test_dice_weighs_objects_equally() -> None:
    truth = torch.zeros(2, 1000, dtype=torch.bool)
    truth[0, :900], truth[1, :10] = True, True
    logits = torch.where(truth, 20.0, -20.0)
    logits[1] *= -1  # the small object is all wrong
    assert float(losses.dice(logits, truth)) == pytest.approx(0.5, abs=0.01)


def test_velocity_is_the_derivative_of_the_path() -> None:
    x0, noise, t = random(2, 5), random(2, 5), torch.tensor([[0.2], [0.7]], dtype=torch.float64)
    step = 1e-6
    ahead, velocity = losses.noised(x0, noise, t + step)
    behind, _ = losses.noised(x0, noise, t - step)
    assert torch.allclose((ahead - behind) / (2 * step), velocity, atol=1e-6)
    start, _ = losses.noised(x0, noise, torch.zeros(1, 1, dtype=torch.float64))
    end, _ = losses.noised(x0, noise, torch.ones(1, 1, dtype=torch.float64))
    assert torch.allclose(start, x0 + losses.SIGMA * noise) and torch.allclose(end, noise)


def test_a_flow_settles_at_the_guidance_that_it_learns() -> None:
    """What follows its own target, as training makes a flow do, ends at (1 + w) v(cond) - w v(null)."""
    cond, null = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 0.5])
    found = cond
    for _ in range(60):
        found = losses.guided_target(cond, found, null, 3.0)
    assert torch.allclose(found, 4 * cond - 3 * null, atol=1e-5)
    assert torch.equal(losses.guided_target(cond, null, null, 3.0), cond)


def test_times_are_logit_normal() -> None:
    t = losses.logit_normal(20_000, torch.Generator().manual_seed(0), torch.device("cpu"))
    assert float(t.min()) > 0 and float(t.max()) < 1
    logits = torch.logit(t.double())
    assert float(logits.mean()) == pytest.approx(1, abs=0.03) and float(logits.std()) == pytest.approx(1, abs=0.03)


def test_a_share_of_the_times_are_those_of_few_steps() -> None:
    few, draws = torch.tensor([1.0, 0.75, 0.5]), torch.Generator().manual_seed(0)
    t = draw_times(20_000, few, 0.6, draws)
    for time in few:
        assert float((t == time).float().mean()) == pytest.approx(0.2, abs=0.01)
    rest = torch.logit(t[~torch.isin(t, few)].double())
    assert float(rest.mean()) == pytest.approx(1, abs=0.05) and float(rest.std()) == pytest.approx(1, abs=0.05)
    assert not torch.isin(draw_times(20_000, few, 0.0, draws), few).any()


@pytest.mark.parametrize("sampler", [STRUCTURES, LATENTS, replace(LATENTS, steps=25), replace(STRUCTURES, steps=1)])
def test_times_of_few_steps_are_those_that_a_sampling_visits(sampler: SamplerConfig) -> None:
    """The flow below tells at which times it was asked."""
    asked: list[float] = []

    class Flow(nn.Module):
        config = SimpleNamespace(resolution=2, in_channels=3)

        def forward(self, x: torch.Tensor, t: torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
            asked.extend(t.tolist())
            return x

    sample_structure(Flow(), torch.ones(1, 1, 1), sampler=sampler, seed=0)
    assert sorted({t / TIME_SCALE for t in asked}) == pytest.approx(sorted(visited(sampler)))


def test_weighted_mean_broadcasts_its_weights() -> None:
    values = torch.tensor([[1.0, 3.0], [10.0, 30.0]])
    assert float(losses.weighted_mean(values, torch.tensor([[3.0], [1.0]]))) == pytest.approx((3 * 4 + 40) / 8)
    assert float(losses.surface_weight(torch.zeros(1), 0.3)) == pytest.approx(1)
    assert float(losses.surface_weight(torch.ones(1) * 9, 0.3)) == pytest.approx(0.05)


def test_disc_rotation_is_zero_along_the_normal_and_pulls_from_a_right_angle() -> None:
    upright = torch.tensor([[1.0, 0, 0, 0]])
    half = math.sqrt(0.5)
    normals = torch.tensor([[0, 0, 1.0], [0, 0, -1.0], [1.0, 0, 0], [0, half, half], [0, half, -half]])
    rotations = upright.repeat(5, 1).requires_grad_()
    found = losses.disc_rotation(rotations, normals)
    assert found.tolist() == pytest.approx([0, 0, 1, 1 - half, 1 - half], abs=1e-6)
    (gradient,) = torch.autograd.grad(found[2], rotations)
    assert float(gradient[2].norm()) > 0.5


def test_trivec_weights_interpolate_linearly() -> None:
    depth = 8
    centres = (torch.arange(depth, dtype=torch.float64) + 0.5) / depth
    # Vectors that are linear in the position: their products are known everywhere, also beyond the outer centres.
    trivec = torch.stack([centres, 2 - centres, 1 + 3 * centres]).expand(2, 1, 3, depth).clone()
    places = random(2, 50, 3)
    x, y, z = places.unbind(-1)
    assert torch.allclose(losses.trivec_weights(trivec, places)[..., 0], x * (2 - y) * (1 + 3 * z))


def test_gradients_are_those_of_the_values() -> None:
    trivec = (random(2, 3, 3, 4) + 0.5).requires_grad_()
    places = random(2, 5, 3)
    assert torch.autograd.gradcheck(lambda v: losses.trivec_weights(v, places), (trivec,))
    values, weights = random(6, 2).requires_grad_(), random(6, 1) + 0.1
    assert torch.autograd.gradcheck(lambda v: losses.weighted_mean(v, weights), (values,))
    sdf = random(1, 64, 8).requires_grad_()
    index = mesh_loss.corner_index(torch.device("cpu"))
    assert torch.autograd.gradcheck(lambda v: mesh_loss.corner_spread(v, index), (sdf,))


def mesh_case(resolution: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Decoder output that is exactly right for random targets of two coarse voxels, and the targets."""
    count, corners = 2, LATTICE**3
    distance = (random(count, corners).float() - 0.5) * 0.4
    color, normal = (encode_unit(random(count, corners, 3) * 0.9 + 0.05) for _ in range(2))
    index = mesh_loss.corner_index(torch.device("cpu"))
    feats = torch.zeros(count, 64, 101)
    feats[..., :8] = mesh_loss.target_sdf(distance, resolution)[:, index]
    attributes = torch.cat([color, normal], -1).float()[:, index] / 255
    feats[..., 53:] = torch.logit(attributes).flatten(2)
    return feats.flatten(0, 1), {"distance": distance, "color": color, "normal": normal}


def test_mesh_losses_vanish_at_the_targets_alone() -> None:
    feats, targets = mesh_case(32)
    right = mesh_loss.mesh_losses(feats, **targets, resolution=32)
    assert {name for name, value in right.items() if float(value) > 1e-5} == set()
    changes = {"mesh_sdf": slice(0, 8), "mesh_rest": slice(8, 53), "mesh_color": 53, "mesh_normal": 56}
    for name, channels in changes.items():
        wrong = feats.clone()
        wrong[:, channels] += 0.5
        found = mesh_loss.mesh_losses(wrong, **targets, resolution=32)
        assert {key for key, value in found.items() if float(value) > 1e-3} == {name}


def test_corners_that_disagree_cost() -> None:
    feats, targets = mesh_case(32)
    feats[5, 2] += 1.0  # one fine voxel's opinion of a corner that it shares
    spread = mesh_loss.mesh_losses(feats, **targets, resolution=32)["mesh_consistency"]
    # Of k equal opinions, one moved by 1 spreads them by (k - 1) / k in squares.
    index = mesh_loss.corner_index(torch.device("cpu"))
    shared = int((index == index[5, 2]).sum())
    assert shared > 1
    assert float(spread) == pytest.approx((shared - 1) / shared / (2 * 64 * 8), rel=1e-3)


def test_the_clean_sample_is_where_the_path_began() -> None:
    generator = torch.Generator().manual_seed(3)
    x0, noise = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64).unbind(0)
    t = torch.tensor([[1.0], [0.7], [0.01], [0.4]], dtype=torch.float64)
    x_t, velocity = losses.noised(x0, noise, t)
    assert torch.allclose(losses.clean(x_t, velocity, t), x0, atol=1e-9)
