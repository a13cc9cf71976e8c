"""Layers against plain torch."""

import torch
import torch.nn.functional as F

from tests.parity.golden import voxels
from trellis.nn.conv import DenseUpsample, SparsePointwise
from trellis.nn.embeddings import position_embedding
from trellis.nn.norm import HeadRMSNorm, SegmentGroupNorm
from trellis.ops.segments import Segments, expand_segments, sum_segments
from trellis.sparse import SparseTensor

SEGMENTS = Segments((7, 0, 5), torch.device("cpu"))


def test_group_norm_is_that_of_each_sample():
    torch.manual_seed(0)
    norm = SegmentGroupNorm(32, 64)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(12, 64, requires_grad=True)
    out = norm(x, SEGMENTS)
    expected = torch.cat([F.group_norm(s.t()[None], 32, norm.weight, norm.bias)[0].t() for s in (x[:7], x[7:])])
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    weight = torch.randn_like(out)
    ours, theirs = (torch.autograd.grad((y * weight).sum(), x)[0] for y in (out, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_segment_sums_and_copies_are_adjoint():
    tokens = torch.randn(12, 3, dtype=torch.double, requires_grad=True)
    table = torch.randn(3, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: sum_segments(t, SEGMENTS), (tokens,))
    assert torch.autograd.gradcheck(lambda t: expand_segments(t, SEGMENTS), (table,))
    torch.testing.assert_close(sum_segments(tokens, SEGMENTS)[2], tokens[7:].sum(0))


def test_head_norm_gives_unit_mean_square():
    x = torch.randn(5, 2, 16) * 7
    torch.testing.assert_close(HeadRMSNorm(2, 16)(x).square().mean(-1), torch.ones(5, 2))


def test_position_embedding_layout():
    embedding = position_embedding(torch.tensor([[3, 0, 2]]), 20)
    assert embedding.shape == (1, 20)
    f = torch.tensor([1.0, 10000 ** (-1 / 3), 10000 ** (-2 / 3)])
    expected = torch.cat([fn(p * f) for p in (3, 0, 2) for fn in (torch.sin, torch.cos)] + [torch.zeros(2)])
    torch.testing.assert_close(embedding[0], expected)


def test_pointwise_reads_the_weight_as_in_by_out():
    layer = SparsePointwise(6, 4)
    x = SparseTensor.create(torch.randn(9, 6), voxels("p", [9], 4), resolution=4)
    expected = x.feats @ layer.conv.weight.reshape(6, 4) + layer.conv.bias
    torch.testing.assert_close(layer(x).feats, expected)


def test_dense_upsample_places_channels():
    layer = DenseUpsample(2, 3)
    x = torch.randn(1, 2, 4, 4, 4)
    raw, out = layer.conv(x), layer(x)
    assert out.shape == (1, 3, 8, 8, 8)
    for c, dx, dy, dz in ((0, 0, 0, 0), (1, 1, 0, 0), (2, 0, 1, 1)):
        assert torch.equal(out[0, c, dx::2, dy::2, dz::2], raw[0, c * 8 + dx * 4 + dy * 2 + dz])
