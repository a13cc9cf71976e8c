"""The lights of the published training pictures on an object in the unit cube, without shadows.

A point of 1000 W at (4, 1, 6), an area of 100 x 100 with 10,000 W above, which is a hemisphere to the object, and an
area of 1 x 1 with 1000 W at (0, 0, -10) that faces it. Cycles, which drew those pictures, gives a point P / (4 pi)
watts a steradian, and an area of size A the radiance P / (4 A).
"""

import math

import torch.nn.functional as F
from torch import Tensor

POINT, POINT_WATTS = (4.0, 1.0, 6.0), 1000.0
TOP_RADIANCE = 10_000.0 / (4 * 100 * 100)
BOTTOM, BOTTOM_WATTS = (0.0, 0.0, -10.0), 1000.0


def studio_light(points: Tensor, normals: Tensor) -> Tensor:
    """What a white matt surface sends back, [n, 1] in linear light, at `points` [n, 3] with unit `normals` [n, 3]."""
    to_point, to_bottom = (normals.new_tensor(place) - points for place in (POINT, BOTTOM))
    point = POINT_WATTS / (4 * math.pi) * _received(to_point, normals) / math.pi
    top = TOP_RADIANCE * (1 + normals[:, 2:]) / 2
    facing = F.normalize(to_bottom, dim=1)[:, 2:].neg()  # the cosine on the light's own side
    bottom = BOTTOM_WATTS / 4 * facing * _received(to_bottom, normals) / math.pi
    return point + top + bottom


def _received(towards: Tensor, normals: Tensor) -> Tensor:
    """The cosine over the square of the distance, [n, 1]."""
    squared = (towards * towards).sum(1, keepdim=True)
    return (normals * towards).sum(1, keepdim=True).clamp_min(0) / squared**1.5
