"""Order of voxels along a space-filling curve."""

from torch import Tensor

from extensions.vox2seq import CURVES, curve_code
from trellis.errors import InvalidInputError

__all__ = ["CURVES", "serialize"]


def serialize(coords: Tensor, curve: str) -> Tensor:
    """Curve codes, int64 [n], of voxel coordinates [n, 3] in [0, 1024): sort by them to walk along `curve`.

    Raises InvalidInputError for a curve that is not in CURVES.
    """
    if curve not in CURVES:
        raise InvalidInputError(f"Unknown curve {curve!r}; choose one of {', '.join(CURVES)}.")
    return curve_code(coords, curve)
