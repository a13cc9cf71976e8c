"""Parallel quadric edge collapse in Warp, on the CPU or an NVIDIA GPU: the rounds."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import warp as wp
from torch import Tensor

from trellis.ops import warp_device
from trellis.ops.edge_collapse import warp_kernels as kernels

NOTHING = torch.iinfo(torch.int64).max
PASSES = 6  # selections a round; each takes the local minima of what the ones before left over
# Edges that compete in a round: this multiple of the collapses that are still wanted, and at most this fraction of all
# edges. Late, dear edges wait until the cheap ones are gone.
EAGERNESS = 1.25
MAX_COMPETING = 0.15
SOUND = 0.1  # of those that compete: if fewer may collapse at all, cheap edges that may not are in the way of others
RELAXED = 0.1  # of the edges that would compete otherwise do so in a round in which faces may turn over
STALLED = 0.002  # of the faces: a round among all edges that removes less is not worth another one like it


def collapse(
    vertices: Tensor, faces: Tensor, target: int, before_round: Callable[[int], None]
) -> tuple[Tensor, Tensor]:
    """See `collapse_edges`; `before_round` gets the number of faces and may raise."""
    run = _Rounds(vertices, faces)
    strict, patience = True, 1.0  # patience grows until all edges compete: every loop ends
    while len(run.faces) > target:
        before_round(len(run.faces))
        done = run.collapse_cheapest(target, strict=strict, patience=patience)
        stalled = done.everything and done.removed <= STALLED * len(run.faces)
        if stalled and not strict and done.removed == 0:
            break
        patience = 2 * patience if done.sound < SOUND and not stalled else 1.0
        # Faces may turn over rather than miss the count, a few at a time; the surface stays a manifold.
        strict = not stalled if strict else done.removed > 0
    return run.result()


@dataclass(frozen=True)
class _Round:
    """Faces that went, whether all edges competed, and the fraction of those that competed that may collapse."""

    removed: int
    everything: bool
    sound: float


class _Rounds:
    """The surface between two rounds: places and quadrics of all vertices, the faces that are left."""

    def __init__(self, vertices: Tensor, faces: Tensor) -> None:
        self.device = vertices.device
        # Unit size about the origin: the kernels' small constants are then relative ones.
        self.dtype = vertices.dtype
        points = vertices.double()
        self.centre = (points.amin(0) + points.amax(0)) / 2
        self.scale = (points.amax(0) - points.amin(0)).amax().clamp_min(1e-30)
        self.points = ((points - self.centre) / self.scale).contiguous()
        self.faces = faces.int().contiguous()
        count = len(vertices)
        self.quadratic = self.points.new_zeros(count, 3, 3)
        self.linear = self.points.new_zeros(count, 3)
        self.constant = self.points.new_zeros(count)
        self._find_stars()
        self._launch(kernels.sum_quadrics, count, [*self._mesh(), *self._quadrics()])

    def _launch(self, kernel: wp.Kernel, size: int, inputs: list) -> None:
        warp_device.launch(kernel, size, inputs, device=self.device)

    def _mesh(self) -> list:
        return [self.points, *self._topology()]

    def _topology(self) -> list:
        return [self.faces, self.starts, self.around]

    def _quadrics(self) -> list:
        return [self.quadratic, self.linear, self.constant]

    def _find_stars(self) -> None:
        """Faces around every vertex: those of vertex v are around[starts[v] : starts[v + 1]]."""
        counts = torch.bincount(self.faces.reshape(-1), minlength=len(self.points))
        self.starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)]).int()
        self.around = torch.empty(3 * len(self.faces), dtype=torch.int32, device=self.device)
        cursor = self.starts[:-1].clone()
        self._launch(kernels.fill_stars, len(self.faces), [self.faces, cursor, self.around])
        self._launch(kernels.sort_stars, len(self.points), [self.starts, self.around])

    def collapse_cheapest(self, target: int, *, strict: bool, patience: float) -> _Round:
        """Collapse a set of independent cheap edges."""
        count = 3 * len(self.faces)
        kind = torch.zeros(len(self.points), dtype=torch.int32, device=self.device)
        cost = torch.empty(count, device=self.device)
        place = self.points.new_zeros(count, 3)
        self._launch(kernels.price, count, [*self._mesh(), *self._quadrics(), kind, cost, place])
        halves, everything = self._competing(cost, target, patience=patience * (1 if strict else RELAXED))
        keys = torch.empty(len(halves), dtype=torch.int64, device=self.device)
        checked = [*self._mesh(), kind, halves, cost, place, int(strict), NOTHING, keys]
        self._launch(kernels.check, len(halves), checked)
        sound = float((keys != NOTHING).double().mean())
        chosen = self._choose(halves, keys)
        wanted = (len(self.faces) - target + 1) // 2
        if len(chosen) > wanted:
            chosen = chosen[keys[chosen].argsort()[:wanted]]
        before = len(self.faces)
        self._apply(halves[chosen].long(), place)
        return _Round(before - len(self.faces), everything, sound)

    def _competing(self, cost: Tensor, target: int, *, patience: float) -> tuple[Tensor, bool]:
        """Half edges int32 [n] of the cheapest edges, more with `patience`, and whether these are all edges."""
        usable = torch.nonzero(torch.isfinite(cost)).squeeze(1)
        wanted = (len(self.faces) - target + 1) // 2
        most = patience * min(EAGERNESS * wanted, MAX_COMPETING * len(usable)) + 32
        if most >= len(usable):
            return usable.int(), True
        prices = cost[usable]
        return usable[prices <= prices.kthvalue(int(most)).values].int(), False

    def _choose(self, halves: Tensor, keys: Tensor) -> Tensor:
        """Numbers of candidates that share no face around them, cheap ones first."""
        won = torch.zeros(len(halves), dtype=torch.int32, device=self.device)
        taken = torch.full((len(self.faces),), NOTHING, dtype=torch.int64, device=self.device)
        open_keys = keys.clone()
        # As arrays at once: the passes launch the most.
        around = warp_device.arguments(kernels.bid, [*self._topology(), halves, NOTHING, won, open_keys])
        *mesh, candidates, nothing, winners, offers = around
        for _ in range(PASSES):
            lowest = taken.clone()
            self._launch(kernels.bid, len(halves), [*mesh, candidates, nothing, winners, offers, lowest])
            self._launch(kernels.award, len(halves), [*mesh, candidates, nothing, offers, lowest, winners])
            self._launch(kernels.take, len(halves), [*mesh, candidates, winners, taken])
        return torch.nonzero(won).squeeze(1)

    def _apply(self, halves: Tensor, place: Tensor) -> None:
        face, corner = halves // 3, halves % 3
        kept, gone = self.faces[face, corner].long(), self.faces[face, (corner + 1) % 3].long()
        self.points[kept] = place[halves]
        for quadric in (self.quadratic, self.linear, self.constant):
            quadric[kept] += quadric[gone]
        number = torch.arange(len(self.points), dtype=torch.int32, device=self.device)
        number[gone] = kept.int()
        faces = number[self.faces.long()]
        left = (faces != faces.roll(1, dims=1)).all(dim=1)
        self.faces = faces[left].contiguous()
        self._find_stars()

    def result(self) -> tuple[Tensor, Tensor]:
        """Vertices that are in use, and faces that count them."""
        used = torch.zeros(len(self.points), dtype=torch.bool, device=self.device)
        used[self.faces.long()] = True
        number = used.cumsum(0).int() - 1
        points = self.points[used] * self.scale + self.centre
        return points.to(self.dtype), number[self.faces.long()]
