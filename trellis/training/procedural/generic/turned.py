"""Profiles turned on a lathe: solid ones (pawns, spindles, balusters, tops) and hollow ones (vases, bowls, cups)."""

import math

import torch
from torch import Tensor

from trellis.training.procedural.builder import Builder
from trellis.training.procedural.generic.coats import coat, one_of

_SEGMENTS = 8


def _profile(b: Builder, count: int) -> Tensor:
    """Radii [count + 1, B] from the foot to the top: a slow wave, or steps of their own."""
    wave, phase, swing = b.uniform(0.5, 2.5), b.uniform(0, 2 * math.pi), b.uniform(0.15, 0.8)
    taper, rough = b.uniform(-0.5, 0.4), b.uniform(0.0, 1.0) ** 2 * 0.6
    radii = []
    for index in range(count + 1):
        place = index / count
        smooth = 1 + swing * (2 * math.pi * wave * place + phase).sin() + taper * place
        radii.append((smooth * (1 + rough * b.uniform(-1, 1))).clamp_min(0.12))
    return torch.stack(radii) * b.uniform(0.25, 0.75)


def _frame(b: Builder) -> Tensor:
    """Rotations [B, 3, 3]: most things stand, some lie across or towards the viewer."""
    upright = torch.eye(3)
    across = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    towards = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    return b.draws.choose(torch.stack([upright] * 6 + [across, towards]))


def _along(frame: Tensor, z: Tensor) -> list[Tensor]:
    """The point at height `z` [B] of a turned axis, as coordinates."""
    return list((frame[:, :, 2] * z[:, None]).unbind(-1))


def turned(b: Builder) -> None:
    """Two to eight conical slices on one axis, grooves or studs around it."""
    radii, frame, coats = _profile(b, _SEGMENTS), _frame(b), [coat(b), coat(b), coat(b, chance=0.7)]
    count, height, z = b.integer(2, _SEGMENTS), b.uniform(0.6, 2.4), torch.zeros(b.count)
    stepped, widest, stop = b.chance(0.25), radii[0], b.uniform(0.0, 1.0)
    for index in range(_SEGMENTS):
        present, half = count > index, height / count * b.uniform(0.3, 0.7)
        top = torch.where(stepped, radii[index], radii[index + 1])
        material = torch.where(b.chance(0.6)[:, None], coats[0], coats[1 + index % 2])
        at = _along(frame, z + half)
        b.cylinder(
            radii[index], half * 1.04, material, top=top, rounding=0.015, at=at, frame=frame, present=present,
            blend=0.03,
        )  # fmt: skip
        widest = torch.where(present & (stop * count > index), radii[index], widest)
        middle = z * stop
        z = torch.where(present, z + 2 * half, z)
    studs, grooves, _ = one_of(b, 3)
    ring = b.integer(4, 11)
    b.sphere(
        b.uniform(0.05, 0.1), coats[2], at=_along(frame, middle), frame=frame, radial=(ring, widest), present=studs
    )
    b.capsule(
        height, b.uniform(0.04, 0.08), coats[2], at=_along(frame, z / 2), frame=frame,
        radial=(ring, radii.amax(0)), present=grooves & b.chance(0.6), operation="subtract",
    )  # fmt: skip
    b.sphere(radii[-1].clamp_max(0.3) + 0.06, coats[1], at=_along(frame, z), frame=frame, present=b.chance(0.4))


def vessel(b: Builder) -> None:
    """A hollow profile open at the top, with a foot, up to two handles and something in it."""
    segments = 6
    radii, outside, inside = _profile(b, segments).clamp_min(0.2), coat(b), coat(b, chance=0.2)
    height, wall = b.uniform(0.4, 1.8), b.uniform(0.07, 0.11)
    half = height / segments / 2
    for index in range(segments):
        at = (0, 0, (2 * index + 1) * half)
        b.cylinder(radii[index], half * 1.03, outside, top=radii[index + 1], rounding=0.015, at=at, blend=0.03)
    for index in range(1, segments):
        # The last piece reaches out of the opening.
        more = 0.1 if index == segments - 1 else 0.0
        at = (0, 0, (2 * index + 1) * half + more)
        low, high = (radii[index] - wall).clamp_min(0.05), (radii[index + 1] - wall).clamp_min(0.05)
        b.cylinder(low, half * 1.05 + more, inside, top=high, rounding=0.01, at=at, operation="subtract")
    lip = b.chance(0.5)
    b.torus(radii[-1] - wall / 2, wall * 0.7, coat(b), at=(0, 0, height), present=lip)
    b.cylinder(radii[0] * b.uniform(0.9, 1.3), 0.06, outside, at=(0, 0, -0.02), present=b.chance(0.5))
    size, middle = height * b.uniform(0.15, 0.32), height * b.uniform(0.45, 0.65)
    reach = radii[2:5].mean(0)
    pair, single, _ = one_of(b, 3)
    grip = b.uniform(0.045, 0.08)
    for present, mirror in ((pair, "x"), (single, "")):
        turn = (90.0, 0.0, -90.0)
        b.torus(size, grip, outside, half_angle=2.0, at=(reach, 0, middle), rotate=turn, mirror=mirror, present=present)
    filled, stems = b.chance(0.4), b.chance(0.2)
    b.cylinder((radii[-2] - wall * 0.8).clamp_min(0.1), 0.05, inside, at=(0, 0, height * 0.8), present=filled)
    length = b.uniform(0.3, 0.8)
    b.capsule(
        length, 0.04, coat(b), at=(0, 0, height), rotate=(0, 0, 45), radial=(b.integer(2, 6), radii[-1] * 0.4),
        present=stems,
    )  # fmt: skip
    b.sphere(
        b.uniform(0.1, 0.2), coat(b), at=(0, 0, height + length), rotate=(0, 0, 45),
        radial=(b.integer(2, 6), radii[-1] * 0.4), present=stems,
    )  # fmt: skip
