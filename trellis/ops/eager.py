"""Functions that a compiler leaves out; where nothing is compiled, the compiler is not imported."""

import sys
from collections.abc import Callable
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
    while _TO_LEAVE_OUT:
        _TO_LEAVE_OUT.pop()()
    return torch.compile(network, **options)
