"""The embedded model's few steps, and the many of several pictures."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from trellis.errors import Cancelled
from trellis.models import SamplerConfig, load_model
from trellis.pipeline import TrellisPipeline
from trellis.progress import Progress
from trellis.runtime import Runtime
from trellis.training.generate import sample_latents, sample_structure

ROOT = Path(__file__).resolve().parents[2]
NANO = ROOT / "assets" / "models" / "trellis-nano"
MUG = ROOT / "assets" / "example_image" / "mug.png"


@pytest.fixture(scope="module")
def pipeline() -> TrellisPipeline:
    runtime = Runtime(device=torch.device("cpu"), dtype=torch.float32, offline=True)
    return TrellisPipeline.from_pretrained("nano", runtime=runtime)


@torch.inference_mode()
def test_the_structure_is_that_of_the_plain_network(pipeline: TrellisPipeline) -> None:
    condition = pipeline.read(MUG, progress=Progress())
    sampler, generator = pipeline.config.structure_sampler, torch.Generator().manual_seed(7)
    made = pipeline.sample_structure(condition, sampler, generator, "stochastic", Progress())
    flow = load_model(NANO / "ckpts" / "sparse_structure_flow_model").float()
    plain = sample_structure(flow, condition.tokens[0].float(), sampler=sampler, seed=7)
    torch.testing.assert_close(made, plain, atol=2e-3, rtol=0)


@torch.inference_mode()
def test_the_latents_are_those_of_the_plain_network(pipeline: TrellisPipeline) -> None:
    condition = pipeline.read(MUG, progress=Progress())
    voxels = torch.nn.functional.pad(torch.cartesian_prod(*[torch.arange(10, 14)] * 3), (1, 0)).int()
    sampler, generator = pipeline.config.latent_sampler, torch.Generator().manual_seed(3)
    made = pipeline.sample_latent(condition, voxels, sampler, generator, "stochastic", Progress())
    flow = load_model(NANO / "ckpts" / "slat_flow_model").float()
    plain = sample_latents(flow, voxels, condition.tokens[0].float(), resolution=32, sampler=sampler, seed=3)
    torch.testing.assert_close(pipeline.flow_units(made.feats), plain.feats, atol=2e-3, rtol=0)


@torch.inference_mode()
def test_the_first_guess_does_not_depend_on_the_noise(pipeline: TrellisPipeline) -> None:
    """At t = 1 the state says nothing of the object; a flow that was trained there points at the same from any."""
    condition = pipeline.read(MUG, progress=Progress())
    once = replace(pipeline.config.structure_sampler, steps=1)
    first, second = (
        pipeline.sample_structure(condition, once, torch.Generator().manual_seed(seed), "stochastic", Progress())
        for seed in (1, 2)
    )
    assert float((first - second).std() / first.std()) < 0.05


@pytest.mark.parametrize("operation", ["generate", "variant", "edit", "retexture"])
def test_several_pictures_have_steps_enough_to_take_turns(
    pipeline: TrellisPipeline, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded model's own two steps would leave the third picture out."""
    asked: list[int] = []

    def stop(sampler: SamplerConfig, stage: str, *values: Any, least: int = 1) -> SamplerConfig:
        asked.append(least)
        if stage == "latent":
            raise Cancelled
        return sampler

    monkeypatch.setattr("trellis.pipeline.override", stop)
    calls: dict[str, Any] = {
        "generate": lambda pictures: pipeline(pictures),
        "variant": lambda pictures: pipeline.variant(None, pictures),  # type: ignore[arg-type]
        "edit": lambda pictures: pipeline.edit(None, pictures, region=()),  # type: ignore[arg-type]
        "retexture": lambda pictures: pipeline.retexture("mug.glb", pictures),
    }
    for pictures, least in ((["a.png", "b.png", "c.png"], 12), (["a.png"], 1)):
        with pytest.raises(Cancelled):
            calls[operation](pictures)
        assert asked[-1] == least
