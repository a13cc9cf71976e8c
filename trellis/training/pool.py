"""A pool of training objects on the device, made chunk by chunk from seeds and refreshed while training.

Chunk c in generation g is made from the object seeds of number `g * chunks + c`: what a step sees depends on the step
alone, so a resumed run sees the same objects. `cached` keeps chunks in a folder between runs.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from trellis.errors import InvalidInputError
from trellis.ops.transfers import sent
from trellis.runtime import is_gpu
from trellis.training.config import DataConfig, TrainConfig
from trellis.training.data import MESHES, chunk_place
from trellis.training.processes import Processes
from trellis.training.randomness import step_generator

_READERS = 4  # threads
Chunk = dict[str, Tensor]
_BITS = ".bits"  # ends the names of tensors that a file holds as bits
ALONE = Processes()
logger = logging.getLogger(__name__)


class Pool:
    """Per-object tensors [objects, ...] and, where `counts` is given, per-voxel tensors packed object by object.

    Of several processes each has a share of the chunks.

    `make` turns a chunk number into a chunk: tensors whose first dimension is the chunk's objects, or its voxels for
    names starting with "voxel_"; `counts` [objects] gives the voxels of each object.
    """

    def __init__(
        self,
        config: DataConfig,
        make: Callable[[int], Chunk],
        *,
        device: torch.device,
        processes: Processes = ALONE,
    ) -> None:
        """Raises InvalidInputError where there are fewer chunks than processes."""
        self.config, self._make, self._device = config, make, device
        self._places = range(processes.rank, config.objects // config.chunk, processes.count)
        if not self._places:
            raise InvalidInputError(f"data.objects are too few for {processes.count} processes: each needs a chunk.")
        self._chunks: list[Chunk] = []
        self._numbers: list[int] = []
        self._data: Chunk = {}
        self._starts = torch.zeros(0, dtype=torch.int64)
        self._counts = torch.zeros(0, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self._places) * self.config.chunk

    def at_step(self, step: int) -> None:
        """Bring the pool to the state that `step` must see."""
        wanted = self._numbers_at(step)
        if wanted == self._numbers:
            return
        old = dict(zip(self._numbers, self._chunks))
        made = self._made([number for number in wanted if number not in old])
        chunks = [old[number] if number in old else next(made) for number in wanted]
        self._chunks, self._numbers, self._data = chunks, wanted, {}
        old.clear()
        # The concatenation is the storage; the chunks become views of it, one tensor after the other, so that little is
        # held twice.
        for key in list(chunks[0]):
            sizes = [len(chunk[key]) for chunk in chunks]
            self._data[key] = torch.cat([chunk.pop(key) for chunk in chunks])
            for chunk, part in zip(chunks, self._data[key].split(sizes)):
                chunk[key] = part
        if "counts" in self._data:
            self._counts = self._data["counts"].cpu().long()
            self._starts = self._counts.cumsum(0) - self._counts

    def _numbers_at(self, step: int) -> list[int]:
        chunks = self.config.objects // self.config.chunk
        done = step // self.config.refresh_every if self.config.refresh_every else 0
        return [((done + chunks - 1 - place) // chunks) * chunks + place for place in self._places]

    def _made(self, numbers: list[int]) -> Iterator[Chunk]:
        """Chunks in turn; on a GPU, which files keep waiting, all but the first side by side."""
        yield from map(self._timed, numbers[:1])
        if not is_gpu(self._device):
            yield from map(self._timed, numbers[1:])
            return
        with ThreadPoolExecutor(
            _READERS, initializer=torch.get_device_module(self._device).set_device, initargs=(self._device,)
        ) as readers:
            yield from readers.map(self._timed, numbers[1:])

    def _timed(self, number: int) -> Chunk:
        began = time.perf_counter()
        with torch.no_grad():
            chunk = {key: value.contiguous() for key, value in self._make(number).items()}
        next(iter(chunk.values())).flatten()[:1].tolist()  # waits for the device, so that the time is true
        logger.info("data: chunk %d made in %.1f s", number, time.perf_counter() - began)
        return chunk

    def objects(self, key: str, numbers: Tensor) -> Tensor:
        """Rows [B, ...] of a per-object tensor."""
        return self._data[key][numbers.to(self._device)]

    def voxel_rows(self, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Where the voxels of the objects lie: rows [N] and batch index [N] on the device, counts [B] on the CPU."""
        counts = self._counts[numbers]
        batch = torch.repeat_interleave(torch.arange(len(numbers)), counts)
        within = torch.arange(len(batch)) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
        rows = self._starts[numbers][batch] + within
        return sent(rows, self._device), sent(batch, self._device), counts

    def voxels(self, key: str, rows: Tensor) -> Tensor:
        """Rows [N, ...] of a per-voxel tensor."""
        return self._data[key][rows]


