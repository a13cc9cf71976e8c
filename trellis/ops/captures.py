"""Captured launches: work of fixed tensors that a GPU is told once and does again and again."""

import logging
import time
from collections.abc import Callable, Hashable
from functools import cache

import torch

from trellis.errors import InvalidInputError
from trellis.runtime import is_gpu, is_out_of_memory, release_cached_memory

GRAPH_MODES = ("auto", "on", "off")

logger = logging.getLogger(__name__)


@cache
def _capture_stream(device: torch.device) -> torch.cuda.Stream:
    """The one stream for captures: cuBLAS keeps work space for every stream, not to be in a graph's pool."""
    stream = torch.cuda.Stream(device)
    with torch.cuda.stream(stream):
        for dtype in (torch.float16, torch.float32):
            row = torch.ones(8, 8, dtype=dtype, device=device)
            torch.nn.functional.linear(row, row, row[0])
    return stream


class GraphReplay:
    """Runs functions of fixed tensors again and again; on a CUDA device as captured launches where that pays.

    mode: "on" captures at the second call of a key, "off" never; "auto" times the second call and captures if telling
    the device what to do took as long as doing it: the device waited for the host. A captured function must read and
    write the same tensors at every call, and must have run once before (its tables are cached then). One memory pool
    serves all keys.
    """

    PAYS_FROM = 0.95  # share of the device's time that the host needs to launch the work; it is never much above 1
    LEAST_CALLS = 5  # a capture takes about as long as this many launches save, and the device waits for it

    def __init__(self, device: torch.device, *, mode: str = "auto") -> None:
        if mode not in GRAPH_MODES:
            raise InvalidInputError(f"Unknown graph mode {mode!r}; choose one of {', '.join(GRAPH_MODES)}.")
        self._device = device
        self._mode = mode if is_gpu(device) else "off"
        self._calls: dict[Hashable, int] = {}
        self._timed: dict[Hashable, tuple[float, torch.cuda.Event, torch.cuda.Event]] = {}
        self._captured: dict[Hashable, tuple[torch.cuda.CUDAGraph, torch.Tensor]] = {}

    def run(self, key: Hashable, function: Callable[[], torch.Tensor], *, remaining: int) -> torch.Tensor:
        """The tensor that `function` returns, a new one at every call; `remaining` calls of any key are to come."""
        if key in self._captured:
            graph, out = self._captured[key]
            graph.replay()
            return out.clone()
        calls = self._calls[key] = self._calls.get(key, 0) + 1
        if self._mode == "off" or calls == 1:
            return function()
        if self._mode == "auto" and calls == 2 and remaining >= self.LEAST_CALLS:
            return self._time(key, function)
        if remaining >= self.LEAST_CALLS and (self._mode == "on" or self._pays(key)) and self._capture(key, function):
            return self.run(key, function, remaining=remaining)
        return function()

    def close(self) -> None:
        """Free the captured launches and their memory."""
        self._captured.clear()
        self._timed.clear()
        self._calls.clear()

    def _time(self, key: Hashable, function: Callable[[], torch.Tensor]) -> torch.Tensor:
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.current_stream(self._device).synchronize()  # a full queue would make the host wait
        started = time.perf_counter()
        first.record()
        out = function()
        last.record()
        self._timed[key] = (time.perf_counter() - started, first, last)
        return out

    def _pays(self, key: Hashable) -> bool:
        if key not in self._timed:
            return False
        launching, first, last = self._timed.pop(key)
        last.synchronize()
        doing = first.elapsed_time(last) / 1000
        logger.info("%s: launched in %.1f ms, done in %.1f ms", key, launching * 1e3, doing * 1e3)
        return launching > self.PAYS_FROM * doing

    def _capture(self, key: Hashable, function: Callable[[], torch.Tensor]) -> bool:
        tries_left = 2
        while True:
            tries_left -= 1
            try:
                self._captured[key] = self._recorded(function)
                break
            except RuntimeError as error:  # short of memory, or an operation that cannot be captured
                if not (tries_left and is_out_of_memory(error)):
                    logger.warning("a step is launched piece by piece, its capture failed: %s", error)
                    self._mode = "off"
                    return False
            # A capture takes memory of its own, none of what torch keeps for other work. Here and not above, where the
            # error still holds tensors of the failed capture.
            release_cached_memory(self._device)
        torch.cuda.current_stream(self._device).wait_stream(_capture_stream(self._device))
        return True

    def _recorded(self, function: Callable[[], torch.Tensor]) -> tuple[torch.cuda.CUDAGraph, torch.Tensor]:
        """What `function` launches, captured, and the tensor that a replay writes; raises RuntimeError."""
        graph = torch.cuda.CUDAGraph()
        pool = next(iter(self._captured.values()))[0].pool() if self._captured else torch.cuda.graph_pool_handle()
        stream = _capture_stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            graph.capture_begin(pool, capture_error_mode="thread_local")
            try:
                out = function()
            finally:
                graph.capture_end()
        return graph, out
