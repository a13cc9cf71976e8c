"""The GPU kernels evaluate the same shapes as the reference, and are not used where they do not."""

from types import ModuleType

import pytest
import torch
from torch import Tensor

from tests.interpreted import needs_triton, run_interpreted
from trellis.runtime import Runtime
from trellis.training.procedural import FAMILIES, evaluate, fused, render_pictures, sample_objects

CPU = torch.device("cpu")
INTERPRETED = """
import torch
from trellis.training.procedural import evaluate, fused, kernels, sample_objects
cpu = torch.device("cpu")
assert fused.agrees(kernels, cpu)
for family in ("lamp", "car", "teapot"):
    objects = sample_objects([3, 4], [family])
    points = torch.rand(2, 300, 3, generator=torch.Generator().manual_seed(1)) - 0.5
    slots = objects.groups[0].slots
    assert (kernels.distances(slots, points) - evaluate.distances(slots, points)).abs().max() < 1e-5, family
print("the same")
"""


@needs_triton
def test_interpreted_kernels_are_the_reference() -> None:
    run_interpreted(INTERPRETED)


def _module(*, shift: float = 0.0, owner: int = 0, hit: bool = True) -> ModuleType:
    """The reference with the kernels' functions, and with a fault."""
    module = ModuleType("faulty")

    def trace(slots: object, eyes: Tensor, rays: Tensor, *, near: Tensor, far: Tensor, **_: float) -> tuple:
        t = near.clone()
        for _step in range(200):
            t = t + 0.9 * evaluate.distances(slots, eyes + t[..., None] * rays)  # type: ignore[arg-type]
        return t, torch.full_like(t, hit, dtype=torch.bool)

    def owners(slots: object, points: Tensor) -> tuple[Tensor, Tensor]:
        number, local = evaluate.owners(slots, points)  # type: ignore[arg-type]
        return number + owner, local

    module.__dict__.update(
        distances=lambda slots, points: evaluate.distances(slots, points) + shift, owners=owners, trace=trace
    )
    return module


@pytest.mark.parametrize(
    ("faults", "expected"), [({}, True), ({"shift": 0.01}, False), ({"owner": 1}, False), ({"hit": False}, False)]
)
def test_wrong_kernels_are_found_out(faults: dict, expected: bool) -> None:
    assert fused.agrees(_module(**faults), CPU) is expected


def test_a_cpu_has_no_kernels() -> None:
    assert fused.kernels_for(CPU) is None


@pytest.fixture(scope="module")
def accelerator() -> torch.device:
    device = Runtime.detect().device
    if device.type in ("cpu", "mps"):
        pytest.skip("no GPU here")
    return device


@pytest.mark.gpu
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_families_are_the_same_on_a_gpu(family: str, accelerator: torch.device) -> None:
    kernels = fused.kernels_for(accelerator)
    assert kernels is not None
    points = torch.rand(4, 4000, 3, generator=torch.Generator().manual_seed(1)) - 0.5
    slots = sample_objects(list(range(4)), [family]).groups[0].slots
    there = slots.to(accelerator)
    found = kernels.distances(there, points.to(accelerator)).cpu()
    assert (found - evaluate.distances(slots, points)).abs().max() < 1e-4
    owner = kernels.owners(there, points.to(accelerator))[0].cpu()
    assert (owner == evaluate.owners(slots, points)[0]).float().mean() > 0.995


@pytest.mark.gpu
def test_pictures_are_the_same_on_a_gpu(accelerator: torch.device) -> None:
    names = ["car", "mug", "tree"]
    here = render_pictures(sample_objects(list(range(6)), names), size=64).images.float()
    there = render_pictures(sample_objects(list(range(6)), names, device=accelerator), size=64).images.cpu().float()
    assert ((here[..., 3] > 0) == (there[..., 3] > 0)).float().mean() > 0.995
    assert (here - there).abs().mean() < 1.5
