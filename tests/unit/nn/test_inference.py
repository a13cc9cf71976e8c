"""Blocks evaluated without a gradient against the blocks themselves."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.interpreted import needs_triton, run_interpreted
from tests.parity import golden
from trellis.nn.blocks import ModulatedCrossBlock, TransformerBlock
from trellis.nn.conv import DenseResidualBlock
from trellis.nn.inference import condition_context, run_blocks, run_dense_residual, run_plain_blocks
from trellis.ops.norms import residual
from trellis.ops.segments import Segments
from trellis.sparse import TokenWindows, VoxelLayout, attention_windows

WIDTH, COUNT, LENGTH = 24, 3, 11
INTERPRETED = """
import torch
from tests.unit.nn import test_inference as case
from trellis.ops.norms import residual, residual_triton
blocks, x, modulation, conditions = case.network(torch.float16)
expected = case.fast(blocks, x, modulation, conditions)
residual.kernels_on = lambda device: residual_triton
found = case.fast(blocks, x, modulation, conditions)
assert not torch.equal(found, expected)  # the last bit of some value: another way was taken
assert (found - expected).abs().max() <= 5e-3 * expected.abs().max()
block = case.filled(case.DenseResidualBlock(16, 16), torch.float16)
grid = torch.randn(2, 16, 2, 3, 4, generator=torch.Generator().manual_seed(6)).half()  # channels are far apart
with torch.no_grad():
    expected, found = block(grid), case.run_dense_residual(block, grid)
assert not torch.equal(found, expected)
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
        return residual.add_and_normalize_by_torch(x, h, **options)

    case = network(torch.float16)
    expected = fast(*case)
    monkeypatch.setattr(residual, "kernels_on", lambda device: SimpleNamespace(add_and_normalize=counted))
    assert torch.equal(fast(*case), expected)
    seen, alone = [(LENGTH, True, False), (LENGTH, False, False)], [(LENGTH, True, True)]
    block = seen + alone + seen
    between = [(3 * LENGTH, True, False)]
    assert calls == block + between + block + between + block


def filled(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The module with fixed weights, its layers but the norms in `dtype`."""
    golden.fill(module.named_parameters())
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv3d)):
            layer.to(dtype)
    return module.eval()


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("mode", "size", "once"),
    [("full", 3, True), ("swin", 3, True), ("shift_sequence", 3, True), ("shift_sequence", 4, False)],
)
def test_plain_blocks_in_windows(mode: str, size: int, once: bool, dtype: torch.dtype) -> None:
    blocks = [TransformerBlock(WIDTH, 2, qk_rms_norm=index == 1) for index in range(COUNT)]
    for block in blocks:
        filled(block, dtype)
    coords = torch.nn.functional.pad(torch.cartesian_prod(*[torch.arange(4)] * 3), (1, 0)).int()
    layout = VoxelLayout.create(coords[coords.sum(1) % 3 > 0], resolution=4)
    windows = [attention_windows(layout, mode, window_size=size, block=index) for index in range(COUNT)]
    assert all(part.is_permutation for part in windows) == once  # or some tokens are in two windows
    x = torch.randn(len(layout), WIDTH, generator=torch.Generator().manual_seed(5)).to(dtype)
    expected = x
    for block, part in zip(blocks, windows):
        expected = block(expected, part)
    found = run_plain_blocks(blocks, x.clone(), windows.__getitem__)
    limit = 1e-5 if dtype == torch.float32 else 3e-2
    assert found.dtype == dtype
    assert (expected - x).abs().max() > 0.1
    assert (found - expected).abs().max() <= limit * expected.abs().max()


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("out_width", [WIDTH, 16])
def test_dense_residual_block(out_width: int, dtype: torch.dtype) -> None:
    block = filled(DenseResidualBlock(WIDTH, out_width), dtype)
    assert isinstance(block, DenseResidualBlock)
    x = torch.randn(2, WIDTH, 3, 4, 5, generator=torch.Generator().manual_seed(6)).to(dtype)
    before, expected = x.clone(), block(x)
    found = run_dense_residual(block, x)
    limit = 1e-5 if dtype == torch.float32 else 3e-2
    assert found.shape == (2, out_width, 3, 4, 5) and found.dtype == dtype and torch.equal(x, before)
    assert (found - expected).abs().max() <= limit * expected.abs().max()


@needs_triton
def test_the_interpreted_kernel_gives_the_same_tokens() -> None:
    run_interpreted(INTERPRETED)
