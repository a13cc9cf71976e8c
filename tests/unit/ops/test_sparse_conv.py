"""Sparse convolution against conv3d, against a plain loop, and its gradients."""

import torch
import torch.nn.functional as F

from tests.parity.golden import voxels
from trellis.ops import reference
from trellis.ops.sparse_conv import gather, submanifold_conv, submanifold_conv_of_subdivided
from trellis.sparse import SparseTensor, VoxelLayout, subdivide

torch.manual_seed(0)
WEIGHT = torch.randn(5, 3, 3, 3, 4, dtype=torch.double)
BIAS = torch.randn(5, dtype=torch.double)


def full_grid(batch, side):
    axes = [torch.arange(batch), *[torch.arange(side)] * 3]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 4).int()


def test_full_grid_equals_conv3d():
    coords = full_grid(2, 6)
    layout = VoxelLayout.create(coords, resolution=6)
    feats = torch.randn(len(coords), 4, dtype=torch.double)
    dense = feats.view(2, 6, 6, 6, 4).permute(0, 4, 1, 2, 3)
    expected = F.conv3d(dense, WEIGHT.permute(0, 4, 1, 2, 3), BIAS, padding=1).permute(0, 2, 3, 4, 1).reshape(-1, 5)
    torch.testing.assert_close(submanifold_conv(feats, WEIGHT, bias=BIAS, neighbours=layout.neighbours), expected)


def test_partial_grid_equals_the_loop_in_any_chunk(monkeypatch):
    coords = voxels("conv", [80, 50], 8)
    layout = VoxelLayout.create(coords, resolution=8)
    feats = torch.randn(130, 4, dtype=torch.double)
    expected = reference.submanifold_conv(feats, WEIGHT, bias=BIAS, coords=coords)
    torch.testing.assert_close(submanifold_conv(feats, WEIGHT, bias=BIAS, neighbours=layout.neighbours), expected)
    monkeypatch.setattr(gather, "_chunks", lambda rows, *_: [slice(i, i + 7) for i in range(0, rows, 7)])
    torch.testing.assert_close(submanifold_conv(feats, WEIGHT, bias=BIAS, neighbours=layout.neighbours), expected)


def test_of_subdivided_equals_subdivide_then_conv():
    layout = VoxelLayout.create(voxels("conv", [80, 0, 50], 8), resolution=8)
    x = SparseTensor(torch.randn(130, 4), layout)
    fine = subdivide(x)
    weight, bias = WEIGHT.float(), BIAS.float()
    expected = submanifold_conv(fine.feats, weight, bias=bias, neighbours=fine.layout.neighbours)
    out = submanifold_conv_of_subdivided(x.feats, weight, bias=bias, neighbours=layout.neighbours)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


def test_gradients():
    layout = VoxelLayout.create(voxels("grad", [20, 11], 4), resolution=4)
    feats = torch.randn(31, 4, dtype=torch.double, requires_grad=True)
    weight, bias = WEIGHT.clone().requires_grad_(), BIAS.clone().requires_grad_()
    inputs = (feats, weight, bias)

    def conv(feats, weight, bias):
        return submanifold_conv(feats, weight, bias=bias, neighbours=layout.neighbours)

    # the gradient of the weights is summed in float32, so it is compared with the loop's rather than gradchecked
    assert torch.autograd.gradcheck(lambda f, b: conv(f, WEIGHT, b), (feats, bias))
    loop = reference.submanifold_conv(*inputs[:2], bias=bias, coords=layout.coords)
    for ours, theirs in zip(
        torch.autograd.grad(conv(*inputs).square().sum(), inputs), torch.autograd.grad(loop.square().sum(), inputs)
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-4)


def test_gradients_of_subdivided():
    layout = VoxelLayout.create(voxels("grad", [20, 11], 4), resolution=4)
    x = SparseTensor(torch.randn(31, 4, requires_grad=True), layout)
    weight, bias = WEIGHT.float().requires_grad_(), BIAS.float().requires_grad_()
    inputs = (x.feats, weight, bias)
    fine = subdivide(x)
    plain = submanifold_conv(fine.feats, weight, bias=bias, neighbours=fine.layout.neighbours)
    fused = submanifold_conv_of_subdivided(x.feats, weight, bias=bias, neighbours=layout.neighbours)
    for ours, theirs in zip(
        torch.autograd.grad(fused.square().sum(), inputs), torch.autograd.grad(plain.square().sum(), inputs)
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)


def test_runs_in_the_precision_of_autocast():
    layout = VoxelLayout.create(voxels("grad", [20, 11], 4), resolution=4)
    feats = torch.randn(31, 4, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = submanifold_conv(feats, WEIGHT.float(), bias=BIAS.float(), neighbours=layout.neighbours)
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert feats.grad is not None and feats.grad.dtype == torch.float32 and feats.grad.abs().sum() > 0
