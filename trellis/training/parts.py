"""Training on parts: of some objects a box alone is made and the rest is known, as it is in an edit."""

from collections.abc import Callable

import torch
from torch import Tensor

Network = Callable[[Tensor], Tensor]


def random_boxes(count: int, side: int, generator: torch.Generator) -> Tensor:
    """Bool [count, side, side, side]: in each one box of any size, on the generator's device."""
    device = generator.device
    sizes = torch.randint(1, side + 1, (count, 3, 1), generator=generator, device=device)
    low = (torch.rand(count, 3, 1, generator=generator, device=device) * (side + 1 - sizes)).long()
    cells = torch.arange(side, device=device)
    x, y, z = ((cells >= low) & (cells < low + sizes)).unbind(1)
    return x[:, :, None, None] & y[:, None, :, None] & z[:, None, None, :]


@torch.no_grad()
def known_values(latents: Tensor, made: Tensor, *, decode: Network, encode: Network) -> Tensor:
    """Latents [B, C, r, r, r] of the objects without what lies in the cells `made` [B, 1, r, r, r].

    An edit knows the object without its part, so the cells beside it must not tell of the part. decode: latents to
    logits [B, 1, R, R, R]; encode: occupancy, as float, to latents.
    """
    logits = decode(latents)
    cut = torch.nn.functional.interpolate(made.float(), size=logits.shape[-3:]) > 0
    return encode(((logits > 0) & ~cut).float())
