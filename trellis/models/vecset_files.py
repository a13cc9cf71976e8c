"""Strict reading of a shape model's weights: one `model.fp16.safetensors` for its networks.

Source: docs/developer/hunyuan-facts.md, section 1.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from trellis.errors import CheckpointError
from trellis.models.checkpoint import CPU
from trellis.models.vecset_sizes import WEIGHTS_FILE
from trellis.nn.weight_files import check_names, names_in, read_tensors

FLOW, DECODER, ENCODER = "model.", "vae.", "conditioner.main_image_encoder.model."
PICKLES = (".ckpt", ".pt", ".pth", ".bin")
_UNUSED = ("encoder.", "pre_kl.")  # of the decoder's section: what made latents of meshes


def weights_file(folder: Path) -> Path:
    """The weights in a model's folder; raises CheckpointError for pickles, which can run programs, and for none."""
    path = folder / WEIGHTS_FILE
    if path.is_file():
        return path
    pickles = sorted(file.name for file in folder.glob("*") if file.suffix in PICKLES)
    if pickles:
        raise CheckpointError(
            f"{folder} has {pickles[0]} and no {WEIGHTS_FILE}: files of that kind can run programs and are not read. "
            "Fetch the safetensors file of the same model."
        )
    raise CheckpointError(f"{path} is missing.")


def check_sections(path: Path) -> None:
    """Raise CheckpointError where a file of a whole model holds something else than its three networks."""
    names = names_in(path)
    for prefix in (FLOW, DECODER, ENCODER):
        if not any(name.startswith(prefix) for name in names):
            raise CheckpointError(f"{path} has no weight of {prefix}*: it is no whole Hunyuan3D-2 shape model.")
    check_names(path, {name for name in names if not name.startswith((FLOW, DECODER, ENCODER))}, set())


def read_section(path: Path, expected: Mapping[str, Tensor], *, prefix: str) -> dict[str, Tensor]:
    """The weights of one network in the shapes and types of `expected`, by their names without `prefix`.

    A decoder's file of its own has no prefix. Raises CheckpointError naming the key or shape that is missing,
    unexpected or wrong.
    """
    unused = tuple(prefix + name for name in _UNUSED) if prefix in (DECODER, "") else ()
    found = {name for name in names_in(path) if name.startswith(prefix) and not name.startswith(unused)}
    wanted = {prefix + name: tensor for name, tensor in expected.items()}
    check_names(path, found, set(wanted))
    return {name.removeprefix(prefix): tensor for name, tensor in read_tensors(path, wanted, CPU).items()}
