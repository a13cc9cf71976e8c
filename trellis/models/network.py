"""What all networks share: their configuration and the precision of their torso."""

from collections.abc import Iterator
from typing import ClassVar, Generic, TypeVar

import torch
from torch import nn

from trellis.errors import InvalidInputError
from trellis.models.config import ModelConfig, choose
from trellis.nn.attention import Attention
from trellis.nn.conv import ConvWeights, SparseConv3d
from trellis.ops.attention import BACKENDS
from trellis.ops.sparse_conv import choice, spconv_adapter
from trellis.runtime import SPARSE_CONV_BACKENDS

C = TypeVar("C", bound=ModelConfig)
TORSO_LAYERS = (nn.Linear, nn.Conv3d, ConvWeights)
TORSO_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


class Torso(nn.Module):
    """A network whose torso, the modules whose names begin as one of TORSO, may run in half precision."""

    TORSO: ClassVar[tuple[str, ...]] = ("input_blocks", "blocks", "middle_block", "out_blocks", "upsample")

    def _torso_layers(self) -> Iterator[nn.Linear | nn.Conv3d | ConvWeights]:
        for name, layer in self.named_modules():
            if name.startswith(self.TORSO) and isinstance(layer, TORSO_LAYERS):
                yield layer

    @property
    def torso_dtype(self) -> torch.dtype:
        """What the torso computes in: the dtype of its first linear or convolution weight."""
        return next((layer.weight.dtype for layer in self._torso_layers()), torch.float32)

    def set_precision(self, dtype: torch.dtype) -> None:
        """Convert the torso's linear and convolution weights to float32, float16 or bfloat16."""
        if dtype not in TORSO_DTYPES:
            raise InvalidInputError(f"Unknown torso precision {dtype}; choose one of {TORSO_DTYPES}.")
        for layer in self._torso_layers():
            layer.to(dtype)

    def set_attention(self, backend: str | None) -> None:
        """Compute attention by one back end (see `trellis.ops.attention.BACKENDS`); None: chosen at every call.

        Raises InvalidInputError for an unknown one.
        """
        if backend is not None and backend not in BACKENDS:
            raise InvalidInputError(f"Unknown attention back end {backend!r}; choose one of {', '.join(BACKENDS)}.")
        for module in self.modules():
            if isinstance(module, Attention):
                module.backend = backend


class Network(Torso, Generic[C]):
    """A network with a published configuration; its torso may run in half precision, its ends are float32.

    In half precision are: weights and products of Linear and convolution layers of the torso, the residual stream,
    attention (whose sums and softmax its kernels keep in float32), modulations, keys and values of the condition.
    Float32 in every precision are: input and output layers, position and time embeddings, gains and offsets of norms,
    the statistics of every norm (LayerNorm, head RMS norm, GroupNorm), sums over neighbours and over pieces, the
    sampler's state and velocities, and everything after a decoder (activations of Gaussians, FlexiCubes, rendering).
    The image encoder is float32 throughout. What overflows in half is run again in float32: `ModelHost.run`.
    """

    def __init__(self, config: C) -> None:
        super().__init__()
        self.config = config
        self.recomputed = float(config.use_checkpoint)  # the share of blocks, see `recomputes`

    def set_sparse_conv(self, backend: str | None, *, algorithm: str = "auto") -> None:
        """Compute sparse convolutions by one back end (see `trellis.ops.sparse_conv`); None: the fastest built-in one.

        algorithm: of spconv. Where there are gradients, "builtin" does the work. Raises InvalidInputError for an
        unknown one, MissingDependencyError when its package is not installed.
        """
        if backend is not None:
            choose("sparse_conv", backend, SPARSE_CONV_BACKENDS)
        choose("spconv_algo", algorithm, tuple(spconv_adapter.ALGORITHMS))
        if backend == "spconv":
            spconv_adapter.require()
        if backend == "triton":
            choice.require()
        for module in self.modules():
            if isinstance(module, SparseConv3d):
                module.backend, module.spconv_algorithm = backend, algorithm

    @property
    def can_be_captured(self) -> bool:
        """Whether its work can become one captured launch; spconv waits for the device at every convolution."""
        return not any(isinstance(m, SparseConv3d) and m.backend == "spconv" for m in self.modules())

    def recomputes(self, index: int, count: int) -> bool:
        """Whether block `index` of `count` drops its activations and computes them again in the backward pass."""
        return self.training and index < self.recomputed * count

    @property
    def recompute(self) -> bool:
        """Whether all blocks do so."""
        return self.recomputes(0, 1)
