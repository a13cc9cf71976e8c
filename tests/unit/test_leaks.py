"""Generation after generation holds the same memory."""

import gc
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.released import Scene, make_scene, random_pipeline
from trellis.errors import Cancelled
from trellis.memory import MemoryPlan
from trellis.models import FlowSession
from trellis.pipeline import ImageTo3D
from trellis.progress import CancelToken, Progress
from trellis.runtime import Runtime, allocated_bytes

PLANS = [MemoryPlan(), MemoryPlan("offload"), MemoryPlan("budget", budget=1 << 20, together=False)]


def live_bytes() -> int:
    """Bytes of all tensors that anything still refers to, each storage once."""
    gc.collect()
    storages = {
        item.untyped_storage().data_ptr(): item.untyped_storage().nbytes()
        for item in gc.get_objects()
        if type(item) in (torch.Tensor, torch.nn.Parameter) and item.device.type == "cpu"
    }
    return sum(storages.values())


def generate(pipeline: ImageTo3D, scene: Scene, progress: Progress, *, steps: int = 2) -> None:
    """Everything that a generation does between the image encoder and the files."""
    sampler = replace(pipeline.config.structure_sampler, steps=steps)
    generator = torch.Generator().manual_seed(0)
    conditions = [scene.condition]
    with torch.inference_mode():
        structure = pipeline.sample_structure(conditions, sampler, generator, "stochastic", progress)
        assert pipeline.decode_structure(structure).shape[1] == 4
        latent = pipeline.sample_latent(conditions, scene.voxels, sampler, generator, "stochastic", progress)
        asset = pipeline.decode(latent, ("gaussians", "mesh"), [], progress)
    assert asset.gaussians is not None and asset.mesh is not None and len(asset.mesh.faces)


def repeat(runs: int, measure: Callable[[], int], run: Callable[[], None]) -> list[int]:
    values = []
    for _ in range(runs):
        run()
        values.append(measure())
    return values


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.residency)
def test_generations_hold_the_same_memory(plan: MemoryPlan) -> None:
    runtime = Runtime(device=torch.device("cpu"))
    pipeline, scene = random_pipeline(runtime, scale="tiny", plan=plan), make_scene(scale="tiny", device=runtime.device)
    generate(pipeline, scene, Progress())
    values = repeat(3, live_bytes, lambda: generate(pipeline, scene, Progress()))
    assert len(set(values)) == 1 and values[0] > 1 << 20


def test_a_cancelled_generation_leaves_nothing() -> None:
    runtime = Runtime(device=torch.device("cpu"))
    pipeline, scene = random_pipeline(runtime, scale="tiny"), make_scene(scale="tiny", device=runtime.device)
    generate(pipeline, scene, Progress())
    before = live_bytes()
    for stage in ("structure", "latent", "decode"):
        token = CancelToken()
        progress = Progress(lambda info, s=stage, t=token: t.cancel() if info.stage == s else None, token)
        with pytest.raises(Cancelled):
            generate(pipeline, scene, progress)
        assert live_bytes() == before, stage


def test_the_session_of_the_structure_stays_for_the_next_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trellis.memory.has_captures", lambda device: True)
    runtime = Runtime(device=torch.device("cpu"))
    scene = make_scene(scale="tiny", device=runtime.device)
    made: list[int] = []
    monkeypatch.setattr(FlowSession, "_choose_attention", lambda session: made.append(len(session)))

    def structure(pipeline: ImageTo3D, scale: float, progress: Progress | None = None) -> torch.Tensor:
        sampler = replace(pipeline.config.structure_sampler, steps=2)
        given, generator = [scene.condition * scale], torch.Generator().manual_seed(0)
        with torch.inference_mode():
            return pipeline.sample_structure(given, sampler, generator, "stochastic", progress or Progress())

    pipeline = random_pipeline(runtime, scale="tiny")
    results = [structure(pipeline, scale) for scale in (1.0, 0.5, 1.0)]
    assert made == [1] and torch.equal(results[0], results[2])
    assert torch.equal(results[1], structure(random_pipeline(runtime, scale="tiny"), 0.5)) and len(made) == 2
    kept = pipeline.host._network("sparse_structure_flow_model").kept
    assert list(kept) == ["session"]
    token, closed = CancelToken(), []
    monkeypatch.setattr(FlowSession, "close", lambda session: closed.append(session))
    session = kept["session"]
    with pytest.raises(Cancelled):
        structure(pipeline, 1.0, Progress(lambda info: token.cancel(), token))
    assert closed == [session] and not kept
    assert torch.equal(structure(pipeline, 1.0), results[0]) and len(made) == 3 and len(closed) == 1


