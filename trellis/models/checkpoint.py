"""Strict loading and saving of networks in the published format: `<stem>.json` and `<stem>.safetensors`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from trellis.atomic import write_bytes
from trellis.errors import CheckpointError
from trellis.models.network import Network
from trellis.models.pipeline_config import read_json
from trellis.models.registry import class_name_of, create_model, parse_config
from trellis.nn.weight_files import check_names, names_in, read_tensors

CPU = torch.device("cpu")


def load_model(
    stem: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    attention: str | None = None,
    sparse_conv: tuple[str | None, str] = (None, "auto"),
) -> Network[Any]:
    """Load the network of the two files `<stem>.json` and `.safetensors`, in evaluation mode, its torso in `dtype`.

    attention: a back end of `trellis.ops.attention`, None for any; sparse_conv: a back end, None for the fastest
    built-in one, and spconv's algorithm.

    Raises CheckpointError naming the file, key or shape that is missing, unexpected or wrong.
    """
    stem = str(stem).removesuffix(".json").removesuffix(".safetensors")
    description, weights = Path(f"{stem}.json"), Path(f"{stem}.safetensors")
    model = _describe(description, weights)
    model.set_precision(dtype)
    model.set_attention(attention)
    model.set_sparse_conv(sparse_conv[0], algorithm=sparse_conv[1])
    model.load_state_dict(_read_weights(weights, model.state_dict()), assign=True)
    return model.eval()


def _describe(path: Path, weights: Path) -> Network[Any]:
    """The network of a `.json` file, without memory for its weights, and without more blocks than these have."""
    content = read_json(path)
    if not isinstance(content.get("name"), str) or not isinstance(content.get("args"), dict):
        raise CheckpointError(f'{path} must hold {{"name": class, "args": {{...}}}}.')
    try:
        parse_config(content["name"], content["args"])
        tensors = len(names_in(weights))
        for name, value in content["args"].items():
            if "blocks" in name and value > tensors:
                raise CheckpointError(f"{path}: {name} = {value} does not fit the {tensors} tensors of {weights.name}.")
        with torch.device("meta"):
            return create_model(content["name"], content["args"])
    except (TypeError, ValueError, AttributeError, ArithmeticError, LookupError, RuntimeError) as error:  # wrong values
        raise CheckpointError(f"{path}: {error}") from error


def _read_weights(path: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file in the dtypes of `expected`; every name and shape must agree."""
    check_names(path, names_in(path), set(expected))
    return read_tensors(path, expected, CPU)


def save_model(model: Network[Any], stem: str | Path) -> None:
    """Write `<stem>.json` and `<stem>.safetensors`, each in one step; with `use_fp16` the torso is stored in float16.

    Raises CheckpointError naming a tensor with values that are not finite in the dtype of the file.
    """
    name, args = class_name_of(model), model.config.to_args()
    with torch.device("meta"):
        stored = create_model(name, args).state_dict()
    tensors = {}
    for key, value in model.state_dict().items():
        tensors[key] = value.detach().to(CPU, stored[key].dtype).contiguous()
        if not torch.isfinite(tensors[key]).all():
            raise CheckpointError(f"{key} has values that are not finite in {stored[key].dtype}: not saved.")
    write_bytes(Path(f"{stem}.safetensors"), save(tensors))
    write_bytes(Path(f"{stem}.json"), (json.dumps({"name": name, "args": args}, indent=2) + "\n").encode())
