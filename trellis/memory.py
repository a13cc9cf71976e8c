"""Where networks live between their uses, and how a stage goes on when memory is short or a number overflows.

Stages degrade instead of failing: other networks leave the device, pieces get smaller, and at last the stage runs on
the CPU. All of it gives the same result up to rounding.
"""

import logging
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from trellis.errors import InvalidInputError
from trellis.ops.captures import GRAPH_MODES
from trellis.ops.transfers import pinned
from trellis.runtime import free_bytes, is_out_of_memory, release_cached_memory

logger = logging.getLogger(__name__)

T = TypeVar("T")
CPU = torch.device("cpu")
GIB = 1 << 30
RESIDENCIES = ("keep", "offload", "budget")
ROOMY = 3 << 29  # with less than these 1.5 GiB free beside the weights, a stage starts with small pieces


@dataclass(frozen=True)
class MemoryPlan:
    """Where networks live, and how stages go about their work.

    residency: "keep" leaves a network on the device after its use, "offload" takes it off, "budget" keeps those last
    used in `budget` bytes. chunk_bytes: work space of a stage's pieces; together: condition and null condition are
    evaluated at once; graphs: one of GRAPH_MODES, whether a flow's steps become captured launches.
    """

    residency: str = "keep"
    budget: int | None = None
    chunk_bytes: int = 1 << 27
    together: bool = True
    graphs: str = "auto"

    def __post_init__(self) -> None:
        for name, value, known in (("residency", self.residency, RESIDENCIES), ("graphs", self.graphs, GRAPH_MODES)):
            if value not in known:
                raise InvalidInputError(f"Unknown {name} {value!r}; choose one of {', '.join(known)}.")
        if (self.residency == "budget") != (self.budget is not None):
            raise InvalidInputError('A budget in bytes belongs to residency "budget", and to no other.')
        if self.chunk_bytes < 1:
            raise InvalidInputError(f"chunk_bytes must be at least 1, not {self.chunk_bytes}.")


@dataclass(frozen=True)
class Effort:
    """How one run of a stage goes about its work, see `MemoryPlan`; and on which device.

    streamed: the network's blocks come to the device one after another.
    """

    device: torch.device
    chunk_bytes: int
    together: bool
    graphs: str
    streamed: bool = False

    def ladder(self) -> tuple["Effort", ...]:
        """This way first, then ways that need less and less memory of the device."""
        small = replace(self, chunk_bytes=min(self.chunk_bytes, 1 << 25), together=False, graphs="off")
        least = replace(small, chunk_bytes=1 << 22)
        rungs = (self, small, least, replace(small, streamed=True), replace(least, device=CPU))
        return rungs if self.device.type != "cpu" else rungs[:3]

    @property
    def told(self) -> str:
        """How, in a note for the user."""
        if self.streamed:
            return "block by block"
        return "on the CPU" if self.device.type == "cpu" else "in smaller pieces"


@runtime_checkable
class InBlocks(Protocol):
    """A network that states the blocks which hold nearly all of its weights and are called one after another."""

    @property
    def blocks_in_order(self) -> Sequence[nn.Module]: ...


class _Upload:
    """Copies of tensors [CPU] on their way to a device, beside the work that goes on there."""

    def __init__(self, masters: Sequence[Tensor], device: torch.device) -> None:
        # Made in the order of the device's work: their memory may be what that work has just let go.
        self._values = [torch.empty_like(master, device=device) for master in masters]
        self._streams = torch.get_device_module(device)
        aside = _copy_stream(device)
        aside.wait_stream(self._streams.current_stream(device))
        with self._streams.stream(aside):
            for value, master in zip(self._values, masters):
                value.copy_(master, non_blocking=True)
        self._done = aside.record_event()
        self._device = device

    def values(self) -> list[Tensor]:
        """The copies; what is told the device from now on comes after them."""
        self._streams.current_stream(self._device).wait_event(self._done)
        return self._values


