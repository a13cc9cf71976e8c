"""Files of weights (`.safetensors`): the names in them, and their tensors, which must fit."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from trellis.errors import CheckpointError

NAMES_SHOWN = 5


def names_in(path: Path) -> set[str]:
    """The names of a file's tensors, of which only the header is read; raises CheckpointError for a damaged file."""
    if not path.is_file():
        raise CheckpointError(f"{path} is missing.")
    try:
        with safe_open(path, framework="pt") as file:
            return set(file.keys())
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or cannot be read: {error}") from error


def read_tensors(path: Path, expected: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """The tensors of a file named in `expected`, in its dtypes; raises CheckpointError for another shape."""
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            for key, tensor in expected.items():
                shape = list(file.get_slice(key).get_shape())
                if shape != list(tensor.shape):
                    raise CheckpointError(f"{path}: {key} has shape {shape}, the network needs {list(tensor.shape)}.")
            return {key: file.get_tensor(key).to(tensor.dtype) for key, tensor in expected.items()}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or cannot be read: {error}") from error


def check_names(path: Path, found: set[str], expected: set[str]) -> None:
    """Raise CheckpointError naming tensors that are missing or unexpected."""
    problems = []
    for label, names in (("missing", expected - found), ("unexpected", found - expected)):
        if names:
            shown = ", ".join(sorted(names)[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")
            problems.append(f"{len(names)} {label} ({shown})")
    if problems:
        raise CheckpointError(f"{path} does not fit the network: {'; '.join(problems)}.")
