"""Defaults are decided in trellis/app/request.py; the Python interface repeats them and must not drift."""

import inspect
from collections.abc import Callable

import pytest

from trellis.app.request import default_of, options
from trellis.asset import Asset
from trellis.pipeline import ImageTo3D


@pytest.mark.parametrize("function", [Asset.save, ImageTo3D.__call__], ids=["save", "generate"])
def test_the_python_interface_has_the_defaults_of_a_request(function: Callable[..., object]) -> None:
    shared = {name: p.default for name, p in inspect.signature(function).parameters.items() if name in options()}
    assert len(shared) >= 4
    assert shared == {name: default_of(name) for name in shared}
