"""Optimisers of a run: AdamW for everything, or Muon for matrices and AdamW for the rest."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trellis.runtime import is_gpu
from trellis.training.config import OptimizerConfig

_SMALLEST = 16  # a matrix with a shorter side than this is left to AdamW
_POLYNOMIAL = (3.4445, -4.7750, 2.0315)
_STEPS = 5  # of the iteration
_GPU_SIDES = (256, 1024)  # the shorter and the longer side of a matrix become multiples of these


class Muon(torch.optim.Optimizer):
    """Momentum whose matrix is replaced by the nearest (semi-)orthogonal one: all directions move at one speed.

    Nesterov momentum, five Newton-Schulz steps (on a GPU in bfloat16), steps scaled by sqrt(max(1, rows / columns)),
    decoupled weight decay (source: "Muon: an optimizer for hidden layers in neural networks", 2024).
    """

    def __init__(self, parameters: list[nn.Parameter], *, lr: float, momentum: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            matrices: list[Tensor] = [parameter for parameter in group["params"] if parameter.grad is not None]
            if matrices:
                self._update(matrices, group)

    def _update(self, matrices: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [matrix.grad for matrix in matrices if matrix.grad is not None]
        for matrix in matrices:
            if not self.state[matrix]:
                self.state[matrix]["momentum_buffer"] = torch.zeros_like(matrix)
        buffers = [self.state[matrix]["momentum_buffer"] for matrix in matrices]
        torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])
        directions = orthogonal_directions(torch._foreach_lerp(gradients, buffers, group["momentum"]))
        scales = [-group["lr"] * max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5 for matrix in matrices]
        torch._foreach_mul_(directions, scales)
        torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(matrices, directions)


def orthogonal_directions(matrices: Sequence[Tensor]) -> list[Tensor]:
    """`orthogonalized` of matrices of any shapes, in their own type.

    Those of one shape are worked on together. On a GPU many are filled up with zeros to few shapes: they stay zeros,
    and a step of the embedded model waits for some 60 kernels instead of 600.
    """
    # Few processors multiply bfloat16 in hardware: without, a step of the embedded model takes half a minute.
    fast = is_gpu(matrices[0].device)
    rough, kind = (_GPU_SIDES, torch.bfloat16) if fast else ((1, 1), torch.float32)
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, matrix in enumerate(matrices):
        sides = zip(sorted(matrix.shape), rough)
        groups[tuple(-(-side // unit) * unit for side, unit in sides)].append(number)
    directions = list(matrices)
    for (short, long), numbers in groups.items():
        wide = [_wide(matrices[number]) for number in numbers]
        stacked = torch.zeros(len(wide), short, long, dtype=kind, device=wide[0].device)
        places = [whole[: one.shape[0], : one.shape[1]] for whole, one in zip(stacked, wide)]
        torch._foreach_copy_(places, wide)
        for number, whole in zip(numbers, orthogonalized(stacked)):
            shape = matrices[number].shape
            found = whole[: min(shape), : max(shape)]
            directions[number] = (found if shape[0] <= shape[1] else found.mT).to(matrices[number].dtype)
    return directions


def _wide(matrix: Tensor) -> Tensor:
    return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT


def orthogonalized(matrices: Tensor) -> Tensor:
    """Nearly the orthogonal factors of wide `matrices` [n, rows, columns], singular values within 0.7..1.2."""
    x = matrices / matrices.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    a, b, c = _POLYNOMIAL
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def create_optimizers(
    parameters: list[nn.Parameter], config: OptimizerConfig, *, device: torch.device
) -> list[torch.optim.Optimizer]:
    """What `config.name` says, every group with its highest rate as `rate`."""
    matrices = [p for p in parameters if config.name == "muon" and p.ndim == 2 and min(p.shape) > _SMALLEST]
    chosen = {id(p) for p in matrices}
    rest = [p for p in parameters if id(p) not in chosen]
    optimizers: list[torch.optim.Optimizer] = []
    if rest:
        adam = torch.optim.AdamW(
            rest,
            lr=config.learning_rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
            fused=is_gpu(device),
        )
        optimizers.append(adam)
    if matrices:
        optimizers.append(
            Muon(matrices, lr=config.matrix_rate, momentum=config.momentum, weight_decay=config.matrix_decay)
        )
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["rate"] = group["lr"]
    return optimizers


def set_rates(optimizers: list[torch.optim.Optimizer], share: float) -> None:
    """Every group at this share of its highest rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * share
