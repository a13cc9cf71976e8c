"""Defaults are decided in trellis/app/request.py; the Python interface repeats them and must not drift."""

import inspect
from collections.abc import Callable

import pytest

from trellis.app.request import NOT_OF_FILES, Choice, GenerationRequest, Subset, default_of, options
from trellis.export.options import FORMATS, PREVIEW_CONTENT, FileOptions
from trellis.export.unwrap import UNWRAP_METHODS
from trellis.pipeline import ImageTo3D
from trellis.sampling import MULTI_IMAGE_MODES, SPEEDS


@pytest.mark.parametrize("function", [FileOptions, ImageTo3D.__call__], ids=["files", "generate"])
def test_the_python_interface_has_the_defaults_of_a_request(function: Callable[..., object]) -> None:
    shared = {name: p.default for name, p in inspect.signature(function).parameters.items() if name in options()}
    assert len(shared) >= 4
    assert shared == {name: default_of(name) for name in shared}


def test_every_option_of_a_request_is_one_of_the_pipeline_or_of_the_files() -> None:
    request = GenerationRequest()
    assert set(request.sampling) | set(request.files) | set(NOT_OF_FILES) == set(options())
    assert set(request.files) == set(inspect.signature(FileOptions).parameters)
    assert set(request.sampling) <= set(inspect.signature(ImageTo3D.__call__).parameters)


def test_a_request_offers_every_way_of_sampling() -> None:
    for name, known in (("multi_image", MULTI_IMAGE_MODES), ("speed", SPEEDS)):
        domain = options()[name].domain
        assert isinstance(domain, Choice) and domain.values == tuple(known)


def test_a_request_offers_everything_that_can_be_written() -> None:
    for name, known in (("formats", FORMATS), ("preview_content", PREVIEW_CONTENT)):
        domain = options()[name].domain
        assert isinstance(domain, Subset) and set(domain.values) == set(known)
    assert options()["unwrap"].domain == Choice(UNWRAP_METHODS)
