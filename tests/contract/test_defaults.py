"""Defaults are decided where options are declared; the pipeline's own call repeats them and must not drift."""

import inspect

from trellis.app.request import GenerationRequest, SetupOptions
from trellis.export.options import PREVIEW_CONTENT
from trellis.pipeline import ImageTo3D
from trellis.rendering.turntable import SIDES
from trellis.sampling import MULTI_IMAGE_MODES, SPEEDS

CALL = inspect.signature(ImageTo3D.__call__).parameters


def test_the_pipeline_has_the_defaults_of_a_request() -> None:
    sampling = GenerationRequest().sampling
    assert len(sampling) >= 4
    assert {name: CALL[name].default for name in sampling} == sampling


def test_every_option_of_a_request_is_one_of_the_pipeline_or_of_the_files() -> None:
    request = GenerationRequest()
    parts = [set(request.sampling), set(request.files), set(SetupOptions.options()), {"quality"}]
    assert set().union(*parts) == set(GenerationRequest.options())
    assert sum(map(len, parts)) == len(GenerationRequest.options()) + 1  # the seed is of both


def test_a_request_offers_every_way_of_sampling_and_every_side_of_the_preview() -> None:
    offered = GenerationRequest.options()
    assert offered["multi_image"].values == tuple(MULTI_IMAGE_MODES) and offered["speed"].values == tuple(SPEEDS)
    assert set(PREVIEW_CONTENT) == set(SIDES)