@cache
def _copy_stream(device: torch.device) -> Any:
    return torch.get_device_module(device).Stream(device)


class _Network:
    """A network, its weights on the CPU (pinned if that is possible), and on a device while it is placed there."""

    @torch.inference_mode(False)
    def __init__(self, load: Callable[[], nn.Module], *, keeps_master: bool, device: torch.device) -> None:
        self.model = load().eval().requires_grad_(False)
        self.place = CPU
        self._coming: _Upload | None = None
        self._masters: list[Tensor] | None = None
        if keeps_master and device.type != "cpu":
            self._masters = [pinned(value.data, device) for value in _values(self.model)]
            _assign(self.model, self._masters)

    @property
    def size(self) -> int:
        """Bytes of all weights."""
        tensors = [*self.model.parameters(), *self.model.buffers()]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    @torch.inference_mode(False)
    def move(self, device: torch.device) -> None:
        """Place the weights on a device; back on the CPU they are the masters, nothing is copied."""
        # Also where they are not wanted any more: their memory is free for others only after the copy.
        coming = self._coming.values() if self._coming is not None else None
        self._coming = None
        if device == self.place:
            return
        if self._masters is None:
            self.model.to(device)
        elif device.type == "cpu":
            _assign(self.model, self._masters)
        else:
            _assign(self.model, coming or [master.to(device, non_blocking=True) for master in self._masters])
        self.place = device

    @property
    def is_away(self) -> bool:
        """The weights are on the CPU alone, and none of them under way."""
        return self.place.type == "cpu" and self._coming is None

    @torch.inference_mode(False)
    def fetch(self, device: torch.device) -> None:
        """Let the weights come to an accelerator while it works on; `move` waits for them."""
        if self.is_away and self._masters is not None:
            self._coming = _Upload(self._masters, device)

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The blocks of a network that states them."""
        return self.model.blocks_in_order if isinstance(self.model, InBlocks) else ()

    @contextmanager
    def streamed(self, device: torch.device) -> Iterator[None]:
        """In the body the weights are on the device, those of a block only while it works."""
        self.move(CPU)
        whole = _values(self.model)
        homes = {block: _values(block) for block in self.blocks}
        inside = {id(value) for values in homes.values() for value in values}

        def come(block: nn.Module, _: object) -> None:
            _assign(block, [value.to(device, non_blocking=True) for value in homes[block]])

        def leave(block: nn.Module, *_: object) -> None:
            _assign(block, homes[block])

        hooks = [block.register_forward_pre_hook(come) for block in homes]
        hooks += [block.register_forward_hook(leave) for block in homes]
        try:
            _assign(self.model, [v if id(v) in inside else v.to(device, non_blocking=True) for v in whole])
            yield
        finally:
            for hook in hooks:
                hook.remove()
            _assign(self.model, whole)


def _places(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Where each weight and buffer hangs."""
    for module in model.modules():
        for name, _ in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            yield module, name


def _values(model: nn.Module) -> list[Tensor]:
    return [getattr(module, name) for module, name in _places(model)]


@torch.inference_mode(False)
def _assign(model: nn.Module, values: Sequence[Tensor]) -> None:
    for (module, name), value in zip(list(_places(model)), values, strict=True):
        is_weight = isinstance(getattr(module, name), nn.Parameter)
        setattr(module, name, nn.Parameter(value, requires_grad=False) if is_weight else value)


def itself(values: Tensor) -> Tensor:
    """What of a tensor must be finite: all of it."""
    return values


