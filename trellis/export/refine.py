"""The texture of mode `best`: the least squares fit to all pixels of all views, started at the closed form.

A pixel shows the bilinear mean of 2 x 2 texels, so the normal equations couple every texel with its eight neighbours
alone. They are gathered as images while the views pass by, and solved by conjugate gradients: no view is kept, no
random number is drawn, and a step costs a few image operations whatever the number of views.
"""

import torch
from torch import Tensor

from trellis.ops.rasterize import TriangleSamples, interpolate_attributes
from trellis.progress import Progress
from trellis.stages import Stage

# Sums of integers do not depend on the order of their terms, which a GPU does not keep.
FIXED_POINT = 1 << 16
# Offsets (rows, columns) of the neighbours that come later in the image, and the pairs of corners of a footprint
# that lie so; corners are numbered (0, 0), (0, 1), (1, 0), (1, 1).
NEIGHBOURS = (((0, 1), ((0, 1), (2, 3))), ((1, 0), ((0, 2), (1, 3))), ((1, 1), ((0, 3),)), ((1, -1), ((1, 2),)))
STEPS = 40  # of conjugate gradients
# The cost of a correction's slope between texels and of its size, relative to one pixel that sees a texel straight on.
# Where texels are finer than the pixels, the slope spreads what the pixels say.
SMOOTHNESS, PRIOR = 0.1, 0.02


class TextureEquations:
    """The normal equations of a size x size texture, gathered view by view.

    uvs [V, 2] (origin top left) and faces [F, 3] of the unwrapped mesh, whose faces the views' samples number.
    """

    def __init__(self, uvs: Tensor, faces: Tensor, size: int) -> None:
        self.uvs, self.faces, self.size = uvs, faces, size
        integers = {"dtype": torch.int32, "device": uvs.device}
        self._diagonal = torch.zeros(size * size, **integers)  # type: ignore[call-overload]
        self._couplings = torch.zeros(len(NEIGHBOURS), size * size, **integers)  # type: ignore[call-overload]
        self._target = torch.zeros(3, size * size, **integers)  # type: ignore[call-overload]

    def add(self, samples: TriangleSamples, colors: Tensor, weights: Tensor) -> None:
        """Add the pixels of a view: faces behind them, `colors` [S, S, 3] in [0, 1] and `weights` [S, S] in [0, 1]."""
        used = (weights.reshape(-1) > 0).nonzero().squeeze(1)
        uvs = interpolate_attributes(samples, self.faces, self.uvs).reshape(-1, 2)[used]
        weight, color = weights.reshape(-1)[used], colors.reshape(-1, 3)[used]
        place = (uvs * self.size - 0.5).clamp(0, self.size - 1)
        corner = place.floor().clamp(max=self.size - 2).long()
        x, y = (place - corner).unbind(1)
        parts = torch.stack([(1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x])
        base = corner[:, 1] * self.size + corner[:, 0]
        shifts = (0, 1, self.size, self.size + 1)
        for part, shift in zip(parts, shifts):
            at = base + shift
            self._diagonal.index_add_(0, at, _fixed(weight * part * part))
            for channel in range(3):
                self._target[channel].index_add_(0, at, _fixed(weight * part * color[:, channel]))
        for number, (_, pairs) in enumerate(NEIGHBOURS):
            for first, second in pairs:
                self._couplings[number].index_add_(
                    0, base + shifts[first], _fixed(weight * parts[first] * parts[second])
                )

    def system(self) -> tuple[Tensor, Tensor, Tensor]:
        """Diagonal [S, S], couplings [4, S, S] to NEIGHBOURS and right-hand side [3, S, S], float32."""
        shape = (self.size, self.size)
        return tuple(
            (values.float() / FIXED_POINT).reshape(*values.shape[:-1], *shape)
            for values in (self._diagonal, self._couplings, self._target)
        )


def _fixed(values: Tensor) -> Tensor:
    return (values * FIXED_POINT).round().int()


def refine_texture(start: Tensor, surface: Tensor, *, equations: TextureEquations, progress: Progress) -> Tensor:
    """The texture [S, S, 3] in [0, 1] that fits the pixels best, near `start` [S, S, 3].

    surface [S, S] bool: texels on the surface; those around them that filtering reaches are fitted too. Minimises
    sum weight (bilinear texture - pixel)^2 + SMOOTHNESS sum (slope of the correction)^2 + PRIOR sum correction^2.
    Reports each step of conjugate gradients (Hestenes and Stiefel 1952, Jacobi preconditioner) and can be cancelled
    there.
    """
    start = start.permute(2, 0, 1)
    diagonal, couplings, target = equations.system()
    residual = target - _apply(diagonal, couplings, start)
    active = surface | (diagonal > 0)
    for number, ((rows, columns), _) in enumerate(NEIGHBOURS[:2]):
        tied = SMOOTHNESS * (active & _shifted(active, rows, columns)).float()
        couplings[number] -= tied
        diagonal += tied + _shifted(tied, -rows, -columns)
    diagonal = diagonal + PRIOR
    scale = active / diagonal
    correction = torch.zeros_like(start)
    direction = scaled = residual * scale
    norm = (residual * scaled).sum((1, 2), keepdim=True)
    for _ in progress.steps(Stage.REFINE, STEPS):
        image = _apply(diagonal, couplings, direction) * active
        length = norm / (direction * image).sum((1, 2), keepdim=True).clamp_min(1e-20)
        correction = correction + length * direction
        residual = residual - length * image
        scaled = residual * scale
        following = (residual * scaled).sum((1, 2), keepdim=True)
        direction = scaled + following / norm.clamp_min(1e-20) * direction
        norm = following
    return (start + correction).clamp(0, 1).permute(1, 2, 0)


def _apply(diagonal: Tensor, couplings: Tensor, values: Tensor) -> Tensor:
    """The matrix times `values` [3, S, S]."""
    result = diagonal * values
    for coupling, ((rows, columns), _) in zip(couplings, NEIGHBOURS):
        result += coupling * _shifted(values, rows, columns)
        result += _shifted(coupling * values, -rows, -columns)
    return result


def _shifted(values: Tensor, rows: int, columns: int) -> Tensor:
    """values[..., y + rows, x + columns] at (y, x), zero from outside."""
    height, width = values.shape[-2:]
    result = torch.zeros_like(values)
    low_y, high_y = max(0, -rows), height - max(0, rows)
    low_x, high_x = max(0, -columns), width - max(0, columns)
    result[..., low_y:high_y, low_x:high_x] = values[
        ..., low_y + rows : high_y + rows, low_x + columns : high_x + columns
    ]
    return result
