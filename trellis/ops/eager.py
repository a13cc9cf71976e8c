"""Functions that a compiler leaves out; where nothing is compiled, the compiler is not imported."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")

_TO_LEAVE_OUT: list[Callable[[], None]] = []


def eager(function: Callable[P, R]) -> Callable[P, R]:
    """`torch.compiler.disable` as soon as something is compiled: its import takes longer than that of all of torch."""
    if "torch._dynamo" in sys.modules:
        return torch.compiler.disable(function)
    called = function

    def leave_out() -> None:
        nonlocal called
        called = torch.compiler.disable(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return called(*args, **kwargs)

    _TO_LEAVE_OUT.append(leave_out)
    return call


def compile_rest(network: torch.nn.Module, **options: Any) -> Callable[..., Any]:
    """`torch.compile` without the functions that are `eager`."""
    _leave_out()
    return torch.compile(network, **options)


def compile_each(blocks: Iterable[torch.nn.Module], **options: Any) -> None:
    """`Module.compile` without the functions that are `eager`: blocks that are built alike are compiled once."""
    _leave_out()
    for block in blocks:
        block.compile(**options)


@contextmanager
def uncompiled() -> Iterator[None]:
    """Within the block what is compiled runs as it is written: shapes that come once are not worth compiling for."""
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def _leave_out() -> None:
    while _TO_LEAVE_OUT:
        _TO_LEAVE_OUT.pop()()
