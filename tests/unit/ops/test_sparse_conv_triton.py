"""The sparse convolution's Triton kernel: in Triton's interpreter, wrong ones, when it is chosen, and on a GPU."""

from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.interpreted import needs_triton, run_interpreted
from trellis.errors import InvalidInputError, MissingDependencyError
from trellis.models import create_model
from trellis.nn.decoding import run_subdivision
from trellis.ops import fastest, sparse_conv
from trellis.ops.captures import GraphReplay
from trellis.ops.neighbours import neighbour_table
from trellis.ops.sparse_conv import choice, gather
from trellis.ops.sparse_conv.choice import TILES, Tile, agrees, kernel_for, tiles_for
from trellis.runtime import free_bytes, peak_allocated_bytes, reset_peak_memory
from trellis.sparse import SparseTensor

CPU = torch.device("cpu")
INTERPRETED = """
import torch
from trellis.errors import InvalidInputError
from trellis.ops.fastest import shell_of_voxels
from trellis.ops.neighbours import neighbour_table
from trellis.ops.sparse_conv import choice, gather, trained, triton_kernels
cpu = torch.device("cpu")
assert choice.agrees(triton_kernels, cpu)
torch.manual_seed(0)
coords = shell_of_voxels(10, cpu)
table = neighbour_table(coords, (len(coords),), resolution=10)
rows = slice(3, 8)
for tile, width, out_width in zip(choice.TILES, (128, 64, 19), (130, 260, 101)):
    padded = torch.randn(len(coords) + 1, width).half()
    padded[-1] = float("nan")  # a row that is never to be read
    taps, bias = torch.randn(1, out_width, 27, width).half(), torch.randn(out_width).half()
    expected = gather.apply(padded[:-1], taps, bias=bias, table=table, columns=gather.ALL)
    got = expected[rows].clone().zero_()
    triton_kernels.convolve(padded, taps, bias=bias, table=table[rows], out=got, tile=tile, none=len(coords))
    assert (got - expected[rows]).abs().max() <= 2e-3 * expected.abs().max(), tile
    triton_kernels.convolve(padded, taps, bias=bias, table=table[:0], out=got[:0], tile=tile)
feats, taps = torch.randn(len(coords), 70).half(), (torch.randn(1, 40, 27, 70) / 40).half()
inputs = [one.requires_grad_() for one in (feats, taps, torch.randn(40).half())]
grad = torch.randn(len(coords), 40).half()
expected, got = (
    [out, *torch.autograd.grad(out, inputs, grad)]
    for out in (
        gather.apply(*inputs[:2], bias=inputs[2], table=table, columns=gather.ALL),
        trained.apply(*inputs[:2], bias=inputs[2], table=table, kernels=triton_kernels),
    )
)
for one, other in zip(expected, got):
    assert one.dtype == other.dtype and (one - other).abs().max() <= 4e-3 * one.abs().max()
refused = 0
for taps, out in ((torch.zeros(1, 2, 8, 4), torch.zeros(5, 2)), (torch.zeros(1, 2, 27, 4), torch.zeros(2, 5).t())):
    try:
        triton_kernels.convolve(torch.zeros(9, 4), taps, bias=torch.zeros(2), table=table[:5], out=out, tile=tile)
    except InvalidInputError:
        refused += 1
assert refused == 2
print("the same")
"""


@needs_triton
def test_interpreted_kernel_is_torch() -> None:
    run_interpreted(INTERPRETED)


def by_gather(
    feats: Tensor, taps: Tensor, *, bias: Tensor, table: Tensor, out: Tensor, tile: Tile, none: int | None = None
) -> None:
    columns = gather.ALL if len(taps) == 1 else gather.CORNERS
    zeros = feats if none is None else feats[:none]
    padded = torch.cat([zeros, torch.zeros_like(feats[:1])])
    parts = [padded[table[:, group].long()].flatten(1) @ taps[i].flatten(1).t() for i, group in enumerate(columns)]
    out.copy_(torch.cat([part + bias for part in parts], 1))


def taps_by_gather(feats: Tensor, grad: Tensor, table: Tensor) -> Tensor:
    return gather.tap_gradients(feats, grad, (1, grad.shape[1], 27, feats.shape[1]), table, gather.ALL)


def module(
    convolve: Any = by_gather, sum_products: Any = gather.sum_products, tap_gradients: Any = taps_by_gather
) -> ModuleType:
    return SimpleNamespace(convolve=convolve, sum_products=sum_products, tap_gradients=tap_gradients)  # type: ignore[return-value]


