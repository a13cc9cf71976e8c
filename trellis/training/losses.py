"""Losses as functions of predictions and targets."""

import torch
import torch.nn.functional as F
from torch import Tensor

from trellis.geometry.rotations import quaternion_to_matrix
from trellis.training.released_config import Times

SIGMA = 1e-5  # the smallest noise of flow matching
_STEEP = -0.6  # height of a normal below which a disc lies on its other face


def kl_divergence(mean: Tensor, logvar: Tensor) -> Tensor:
    """Mean over elements of KL(N(mean, exp(logvar)) || N(0, 1))."""
    mean, logvar = mean.float(), logvar.float()
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()


def occupancy_bce(logits: Tensor, occupied: Tensor) -> Tensor:
    """Binary cross entropy of logits and occupancy of the same shape."""
    return F.binary_cross_entropy_with_logits(logits.float(), occupied.float())


def dice(logits: Tensor, occupied: Tensor) -> Tensor:
    """1 - dice coefficient a sample, mean over the batch; [B, ...]."""
    probability, truth = logits.float().sigmoid().flatten(1), occupied.float().flatten(1)
    shared = (probability * truth).sum(1)
    return (1 - (2 * shared + 1) / (probability.sum(1) + truth.sum(1) + 1)).mean()


def batch_dice(logits: Tensor, occupied: Tensor) -> Tensor:
    """1 - dice coefficient of all objects of a batch together (docs/developer/model-facts.md, section 11)."""
    probability, truth = logits.float().sigmoid(), occupied.float()
    return 1 - (2 * (probability * truth).sum() + 1) / (probability.sum() + truth.sum() + 1)


def occupancy_l1(logits: Tensor, occupied: Tensor) -> Tensor:
    """Mean distance of probabilities and occupancy."""
    return F.l1_loss(logits.float().sigmoid(), occupied.float())


OCCUPANCY = {"dice": batch_dice, "bce": occupancy_bce, "l1": occupancy_l1}


def draw_time(schedule: Times, draws: torch.Generator) -> float:
    """A time in (0, 1) of a flow."""
    if schedule.name == "uniform":
        return float(torch.rand((), generator=draws))
    value = schedule.args.mean + schedule.args.std * torch.randn((), generator=draws)
    return float(torch.sigmoid(value))


def logit_normal(count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Times [count] in (0, 1): sigmoid of N(1, 1) (docs/developer/model-facts.md, section 11)."""
    return torch.sigmoid(1 + torch.randn(count, generator=generator, device=device))


def noised(x0: Tensor, noise: Tensor, t: Tensor, *, sigma: float = SIGMA) -> tuple[Tensor, Tensor]:
    """x_t and the velocity target of flow matching; `t` broadcasts against `x0`, `sigma` is the smallest noise.

    Source: docs/developer/model-facts.md, section 11.
    """
    x_t = (1 - t) * x0 + (sigma + (1 - sigma) * t) * noise
    return x_t, (1 - sigma) * noise - x0


def clean(x_t: Tensor, velocity: Tensor, t: Tensor, *, sigma: float = SIGMA) -> Tensor:
    """The clean sample that `velocity` at `x_t` points at; the inverse of `noised`."""
    return (1 - sigma) * x_t - (sigma + (1 - sigma) * t) * velocity


def guided_target(target: Tensor, predicted: Tensor, null: Tensor, strength: float) -> Tensor:
    """The velocity target of a flow that shall have guidance of `strength` by itself; all [B, ...] or [N, C].

    predicted, null: what the flow says now with and without the condition. Where both are equal, the condition being
    dropped, the target stays; elsewhere the flow settles at `(1 + strength) v(cond) - strength v(null)`.
    Source: model guidance (arXiv:2502.12154), with the flow itself instead of its average.
    """
    return target + strength / (1 + strength) * (predicted.detach() - null)


def surface_weight(distance: Tensor, reach: float) -> Tensor:
    """1 at the surface, falling to 0.05 beyond about `reach` (units of `distance`)."""
    return 0.05 + 0.95 * torch.exp(-(distance / reach).square())


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Sum(values * weights) / sum(weights); weights broadcast."""
    return (values * weights).sum() / weights.expand_as(values).sum().clamp_min(1e-6)


def disc_rotation(rotations: Tensor, normals: Tensor) -> Tensor:
    """1 - cos of the angle between the third axis of unit quaternions [n, 4] and `normals` [n, 3]: [n].

    A disc has two faces, but its sign-free 1 - cos^2 has no gradient where a disc starts: lying, on an upright wall.
    So the axis follows the normal, and the opposite one where that points steeply down, so that no disc has to turn
    over; the jump is at an angle that few surfaces have.
    """
    axis = quaternion_to_matrix(rotations)[..., 2]
    upward = torch.where(normals[..., 2:] < _STEEP, -normals, normals)
    return 1 - (axis * upward).sum(-1)


def trivec_weights(trivec: Tensor, places: Tensor) -> Tensor:
    """Products of three interpolated vectors [n, S, R] for `trivec` [n, R, 3, D] at `places` [n, S, 3] in [0, 1]^3.

    Position u maps to u * D - 0.5, the cell is limited to [0, D - 2], linear beyond. Source:
    docs/developer/model-facts.md, section 15.
    """
    depth = trivec.shape[-1]
    position = places * depth - 0.5
    cell = position.floor().clamp(0, depth - 2)
    share = (position - cell).unsqueeze(2)  # [n, S, 1, 3]
    index = cell.long().transpose(1, 2).unsqueeze(1).expand(-1, trivec.shape[1], -1, -1)  # [n, R, 3, S]
    low = trivec.gather(3, index).permute(0, 3, 1, 2)
    high = trivec.gather(3, index + 1).permute(0, 3, 1, 2)
    return (low + (high - low) * share).prod(-1)
