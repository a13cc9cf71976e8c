"""Generation after generation holds the same memory."""

import gc
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch

from benchmarks.released import Scene, make_scene, random_pipeline
from trellis.conditions import Condition
from trellis.errors import Cancelled
from trellis.memory import MemoryPlan
from trellis.pipeline import ImageTo3D
from trellis.progress import CancelToken, Progress
from trellis.runtime import Runtime, allocated_bytes

PLANS = [MemoryPlan(), MemoryPlan("offload"), MemoryPlan("budget", budget=1 << 20, together=False)]


@pytest.fixture(autouse=True)
def older_objects_left_out() -> Iterator[None]:
    """Millions that the tests' process has loaded before would be looked through at every count."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


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
    condition = Condition.of_pictures([scene.condition])
    with torch.inference_mode():
        structure = pipeline.sample_structure(condition, sampler, generator, "stochastic", progress)
        assert pipeline.decode_structure(structure).shape[1] == 4
        latent = pipeline.sample_latent(condition, scene.voxels, sampler, generator, "stochastic", progress)
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