def test_wrong_kernels_are_found_out() -> None:
    def wrong_value(*args: Tensor, **options: Any) -> None:
        by_gather(*args, **options)
        options["out"].mul_(1.01)

    def spills(*args: Tensor, **options: Any) -> None:
        by_gather(*args, **options)
        out = options["out"]
        torch.as_strided(out, (1,), (1,), out.storage_offset() + out.numel()).fill_(7)

    def forgets_a_neighbour(*args: Tensor, table: Tensor, **options: Any) -> None:
        by_gather(*args, table=torch.cat([table[:, :26], torch.full_like(table[:, :1], len(args[0]))], 1), **options)

    def wrong_sum(*args: Tensor, **options: Any) -> Tensor:
        return gather.sum_products(*args, **options) + 1

    assert agrees(module(), CPU)
    for convolve in (wrong_value, spills, forgets_a_neighbour):
        assert not agrees(module(convolve), CPU)
    assert not agrees(module(sum_products=wrong_sum), CPU)
    assert not agrees(module(tap_gradients=lambda *args: taps_by_gather(*args).flip(2)), CPU)
    assert choice.kernels_on(CPU) is None


def test_few_tiles_are_measured() -> None:
    assert tiles_for(1024, 1024) == TILES and TILES[1] not in tiles_for(192, 96)
    assert tiles_for(96, 96) == tiles_for(101, 96) == TILES[-1:]
    assert tiles_for(32, 16) == TILES[-1:]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """Kernels for the CPU and the clock of their measurement: a tile takes a second, or what `seconds` says of it."""
    clock = SimpleNamespace(now=0.0, seconds={}, wrong=(), tried=[], sums=0)

    def convolve(*args: Tensor, tile: Tile, **options: Any) -> None:
        by_gather(*args, tile=tile, **options)
        clock.tried.append(tile)
        clock.now += clock.seconds.get(tile, 1.0)
        if tile in clock.wrong:
            options["out"].mul_(2)

    def apply(*args: Any, **options: Any) -> Tensor:
        clock.now += clock.seconds.get(None, 1.0)
        return right(*args, **options)

    def sum_products(*args: Tensor, **options: Any) -> Tensor:
        clock.sums += 1
        return gather.sum_products(*args, **options)

    right = gather.apply
    monkeypatch.setattr(fastest, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    monkeypatch.setattr(gather, "apply", apply)
    monkeypatch.setattr(choice, "kernels_on", lambda device: module(convolve, sum_products))
    monkeypatch.setattr(choice, "GATHERED", 1)
    choice._seconds.cache_clear()
    yield clock
    choice._seconds.cache_clear()


def chosen(*, width: int = 128, backend: str | None = None, dtype: torch.dtype = torch.float16) -> Tile | None:
    kernel = kernel_for(
        torch.zeros(4, width, dtype=dtype), torch.zeros(1, 130, 27, width, dtype=dtype), backend=backend
    )
    return None if kernel is None else kernel.keywords["tile"]  # type: ignore[attr-defined]


@torch.no_grad()
def test_the_fastest_way_that_agrees_is_taken(clock: SimpleNamespace) -> None:
    clock.seconds = {None: 4.0, TILES[0]: 3.0, TILES[1]: 2.0, TILES[2]: 1.0}
    clock.wrong = (TILES[2],)
    assert chosen() == TILES[1]
    measured = len(clock.tried)
    assert chosen() == TILES[1] and len(clock.tried) == measured
    clock.seconds[None] = 0.5
    assert chosen(width=192) is None and chosen(width=192, backend="triton") == TILES[1]
    clock.wrong = TILES
    assert chosen(width=256, backend="triton") is None


@torch.no_grad()
def test_where_torch_has_no_room_the_kernel_is_taken(clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*args: Any, **options: Any) -> Tensor:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(gather, "apply", no_room)
    assert chosen() == TILES[0]


@torch.no_grad()
def test_the_kernel_is_for_half_precision_without_gradients(clock: SimpleNamespace) -> None:
    clock.seconds = {None: 9.0}
    assert chosen() is not None and chosen(dtype=torch.bfloat16) is not None
    assert chosen(backend="builtin") is chosen(backend="spconv") is chosen(dtype=torch.float32) is None
    with torch.enable_grad():
        assert chosen(backend="triton") is None
    with pytest.raises(InvalidInputError, match="builtin, triton, spconv"):
        chosen(backend="torchsparse")


@torch.no_grad()
def test_every_convolution_goes_through_the_kernel(clock: SimpleNamespace) -> None:
    clock.seconds = {None: 9.0}
    generator = torch.Generator().manual_seed(0)
    coords = fastest.shell_of_voxels(8, CPU)
    table = neighbour_table(coords, (len(coords),), resolution=8)
    feats = torch.randn(len(coords), 20, generator=generator).half()
    weight, bias = torch.randn(12, 3, 3, 3, 20, generator=generator).half(), torch.randn(12, generator=generator).half()
    padded = torch.cat([feats, torch.zeros_like(feats[:1])])
    rows = slice(5, 40)

    def results(backend: str | None) -> list[Tensor]:
        by_rows = sparse_conv.RowConvolution(padded, weight, bias=bias, backend=backend)
        assert by_rows.row_bytes == (0 if backend is None else 27 * 20 * 2)
        return [by_rows(table[rows])] + [
            convolve(feats, weight, bias=bias, neighbours=table, backend=backend)
            for convolve in (
                sparse_conv.submanifold_conv,
                sparse_conv.submanifold_conv_of_subdivided,
                sparse_conv.submanifold_conv_of_upsampled,
            )
        ]

    expected = results("builtin")
    assert not clock.tried and not clock.sums
    for index, (got, wanted) in enumerate(zip(results(None), expected, strict=True)):
        assert (got - wanted).abs().max() <= 4e-3 * wanted.abs().max(), index
    assert torch.equal(expected[0], expected[1][rows])
    assert len(clock.tried) == 3 + 2 * (fastest.CALLS + 1)  # three convolutions, and two shapes of taps were measured
    assert clock.sums == 1


def test_training_in_half_precision_goes_through_the_kernel(clock: SimpleNamespace) -> None:
    """Forth and back through its tiles, with the gather's gradients; in full precision, or where told by the gather."""
    generator = torch.Generator().manual_seed(0)
    coords = fastest.shell_of_voxels(8, CPU)
    table = neighbour_table(coords, (len(coords),), resolution=8)
    shapes = ((len(coords), 20), (12, 3, 3, 3, 20), (12,))
    drawn = [torch.randn(shape, generator=generator) / shape[-1] ** 0.5 for shape in shapes]

    def trained(dtype: torch.dtype, backend: str | None) -> list[Tensor]:
        feats, weight, bias = inputs = [one.to(dtype).requires_grad_() for one in drawn]
        out = sparse_conv.submanifold_conv(feats, weight, bias=bias, neighbours=table, backend=backend)
        return [out, *torch.autograd.grad(out.float().square().sum(), inputs)]

    expected = trained(torch.bfloat16, "builtin")
    trained(torch.float32, None)
    assert not clock.tried
    for got, wanted in zip(trained(torch.bfloat16, None), expected, strict=True):
        assert got.dtype == wanted.dtype and (got - wanted).abs().max() <= 2e-2 * wanted.abs().max()
    assert len(clock.tried) == 2  # nothing is measured: once forth, once back to the features


MESH_DECODER = {"resolution": 16, "model_channels": 256, "latent_channels": 8, "num_blocks": 1, "num_heads": 4}


@torch.no_grad()
def test_a_network_hands_its_back_end_on(clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: "installed")
    clock.seconds = {None: 9.0}
    model = create_model("SLatMeshDecoder", MESH_DECODER).eval()
    model.set_precision(torch.float16)
    block: Any = model.upsample[0]  # type: ignore[index]
    feats = torch.randn(60, 256, generator=torch.Generator().manual_seed(0)).half()
    x = SparseTensor.create(feats, fastest.shell_of_voxels(8, CPU)[:60], resolution=16)
    results = {}
    for backend in ("builtin", None, "triton"):
        model.set_sparse_conv(backend)
        clock.tried.clear()
        choice._seconds.cache_clear()
        results[backend] = (block(x).feats, run_subdivision(block, x).feats)
        assert bool(clock.tried) == (backend is None or backend == "triton")
        for got, expected in zip(results[backend], results["builtin"]):
            assert (got - expected).abs().max() <= 1e-2 * expected.abs().max()


def test_a_network_without_triton_refuses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="use builtin"):
        create_model("SLatMeshDecoder", MESH_DECODER).set_sparse_conv("triton")


