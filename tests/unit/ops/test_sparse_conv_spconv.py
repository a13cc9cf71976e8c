"""The spconv adapter against a stand-in of the package's interface; on a GPU with spconv, against the built-in."""

import sys
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.parity import golden
from trellis.errors import InvalidInputError, MissingDependencyError
from trellis.models import create_model
from trellis.ops import fastest, reference
from trellis.ops.sparse_conv import spconv_adapter
from trellis.runtime import SPCONV_ALGORITHMS, Runtime
from trellis.sparse import SparseTensor


class FakeTensor:
    def __init__(self, features: Tensor, indices: Tensor, spatial_shape: list[int], batch_size: int) -> None:
        assert indices.dtype == torch.int32 and spatial_shape == [16, 16, 16] and batch_size == 1
        self.features, self.indices = features, indices
        self.indice_dict: dict[str, Any] = {}


class FakeConv(nn.Module):
    def __init__(self, width: int, out_width: int, kernel: int, *, bias: bool, indice_key: str, algo: Any) -> None:
        super().__init__()
        assert kernel == 3 and bias
        self.key, self.algo = indice_key, algo
        self.weight = nn.Parameter(torch.empty(out_width, 3, 3, 3, width))
        self.bias = nn.Parameter(torch.empty(out_width))

    def forward(self, x: FakeTensor) -> FakeTensor:
        x.indice_dict[self.key] = x.indice_dict.get(self.key, 0) + 1
        x.indice_dict["algo"] = self.algo
        x.features = reference.submanifold_conv(x.features, self.weight, bias=self.bias, coords=x.indices)
        return x


@pytest.fixture
def fake_spconv(monkeypatch: pytest.MonkeyPatch) -> None:
    algorithms = SimpleNamespace(Native="native kernels", MaskImplicitGemm="implicit kernels")
    module = SimpleNamespace(SparseConvTensor=FakeTensor, SubMConv3d=FakeConv, ConvAlgo=algorithms)
    monkeypatch.setitem(sys.modules, "spconv", SimpleNamespace(pytorch=module))
    monkeypatch.setitem(sys.modules, "spconv.pytorch", module)
    monkeypatch.setattr(spconv_adapter, "find_spec", lambda name: True)


def inputs() -> dict[str, Any]:
    coords = golden.voxels("slat_flow", [300, 170], 16)[:100]
    weight, bias = golden.normal("spconv/w", 3, 3, 3, 3, 2), golden.normal("spconv/b", 3)
    shape = {"coords": coords, "resolution": 16, "batch_size": 1}
    return {"feats": golden.normal("spconv/x", 100, 2), "weight": weight, "bias": bias, **shape}


@pytest.mark.usefixtures("fake_spconv")
@pytest.mark.parametrize(
    ("algorithm", "chosen"), [("auto", None), ("native", "native kernels"), ("implicit_gemm", "implicit kernels")]
)
def test_spconv_is_called_as_it_wants(algorithm: str, chosen: str | None) -> None:
    x, indices = inputs(), {}
    for calls in (1, 2):
        out = spconv_adapter.convolve(**x, indices=indices, algorithm=algorithm)
        assert indices == {f"{spconv_adapter.INDICE_KEY} {algorithm}": calls, "algo": chosen}
    expected = reference.submanifold_conv(x["feats"], x["weight"], bias=x["bias"], coords=x["coords"])
    torch.testing.assert_close(out, expected)


def test_the_fastest_algorithm_that_agrees_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(fastest, "time", SimpleNamespace(perf_counter=lambda: clock.now))

    def convolve(feats: Tensor, weight: Tensor, *, algorithm: str, **_: Any) -> Tensor:
        tried.append(algorithm)
        clock.now += 0.005 if algorithm == "auto" else 0.001
        return feats[:, :1] + (1.0 if algorithm == "native" else 0.0) * feats[:, :1].abs().max()

    monkeypatch.setattr(spconv_adapter, "convolve", convolve)
    spconv_adapter.fastest_algorithm.cache_clear()
    choice = {"width": 4, "out_width": 2}
    cpu = torch.device("cpu")
    assert spconv_adapter.fastest_algorithm(cpu, torch.float32, **choice) == "implicit_gemm"  # native is wrong here
    calls = len(tried)
    assert spconv_adapter.fastest_algorithm(cpu, torch.float32, **choice) == "implicit_gemm"
    assert len(tried) == calls and set(tried) == set(SPCONV_ALGORITHMS)
    spconv_adapter.fastest_algorithm.cache_clear()