def test_only_the_structure_of_one_picture_has_a_session_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trellis.memory.has_captures", lambda device: True)
    runtime = Runtime(device=torch.device("cpu"))
    scene = make_scene(scale="tiny", device=runtime.device)
    pipeline = random_pipeline(runtime, scale="tiny")
    moved = scene.voxels + torch.tensor([0, 1, 0, 0], dtype=torch.int32)  # as many voxels, other places
    assert moved[:, 1:].max() < 64

    def structure(pictures: int) -> list[str]:
        sampler = replace(pipeline.config.structure_sampler, steps=2)
        given, generator = [scene.condition] * pictures, torch.Generator().manual_seed(0)
        pipeline.sample_structure(given, sampler, generator, "stochastic", Progress())
        return list(pipeline.host._network("sparse_structure_flow_model").kept)

    def latent(pipeline: ImageTo3D, voxels: torch.Tensor) -> torch.Tensor:
        sampler, generator = replace(pipeline.config.latent_sampler, steps=2), torch.Generator().manual_seed(0)
        return pipeline.sample_latent([scene.condition], voxels, sampler, generator, "stochastic", Progress()).feats

    with torch.inference_mode():
        assert [structure(1), structure(2), structure(1)] == [["session"], [], ["session"]]
        first, second = latent(pipeline, scene.voxels), latent(pipeline, moved)
        assert not pipeline.host._network("slat_flow_model").kept
        assert torch.equal(first, latent(random_pipeline(runtime, scale="tiny"), scene.voxels))
        assert torch.equal(second, latent(random_pipeline(runtime, scale="tiny"), moved))
        assert not torch.equal(first, second)


def test_what_stages_left_goes_before_the_surface_is_made_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = random_pipeline(Runtime(device=torch.device("cpu")), scale="tiny")
    kept = pipeline.host._network("sparse_structure_flow_model").kept
    kept["session"] = object()
    on_device = torch.zeros(1, 4, device="meta")  # a device that is not the CPU
    features: Any = SimpleNamespace(samples=lambda: [(on_device, on_device)], resolution=4)
    asked: list[tuple[str, int]] = []

    def extract(coords: torch.Tensor, feats: torch.Tensor, *, resolution: int) -> Any:
        asked.append((coords.device.type, len(kept)))
        if len(asked) == 1:
            raise torch.OutOfMemoryError("out of memory")
        return SimpleNamespace(to=lambda device: "surface")

    monkeypatch.setattr("trellis.pipeline.extract_mesh", extract)
    assert pipeline.extract_surface(features) == "surface" and asked == [("meta", 1), ("meta", 0)]


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("graphs", ["on", "off"])
def test_a_hundred_generations_on_the_gpu(graphs: str) -> None:
    runtime = Runtime.detect(device="cuda", precision="float16")
    plan = MemoryPlan(graphs=graphs)
    pipeline, scene = random_pipeline(runtime, scale="tiny", plan=plan), make_scene(scale="tiny", device=runtime.device)
    run = lambda: generate(pipeline, scene, Progress(), steps=12)  # noqa: E731 - enough for captures to be worth it
    repeat(2, lambda: 0, run)
    values = repeat(100, lambda: allocated_bytes(runtime.device), run)
    assert len(set(values)) == 1, values