GPU = torch.device("cuda")
# Of the released networks: convolutions side by side, taps of each, channels in and out.
RELEASED = (
    (1, 27, 128, 128),
    (1, 27, 1024, 1024),
    (8, 8, 768, 192),
    (1, 27, 192, 192),
    (8, 8, 192, 96),
    (1, 27, 96, 96),
)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("dtype", choice.HALF)
@pytest.mark.parametrize("shape", RELEASED)
@torch.no_grad()
def test_a_gpu_convolves_as_exactly_as_the_gather_and_gathers_nothing(
    shape: tuple[int, int, int, int], dtype: torch.dtype
) -> None:
    groups, count, width, out_width = shape
    coords = fastest.shell_of_voxels(70, GPU)
    table = neighbour_table(coords, (len(coords),), resolution=70)
    generator = torch.Generator(GPU).manual_seed(0)
    feats, taps, bias = (
        torch.randn(size, generator=generator, device=GPU).to(dtype)
        for size in ((len(coords), width), (groups, out_width, count, width), (out_width,))
    )
    columns = gather.ALL if groups == 1 else gather.CORNERS
    exact = gather.apply(feats.float(), taps.float(), bias=bias.float(), table=table, columns=columns)
    gathered = gather.apply(feats, taps, bias=bias, table=table, columns=columns)
    kernel = kernel_for(feats, taps, backend="triton")
    assert kernel is not None
    out = torch.empty_like(gathered)
    reset_peak_memory(GPU)
    before = peak_allocated_bytes(GPU)
    kernel(feats, taps, bias=bias, table=table, out=out)
    assert peak_allocated_bytes(GPU) == before
    assert (out - exact).norm() <= 1.05 * (gathered - exact).norm()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@torch.no_grad()
