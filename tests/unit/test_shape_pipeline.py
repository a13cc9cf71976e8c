"""The order of a shape model's stages: what it is given, what it opens, where its mesh lies, and who colours it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from tests.tiny_shape_model import DECODER_PARAMS, description, networks, sizes_of, write_model, write_turbo_decoder
from trellis.errors import Cancelled, CheckpointError, InvalidInputError, TrellisError
from trellis.families.location import find_model
from trellis.families.registry import FAMILIES
from trellis.memory import MemoryPlan
from trellis.models.vecset_decoder import LatentContext, VecsetDecoder
from trellis.models.vecset_sizes import DecoderSizes
from trellis.pipeline import ImageTo3D
from trellis.progress import CancelToken, Progress, StepInfo
from trellis.representations import implicit_surface
from trellis.runtime import Runtime
from trellis.shape_pipeline import ONE_PICTURE, ShapePipeline, open_shape_pipeline
from trellis.shape_stages import DECODER, ROLES
from trellis.stages import Stage

CELLS = 16
QUICK: dict[str, Any] = {"surface_resolution": CELLS, "structure_steps": 1, "representations": ("mesh",)}


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(implicit_surface, "COARSEST", CELLS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    content = description()
    return write_model(tmp_path_factory.mktemp("shapes") / "tiny", content, networks(content))


def opened(folder: Path, **values: Any) -> ShapePipeline:
    runtime = Runtime(offline=True)
    place = find_model(str(folder), runtime=runtime, families=FAMILIES)
    return open_shape_pipeline(place, runtime=runtime, plan=MemoryPlan(**values))


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> ShapePipeline:
    return opened(folder)


def disc(color: tuple[int, int, int] = (200, 40, 30)) -> Image.Image:
    picture = Image.new("RGBA", (96, 96))
    ImageDraw.Draw(picture).ellipse((12, 12, 84, 84), fill=(*color, 255))
    return picture


def test_one_seed_is_one_mesh(pipeline: ShapePipeline) -> None:
    first, again, other = (pipeline(disc(), seed=seed, **QUICK).mesh for seed in (3, 3, 4))
    assert first is not None and again is not None and other is not None and len(first.faces) > 500
    assert torch.equal(first.vertices, again.vertices) and torch.equal(first.faces, again.faces)
    assert not torch.equal(first.vertices, other.vertices)
    assert float((first.vertices.amax(0) - first.vertices.amin(0)).amax()) == pytest.approx(0.95, abs=1e-5)


def test_stages_are_told_and_cancelled_within_a_step(pipeline: ShapePipeline) -> None:
    told: list[StepInfo] = []
    pipeline([disc()], progress=Progress(told.append), **QUICK | {"structure_steps": 3})
    assert list(dict.fromkeys(info.stage for info in told)) == [
        Stage.PREPARE, Stage.ENCODE, Stage.STRUCTURE, Stage.SURFACE,
    ]  # fmt: skip
    assert [info.total for info in told if info.stage is Stage.STRUCTURE] == [3, 3, 3]
    token, seen = CancelToken(), list[StepInfo]()

    def stop(info: StepInfo) -> None:
        seen.append(info)
        if info.stage is Stage.STRUCTURE:
            token.cancel()

    with pytest.raises(Cancelled):
        pipeline([disc()], progress=Progress(stop, token), **QUICK | {"structure_steps": 3})
    assert [info.step for info in seen if info.stage is Stage.STRUCTURE] == [1]


class MarkedDecoder(VecsetDecoder):
    """A flat box with a nose at its front (+z) and a hat (+y), as the published frame has them."""

    def logits(self, points: Tensor, context: LatentContext) -> Tensor:
        x, y, z = points.unbind(1)
        inside = (x.abs() < 0.4) & (y.abs() < 0.4) & (z.abs() < 0.4)
        nose = (x.abs() < 0.2) & (y.abs() < 0.2) & (z > 0) & (z < 0.9)
        hat = (x > 0) & (x < 0.2) & (z.abs() < 0.2) & (y > 0) & (y < 0.65)
        return torch.where(inside | nose | hat, 1.0, -1.0)


def test_the_front_looks_to_minus_y_and_up_is_z(folder: Path) -> None:
    pipeline = opened(folder)
    pipeline.host._loaders[DECODER] = lambda: MarkedDecoder(sizes_of(DecoderSizes, DECODER_PARAMS))
    vertices = pipeline(disc(), **QUICK | {"surface_resolution": 31}).mesh.vertices  # type: ignore[union-attr]
    x, y, z = vertices.unbind(1)
    assert (vertices.amax(0) - vertices.amin(0)).argmax() == 1  # from nose to back
    assert float(x[y < y.min() + 0.02].abs().max()) < 0.15 < float(x[y > y.max() - 0.02].abs().max())
    assert float(x[z > z.max() - 0.02].min()) > -0.02 > float(x[z < z.min() + 0.02].min())  # the hat is to the right


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"surface_resolution": 8}, "surface_resolution must be"),
        ({"surface_resolution": 1000}, "surface_resolution must be"),
        ({"structure_steps": 0}, "structure_steps must be 1"),
        ({"structure_guidance": -1.0}, "structure_guidance must be at least 0"),
        ({"representations": ("radiance_field",)}, "makes no representation 'radiance_field'"),
        ({"views": ("front",)}, "one picture of any side"),
        ({"pictures": []}, "at least one picture"),
    ],
)
def test_what_is_refused(pipeline: ShapePipeline, values: dict[str, Any], words: str) -> None:
    options = {"pictures": [disc()], **QUICK, **values}
    with pytest.raises(InvalidInputError, match=words):
        pipeline(**options)


def test_a_latent_without_a_surface_is_a_sentence(folder: Path) -> None:
    pipeline = opened(folder)

    class Nothing(VecsetDecoder):
        def logits(self, points: Tensor, context: LatentContext) -> Tensor:
            return -points[:, 0].abs() - 1

    pipeline.host._loaders[DECODER] = lambda: Nothing(sizes_of(DecoderSizes, DECODER_PARAMS))
    with pytest.raises(TrellisError, match="made no surface"):
        pipeline(disc(), **QUICK)


def test_logits_that_overflow_are_computed_again(folder: Path) -> None:
    class Overflowing(VecsetDecoder):
        def logits(self, points: Tensor, context: LatentContext) -> Tensor:
            values = super().logits(points, context)
            return values if context.keys.dtype == torch.float32 else values / 0

    pipeline = opened(folder)

    def load() -> VecsetDecoder:
        decoder = Overflowing(sizes_of(DecoderSizes, DECODER_PARAMS))
        decoder.load_state_dict(networks(description())["vae."].state_dict())
        decoder.set_precision(torch.bfloat16)
        return decoder

    pipeline.host._loaders[DECODER] = load
    made = pipeline(disc(), **QUICK)
    assert made.mesh is not None and any("shape_decoder overflowed" in note for note in made.notes)


def test_several_pictures_of_a_model_for_one(pipeline: ShapePipeline) -> None:
    alone, both = pipeline([disc()], **QUICK), pipeline([disc(), disc((0, 0, 255))], **QUICK)
    assert torch.equal(alone.mesh.vertices, both.mesh.vertices) and ONE_PICTURE in both.notes  # type: ignore[union-attr]
    assert ONE_PICTURE not in alone.notes and len(both.prepared) == 2


def test_views_are_told_apart(tmp_path: Path) -> None:
    content = description(kind="plain", several=True)
    pipeline = opened(write_model(tmp_path / "several", content, networks(content)))
    pictures = [disc(), disc((0, 0, 255))]
    seen = [pipeline(pictures, views=views, **QUICK).mesh for views in (None, ("front", "left"), ("front", "back"))]
    assert torch.equal(seen[0].vertices, seen[1].vertices)  # type: ignore[union-attr]
    assert not torch.equal(seen[0].vertices, seen[2].vertices)  # type: ignore[union-attr]
    for views in (("front",), ("front", "front"), ("front", "top")):
        with pytest.raises(InvalidInputError, match="front, left, back, right, each once"):
            pipeline(pictures, views=views, **QUICK)
    with pytest.raises(InvalidInputError, match="each once"):
        pipeline([disc()] * 5, **QUICK)


@pytest.fixture(params=["inside", "beside"])
def with_turbo(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    content = description()
    model = write_model(tmp_path / "tiny", content, networks(content))
    write_turbo_decoder((model if request.param == "inside" else tmp_path) / "hunyuan3d-vae-v2-mini-turbo")
    yield model


def test_the_turbo_decoder_is_taken_where_it_is(with_turbo: Path, pipeline: ShapePipeline) -> None:
    fast = opened(with_turbo)
    assert fast.host.config(DECODER).is_turbo and not pipeline.host.config(DECODER).is_turbo
    assert len(fast(disc(), **QUICK).mesh.faces) > 500  # type: ignore[union-attr]


def test_damage_is_told_at_the_opening(tmp_path: Path) -> None:
    content = description()
    made = networks(content)
    del made["model."]
    with pytest.raises(CheckpointError, match="no weight of model"):
        opened(write_model(tmp_path / "tiny", content, made))


def test_without_colours_the_mesh_is_grey_with_a_note(pipeline: ShapePipeline) -> None:
    made = pipeline([disc()], **QUICK | {"representations": ("gaussians", "mesh")})
    assert made.gaussians is None and made.mesh is not None and made.mesh.colors is not None
    assert float(made.mesh.colors.min()) == float(made.mesh.colors.max()) == pytest.approx(0.6)
    assert any("No TRELLIS model coloured" in note for note in made.notes)
    assert not any("No TRELLIS model" in note for note in pipeline([disc()], **QUICK).notes)  # no colours wanted


def test_one_host_lends_the_networks_of_both_models(folder: Path) -> None:
    pipeline = opened(folder, residency="offload")
    for texture in [ImageTo3D.from_pretrained("nano", runtime=Runtime(offline=True)) for _ in range(2)]:
        own = texture.host
        pipeline._share_memory(texture)
        assert texture.host is pipeline.host is not own and pipeline.host.plan.residency == "offload"
        assert {*ROLES, *own.roles} == set(pipeline.host.roles)
        assert pipeline.host._loaders["slat_flow_model"] is own._loaders["slat_flow_model"]
