"""Optimisers of a run: AdamW for everything, or Muon for matrices and AdamW for the rest."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trellis.runtime import is_gpu
from trellis.training.config import OptimizerConfig

_SMALLEST = 16  # a matrix with a shorter side than this is left to AdamW
_POLYNOMIAL = (3.4445, -4.7750, 2.0315)
_STEPS = 5  # of the iteration


class Muon(torch.optim.Optimizer):
    """Momentum whose matrix is replaced by the nearest (semi-)orthogonal one: all directions move at one speed.

    Nesterov momentum, five Newton-Schulz steps in bfloat16, steps scaled by sqrt(max(1, rows / columns)), decoupled
    weight decay (source: "Muon: an optimizer for hidden layers in neural networks", 2024). Matrices of one shape are
    worked on together, which saves an accelerator most of the launches.
    """

    def __init__(self, parameters: list[nn.Parameter], *, lr: float, momentum: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[parameter.shape].append(parameter)
            for shape, matrices in shapes.items():
                self._update(matrices, group, max(1.0, shape[0] / shape[1]) ** 0.5)

    def _update(self, matrices: list[Tensor], group: dict[str, Any], scale: float) -> None:
        gradients = [matrix.grad for matrix in matrices if matrix.grad is not None]
        for matrix in matrices:
            if not self.state[matrix]:
                self.state[matrix]["momentum_buffer"] = torch.zeros_like(matrix)
        buffers = [self.state[matrix]["momentum_buffer"] for matrix in matrices]
        torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, buffers, group["momentum"])
        directions = orthogonalized(torch.stack(ahead)).to(matrices[0].dtype)
        torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(matrices, list(directions.unbind()), alpha=-group["lr"] * scale)


def orthogonalized(matrices: Tensor) -> Tensor:
    """Nearly the orthogonal factors of `matrices` [n, rows, columns], singular values within about 0.7..1.2."""
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x = matrices.bfloat16() if wide else matrices.bfloat16().mT
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    a, b, c = _POLYNOMIAL
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.mT


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