def test_a_gpu_reads_features_beyond_two_gibi_elements() -> None:
    if (free_bytes(GPU) or 0) < 6 << 30:
        pytest.skip("the features need 4 GiB")
    rows, width = 2**31 // 96 + 1000, 96
    padded = torch.zeros(rows + 1, width, dtype=torch.float16, device=GPU)
    padded[-1001:-1] = torch.arange(1000, device=GPU)[:, None] % 7
    table = torch.full((1000, 27), rows, dtype=torch.int32, device=GPU)
    table[:, 13] = torch.arange(rows - 1000, rows, device=GPU)
    weight = torch.zeros(96, 3, 3, 3, width, dtype=torch.float16, device=GPU)
    weight[:, 1, 1, 1] = torch.eye(96, device=GPU)
    convolve = sparse_conv.RowConvolution(padded, weight, bias=torch.zeros(96, device=GPU), backend="triton")
    assert convolve.row_bytes == 0
    assert torch.equal(convolve(table), padded[-1001:-1])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@torch.no_grad()
def test_a_gpu_replays_captured_convolutions() -> None:
    coords = fastest.shell_of_voxels(30, GPU)
    table = neighbour_table(coords, (len(coords),), resolution=30)
    feats = torch.zeros(len(coords), 128, dtype=torch.float16, device=GPU)
    weight, bias = torch.randn(64, 3, 3, 3, 128, device=GPU).half(), torch.randn(64, device=GPU).half()

    def convolve(backend: str) -> Tensor:
        return sparse_conv.submanifold_conv(feats, weight, bias=bias, neighbours=table, backend=backend)

    replay = GraphReplay(GPU, mode="on")
    for step in range(10):
        feats.normal_()
        out = replay.run("convolution", lambda: convolve("triton"), remaining=10 - step)
        expected = convolve("builtin")
        assert (out - expected).abs().max() <= 2e-3 * expected.abs().max()
    assert len(replay._captured) == 1
    replay.close()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("dtype", choice.HALF)
@torch.no_grad()
def test_a_gpu_sums_products(dtype: torch.dtype) -> None:
    coords = fastest.shell_of_voxels(70, GPU)
    table = neighbour_table(coords, (len(coords),), resolution=70)
    products = torch.randn(len(coords), 27 * 128, device=GPU).to(dtype)
    bias = torch.randn(128, device=GPU)
    kernel = choice.sum_kernel_for(products, backend=None)
    assert kernel is not None
    expected = gather.sum_products(products, table, bias=bias)
    error = (kernel(products, table, bias=bias).float() - expected.float()).abs().max() / expected.abs().max()
    assert error <= {torch.float16: 1e-3, torch.bfloat16: 8e-3}[dtype]
