"""Packed attention against a plain loop, forward and backward."""

import pytest
import torch

from trellis.errors import InvalidInputError
from trellis.ops import attention_sdpa, reference
from trellis.ops.attention import packed_attention
from trellis.ops.segments import Segments

CPU = torch.device("cpu")


def packed(lengths, heads=3, width=8):
    return [torch.randn(sum(lengths), heads, width, dtype=torch.double, requires_grad=True) for _ in range(3)]


def gradients(out, inputs):
    return torch.autograd.grad((out * torch.arange(out.numel()).view_as(out).sin()).sum(), inputs)


@pytest.mark.parametrize("lengths", [(5, 5, 5), (3, 7, 7, 1), (130, 2, 64, 65, 3, 9, 11, 40, 5, 6), (4,), (4, 0, 6)])
def test_equals_separate_calls(lengths):
    torch.manual_seed(0)
    q, k, v = packed(lengths)
    segments = Segments(lengths, CPU)
    out = packed_attention(q, k, v=v, q_segments=segments, k_segments=segments)
    expected = reference.packed_attention(q, k, v=v, q_lengths=lengths, k_lengths=lengths)
    torch.testing.assert_close(out, expected)
    for ours, theirs in zip(gradients(out, (q, k, v)), gradients(expected, (q, k, v))):
        torch.testing.assert_close(ours, theirs)


def test_padded_buckets_equal_separate_calls():
    torch.manual_seed(0)
    lengths = (130, 2, 64, 65, 3, 9, 0, 11, 40, 5, 6)
    q, k, v = packed(lengths)
    out = attention_sdpa._attend_padded(q, k, v, Segments(lengths, CPU))
    expected = reference.packed_attention(q, k, v=v, q_lengths=lengths, k_lengths=lengths)
    torch.testing.assert_close(out, expected)
    for ours, theirs in zip(gradients(out, (q, k, v)), gradients(expected, (q, k, v))):
        torch.testing.assert_close(ours, theirs)


def test_cross_attention_stays_inside_its_sample():
    torch.manual_seed(0)
    q, _, _ = packed((3, 6))
    _, k, v = packed((4, 2))
    segments, other = Segments((3, 6), CPU), Segments((4, 2), CPU)
    out = packed_attention(q, k, v=v, q_segments=segments, k_segments=other)
    torch.testing.assert_close(out, reference.packed_attention(q, k, v=v, q_lengths=(3, 6), k_lengths=(4, 2)))
    changed = packed_attention(q, k, v=torch.cat([v[:4], v[4:] + 1]), q_segments=segments, k_segments=other)
    torch.testing.assert_close(changed[:3], out[:3])
    torch.testing.assert_close(changed[3:], out[3:] + 1)


def test_unknown_back_end_is_refused():
    q, k, v = packed((2,))
    segments = Segments((2,), CPU)
    with pytest.raises(InvalidInputError, match="sdpa, varlen"):
        packed_attention(q, k, v=v, q_segments=segments, k_segments=segments, backend="fast")
