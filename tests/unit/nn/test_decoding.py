"""The mesh decoder by rows against the decoder as a whole."""

import pytest
import torch

from tests.parity import golden
from trellis.models import create_model
from trellis.nn.decoding import normalize_activate, pieces
from trellis.nn.norm import SegmentGroupNorm
from trellis.ops.neighbours import NeighbourGrid, neighbour_table
from trellis.ops.segments import Segments
from trellis.sparse import SparseTensor

ARGUMENTS = {
    "resolution": 16, "model_channels": 256, "latent_channels": 8, "num_blocks": 1, "num_heads": 4,
    "representation_config": {"use_color": True},
}  # fmt: skip


def latent() -> SparseTensor:
    coords = golden.voxels("slat_flow", [300, 170], 16)
    return SparseTensor.create(golden.normal("decoding/x", 470, 8), coords, resolution=16)


@pytest.mark.parametrize("chunk_bytes", [1, 3_000_000, 1 << 27])
def test_rows_of_any_number_equal_the_whole(chunk_bytes: int) -> None:
    model = create_model("SLatMeshDecoder", ARGUMENTS).eval()
    golden.fill(model.named_parameters())
    with torch.enable_grad():
        whole = model(latent()).feats.detach()
    with torch.no_grad():
        by_rows = model(latent(), chunk_bytes=chunk_bytes)
    assert by_rows.resolution == 64 and by_rows.lengths == (300 * 64, 170 * 64)
    assert whole.std() > 0.1
    assert (by_rows.feats - whole).abs().max() <= 1e-6 * whole.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_group_norm_of_pieces(dtype: torch.dtype) -> None:
    norm = SegmentGroupNorm(4, 8)
    golden.fill(norm.named_parameters())
    lengths = (3000, 0, 1500)
    x = (golden.normal("decoding/norm", 4500, 8) * 3 + 2).to(dtype)
    with torch.no_grad():
        expected = torch.nn.functional.silu(norm(x.float(), Segments(lengths, x.device)))
        got = normalize_activate(x.clone(), norm, lengths=lengths, chunk_bytes=1)
    tolerance = 1e-6 if dtype == torch.float32 else 4e-3
    assert (got.float() - expected).abs().max() <= tolerance * expected.abs().max()


def test_pieces_cover_all_rows_once() -> None:
    assert [s.indices(5000) for s in pieces(5000, 10, 20_000)] == [(0, 2000, 1), (2000, 4000, 1), (4000, 5000, 1)]
    assert list(pieces(0, 10, 100)) == []


def test_grid_gives_the_rows_of_the_table() -> None:
    layout = latent().layout
    table = neighbour_table(layout.coords, layout.lengths, resolution=16)
    grid = NeighbourGrid(layout.coords, resolution=16, count=2)
    assert torch.equal(grid.rows(slice(120, 333)), table[120:333])
    assert (table < 470).any(1).all() and (table == 470).any()
