"""Where the parts of a family are evaluated: by GPU kernels if they work here, else by the reference `evaluate`."""

from functools import cache
from types import ModuleType

import torch
from torch import Tensor

from trellis.ops.checked_kernels import checked_kernels
from trellis.training.procedural import evaluate
from trellis.training.procedural.builder import Builder, Slots
from trellis.training.procedural.draws import Draws

_TOLERANCE = 1e-3  # of a distance, in units of the object's size
_AGREEMENT = 0.99  # share of points that must have the same owner


def distances(slots: Slots, points: Tensor) -> Tensor:
    """Signed distance [B, M] in world units at `points` [B, M, 3]."""
    return (kernels_for(points.device) or evaluate).distances(slots, points)


def surface_colors(slots: Slots, points: Tensor) -> tuple[Tensor, Tensor]:
    """Colour [B, M, 3] and gloss [B, M] of the nearest part at `points` [B, M, 3]."""
    kernels = kernels_for(points.device) or evaluate
    return evaluate.surface_colors(slots, *kernels.owners(slots, points))


@cache
def kernels_for(device: torch.device) -> ModuleType | None:
    """The kernels, if this device runs them and they agree with the reference on objects with every kind of part."""
    return checked_kernels(
        "trellis.training.procedural.kernels",
        device,
        agrees=lambda kernels: agrees(kernels, device),
        otherwise="shapes are evaluated without kernels",
    )


def agrees(kernels: ModuleType, device: torch.device) -> bool:
    """Whether distances, owners and traced rays of `kernels` are those of the reference."""
    slots = probe_slots(device)
    points = torch.rand(2, 500, 3, generator=torch.Generator().manual_seed(0)).to(device) - 0.5
    expected = evaluate.distances(slots, points)
    close = bool(((kernels.distances(slots, points) - expected).abs() < _TOLERANCE).all())
    (owner, local), (own, place) = evaluate.owners(slots, points), kernels.owners(slots, points)
    same = (owner == own) & ((local - place).abs().amax(-1) < _TOLERANCE)
    rays = torch.nn.functional.normalize(points, dim=-1)
    near, far = torch.zeros_like(expected), torch.full_like(expected, 2.0)
    t, hit = kernels.trace(slots, -rays, rays, near=near, far=far, steps=96, reach=1e-3)
    arrived = evaluate.distances(slots, -rays + t[..., None] * rays).abs() < 1e-2
    # Rays through the middle of a closed shape all hit it.
    return close and bool(same.float().mean() > _AGREEMENT) and bool((hit & arrived).float().mean() > _AGREEMENT)


def probe_slots(device: torch.device) -> Slots:
    """Two objects made of every primitive, fold and operation."""
    b = Builder(Draws(torch.tensor([1, 2])))
    plain = b.plain(b.palette.main)
    b.sphere(b.uniform(0.3, 0.4), plain)
    b.box((0.5, 0.3, 0.2), plain, grow=(-0.3, 0.2), shear=(0.1, 0.0), at=(0.1, 0.0, 0.5), blend=0.1)
    b.cylinder(0.2, 0.3, plain, top=0.1, rotate=(20.0, 30.0, 40.0), at=(0.5, 0.2, 0.0), mirror="x")
    b.capsule(0.2, 0.15, plain, top=0.1, at=(0.2, 0.6, 0.1), mirror="xy", present=b.chance(0.5))
    b.torus(0.5, 0.08, plain, half_angle=2.0, at=(0.0, 0.0, -0.5))
    b.ellipsoid((0.3, 0.2, 0.1), plain, at=(0.0, -0.5, -0.4), array=(0, 0.5, 3.0))
    b.cylinder(0.06, 0.2, plain, radial=(5.0, 0.5), at=(0.0, 0.0, 0.1))
    b.box((0.1, 0.1, 0.4), plain, at=(0.3, -0.3, 0.3), operation="subtract")
    b.sphere(0.4, plain, at=(0.0, -0.2, 0.0), operation="paint")
    return b.slots().to(device)
