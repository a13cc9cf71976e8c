"""What renderers of volumes return."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ColorImages:
    """color [V, 3, H, W] over the background, not clamped; alpha [V, H, W] coverage in [0, 1]."""

    color: Tensor
    alpha: Tensor
