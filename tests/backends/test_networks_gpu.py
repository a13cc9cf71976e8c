"""What runs on a GPU alone gives what the plain way gives: captured steps, kernels, weights that come and go."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from benchmarks.released import Scene, make_scene, random_pipeline
from trellis.memory import MemoryPlan
from trellis.ops import head_norm
from trellis.pipeline import ENCODER_ROLE, ImageTo3D, stage_roles
from trellis.progress import Progress
from trellis.runtime import GraphReplay, Runtime

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
]
GPU = torch.device("cuda")
PLANS = {
    "captured": MemoryPlan(graphs="on"),
    "chosen": MemoryPlan(graphs="auto"),
    "apart": MemoryPlan(graphs="on", together=False),
    "offloaded": MemoryPlan("offload", graphs="off"),
    "offloaded and captured": MemoryPlan("offload", graphs="on"),
    "small pieces": MemoryPlan("budget", budget=1 << 20, chunk_bytes=1 << 16),
}


@pytest.fixture(scope="module", params=["float32", "float16", "bfloat16"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return Runtime.detect(device="cuda", precision=request.param)


def results(pipeline: ImageTo3D, scene: Scene, *, conditions: int = 1) -> list[Tensor]:
    """Structure, latent and mesh features of 12 steps each."""
    sampler = replace(pipeline.config.structure_sampler, steps=12)
    given = [scene.condition * (1 - 0.5 * index) for index in range(conditions)]
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode(), pipeline.host.in_order(stage_roles(ENCODER_ROLE, ("mesh",))):
        structure = pipeline.sample_structure(given, sampler, generator, "stochastic", Progress())
        latent = pipeline.sample_latent(given, scene.voxels, sampler, generator, "stochastic", Progress())
        return [structure, latent.feats, pipeline.decode_mesh_features(latent).feats]


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("conditions", [1, 2])
def test_every_plan_gives_the_plain_result(plan: MemoryPlan, conditions: int, runtime: Runtime) -> None:
    scene = make_scene(scale="tiny", device=runtime.device)
    plain = random_pipeline(runtime, scale="tiny", plan=MemoryPlan(graphs="off"))
    expected = results(plain, scene, conditions=conditions)
    pipeline = random_pipeline(runtime, scale="tiny", plan=plan)
    limit = {torch.float32: 1e-4, torch.float16: 5e-2, torch.bfloat16: 3e-1}[runtime.dtype]
    for _ in range(2):  # the second finds networks loaded, which then come ahead, and choices made
        for found, wanted in zip(results(pipeline, scene, conditions=conditions), expected):
            assert (found - wanted).norm() <= limit * wanted.norm()
    assert pipeline.host.take_notes() == ()


def test_captures_are_made() -> None:
    replay, state = GraphReplay(GPU, mode="on"), torch.zeros(4, device=GPU)
    weight = torch.eye(4, device=GPU)
    for step in range(10):
        state.fill_(step)
        out = replay.run("step", lambda: state @ weight + 1, remaining=10 - step)
        assert torch.equal(out, torch.full_like(out, step + 1))
    assert len(replay._captured) == 1
    replay.close()


def test_the_kernel_of_heads_is_used() -> None:
    assert head_norm.kernel_for(GPU) is not None
