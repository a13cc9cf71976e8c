"""The closed set of backgrounds."""

import torch
from torch import Tensor

from trellis.errors import InvalidInputError

BACKGROUNDS = {"black": 0.0, "white": 1.0, "grey": 0.5}


def background_color(background: str | tuple[float, float, float]) -> Tensor:
    """RGB [3] float32 of a named background or of an (r, g, b) in 0..1; raises InvalidInputError for others."""
    if isinstance(background, str):
        if background not in BACKGROUNDS:
            raise InvalidInputError(f"Unknown background {background!r}; choose one of {', '.join(BACKGROUNDS)}.")
        return torch.full((3,), BACKGROUNDS[background])
    if len(background) != 3 or not all(0 <= channel <= 1 for channel in background):
        raise InvalidInputError(f"A background is a name or three numbers in 0..1, not {background!r}.")
    return torch.tensor(background, dtype=torch.float32)
