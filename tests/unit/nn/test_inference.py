"""The flow models' blocks evaluated for sampling against the blocks themselves."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.interpreted import needs_triton, run_interpreted
from tests.parity import golden
from trellis.nn.blocks import ModulatedCrossBlock
from trellis.nn.inference import condition_context, run_blocks
from trellis.ops import residual_norm
from trellis.ops.segments import Segments
from trellis.sparse import TokenWindows

WIDTH, COUNT, LENGTH = 24, 3, 11
INTERPRETED = """
import torch
from tests.unit.nn import test_inference as case
from trellis.ops import residual_norm
from trellis.ops.residual_norm_triton import by_triton
blocks, x, modulation, conditions = case.network(torch.float16)
expected = case.fast(blocks, x, modulation, conditions)
residual_norm.kernel_for = lambda device: by_triton
found = case.fast(blocks, x, modulation, conditions)
assert not torch.equal(found, expected)  # the last bit of some value: another way was taken
assert (found - expected).abs().max() <= 5e-3 * expected.abs().max()
print("the same")
"""


def network(dtype: torch.dtype) -> tuple[list[ModulatedCrossBlock], Tensor, Tensor, list[Tensor]]:
    """Blocks that share their modulation, tokens, modulation [6 C], three conditions, one of them a single token."""
    blocks = [
        ModulatedCrossBlock(WIDTH, 2, cond_width=8, qk_rms_norm=True, share_mod=True).eval() for _ in range(COUNT)
    ]
    for index, block in enumerate(blocks):
        golden.fill((f"{index}.{name}", value) for name, value in block.named_parameters())
    generator = torch.Generator().manual_seed(4)
    x, modulation = torch.randn(LENGTH, WIDTH, generator=generator), torch.randn(6 * WIDTH, generator=generator)
    conditions = [torch.randn(tokens, 8, generator=generator) for tokens in (5, 1, 5)]
    for block in blocks:
        for layer in block.modules():
            if isinstance(layer, nn.Linear):
                layer.to(dtype)
    return blocks, x.to(dtype), modulation.to(dtype), [condition.to(dtype) for condition in conditions]


@torch.no_grad()
def plain(blocks: list[ModulatedCrossBlock], x: Tensor, modulation: Tensor, conditions: list[Tensor]) -> Tensor:
    parts = []
    windows = TokenWindows(Segments((LENGTH,), x.device))
    for condition in conditions:
        h = x
        for block in blocks:
            segments = Segments((len(condition),), x.device)
            h = block(h, modulation[None], cond=condition, windows=windows, cond_segments=segments)
        parts.append(h)
    return torch.cat(parts)


@torch.no_grad()
def fast(blocks: list[ModulatedCrossBlock], x: Tensor, modulation: Tensor, conditions: list[Tensor]) -> Tensor:
    modulations = modulation.unflatten(0, (6, -1)).repeat(len(blocks), 1, 1)
    modulations[:, (1, 4)] += 1
    contexts = [[condition_context(block.cross_attn, condition) for block in blocks] for condition in conditions]
    return run_blocks(blocks, x, modulations, contexts)


@pytest.mark.parametrize("which", [(0,), (1,), (0, 1), (0, 1, 2), (0, 2)])
def test_tokens_are_those_of_the_blocks(which: tuple[int, ...]) -> None:
    blocks, x, modulation, conditions = network(torch.float32)
    chosen, before = [conditions[index] for index in which], x.clone()
    found, expected = fast(blocks, x, modulation, chosen), plain(blocks, x, modulation, chosen)
    assert found.shape == (len(which) * LENGTH, WIDTH)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert torch.equal(x, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_as_near_to_full_as_the_blocks_themselves(dtype: torch.dtype) -> None:
    exact = plain(*network(torch.float32))
    own = (plain(*network(dtype)) - exact).norm()
    assert 0 < (fast(*network(dtype)) - exact).norm() <= 1.5 * own


def test_every_norm_that_follows_an_addition_may_be_by_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, bool, bool]] = []

    def counted(x: Tensor, h: Tensor, **options: Any) -> Tensor:
        calls.append((len(x), options["gate"] is not None, options["constant"] is not None))
        return residual_norm.by_torch(x, h, **options)

    case = network(torch.float16)
    expected = fast(*case)
    monkeypatch.setattr(residual_norm, "kernel_for", lambda device: counted)
    assert torch.equal(fast(*case), expected)
    seen, alone = [(LENGTH, True, False), (LENGTH, False, False)], [(LENGTH, True, True)]
    block = seen + alone + seen
    between = [(3 * LENGTH, True, False)]
    assert calls == block + between + block + between + block


@needs_triton
def test_the_interpreted_kernel_gives_the_same_tokens() -> None:
    run_interpreted(INTERPRETED)