@dataclass(frozen=True)
class Around:
    """Where a stage works: the folder of all stages, the device, the folder of made data, who shares the work."""

    runs: Path
    device: torch.device
    cache: Path | None = None
    processes: Processes = ALONE


class PoolStage:
    """A stage on a pool: in each process one batch a step, whose draws come from one generator."""

    pool: Pool
    modules: nn.ModuleDict
    options: frozenset[str] = frozenset()

    def __init__(self, config: TrainConfig, around: Around) -> None:
        """Raises InvalidInputError for an option that the stage does not know."""
        if unknown := sorted(set(config.options) - self.options):
            raise InvalidInputError(f"Unknown options {unknown}; known are {sorted(self.options)}.")
        self.config, self.device, self.processes = config, around.device, around.processes

    @property
    def batch_size(self) -> int:
        return self.config.batch_size * self.processes.count

    def at_step(self, step: int) -> None:
        self.pool.at_step(step)

    def loss(self, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, and numbers to show."""
        raise NotImplementedError

    def generator(self, step: int, device: torch.device) -> torch.Generator:
        """The draws of this process in a step."""
        return step_generator(self.config.seed, step * self.processes.count + self.processes.rank, device)

    def losses(self, step: int) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        yield self.loss(self.generator(step, self.device))
        self.processes.average([p.grad for p in self.modules.parameters() if p.grad is not None])

    def export(self, folder: Path) -> None:
        if self.processes.leads:
            self.write(folder)

    def write(self, folder: Path) -> None:
        """Write the networks."""
        raise NotImplementedError

    def position(self, step: int) -> dict[str, int]:
        return {}

    def move_to(self, step: int, position: Mapping[str, int]) -> None:
        """What a step sees depends on the step alone."""

    def samples(self) -> dict[str, Image.Image]:
        return {}


def cache_folder(root: Path | None, *parts: object) -> Path | None:
    """A folder below `root` whose name depends on everything that shapes the data."""
    if root is None:
        return None
    text = json.dumps([str(part) for part in parts])
    return root / hashlib.sha256(text.encode()).hexdigest()[:16]


def chunk_path(folder: Path, config: DataConfig, number: int) -> Path:
    """Where `cached` keeps a chunk: whatever other kinds of data there are."""
    kind, place = chunk_place(config, number)
    if kind == MESHES:
        kind += f"_{hashlib.sha256(config.meshes.encode()).hexdigest()[:8]}"
    return folder / f"{kind}_{place:06d}.pt"


def cached(
    make: Callable[[int], Chunk], folder: Path | None, config: DataConfig, *, device: torch.device,
    keys: tuple[str, ...] | None = None
) -> Callable[[int], Chunk]:  # fmt: skip
    """`make`, with every chunk kept as a file in `folder` (None: not kept) and read from there when it is there.

    keys: the tensors that are read from a file (None: all).
    """
    if folder is None:
        return make

    def load(number: int) -> Chunk:
        path = chunk_path(folder, config, number)
        if path.is_file():
            stored = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            wanted = {key: value for key, value in stored.items() if keys is None or key.removesuffix(_BITS) in keys}
            return dict(_unpacked(key, value.to(device)) for key, value in wanted.items())
        chunk = make(number)
        folder.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(f".{os.getpid()}.part")
        torch.save({key: value.cpu() for key, value in starmap(_packed, chunk.items())}, aside)
        aside.replace(path)
        return chunk

    return load


def _packed(key: str, value: Tensor) -> tuple[str, Tensor]:
    """Name and tensor in a chunk's file: bool [..., 8 n] as bits, uint8 [..., n]."""
    if value.dtype != torch.bool or value.shape[-1] % 8:
        return key, value
    places = torch.arange(8, dtype=torch.uint8, device=value.device)
    return key + _BITS, (value.unflatten(-1, (-1, 8)) << places).sum(-1, dtype=torch.uint8)


def _unpacked(key: str, value: Tensor) -> tuple[str, Tensor]:
    """What `_packed` was given."""
    if not key.endswith(_BITS):
        return key, value
    places = torch.arange(8, dtype=torch.uint8, device=value.device)
    return key.removesuffix(_BITS), (value[..., None] >> places & 1).bool().flatten(-2)
