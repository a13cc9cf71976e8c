"""Weights that training starts from: a file of the released format or of torch, or a network of a model."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from trellis.errors import CheckpointError
from trellis.families.acquire import obtain_model
from trellis.families.trellis_family import network_stem
from trellis.runtime import Runtime
from trellis.training.state import check_fit, read_tensors

_ENDING = ".safetensors"


def load_start(network: nn.Module, source: str, role: str, runtime: Runtime) -> None:
    """Fill a network from a .safetensors file (or its stem), a .pt file, or the network `role` of a model.

    The model is a pipeline folder, a published name or a repository of the hub. Raises CheckpointError naming what is
    missing or of another shape.
    """
    path = Path(source)
    if path.suffix == ".pt":
        found: Mapping[str, Tensor] = read_tensors(path)
    else:
        own = path if path.suffix == _ENDING else path.with_name(path.name + _ENDING)
        if not own.is_file():
            stem = network_stem(obtain_model(source, runtime=runtime), role)
            own = stem.with_name(stem.name + _ENDING)
        try:
            found = load_file(own)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{own} is damaged or cannot be read: {error}") from error
    check_fit(found, network.state_dict(), source)
    network.load_state_dict(found)
