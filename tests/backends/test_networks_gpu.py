"""What runs on a GPU alone gives what the plain way gives: captured steps, kernels, weights that come and go."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from benchmarks.released import Scene, make_scene, random_pipeline
from benchmarks.stages import Stages
from tests.unit.nn import test_inference
from trellis.conditions import Condition
from trellis.memory import MemoryPlan
from trellis.ops.captures import GraphReplay
from trellis.ops.norms import gelu, heads, residual
from trellis.pipeline import ImageTo3D, stage_roles
from trellis.progress import Progress
from trellis.runtime import Runtime

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
    given = Condition.of_pictures([scene.condition * (1 - 0.5 * index) for index in range(conditions)])
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode(), pipeline.host.in_order(stage_roles(("mesh",))):
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


def test_captures_are_made_where_the_device_waits_for_the_host() -> None:
    small, large = torch.zeros(4, device=GPU), torch.eye(4096, device=GPU, dtype=torch.float16)

    def many_launches() -> Tensor:
        x = small
        for _ in range(500):
            x = x + 1
        return x

    def much_work() -> Tensor:
        x = large
        for _ in range(50):
            x = x @ large
        return x

    replay = GraphReplay(GPU)
    for step in range(10):
        assert bool((replay.run("launches", many_launches, remaining=20 - step) == 500).all())
        assert torch.equal(replay.run("work", much_work, remaining=20 - step), large)
    assert list(replay._captured) == ["launches"]
    replay.close()


def test_kernels_and_the_fused_gelu_are_used() -> None:
    assert heads.kernel_for(GPU) is not None
    assert residual.kernels_on(GPU) is not None
    assert gelu.fused_for(GPU) is not None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("rows", "width"), [(4096, 1024), (1265, 1024), (333, 768), (512, 256), (71, 192), (9, 100)])
def test_the_kernel_of_residuals_is_torch(rows: int, width: int, dtype: torch.dtype) -> None:
    generator = torch.Generator(GPU).manual_seed(0)
    x, h = 3 * torch.randn(2, rows, width, generator=generator, device=GPU).to(dtype)
    gate, constant, weight, shift = torch.randn(4, width, generator=generator, device=GPU).to(dtype)
    plain, affine = (residual.RowNorm(weight.to(kind), shift.to(kind), 1e-6) for kind in (dtype, torch.float32))
    cases = [(gate, None, affine), (gate, constant, plain), (None, None, plain), (gate, None, plain)]
    kernels = residual.kernels_on(GPU)
    assert kernels is not None
    limit = {torch.float16: 4e-3, torch.bfloat16: 3e-2}[dtype]
    for gate_row, constant_row, norm in cases:
        expected, found = x.clone(), x.clone()
        places = {"h_rows": torch.randperm(rows, device=GPU), "out_rows": torch.randperm(rows, device=GPU)}
        if gate_row is None:
            places = dict.fromkeys(places)
        options = {"gate": gate_row, "constant": constant_row, "norm": norm, "out": None, **places}
        residual.add_and_normalize_by_torch(expected, h, **options)
        normalized = kernels.add_and_normalize(found, h, **options)
        torch.testing.assert_close(found, expected, rtol=limit, atol=limit)
        normalized = normalized if gate_row is None else normalized[places["out_rows"]]
        torch.testing.assert_close(normalized, norm(found), rtol=limit, atol=limit)
        for kind in (dtype, torch.float32):
            expected = residual.normalize_and_activate_by_torch(x, norm=affine, dtype=kind)
            activated = kernels.normalize_and_activate(x, norm=affine, dtype=kind)
            torch.testing.assert_close(activated, expected, rtol=limit, atol=limit)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("rows", [8192, 1265, 1])
def test_the_fused_gelu_is_as_near_to_full_precision_as_two_operations(rows: int, dtype: torch.dtype) -> None:
    generator = torch.Generator(GPU).manual_seed(0)
    x = torch.randn(rows, 1024, generator=generator, device=GPU).to(dtype)
    weight, bias = (
        torch.randn(4096, *shape, generator=generator, device=GPU).to(dtype) / 32 for shape in ((1024,), ())
    )
    exact = gelu.by_torch(x.float(), weight.float(), bias=bias.float())
    found, apart = gelu.linear_gelu(x, weight, bias=bias), gelu.by_torch(x, weight, bias=bias)
    assert found.dtype == dtype
    assert (found - exact).norm() <= 1.1 * (apart - exact).norm()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_blocks_with_kernels_are_as_near_to_full_precision_as_without(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tokens(precision: torch.dtype) -> Tensor:
        blocks, x, modulation, conditions = test_inference.network(precision)
        for block in blocks:
            block.to(GPU)
        return test_inference.fast(blocks, x.to(GPU), modulation.to(GPU), [part.to(GPU) for part in conditions])

    exact, found = tokens(torch.float32), tokens(dtype)
    monkeypatch.setattr(residual, "kernels_on", lambda device: None)
    monkeypatch.setattr(gelu, "fused_for", lambda device: None)
    apart = tokens(dtype)
    assert 0 < (found - exact).norm() <= 1.5 * (apart - exact).norm()


def test_decoders_with_kernels_are_as_near_to_full_precision_as_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def decoded(precision: str) -> list[Tensor]:
        pipeline = random_pipeline(Runtime.detect(device="cuda", precision=precision), scale="tiny")
        stages = Stages(pipeline, make_scene(scale="tiny", device=GPU))
        with torch.inference_mode():
            features = stages.decode("slat_decoder_gs", stages.latents()).feats
            return [value.float() for value in (stages.structure_decoder(), features)]

    exact, found = decoded("float32"), decoded("float16")
    monkeypatch.setattr(residual, "kernels_on", lambda device: None)
    monkeypatch.setattr(gelu, "fused_for", lambda device: None)
    for true, with_kernels, without in zip(exact, found, decoded("float16")):
        assert 0 < (with_kernels - true).norm() <= 1.5 * (without - true).norm()