class ModelHost:
    """Lends networks by role: `with host.on_device("slat_flow_model") as model`, or `host.run(role, work)`.

    `loaders` maps a role to a function that loads its network; it is called at the first use. What leaves the device
    after its use leaves it also when the use failed. `take_notes` gives remarks for the user.
    """

    def __init__(
        self,
        loaders: Mapping[str, Callable[[], nn.Module]],
        *,
        device: torch.device,
        plan: MemoryPlan | None = None,
    ) -> None:
        self._loaders = dict(loaders)
        self._networks: OrderedDict[str, _Network] = OrderedDict()  # the last used last
        self._loading: dict[str, Future[_Network]] = {}  # in another thread, before their first use
        self._device = device
        self.plan = plan or MemoryPlan()
        self._order: tuple[str, ...] = ()
        self._notes: list[str] = []

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(self._loaders)

    def adopt(self, other: "ModelHost", roles: Sequence[str]) -> None:
        """Lend these networks of another host too, under this plan; networks that had the roles here are given up."""
        for role in roles:
            self._networks.pop(role, None)
            self._loading.pop(role, None)
            self._loaders[role] = other._loaders[role]
            if role in other._networks:
                self._networks[role] = other._networks.pop(role)

    @contextmanager
    def on_device(self, role: str) -> Iterator[Any]:
        """The network of `role`, in evaluation mode on the device; raises InvalidInputError for an unknown role."""
        with self._placed(role, self._device) as network:
            yield network.model

    def config(self, role: str) -> Any:
        """The configuration of a network, loaded but not placed on the device."""
        return self._network(role).model.config

    def run(self, role: str, work: Callable[[Any, Effort], T], *, values: Callable[[T], Tensor] | None = None) -> T:
        """What `work(model, effort)` returns, tried with less and less memory until it succeeds.

        `work` may be called several times and must start anew at each. `values` gives the numbers of a result that
        must be finite: if they are not, the network runs again in float32, and a note says so.
        """
        result = self._run_within_memory(role, work)
        if values is None or bool(torch.isfinite(values(result)).all()):
            return result
        model = self._network(role).model
        dtype = model.torso_dtype
        if dtype == torch.float32:
            return result
        del result
        self._note(f"{role} overflowed in {str(dtype).removeprefix('torch.')} and was run again in float32.")
        return self._run_within_memory(role, work, dtype=torch.float32)

    @contextmanager
    def in_order(self, roles: Sequence[str]) -> Iterator[None]:
        """In the body networks are used in this order: each comes while the one before works, where memory allows.

        Those that were never used are read from their files meanwhile, one after another.
        """
        self._order = tuple(roles)
        reader = ThreadPoolExecutor(1, thread_name_prefix="loading")
        for role in roles:
            if role in self._loaders and role not in self._networks and role not in self._loading:
                self._loading[role] = reader.submit(self._load, role)
        try:
            yield
        finally:
            self._order = ()
            reader.shutdown(wait=False, cancel_futures=True)
            self._loading = {role: future for role, future in self._loading.items() if not future.cancelled()}
            for network in self._networks.values():
                if network.place.type == "cpu" and not network.is_away:
                    network.move(CPU)  # it was under way and is not needed

    def leave_room(self) -> None:
        """Before work without networks, such as writing files: those used longest ago leave a device that is full."""
        for network in list(self._networks.values()):
            if self._has_room(ROOMY):
                return
            network.move(CPU)

    def take_notes(self) -> tuple[str, ...]:
        """The remarks since the last call, each once."""
        notes = tuple(dict.fromkeys(self._notes))
        self._notes.clear()
        return notes

    def _run_within_memory(self, role: str, work: Callable[[Any, Effort], T], *, dtype: torch.dtype | None = None) -> T:
        plan = self.plan
        ladder = Effort(self._device, plan.chunk_bytes, plan.together, plan.graphs).ladder()
        rung = self._first_rung(role, ladder)
        while True:
            effort = ladder[rung]
            # The CPU is slow in half precision, or knows it not at all.
            precision = dtype or (torch.float32 if effort.device != self._device else None)
            try:
                with (
                    self._placed(role, effort.device, streamed=effort.streamed) as network,
                    _precision(network.model, precision),
                ):
                    if rung == 0:
                        self._fetch_after(role)
                        effort = ladder[0 if self._has_room(ROOMY) else 1]
                    return work(network.model, effort)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or rung + 1 == len(ladder):
                    raise
                logger.warning("%s: out of memory at step %d of %d: %s", role, rung + 1, len(ladder), error)
            rung += 1
            self._free(role)
            if ladder[rung].streamed and not self._network(role).blocks:
                rung += 1
            self._note(f"Memory was short: {role} ran {ladder[rung].told}.")

    def _first_rung(self, role: str, ladder: Sequence[Effort]) -> int:
        """Which way to begin with: block by block where a network does not fit its device even alone."""
        network, free = self._network(role), free_bytes(self._device)
        if free is None or not network.blocks:
            return 0
        here = sum(other.size for other in self._networks.values() if not other.is_away)
        if network.size + (ROOMY >> 3) <= free + here:
            return 0
        self._free(role)
        rung = next(number for number, effort in enumerate(ladder) if effort.streamed)
        self._note(f"Memory was short: {role} ran {ladder[rung].told}.")
        return rung

    def _fetch_after(self, role: str) -> None:
        """Begin to bring the network that follows `role`, if the stage has room to work all the same.

        Never where the plan saves all it can: two networks at once would be its peak, also on a card that has room.
        """
        if not self.plan.together:
            return
        following = dict(pairwise(self._order)).get(role, "")
        network, free = self._networks.get(following), free_bytes(self._device)
        if network is None or free is None or free - network.size < ROOMY:
            return
        here = sum(other.size for other in self._networks.values() if not other.is_away)
        if self.plan.budget is None or here + network.size <= self.plan.budget:
            network.fetch(self._device)

    def _has_room(self, needed: int) -> bool:
        free = free_bytes(self._device)
        return free is None or free >= needed

    def _free(self, role: str) -> None:
        """Take every network off the device, and what torch keeps of it."""
        for network in self._networks.values():
            network.move(CPU)
        release_cached_memory(self._device)

    @contextmanager
    def _placed(self, role: str, device: torch.device, *, streamed: bool = False) -> Iterator[_Network]:
        network = self._network(role)
        self._make_room(role)
        if streamed:
            with network.streamed(device):
                yield network
            return
        try:
            network.move(device)
            yield network
        finally:
            if self.plan.residency == "offload":
                network.move(CPU)

    def _network(self, role: str) -> _Network:
        if role not in self._loaders:
            raise InvalidInputError(f"This model has no {role!r}; it has {', '.join(self._loaders)}.")
        if role not in self._networks:
            coming = self._loading.pop(role, None)
            self._networks[role] = self._load(role) if coming is None else coming.result()
        self._networks.move_to_end(role)
        return self._networks[role]

    def _load(self, role: str) -> _Network:
        logger.info("loading %s", role)
        return _Network(self._loaders[role], keeps_master=self.plan.residency != "keep", device=self._device)

    def _make_room(self, role: str) -> None:
        """With a budget, take the networks off the device that were used longest ago."""
        if self.plan.budget is None:
            return
        others = [n for name, n in self._networks.items() if name != role and not n.is_away]
        used = self._networks[role].size + sum(network.size for network in others)
        for network in others:
            if used > self.plan.budget:
                used -= network.size
                network.move(CPU)

    def _note(self, text: str) -> None:
        logger.warning("%s", text)
        self._notes.append(text)


@contextmanager
def _precision(model: nn.Module, wanted: torch.dtype | None) -> Iterator[None]:
    """The network's torso in another precision for a while; None leaves it as it is."""
    own = getattr(model, "torso_dtype", None)
    if wanted is None or own is None or own == wanted:
        yield
        return
    model.set_precision(wanted)  # type: ignore[operator]
    try:
        yield
    finally:
        model.set_precision(own)  # type: ignore[operator]


def peak_memory_bytes() -> int:
    """The largest resident memory this process has had."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes everywhere but on macOS
