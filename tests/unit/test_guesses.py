"""The embedded model's samplings begin at the mean of several guesses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from trellis.errors import Cancelled, CheckpointError
from trellis.models import FlowSession, PipelineConfig, SamplerConfig, load_model
from trellis.pipeline import TrellisPipeline
from trellis.progress import Progress, StepInfo
from trellis.runtime import Runtime
from trellis.sampling import Start
from trellis.training.generate import sample_latents, sample_structure

ROOT = Path(__file__).resolve().parents[2]
NANO = ROOT / "assets" / "models" / "trellis-nano"
SAMPLER = SamplerConfig(steps=4, cfg_strength=1.0, cfg_interval=(0.0, 1.0), rescale_t=3.0, learned_strength=1.0)


@pytest.fixture(scope="module")
def pipeline() -> TrellisPipeline:
    runtime = Runtime(device=torch.device("cpu"), dtype=torch.float32, offline=True)
    return TrellisPipeline.from_pretrained("nano", runtime=runtime)


@pytest.mark.parametrize(("guesses", "steps", "told"), [(1, 4, [1, 2, 3, 4]), (3, 4, [1, 2, 3, 4, 5]), (3, 1, [1])])
@torch.inference_mode()
def test_the_structure_is_that_of_the_plain_network(
    pipeline: TrellisPipeline, guesses: int, steps: int, told: list[int]
) -> None:
    heard: list[StepInfo] = []
    condition = pipeline.read(ROOT / "assets" / "example_image" / "mug.png", progress=Progress())
    sampler = replace(SAMPLER, guesses=guesses, steps=steps)
    generator = torch.Generator().manual_seed(7)
    made = pipeline.sample_structure(condition, sampler, generator, "stochastic", Progress(heard.append))
    flow = load_model(NANO / "ckpts" / "sparse_structure_flow_model").float()
    torch.testing.assert_close(
        made, sample_structure(flow, condition.tokens[0].float(), sampler=sampler, seed=7), atol=2e-3, rtol=0
    )
    assert [step.step for step in heard] == told
    assert {step.total for step in heard} == {told[-1]}


def test_several_pictures_take_turns_from_the_first_step(pipeline: TrellisPipeline) -> None:
    """Their steps are those of one noise, whatever the model's guesses are."""
    picture = ROOT / "assets" / "example_image" / "mug.png"
    condition = pipeline.read([picture, picture], progress=Progress())
    made = [
        pipeline.sample_structure(
            condition, replace(SAMPLER, guesses=guesses), torch.Generator().manual_seed(7), "stochastic", Progress()
        )
        for guesses in (1, 3)
    ]
    assert torch.equal(*made)


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


def test_guesses_are_kept_in_the_description_and_checked() -> None:
    config = PipelineConfig.read(NANO / "pipeline.json")
    assert config.structure_sampler.guesses > 1 and config.latent_sampler.guesses > 1
    assert SamplerConfig.from_dict(config.structure_sampler.to_dict()) == config.structure_sampler
    assert "guesses" not in SAMPLER.to_dict()["params"], "the published form, where there is one"
    for wrong in (0, 65, 1.5):
        with pytest.raises(CheckpointError, match="out of range"):
            replace(SAMPLER, guesses=wrong)  # type: ignore[arg-type]


@torch.inference_mode()
def test_the_latents_are_those_of_the_plain_network(pipeline: TrellisPipeline) -> None:
    condition = pipeline.read(ROOT / "assets" / "example_image" / "mug.png", progress=Progress())
    voxels = torch.nn.functional.pad(torch.cartesian_prod(*[torch.arange(10, 14)] * 3), (1, 0)).int()
    sampler = replace(SAMPLER, cfg_strength=0.0, learned_strength=0.0, steps=2, guesses=2)
    generator = torch.Generator().manual_seed(3)
    made = pipeline.sample_latent(condition, voxels, sampler, generator, "stochastic", Progress())
    flow = load_model(NANO / "ckpts" / "slat_flow_model").float()
    plain = sample_latents(flow, voxels, condition.tokens[0].float(), resolution=32, sampler=sampler, seed=3)
    torch.testing.assert_close(pipeline.flow_units(made.feats), plain.feats, atol=2e-3, rtol=0)


@torch.inference_mode()
def test_a_start_on_the_way_is_not_guessed(pipeline: TrellisPipeline) -> None:
    condition = pipeline.read(ROOT / "assets" / "example_image" / "mug.png", progress=Progress())
    start = Start(torch.zeros(1, 8, 8, 8, 8), 0.8)
    made = [
        pipeline.sample_structure(
            condition, replace(SAMPLER, guesses=guesses), torch.Generator().manual_seed(7), "stochastic", Progress(),
            start=start,
        )
        for guesses in (1, 3)
    ]  # fmt: skip
    assert torch.equal(*made)


@torch.inference_mode()
def test_guidance_of_every_other_step_begins_after_the_guesses(
    pipeline: TrellisPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each guess has a difference of its own, and the first step after them too."""
    asked: list[tuple[float, str]] = []
    evaluate = FlowSession._evaluate

    def noted(self: FlowSession, x: torch.Tensor, time: float, *, index: int | None, kind: str) -> Any:
        asked.append((round(time), kind))
        return evaluate(self, x, time, index=index, kind=kind)

    monkeypatch.setattr(FlowSession, "_evaluate", noted)
    condition = pipeline.read(ROOT / "assets" / "example_image" / "mug.png", progress=Progress())
    sampler, generator = replace(SAMPLER, guesses=3, cfg_strength=3.0), torch.Generator().manual_seed(7)
    pipeline.sample_structure(condition, sampler, generator, "stochastic", Progress(), "fastest")
    assert asked == [(1000, "both")] * 3 + [(750, "both"), (500, "one")]
