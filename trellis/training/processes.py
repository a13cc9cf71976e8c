"""The processes of a run, one a card: joining them, sharing gradients, and networks that are split over them.

What splits networks is imported where it is used: it takes longer than all of torch. What is split is told by its
methods.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trellis.ops.transfers import sent
from trellis.runtime import is_gpu, total_bytes
from trellis.sparse import SparseTensor

_BYTES = 20  # a parameter in training: weight, gradient, two moments, average
_ROOM = 0.5  # share of a card that these may take before they are split


@dataclass(frozen=True)
class Processes:
    """Which process this is, of how many."""

    rank: int = 0
    count: int = 1

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes."""
        if self.count > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values / self.count

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one type by their means over all processes, in one exchange."""
        if self.count > 1 and tensors:
            packed = torch.cat([tensor.flatten() for tensor in tensors])
            dist.all_reduce(packed)
            packed /= self.count
            parts = packed.split([tensor.numel() for tensor in tensors])
            torch._foreach_copy_(list(tensors), [part.view_as(tensor) for part, tensor in zip(parts, tensors)])

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes files."""
        return self.rank == 0


class Exchange:
    """Numbers that each process tells before a step; one step later all know their means, and nobody waits for them."""

    def __init__(self, processes: Processes, device: torch.device) -> None:
        self._processes, self._device = processes, device
        self._told: tuple[Tensor, torch.Event | None] | None = None

    def tell(self, *numbers: float) -> list[float] | None:
        """The means of what was told before, None the first time; every process must tell as many numbers."""
        before, gpu = self._told, is_gpu(self._device)
        means = self._processes.mean(sent(torch.tensor(numbers), self._device))
        kept = torch.empty(means.shape, pin_memory=gpu).copy_(means, non_blocking=gpu)
        self._told = kept, torch.accelerator.current_stream().record_event() if gpu else None
        if before is None:
            return None
        if before[1] is not None:
            before[1].synchronize()
        return before[0].tolist()


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[Processes, torch.device]]:
    """The processes that torch's launcher started, and the device of this one; without a launcher it is alone."""
    if not dist.is_torchelastic_launched():
        yield Processes(), device
        return
    if is_gpu(device):
        device = torch.device(device.type, dist.get_node_local_rank(0))
        torch.get_device_module(device).set_device(device)
    dist.init_process_group("nccl" if is_gpu(device) else "gloo")
    try:
        yield Processes(dist.get_rank(), dist.get_world_size()), device
    finally:
        dist.destroy_process_group()


def must_be_split(network: nn.Module, device: torch.device) -> bool:
    """Whether a network in training is too large to be whole on every card."""
    memory = total_bytes(device)
    return memory is not None and _BYTES * sum(p.numel() for p in network.parameters()) > _ROOM * memory


def spread(network: nn.Module, processes: Processes, device: torch.device, *, split: bool) -> nn.Module:
    """What is called in training instead of the network, so that all processes learn together.

    split: its parameters, block by block, become shares of each process.
    """
    if processes.count == 1:
        return network
    if not split:
        return DistributedDataParallel(network)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    _know_sparse_tensors()
    mesh = init_device_mesh(device.type, (processes.count,))
    for block in getattr(network, "blocks", ()):
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)
    return network


@cache
def _know_sparse_tensors() -> None:
    """Let torch look into sparse tensors: it asks what a network returns for the gradients to wait for."""
    torch.export.register_dataclass(SparseTensor)


@contextmanager
def sharing_gradients(network: nn.Module, shared: bool) -> Iterator[None]:
    """Within the block a backward pass brings the processes' gradients together, or only adds to its own."""
    share = getattr(network, "set_requires_gradient_sync", None)  # of a network that is split
    if share is not None:
        share(shared)
    if isinstance(network, DistributedDataParallel) and not shared:
        with network.no_sync():
            yield
    else:
        yield


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that may be split; every process must ask."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def split_like(tensor: Tensor, other: Tensor) -> Tensor:
    """A whole tensor, split as `other` is."""
    if not hasattr(other, "device_mesh"):
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(other, DTensor)
    return distribute_tensor(tensor.to(other.device), other.device_mesh, other.placements)
