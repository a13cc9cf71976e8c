"""The fastest back end is taken, unless its result is wrong or it cannot run."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from trellis.ops import fastest
from trellis.ops.attention_choice import choose, fastest_backend

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The clock of the measurement: `now` moves only where a back end is slow."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(fastest, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


def trial(clock: SimpleNamespace, *, slow: str, wrong: str = "", broken: str = "") -> str:
    def attend(name: str) -> Tensor:
        clock.now += 0.005 if name == slow else 0.001
        if name == broken:
            raise RuntimeError("no plan")
        return torch.full((3,), 2.0 if name == wrong else 1.0)

    return choose(attend, CPU, question="attention")


def test_the_fastest_right_one_is_taken(clock: SimpleNamespace) -> None:
    assert trial(clock, slow="sdpa") == "cudnn"
    assert trial(clock, slow="cudnn") == "sdpa"
    assert trial(clock, slow="sdpa", wrong="cudnn") == "sdpa"
    assert trial(clock, slow="sdpa", broken="cudnn") == "sdpa"


def test_the_first_stays_where_another_is_hardly_faster(clock: SimpleNamespace) -> None:
    def attend(name: str) -> Tensor:
        clock.now += 0.001 if name == "sdpa" else 0.00098
        return torch.ones(3)

    assert choose(attend, CPU, question="attention") == "sdpa"


def test_a_cpu_leaves_the_choice_to_every_call() -> None:
    assert fastest_backend(CPU, torch.float32, q_length=8, k_length=4, heads=2, width=8) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_has_a_choice() -> None:
    device = torch.device("cuda")
    assert fastest_backend(device, torch.float16, q_length=512, k_length=100, heads=2, width=64) in ("sdpa", "cudnn")


KERNELS_OF_TORCH = """
import sys
import torch
from torch.profiler import ProfilerActivity, profile
from trellis.ops.attention import packed_attention
from trellis.ops.segments import Segments
q = torch.randn(4096, 16, 64, device="cuda", dtype=torch.float16)
segments = Segments((4096,), q.device)
for backend in sys.argv[1:]:
    packed_attention(q, q, v=q, q_segments=segments, k_segments=segments, backend=backend)
with profile(activities=[ProfilerActivity.CUDA]) as profiler:
    packed_attention(q, q, v=q, q_segments=segments, k_segments=segments, backend="sdpa")
    torch.cuda.synchronize()
kernels = {event.key for event in profiler.key_averages()}
print(next(key for key in sorted(kernels) if "sdpa" in key or "flash" in key or "fmha" in key))
"""


def kernel_of_torch_after(*backends: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", KERNELS_OF_TORCH, *backends], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout.strip()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_cudnn_leaves_torchs_own_choice_alone() -> None:
    assert kernel_of_torch_after("cudnn") == kernel_of_torch_after() == kernel_of_torch_after("sdpa", "cudnn")
