"""Plain bodies with fine patterns: narrow stripes, small spots, checks, painted bands and letters."""

import torch

from trellis.training.procedural.builder import Builder
from trellis.training.procedural.generic.coats import any_color, contrasting, one_of
from trellis.training.procedural.generic.letters import glyph
from trellis.training.procedural.palettes import CHECKS, DOTS, STRIPES


def patterned(b: Builder) -> None:
    """A box, drum, egg, vase or cushion, all over with one pattern, a band and a row of letters."""
    color = any_color(b)
    other = contrasting(b, color)
    fine = (0.1, 0.26)
    body = b.pattern(color, other, axis=None, chance=1.0, period=fine, kinds=(STRIPES, STRIPES, DOTS, DOTS, CHECKS))
    boxes, drum, egg, vase, soft = one_of(b, 5)
    w, d, h = b.uniform(0.4, 0.9), b.uniform(0.4, 0.8), b.uniform(0.5, 1.0)
    b.box((w, d, h), body, rounding=b.uniform(0.02, 0.2), present=boxes)
    b.cylinder(w, h, body, rounding=0.06, top=w * b.uniform(0.6, 1.1), present=drum)
    b.ellipsoid((w, w, h), body, present=egg)
    b.cylinder(w * 0.6, h / 2, body, top=w, at=(0, 0, -h / 2), present=vase, blend=0.1)
    b.cylinder(w, h / 2, body, top=w * 0.4, at=(0, 0, h / 2), present=vase, blend=0.1)
    b.box((w, d * 0.5, h), body, rounding=0.3, grow=(b.uniform(-0.2, 0.2), 0.0), present=soft)
    plain = b.plain(contrasting(b, other))
    b.torus(w, 0.08, plain, at=(0, 0, h), present=drum & b.chance(0.5))
    b.sphere(0.15, plain, at=(0, 0, h + 0.1), present=(egg | vase) & b.chance(0.5))
    banded = b.chance(0.5)
    at = h * b.uniform(-0.5, 0.5)
    b.box((2, 2, b.uniform(0.12, 0.3)), b.plain(color), at=(0, 0, at), present=banded, operation="paint")
    lettered, deep = b.chance(0.5), torch.full((b.count,), 2.0)
    ink = b.plain(torch.where((banded | b.chance(0.5))[:, None], contrasting(b, color), other))
    size, zero = b.uniform(0.3, 0.5), torch.zeros(b.count)
    for place in (-1, 0, 1):
        x = zero + place * size * 0.8
        # Through the whole body: the letters stand on its back too, mirrored, as on a printed cloth.
        glyph(b, (x, zero, at), height=size, width=size * 0.11, depth=deep, material=ink, present=lettered,
              operation="paint")  # fmt: skip
