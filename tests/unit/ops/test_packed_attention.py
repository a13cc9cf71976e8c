"""Packed attention against a plain loop, forward and backward."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest
import torch

from trellis.errors import InvalidInputError, MissingDependencyError
from trellis.ops import attention, reference
from trellis.ops.attention import flash_adapter, packed_attention, sdpa, varlen, xformers_adapter
from trellis.ops.segments import Segments
from trellis.runtime import ATTENTION_BACKENDS, Runtime

CPU = torch.device("cpu")


def packed(lengths, heads=3, width=8):
    return [torch.randn(sum(lengths), heads, width, dtype=torch.double, requires_grad=True) for _ in range(3)]


def gradients(out, inputs):
    return torch.autograd.grad((out * torch.arange(out.numel()).view_as(out).sin()).sum(), inputs)


def assert_as_separate_calls(out, qkv, lengths):
    """The output and its gradients are those of one call a sample."""
    q, k, v = qkv
    expected = reference.packed_attention(q, k, v=v, q_lengths=lengths, k_lengths=lengths)
    torch.testing.assert_close(out, expected)
    for ours, theirs in zip(gradients(out, qkv), gradients(expected, qkv)):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("lengths", [(5, 5, 5), (3, 7, 7, 1), (130, 2, 64, 65, 3, 9, 11, 40, 5, 6), (4,), (4, 0, 6)])
def test_equals_separate_calls(lengths):
    torch.manual_seed(0)
    q, k, v = packed(lengths)
    segments = Segments(lengths, CPU)
    out = packed_attention(q, k, v=v, q_segments=segments, k_segments=segments)
    assert_as_separate_calls(out, (q, k, v), lengths)


def test_padded_buckets_equal_separate_calls():
    torch.manual_seed(0)
    lengths = (130, 2, 64, 65, 3, 9, 0, 11, 40, 5, 6)
    q, k, v = packed(lengths)
    out = sdpa._attend_padded(q, k, v, Segments(lengths, CPU))
    assert_as_separate_calls(out, (q, k, v), lengths)


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


def test_every_name_of_a_back_end_has_one():
    assert attention.BACKENDS == ATTENTION_BACKENDS


def test_unknown_back_end_is_refused():
    q, k, v = packed((2,))
    segments = Segments((2,), CPU)
    with pytest.raises(InvalidInputError, match="sdpa, varlen, flash-attn, xformers"):
        packed_attention(q, k, v=v, q_segments=segments, k_segments=segments, backend="fast")


@pytest.mark.parametrize("package", ["flash-attn", "xformers"])
def test_a_package_that_is_not_installed_is_named(package, monkeypatch, uncached):
    monkeypatch.setattr("trellis.ops.attention.flash_adapter.find_spec", lambda name: None)
    monkeypatch.setattr("trellis.ops.attention.xformers_adapter.find_spec", lambda name: None)
    q, k, v = packed((2,))
    segments = Segments((2,), CPU)
    with pytest.raises(MissingDependencyError, match=package):
        packed_attention(q, k, v=v, q_segments=segments, k_segments=segments, backend=package)


def attend_by_loop(q, k, v, q_starts, k_starts):
    return reference.packed_attention(
        q, k, v=v, q_lengths=tuple(q_starts.diff().tolist()), k_lengths=tuple(k_starts.diff().tolist())
    )


@pytest.fixture
def uncached():
    for module in (flash_adapter, xformers_adapter):
        module.package.cache_clear()
    yield
    for module in (flash_adapter, xformers_adapter):
        module.package.cache_clear()


@pytest.mark.parametrize("release", [2, 4])
@pytest.mark.parametrize(("q_lengths", "k_lengths"), [((3, 5), (4, 2)), ((4, 4), (3, 3))])
def test_flash_attn_is_called_as_it_wants(release, q_lengths, k_lengths, monkeypatch, uncached):
    """Contract of the adapter with stand-ins of the signatures of both releases."""

    def with_sums(out):
        return out if release == 2 else (out, None)

    def varlen(q, k, v, *, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k):
        assert cu_seqlens_q.dtype == torch.int32 and (max_seqlen_q, max_seqlen_k) == (5, 4)
        return with_sums(attend_by_loop(q, k, v, cu_seqlens_q, cu_seqlens_k))

    def batched(q, k, v):
        assert q.shape == (2, 4, 2, 8) and k.shape == v.shape == (2, 3, 2, 8)
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        return with_sums(torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2))

    package = ModuleType("flash_attn")
    package.__spec__, package.__path__ = ModuleSpec("flash_attn", None), []
    module = package if release == 2 else ModuleType("flash_attn.cute")
    module.flash_attn_varlen_func, module.flash_attn_func = varlen, batched
    monkeypatch.setitem(sys.modules, "flash_attn", package)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    q, k, v = (torch.randn(sum(n), 2, 8) for n in (q_lengths, k_lengths, k_lengths))
    segments = {"q_segments": Segments(q_lengths, CPU), "k_segments": Segments(k_lengths, CPU)}
    out = flash_adapter.attend(q, k, v=v, **segments)
    torch.testing.assert_close(out, reference.packed_attention(q, k, v=v, q_lengths=q_lengths, k_lengths=k_lengths))


def by_starts(q, k, v, q_starts, k_starts, longest_q, longest_k, dropout, causal, mask):
    """What torch's kernel promises, on the CPU."""
    assert q_starts.dtype == k_starts.dtype == torch.int32 and (dropout, causal, mask) == (0.0, False, False)
    assert (longest_q, longest_k) == (int(q_starts.diff().max()), int(k_starts.diff().max()))
    return attend_by_loop(q, k, v, q_starts, k_starts), None, None, None, None


