"""Sparse tensors, changes of resolution, windows."""

import pytest
import torch

from tests.parity.golden import voxels
from trellis.errors import InvalidInputError
from trellis.sparse import SparseTensor, VoxelLayout, attention_windows, downsample, subdivide, upsample
from trellis.sparse.windows import ATTENTION_MODES

COORDS = voxels("sparse", [90, 0, 40], 10)


def tensor(channels=3):
    torch.manual_seed(0)
    return SparseTensor.create(torch.randn(len(COORDS), channels), COORDS, resolution=10)


def test_samples_come_back():
    x = tensor()
    assert x.lengths == (90, 0, 40) and x.batch_size == 3
    assert torch.equal(torch.cat([feats for _, feats in x.samples()]), x.feats)
    assert torch.equal(x.samples()[2][0], COORDS[90:, 1:])


@pytest.mark.parametrize(
    ("coords", "message"),
    [
        (torch.tensor([[0, 0, 0]]), r"\[N, 4\]"),
        (torch.tensor([[0, 0, 0, 10]]), r"\[0, 10\)"),
        (torch.tensor([[0, 0, -1, 0]]), r"\[0, 10\)"),
        (torch.tensor([[1, 0, 0, 0], [0, 0, 0, 0]]), "contiguous"),
    ],
)
def test_bad_coordinates_are_refused(coords, message):
    with pytest.raises(InvalidInputError, match=message):
        VoxelLayout.create(coords, resolution=10)


def test_downsample_divides_by_count_plus_one():
    x = tensor()
    y = downsample(x)
    sums: dict[tuple[int, ...], list[torch.Tensor]] = {}
    for coord, feats in zip(COORDS.tolist(), x.feats):
        sums.setdefault((coord[0], *(c // 2 for c in coord[1:])), []).append(feats)
    keys = sorted(sums)
    assert [tuple(c) for c in y.coords.tolist()] == keys
    expected = torch.stack([torch.stack(sums[key]).sum(0) / (len(sums[key]) + 1) for key in keys])
    torch.testing.assert_close(y.feats, expected)
    assert y.resolution == 5 and sum(y.lengths) == len(y)


def test_upsample_returns_to_the_same_layout_and_order():
    x = tensor()
    y = upsample(downsample(x), x.layout)
    assert y.layout is x.layout
    coarse = downsample(x)
    row = {tuple(c): f for c, f in zip(coarse.coords.tolist(), coarse.feats)}
    for coord, feats in zip(x.coords.tolist(), y.feats):
        assert torch.equal(feats, row[(coord[0], *(c // 2 for c in coord[1:]))])
    with pytest.raises(InvalidInputError, match="downsampled"):
        upsample(tensor(), tensor().layout)


def test_resampling_gradients():
    x = tensor()
    feats = x.feats.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda f: downsample(x.replace(f)).feats, (feats,))
    coarse = downsample(x.replace(feats.detach()))
    values = coarse.feats.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda f: upsample(coarse.replace(f), x.layout).feats, (values,))


def test_subdivide_repeats_features_for_adjacent_children():
    x = tensor()
    y = subdivide(x)
    assert y.resolution == 20 and y.lengths == (720, 0, 320)
    assert torch.equal(y.feats.view(-1, 8, 3), x.feats[:, None].expand(-1, 8, 3))
    assert torch.equal(y.coords[:, 1:].view(-1, 8, 3) // 2, x.coords[:, None, 1:].expand(-1, 8, 3))
    assert len(set(map(tuple, y.coords.tolist()))) == len(y)


@pytest.mark.parametrize("mode", ATTENTION_MODES)
@pytest.mark.parametrize("block", range(4))
def test_windows_select_every_voxel_from_its_own_sample(mode, block):
    layout = tensor().layout
    windows = attention_windows(layout, mode, window_size=16 if mode != "swin" else 4, block=block)
    rows = torch.arange(len(layout))
    gathered = rows if windows.gather is None else windows.gather
    assert windows.segments.total == len(gathered)
    assert torch.equal(gathered if windows.select is None else gathered[windows.select], rows)
    for tokens in gathered.split(windows.segments.lengths):
        assert tokens.numel() == 0 or len(layout.coords[tokens, 0].unique()) == 1


def test_cubic_windows_hold_exactly_the_voxels_of_a_cube():
    layout = tensor().layout
    windows = attention_windows(layout, "swin", window_size=4, block=1)
    cubes = set()
    for tokens in windows.gather.split(windows.segments.lengths):
        cube = torch.cat([layout.coords[tokens, :1], (layout.coords[tokens, 1:] + 2) // 4], 1).unique(dim=0)
        assert len(cube) == 1
        cubes.add(tuple(cube[0].tolist()))
    assert len(cubes) == len(windows.segments)


def test_unknown_attention_mode_is_refused():
    with pytest.raises(InvalidInputError, match="swin"):
        attention_windows(tensor().layout, "dilated", window_size=4, block=0)
