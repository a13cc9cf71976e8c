"""What models are compared by over time: fixed objects that none is ever trained on."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from trellis.training.procedural import HELD_OUT_SEEDS

# The families of the first model, in the order that its held-out objects were drawn in.
KNOWN = (
    "chair", "table", "sofa", "mug", "lamp", "bottle", "teapot", "cake", "sword", "guitar", "car", "aeroplane", "boat",
    "rocket", "mushroom", "cactus", "robot", "snowman", "fish", "bear", "house", "lighthouse",
)  # fmt: skip
LEFT_OUT = ("windmill", "truck", "bird", "castle", "hammer")  # never trained on: `hold_out` of every configuration
FINE = "patterned"  # the program whose objects carry fine patterns
_LEFT_OUT_SEED, _FINE_SEED = 1 << 20, 1 << 21  # from the first held-out one


@dataclass(frozen=True)
class HeldOutSet:
    """Objects of the evaluation: the name of their group, their seeds and the programs that these choose from."""

    group: str
    seeds: Tensor
    programs: tuple[str, ...]


def held_out_sets(*, known: int, left_out: int, fine: int) -> Iterator[HeldOutSet]:
    """Objects of known families, of each family left out, and with fine patterns; the first ones of each set."""
    first = HELD_OUT_SEEDS.start
    yield HeldOutSet("held_out", torch.arange(first, first + known), KNOWN)
    for family in LEFT_OUT:
        start = first + _LEFT_OUT_SEED
        yield HeldOutSet("left_out_family", torch.arange(start, start + left_out), (family,))
    yield HeldOutSet("fine_patterns", torch.arange(first + _FINE_SEED, first + _FINE_SEED + fine), (FINE,))