@pytest.mark.parametrize(
    ("dtype", "device", "gradient", "usable"),
    [
        (torch.float32, "meta", False, True),
        (torch.float16, "meta", False, True),
        (torch.bfloat16, "meta", False, False),
        (torch.float16, "meta", True, False),
        (torch.float32, "cpu", False, False),
    ],
)
def test_what_spconv_cannot_do_is_left_to_the_builtin(
    dtype: torch.dtype, device: str, *, gradient: bool, usable: bool
) -> None:
    with torch.set_grad_enabled(gradient):
        assert spconv_adapter.is_usable(torch.empty(1, 1, dtype=dtype, device=device)) == usable


@pytest.mark.usefixtures("fake_spconv")
def test_unknown_algorithms_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="auto, native, implicit_gemm"):
        spconv_adapter.convolve(**inputs(), indices={}, algorithm="fast")
    assert tuple(spconv_adapter.ALGORITHMS) == SPCONV_ALGORITHMS


def test_a_network_refuses_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spconv_adapter, "find_spec", lambda name: None)
    args = {"resolution": 16, "model_channels": 256, "latent_channels": 8, "num_blocks": 1, "num_heads": 4}
    model = create_model("SLatMeshDecoder", args)
    with pytest.raises(MissingDependencyError, match="use builtin"):
        model.set_sparse_conv("spconv")
    with pytest.raises(InvalidInputError, match="'builtin', 'triton', 'spconv'"):
        model.set_sparse_conv("torchsparse")
    with pytest.raises(InvalidInputError, match="sdpa, varlen"):
        model.set_attention("naive")


@pytest.mark.parametrize(
    ("variable", "value", "attribute", "expected"),
    [
        ("ATTN_BACKEND", "xformers", "attention", "xformers"),
        ("ATTN_BACKEND", "auto", "attention", None),
        ("SPARSE_BACKEND", "spconv", "sparse_conv", "spconv"),
        ("SPARSE_BACKEND", "triton", "sparse_conv", "triton"),
        ("SPARSE_BACKEND", "auto", "sparse_conv", None),
        ("SPCONV_ALGO", "native", "spconv_algo", "native"),
    ],
)
def test_the_environment_chooses(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, attribute: str, expected: str | None
) -> None:
    monkeypatch.setenv(variable, value)
    assert getattr(Runtime.detect(device="cpu"), attribute) == expected


@pytest.mark.parametrize("variable", ["ATTN_BACKEND", "SPARSE_BACKEND", "SPCONV_ALGO"])
def test_the_environment_is_checked_and_options_go_before_it(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "naive")
    with pytest.raises(InvalidInputError, match=f"{variable} 'naive'; choose one of"):
        Runtime.detect(device="cpu")
    monkeypatch.setenv("ATTN_BACKEND", "xformers")
    monkeypatch.delenv("SPARSE_BACKEND", raising=False)
    monkeypatch.delenv("SPCONV_ALGO", raising=False)
    assert Runtime.detect(device="cpu", attention="sdpa").attention == "sdpa"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available() or find_spec("spconv") is None, reason="no GPU with spconv here")
@pytest.mark.parametrize("algorithm", SPCONV_ALGORITHMS)
def test_spconv_equals_the_builtin(algorithm: str) -> None:
    model = create_model(
        "SLatMeshDecoder",
        {"resolution": 16, "model_channels": 256, "latent_channels": 8, "num_blocks": 1, "num_heads": 4},
    ).eval()
    golden.fill(model.named_parameters())
    device = torch.device("cuda")
    coords = golden.voxels("slat_flow", [300, 170], 16)
    x = SparseTensor.create(golden.normal("spconv/gpu", 470, 256), coords, resolution=16).to(device)
    conv = model.to(device).upsample[0].out_layers[0]
    with torch.no_grad():
        expected = conv(x).feats
        model.set_sparse_conv("spconv", algorithm=algorithm)
        got = conv(x).feats
    assert (got - expected).abs().max() <= 1e-3 * expected.abs().max()
