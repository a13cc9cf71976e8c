"""Warp started quietly, and torch tensors handed to it without a copy."""

import functools
import logging
import os
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeVar

import torch
import warp as wp
from torch import Tensor

_log = logging.getLogger(__name__)
_lock = threading.Lock()
_loaded: set[tuple[Any, str]] = set()
_worker = threading.local()  # `alone`: this thread is one of `side_by_side`
T = TypeVar("T")
R = TypeVar("R")


def start() -> None:
    """Start Warp once, without its banner on the standard output; what it says goes to the debug log.

    Kernels are compiled at their first use (seconds) and kept in Warp's cache folder; no compiler or network is needed.
    """
    with _lock:
        _start()


@functools.cache
def _start() -> None:
    # Releases before 1.18 name the setting otherwise.
    if hasattr(wp.config, "log_level"):
        wp.config.log_level = wp.LOG_ERROR
    else:
        setattr(wp.config, "quiet", True)  # noqa: B010 - newer releases do not declare it
    with _logged_stderr():
        wp.init()


@contextmanager
def _logged_stderr() -> Iterator[None]:
    """Send what native code prints on the error output to the debug log: Warp warns of a missing GPU driver there."""
    try:
        kept = os.dup(2)
    except OSError:  # a windowed program without a console has no error output
        yield
        return
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            said.seek(0)
            text = said.read().decode(errors="replace").strip()
            if text:
                _log.debug("Warp: %s", text)


@functools.cache
def has_gpu() -> bool:
    """True when Warp can run kernels on a GPU."""
    start()
    return any(not device.is_cpu for device in wp.get_devices())


def device_of(device: torch.device) -> "wp.Device":
    """Warp's name for a torch device, also for a GPU called without its number."""
    start()
    return wp.get_device(str(device))


def view(tensor: Tensor, dtype: type) -> Any:
    """A `wp.array` on the memory of `tensor`, copied only where it is not contiguous."""
    start()
    return wp.from_torch(tensor.detach().contiguous(), dtype=dtype)


def mesh(vertices: Tensor, faces: Tensor, *, winding_number: bool = False) -> "wp.Mesh":
    """Warp's tree of a mesh, vertices [V, 3] and faces [F, 3]; it must outlive the kernels that ask it."""
    points, indices = view(vertices, wp.vec3), view(faces.int().reshape(-1), wp.int32)
    with wp.ScopedStream(_stream(vertices.device)):
        return wp.Mesh(points=points, indices=indices, support_winding_number=winding_number)


def load(module: ModuleType, *, device: torch.device) -> None:
    """Compile the kernels of a module of ours for a torch device, or load them from Warp's cache folder."""
    wp.load_module(module, device=device_of(device))


def arguments(kernel: wp.Kernel, values: list) -> list:
    """The first arguments of a kernel: tensors as arrays of the types that it declares, anything else as it is.

    An array shares the tensor's memory, which is how results come back: what a kernel writes must have the declared
    number type and no gaps. Other tensors are converted.
    """
    start()
    return [_argument(value, declared.type) for value, declared in zip(values, kernel.adj.args)]


def _argument(value: Any, declared: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    number, shape = _layout(declared.dtype)
    tensor = value.detach().to(number).contiguous()
    if declared.ndim == 1:
        tensor = tensor.view(-1, *shape)
    return wp.from_torch(tensor, dtype=declared.dtype, return_ctype=True)  # an array object costs more to make


@functools.cache
def _layout(dtype: Any) -> tuple[torch.dtype, tuple[int, ...]]:
    """torch's number type of one of Warp's types, and the shape of one element."""
    return wp.dtype_to_torch(getattr(dtype, "_wp_scalar_type_", dtype)), getattr(dtype, "_shape_", ())


def launch(kernel: wp.Kernel, dim: int, inputs: list, *, device: torch.device) -> None:
    """Run a kernel over `dim` work items on a torch device, in order with torch's own work; see `arguments`."""
    if dim == 0:
        return
    _load_once(kernel, device)
    wp.launch(kernel, dim=dim, inputs=arguments(kernel, inputs), device=device_of(device), stream=_stream(device))


def _load_once(kernel: wp.Kernel, device: torch.device) -> None:
    """Load a kernel's module under a lock: threads that need it first at the same time would all compile it."""
    key = (kernel.module, str(device))
    if key not in _loaded:
        with _lock:
            _start()
            wp.load_module(kernel.module, device=wp.get_device(str(device)))
            _loaded.add(key)


def _stream(device: torch.device) -> "wp.Stream | None":
    """The stream of torch's own work on a GPU: what is launched there comes in order with it."""
    return None if device.type == "cpu" else wp.stream_from_torch(device)


def launch_items(kernel: wp.Kernel, dim: int, inputs: list, *, device: torch.device, grain: int) -> None:
    """Run a kernel whose items do not meet, over `dim` of them; its last parameter, added here, is the first item.

    One launch on a GPU. On the CPU, where a launch is one thread's work, pieces of at least `grain` items run side by
    side on as many threads as torch uses.
    """
    inputs = arguments(kernel, inputs)  # once for all pieces

    def run(first: int, end: int) -> None:
        launch(kernel, end - first, [*inputs, first], device=device)

    _in_pieces(kernel, dim, run, device=device, grain=grain, per_thread=4)


def launch_rows(kernel: wp.Kernel, dim: int, inputs: list, *, rows: int, device: torch.device) -> None:
    """Run a kernel that draws items into `rows` rows; its last two parameters, added here, are the rows to keep to.

    One launch on a GPU. On the CPU every band of rows has a launch of all `dim` items, in their order, and the bands
    run side by side on as many threads as torch uses: no two of them write the same pixel.
    """
    inputs = arguments(kernel, inputs)  # once for all bands

    def run(first: int, end: int) -> None:
        launch(kernel, dim, [*inputs, first, end], device=device)

    # Every band looks at every item.
    _in_pieces(kernel, rows, run, device=device, grain=32, per_thread=2)


def _in_pieces(
    kernel: wp.Kernel,
    count: int,
    run: Callable[[int, int], None],
    *,
    device: torch.device,
    grain: int,
    per_thread: int,
) -> None:
    threads = 1 if getattr(_worker, "alone", False) else _threads(device)
    # More pieces than threads, as some have more work than others.
    pieces = min(count // grain, per_thread * threads)
    if threads == 1 or pieces < 2:
        run(0, count)
        return
    ends = [count * (index + 1) // pieces for index in range(pieces)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, [0, *ends[:-1]], ends))


def _threads(device: torch.device) -> int:
    return torch.get_num_threads() if device.type == "cpu" else 1


def side_by_side(work: Callable[[T], R], items: Iterable[T], *, device: torch.device) -> Iterator[R]:
    """`work` of every item, in their order, without gradients.

    On the CPU as many are in work as torch uses threads, each with kernels in one piece: this leaves no core idle where
    the work of an item has parts of one thread. Elsewhere one after the other. Items after one that is not asked for,
    as the iterator is closed, are not begun.
    """
    threads = _threads(device)
    if threads == 1 or getattr(_worker, "alone", False):
        yield from map(work, items)
        return
    pool, waiting = ThreadPoolExecutor(threads, initializer=_begin_alone), deque[Future[R]]()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_alone() -> None:
    _worker.alone = True
    torch.set_grad_enabled(False)  # of this thread