def as_one(q, k, v, q_starts, k_starts, *_):
    return by_starts(q, k, v, q_starts[[0, -1]], k_starts[[0, -1]], len(q), len(k), 0.0, False, False)


def missing(*_):
    raise AttributeError("'_OpNamespace' 'aten' object has no attribute '_flash_attention_forward'")


def differing(*_):
    raise TypeError("_flash_attention_forward() takes other arguments")


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize(
    ("kernel", "agrees"), [(by_starts, True), (as_one, False), (missing, False), (differing, False)]
)
def test_torchs_kernel_is_called_without_its_wrapper_where_it_agrees(kernel, agrees, autocast, monkeypatch):
    """The wrapper imports torch's compiler, so it is for what the kernel alone does not do here."""
    wrapper = pytest.importorskip("torch.nn.attention.varlen")
    monkeypatch.setattr(torch.ops.aten, "_flash_attention_forward", kernel, raising=False)
    monkeypatch.setattr(wrapper, "varlen_attn", lambda q, *_: torch.full_like(q, 7))
    varlen._kernel_agrees.cache_clear()
    try:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            assert varlen._kernel_agrees(CPU) == agrees
        segments = Segments((3, 5), CPU), Segments((4, 2), CPU)
        q, k, v = (torch.randn(rows, 2, 8, dtype=torch.float16) for rows in (8, 6, 6))
        with torch.no_grad():
            out = varlen.attend(q, k, v=v, q_segments=segments[0], k_segments=segments[1])
        expected = reference.packed_attention(q, k, v=v, q_lengths=(3, 5), k_lengths=(4, 2))
        torch.testing.assert_close(out, expected if agrees else torch.full_like(q, 7))
        learning = varlen.attend(q, k, v=v, q_segments=segments[0], k_segments=segments[1])
        torch.testing.assert_close(learning, torch.full_like(q, 7))
    finally:
        varlen._kernel_agrees.cache_clear()


@pytest.mark.parametrize(
    ("adapter", "name", "fault"),
    [(flash_adapter, "flash_attn", r"flash_attn\.cute"), (xformers_adapter, "xformers", r"xformers\.ops")],
)
def test_a_broken_package_is_named(adapter, name, fault, monkeypatch, uncached):
    package = ModuleType(name)
    package.__spec__, package.__path__ = ModuleSpec(name, None), []
    monkeypatch.setitem(sys.modules, name, package)
    with pytest.raises(MissingDependencyError, match=f"{fault}.*use sdpa"):
        adapter.package()


