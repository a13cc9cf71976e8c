"""The latent VAE and the flows learn a batch, and resume to the same bits as a run that was not interrupted."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.training.forked import launched
from tests.training.tiny import CPU, Interrupt, tiny_config, tiny_trainer, weights
from trellis.app.train_command import main
from trellis.errors import CheckpointError, InvalidInputError
from trellis.sampling import initial_noise
from trellis.sparse import SparseTensor
from trellis.training import losses
from trellis.training.config import config_values, parse_config
from trellis.training.few_steps import LATENTS, STRUCTURES, visited
from trellis.training.generate import sample_structure
from trellis.training.processes import Processes
from trellis.training.randomness import step_generator
from trellis.training.settings import stage_settings
from trellis.training.stages import create_stage
from trellis.training.stages.flows import Flows, StructureFlow
from trellis.training.trainer import Stage, Trainer


@pytest.mark.parametrize("name", ["latent_vae", "structure_flow", "flows"])
def test_resumed_run_is_bitwise_the_uninterrupted_one(name: str, runs: Path, tmp_path: Path) -> None:
    config = tiny_config(name)
    first = tiny_trainer(config, tmp_path, inputs=runs)
    start = weights(first)
    with pytest.raises(KeyboardInterrupt):
        first.run(progress=Interrupt(3))  # type: ignore[arg-type]
    second = tiny_trainer(config, tmp_path, inputs=runs)
    second.resume()
    assert second.position.step == 2
    assert second.run()
    whole = tiny_trainer(config, runs)  # the finished run of the session
    whole.resume()
    expected, found = weights(whole), weights(second)
    assert expected.keys() == found.keys()
    assert [key for key, value in expected.items() if not torch.equal(value, found[key])] == []
    assert any(not torch.equal(value, start[key]) for key, value in expected.items())


def overfit(stage: Stage, steps: int) -> tuple[dict[str, float], dict[str, float]]:
    """Losses of one batch with one draw of noise, before and after `steps` steps on it."""
    stage.at_step(0)
    optimizer = torch.optim.Adam([p for p in stage.modules.parameters() if p.requires_grad], lr=3e-3)
    history = []
    for _ in range(steps):
        total, parts = stage.loss(step_generator(0, 0, torch.device("cpu")))
        history.append({"total": total.item()} | {key: value.item() for key, value in parts.items()})
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    return history[0], history[-1]


def test_latent_vae_learns_one_batch(tmp_path: Path) -> None:
    before, after = overfit(tiny_trainer(tiny_config("latent_vae"), tmp_path).stage, 35)
    assert after["total"] < 0.6 * before["total"]
    falling = {"mesh_sdf", "mesh_color", "disc_place", "disc_color", "disc_opacity", "field_density", "field_color"}
    assert {name for name in falling if after[name] > 0.97 * before[name]} == set()


def test_flows_learn_one_batch(runs: Path) -> None:
    before, after = overfit(tiny_trainer(tiny_config("flows"), runs).stage, 60)
    assert after["structure"] < 0.5 * before["structure"]
    assert after["latent"] < 0.5 * before["latent"]


def off_zero(run: Trainer) -> None:
    """Move all weights a little: zero-initialised heads keep gradients from what lies below them."""
    with torch.no_grad():
        for parameter in run.parameters:
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator()), alpha=0.01)


@pytest.mark.parametrize("drop", [0.0, 1.0])
def test_the_structure_flow_learns_guidance_where_there_is_a_condition(drop: float, runs: Path, tmp_path: Path) -> None:
    """The target moves by what the condition changes: by nothing where it is dropped."""
    found = []
    for strength in (0.0, 3.0):
        config = tiny_config("flows")
        options = {**config.options, "drop": drop, "learned_strength": strength, "sampled_objects": 0}
        losses_but_one = {name: weight for name, weight in config.loss.items() if name != "sampled"}
        run = tiny_trainer(replace(config, options=options, loss=losses_but_one), tmp_path, inputs=runs)
        off_zero(run)
        stage = run.stage
        stage.at_step(0)
        _, parts = stage.loss(step_generator(0, 0, torch.device("cpu")))
        found.append(parts["structure"].item())
    assert (found[0] == found[1]) == (drop == 1.0)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_trained_parameter_gets_a_gradient(precision: str, runs: Path, tmp_path: Path) -> None:
    for name in ("structure_vae", "latent_vae", "flows"):
        run = tiny_trainer(replace(tiny_config(name), precision=precision), tmp_path, inputs=runs)
        run.stage.at_step(0)
        off_zero(run)
        run.stage.loss(step_generator(0, 0, torch.device("cpu")))[0].backward()
        dead = [
            key
            for key, p in run.stage.modules.named_parameters()
            if p.requires_grad and (p.grad is None or not p.grad.any())
        ]
        assert dead == [], name


def test_latents_reach_the_flows_normalised(runs: Path) -> None:
    stage = tiny_trainer(tiny_config("flows"), runs).stage
    stage.at_step(0)
    rows, _, _ = stage.pool.voxel_rows(torch.arange(4))  # type: ignore[attr-defined]
    latents = stage.pool.voxels("voxel_latent", rows).float()  # type: ignore[attr-defined]
    # Refreshing has replaced a part of the pool that the statistics were taken from.
    assert float(latents.mean(0).abs().max()) < 1.0
    assert 0.5 < float(latents.std()) < 2.0


def test_flows_are_asked_at_the_times_of_few_steps(runs: Path) -> None:
    values = config_values(tiny_config("flows"))
    options = values["options"] | {"few_steps": 1.0, "latent_every": 1, "latent_objects": 2}
    stage = tiny_trainer(parse_config(values | {"options": options}), runs).stage
    asked: dict[str, set[float]] = {role: set() for role in ("sparse_structure_flow_model", "slat_flow_model")}
    for role, times in asked.items():
        stage.modules[role].register_forward_pre_hook(lambda _, given, times=times: times.update(given[1].tolist()))
    for step in range(12):
        stage.at_step(step)
        for _ in stage.losses(step):
            pass
    for times, sampler in zip(asked.values(), (STRUCTURES, LATENTS)):
        assert sorted(times) == pytest.approx(sorted(1000 * t for t in visited(sampler)))


def sampling_stage(runs: Path, **changes: Any) -> StructureFlow:
    """A structure flow of which one object of two has the loss of sampled voxels, and nothing else is asked for."""
    values = config_values(tiny_config("structure_flow"))
    values["loss"] = {"structure": 0.0, "sampled": 1.0}
    values["options"] |= {"sampled_objects": 1, "learned_strength": 1.0} | changes
    stage = tiny_trainer(parse_config(values), runs).stage
    assert isinstance(stage, StructureFlow)
    return stage


def test_sampled_states_are_those_of_the_few_steps(runs: Path) -> None:
    stage = sampling_stage(runs)
    overfit(stage, 10)  # a flow of fresh weights says nothing
    flow, sampler = stage.structure_flow, replace(STRUCTURES, learned_strength=1.0)
    cond = torch.randn(32, 5, 32, generator=step_generator(0, 1, CPU))
    noise = initial_noise((32, 8, 2, 2, 2), torch.Generator().manual_seed(4))
    states, times = stage._visited(noise, cond, step_generator(0, 0, CPU))
    assert sorted(set(times.tolist())) == pytest.approx(sorted(visited(STRUCTURES)))
    assert torch.equal(states[times == 1], noise[times == 1])
    last = times == times.min()
    with torch.no_grad():
        ends = losses.clean(states[last], flow(states, 1000 * times, cond)[last], times[last].view(-1, 1, 1, 1, 1))
    assert torch.allclose(ends, sample_structure(flow, cond, sampler=sampler, seed=4)[last], atol=1e-3)
    assert (ends - noise[last]).abs().mean() > 0.1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sampled_objects": 0}, "together"),
        ({"sampled_objects": 2}, "fewer than 2"),
        ({"sampled_objects": -1}, "not negative"),
        ({"learned_strength": 0.0}, "learned_strength 1.0"),
    ],
)
def test_half_a_setting_of_sampled_voxels_is_refused(changes: dict[str, float], said: str, runs: Path) -> None:
    with pytest.raises(InvalidInputError, match=said):
        sampling_stage(runs, **changes)


def coloring_stage(runs: Path, **changes: Any) -> Flows:
    """Flows of which one object of two has the loss of colours, in every step, and nothing else is asked for."""
    values = config_values(tiny_config("flows"))
    values["loss"] = {"structure": 0.0, "latent": 0.0, "colors": 1.0}
    values["options"] |= {"sampled_objects": 0, "colored_objects": 1, "latent_every": 1} | changes
    stage = tiny_trainer(parse_config(values), runs).stage
    assert isinstance(stage, Flows)
    return stage


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("loss", "share"), [("sampled", 0.98), ("colors", 0.9)])
def test_what_the_few_steps_lead_to_is_learned(loss: str, share: float, precision: str, runs: Path) -> None:
    stage = sampling_stage(runs) if loss == "sampled" else coloring_stage(runs)
    stage.config = replace(stage.config, precision=precision)
    before, after = overfit(stage, 80)
    assert after[loss] < share * before[loss]


class Pointing(torch.nn.Module):
    """A flow whose velocity leads to one clean sample; it writes down at what times it is asked."""

    def __init__(self, clean: Tensor) -> None:
        super().__init__()
        self.clean = clean
        self.asked: list[float] = []

    def forward(self, x: SparseTensor, t: Tensor, cond: Tensor) -> SparseTensor:
        self.asked += t.tolist()
        return x.replace((x.feats - self.clean) / (t[0] / 1000))


def test_colors_are_compared_with_the_truths(runs: Path) -> None:
    """A flow that points at the truth from wherever it is asked has no loss of colours; one that points by has."""
    stage = coloring_stage(runs)
    stage.at_step(0)
    one, cond = torch.tensor([1]), torch.zeros(1, 5, 32)
    truth, _ = stage._sparse_latents(one)
    ends = set()
    for draw in range(8):
        values = []
        for off in (0.0, 1.0):
            flow = Pointing(truth.feats + off)
            stage.latent_flow = flow
            values.append(stage._prepared_colors(one, step_generator(0, draw, CPU))(cond).item())
        assert values[0] < 0.1 * values[1]
        assert flow.asked[0] == 1000  # on the way to a state; then at that state's time
        ends.add(flow.asked[-1])
    assert sorted(ends) == pytest.approx(sorted(1000 * t for t in visited(LATENTS)))


@pytest.mark.parametrize(
    ("changes", "said"), [({"colored_objects": 0}, "together"), ({"colored_objects": 2}, "fewer than 2")]
)
def test_half_a_setting_of_colors_is_refused(changes: dict[str, float], said: str, runs: Path) -> None:
    with pytest.raises(InvalidInputError, match=said):
        coloring_stage(runs, **changes)


def test_sampled_and_colored_objects_keep_their_condition(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four objects the first three have latents, the third colours and the last sampled voxels."""
    values = config_values(tiny_config("flows")) | {"batch_size": 4}
    values["options"] |= {"latent_objects": 3, "sampled_objects": 1, "colored_objects": 1, "drop": 1.0}
    stage = tiny_trainer(parse_config(values), runs).stage
    assert isinstance(stage, Flows)
    given: dict[str, Tensor] = {}
    states, latents = stage._visited, stage._prepared

    def visited_states(noise: Tensor, cond: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        given["sampled"] = cond
        return states(noise, cond, generator)

    def colors(numbers: Tensor, generator: torch.Generator) -> Any:
        given["numbers"] = numbers
        return lambda cond: given.update(colored=cond) or torch.zeros(())

    def prepared(numbers: Tensor, generator: torch.Generator) -> Any:
        later = latents(numbers, generator)
        given["all"] = numbers
        return lambda cond, seen: given.update(cond=cond, seen=seen) or later(cond, seen)

    for name, function in (("_visited", visited_states), ("_prepared", prepared), ("_prepared_colors", colors)):
        monkeypatch.setattr(stage, name, function)
    stage.at_step(0)
    stage.loss(step_generator(0, 0, CPU))
    assert torch.equal(given["sampled"], given["cond"][3:]) and given["sampled"].any()
    assert not given["cond"][:3].any()
    assert torch.equal(given["colored"], given["seen"][2:3]) and given["colored"].any()
    assert torch.equal(given["numbers"], given["all"][2:3])
    assert torch.equal(given["all"][:3], stage._with_latents(given["all"][:3]))


def test_flows_need_the_earlier_stages(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="sparse_structure_encoder is missing"):
        tiny_trainer(tiny_config("flows"), tmp_path)


def test_stages_refuse_what_they_do_not_know(runs: Path) -> None:
    values = config_values(tiny_config("flows"))
    with pytest.raises(InvalidInputError, match="dropp"):
        tiny_trainer(parse_config(values | {"options": {"dropp": 0.1}}), runs)
    models = {role: model for role, model in values["models"].items() if role != "image_encoder"}
    with pytest.raises(InvalidInputError, match="image_encoder"):
        tiny_trainer(parse_config(values | {"models": models}), runs)
    values = config_values(tiny_config("latent_vae"))
    run = tiny_trainer(parse_config(values | {"loss": values["loss"] | {"ssim": 1.0}}), runs)
    run.stage.at_step(0)
    with pytest.raises(InvalidInputError, match="ssim"):
        run.stage.loss(step_generator(0, 0, torch.device("cpu")))


def test_two_processes_take_the_mean_of_their_gradients(runs: Path, tmp_path: Path) -> None:
    config = replace(tiny_config("flows", steps=3, objects=6), inputs={"structure_vae": str(runs / "structure_vae")})
    config = replace(config, inputs=config.inputs | {"latent_vae": str(runs / "latent_vae")})
    (tmp_path / "config.json").write_text(json.dumps(config_values(config)))
    words = ["--config", "config.json", "--output_dir", "two", "--device", "cpu", "--threads", "1", "--num_gpus", "2"]
    words = [str(tmp_path / word) if word in ("config.json", "two") else word for word in words]
    log = tmp_path / "log.txt"
    assert launched(main, words, log) == 0, log.read_text()
    assert log.read_text().count("flows: done after 3 steps") == 2  # each of them says so

    first, second = (create_stage(config, tmp_path, device=CPU, processes=Processes(rank, 2)) for rank in (0, 1))
    assert isinstance(first, Flows) and isinstance(second, Flows)
    assert len(first.pool) == 4 and len(second.pool) == 2
    second.image_encoder, second.structure_flow, second.latent_flow = first.modules.values()
    shown = []

    def both(processes: Processes, gradients: list[torch.Tensor]) -> None:
        parameters = [p for p in first.modules.parameters() if p.grad is not None]
        second.at_step(len(shown))
        total, _ = second.loss(second.generator(len(shown), CPU))
        shown.append(total.item())
        for mine, other in zip(gradients, torch.autograd.grad(total, parameters), strict=True):
            mine.copy_((mine + other) / 2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Processes, "average", both)
        trainer = Trainer(first, stage_settings(config, CPU), tmp_path / "one", device=CPU)
        trainer.run()
    alone, together = (read_losses(tmp_path / name) for name in ("one", "two/flows"))
    assert together == pytest.approx([(a + b) / 2 for a, b in zip(alone, shown)], rel=1e-4)
    assert max(abs(a - b) for a, b in zip(alone, shown)) > 1e-3
    for role in config.models:
        name = f"{role}/model.safetensors" if role == "image_encoder" else f"{role}.safetensors"
        one, two = (load_file(tmp_path / folder / name) for folder in ("one", "two/flows"))
        assert all(torch.allclose(value.float(), two[key].float(), atol=2e-3) for key, value in one.items())


def read_losses(folder: Path) -> list[float]:
    lines = (line.partition(": ")[2] for line in (folder / "log.txt").read_text().splitlines())
    return [numbers["loss"] for line in lines if "loss" in (numbers := json.loads(line))]


def test_more_processes_than_chunks_are_refused(runs: Path) -> None:
    with pytest.raises(InvalidInputError, match="too few for 3 processes"):
        create_stage(tiny_config("structure_vae"), runs, device=CPU, processes=Processes(2, 3))
