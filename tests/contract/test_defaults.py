"""Defaults are decided where options are declared; the pipeline's own call repeats them and must not drift."""

import inspect

from trellis.app.request import GenerationRequest, SetupOptions, ShapeOptions
from trellis.export.options import PREVIEW_CONTENT
from trellis.pipeline import ImageTo3D
from trellis.rendering.turntable import SIDES
from trellis.sampling import MULTI_IMAGE_MODES, SPEEDS
from trellis.shape_pipeline import ShapePipeline

CALL = inspect.signature(ImageTo3D.__call__).parameters
SHAPE_CALL = inspect.signature(ShapePipeline.__call__).parameters
OF_SHAPES = set(ShapeOptions.options())


def test_the_pipeline_has_the_defaults_of_a_request() -> None:
    sampling = GenerationRequest().sampling
    shared = {name: value for name, value in sampling.items() if name not in OF_SHAPES}
    assert len(shared) >= 4
    for call in (CALL, SHAPE_CALL):
        assert {name: call[name].default for name in shared} == shared


def test_a_shape_model_takes_what_its_options_say() -> None:
    """All are unset in a request; the surface's default is told, and the texture model is handed over opened."""
    assert {name: GenerationRequest().sampling[name] for name in OF_SHAPES} == dict.fromkeys(OF_SHAPES)
    assert {"surface_resolution", "views", "texture"} <= set(SHAPE_CALL)
    assert str(SHAPE_CALL["surface_resolution"].default) == ShapeOptions.options()["surface_resolution"].null


def test_every_option_of_a_request_is_one_of_the_pipeline_or_of_the_files() -> None:
    request = GenerationRequest()
    parts = [set(request.sampling), set(request.files), set(SetupOptions.options()), {"quality"}]
    assert set().union(*parts) == set(GenerationRequest.options())
    assert sum(map(len, parts)) == len(GenerationRequest.options()) + 1  # the seed is of both


def test_a_request_offers_every_way_of_sampling_and_every_side_of_the_preview() -> None:
    offered = GenerationRequest.options()
    assert offered["multi_image"].values == tuple(MULTI_IMAGE_MODES) and offered["speed"].values == tuple(SPEEDS)
    assert set(PREVIEW_CONTENT) == set(SIDES)