def test_flash_attn_without_kernels_is_named(monkeypatch):
    def attention(q, k, v):
        raise AssertionError("Unsupported compute capability")

    monkeypatch.setattr(flash_adapter, "package", lambda: SimpleNamespace(flash_attn_func=attention))
    q, k, v = (torch.randn(4, 2, 8) for _ in range(3))
    segments = Segments((4,), CPU)
    with pytest.raises(MissingDependencyError, match=r"no attention kernel.*compute capability.*use sdpa"):
        flash_adapter.attend(q, k, v=v, q_segments=segments, k_segments=segments)


def pretend_xformers(monkeypatch, attention, from_seqlens):
    bias = SimpleNamespace(BlockDiagonalMask=SimpleNamespace(from_seqlens=from_seqlens))
    operators = SimpleNamespace(memory_efficient_attention=attention, fmha=SimpleNamespace(attn_bias=bias))
    monkeypatch.setattr(xformers_adapter, "package", lambda: operators)


@pytest.mark.parametrize(("q_lengths", "k_lengths"), [((3, 0, 5), (4, 0, 2)), ((4, 4), (3, 3))])
def test_xformers_is_called_as_it_wants(q_lengths, k_lengths, monkeypatch):
    def from_seqlens(q_lengths, k_lengths):
        return torch.tensor([0, *q_lengths]).cumsum(0), torch.tensor([0, *k_lengths]).cumsum(0)

    def attention(q, k, v, attn_bias):
        if attn_bias is None:
            assert q.shape == (2, 4, 2, 8)
            q, k, v = (x.transpose(1, 2) for x in (q, k, v))
            return torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        assert q.shape == (1, 8, 2, 8)
        return attend_by_loop(q[0], k[0], v[0], *attn_bias)[None]

    pretend_xformers(monkeypatch, attention, from_seqlens)
    q, k, v = (torch.randn(sum(n), 2, 8) for n in (q_lengths, k_lengths, k_lengths))
    q_segments, k_segments = Segments(q_lengths, CPU), Segments(k_lengths, CPU)
    out = xformers_adapter.attend(q, k, v=v, q_segments=q_segments, k_segments=k_segments)
    torch.testing.assert_close(out, reference.packed_attention(q, k, v=v, q_lengths=q_lengths, k_lengths=k_lengths))


def test_xformers_without_kernels_is_named(monkeypatch):
    def attention(q, k, v, attn_bias):
        raise NotImplementedError("No operator found")

    pretend_xformers(monkeypatch, attention, None)
    q, k, v = (torch.randn(4, 2, 8) for _ in range(3))
    segments = Segments((4,), CPU)
    with pytest.raises(MissingDependencyError, match="no attention kernel"):
        xformers_adapter.attend(q, k, v=v, q_segments=segments, k_segments=segments)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("backend", attention.BACKENDS)
@pytest.mark.parametrize("lengths", [((96, 96), (40, 40)), ((70, 3, 130), (9, 64, 1))])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_back_ends_on_the_gpu(backend, lengths, dtype):
    """Queries, keys and values lie apart in memory, as the layers' products leave them."""
    device = Runtime.detect(device="cuda").device
    queries, pairs = (torch.randn(sum(n), 3, 4, 64).to(dtype) for n in lengths)
    q, k, v = queries[:, 0], pairs[:, 1], pairs[:, 2]
    expected = reference.packed_attention(
        q.double(), k.double(), v=v.double(), q_lengths=lengths[0], k_lengths=lengths[1]
    )
    q_segments, k_segments = (Segments(n, device) for n in lengths)
    queries, pairs = queries.to(device), pairs.to(device)
    try:
        out = packed_attention(
            queries[:, 0], pairs[:, 1], v=pairs[:, 2], q_segments=q_segments, k_segments=k_segments, backend=backend
        )
    except MissingDependencyError as error:
        pytest.skip(str(error))
    error = (out.cpu().double() - expected).abs().max() / expected.abs().max()
    assert error <= (2e-3 if dtype == torch.float16 else 1.5e-2)
