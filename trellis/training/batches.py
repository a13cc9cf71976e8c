"""Which objects a step is trained on, by which process and in which part: even by the number of their voxels."""

import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from trellis.errors import InvalidInputError
from trellis.training.processes import Processes
from trellis.training.randomness import mix

S = TypeVar("S")
_THREADS = min(16, os.cpu_count() or 1)  # of a process; most of reading is decoding pictures
_AHEAD = 2  # steps that are read before they are asked for


@dataclass(frozen=True)
class Place:
    """An object of a step: its index in the whole batch, and its number among all objects."""

    index: int
    number: int


def deal(weights: Sequence[int], bins: int) -> list[list[int]]:
    """Indices of `weights` in bins of equal counts (or one less): the heaviest goes first, to the lightest bin."""
    most = -(-len(weights) // bins)
    dealt: list[list[int]] = [[] for _ in range(bins)]
    loads = [0] * bins
    for index in sorted(range(len(weights)), key=lambda i: (-weights[i], i)):
        chosen = min((b for b in range(bins) if len(dealt[b]) < most), key=lambda b: (loads[b], b))
        dealt[chosen].append(index)
        loads[chosen] += weights[index]
    return [sorted(part) for part in dealt if part]


class Batches:
    """Batches of `size` objects through permutations of seed + epoch, dealt to processes and then to `split` parts."""

    def __init__(self, weights: Sequence[int], *, size: int, processes: Processes, split: int, seed: int) -> None:
        if size % processes.count:
            raise InvalidInputError(f"A batch of {size} objects cannot be dealt to {processes.count} processes evenly.")
        self.size, self._weights, self._processes = size, weights, processes
        self._split, self._seed = min(split, size // processes.count), seed
        self._first = 0  # which object of the endless row of epochs step 0 begins with
        self._orders: dict[int, list[int]] = {}

    def parts(self, step: int) -> list[list[Place]]:
        """This process's parts of a step."""
        places = [Place(index, self._object(self._first + step * self.size + index)) for index in range(self.size)]
        weights = [self._weights[place.number] for place in places]
        own = [places[i] for i in deal(weights, self._processes.count)[self._processes.rank]]
        return [[own[i] for i in part] for part in deal([self._weights[p.number] for p in own], self._split)]

    def _object(self, place: int) -> int:
        epoch, within = divmod(place, len(self._weights))
        if epoch not in self._orders:
            generator = torch.Generator().manual_seed(mix(self._seed + epoch))
            self._orders = {epoch: torch.randperm(len(self._weights), generator=generator).tolist()}
        return self._orders[epoch][within]

    def position(self, step: int) -> dict[str, int]:
        """Where the row is after `step` steps, as published runs tell it."""
        epoch, within = divmod(self._first + step * self.size, len(self._weights))
        return {"epoch": epoch, "idx": within}

    def move_to(self, step: int, position: Mapping[str, int]) -> None:
        """Go on after `step` steps where a run stopped, whatever the size of its batches was."""
        if position:
            self._first = position["epoch"] * len(self._weights) + position["idx"] - step * self.size


class Loader(Generic[S]):
    """Reads the objects of the next steps while a step is computed."""

    def __init__(self, read: Callable[[int, Place], S], batches: Batches, *, prefetch: bool) -> None:
        self._read, self._batches, self._ahead = read, batches, _AHEAD if prefetch else 0
        self._pool = ThreadPoolExecutor(_THREADS)
        self._waiting: deque[tuple[int, list[list[Future[S]]]]] = deque()
        self.waited = 0.0  # seconds, over all steps

    def take(self, step: int) -> list[list[S]]:
        """This process's parts of a step; raises what reading an object raises."""
        if self._waiting and self._waiting[0][0] != step:
            self._waiting.clear()
        while len(self._waiting) <= self._ahead:
            later = step + len(self._waiting)
            parts = [[self._pool.submit(self._read, later, p) for p in part] for part in self._batches.parts(later)]
            self._waiting.append((later, parts))
        began = time.perf_counter()
        found = [[future.result() for future in part] for part in self._waiting.popleft()[1]]
        self.waited += time.perf_counter() - began
        return found
