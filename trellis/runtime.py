"""What machine the work runs on: the only file that reads the environment or names an accelerator."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import torch

from trellis.errors import InvalidInputError

PRECISIONS = {
    "full": torch.float32,
    "half": torch.float16,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
DEVICES = ("auto", "cpu", "cuda", "mps")


def _flag(name: str) -> bool:
    return os.environ.get(name, "").strip().lower() in {"1", "true", "yes", "on"}


@dataclass(frozen=True)
class Runtime:
    """Device, precision of the transformer torsos and file locations of one run.

    `dtype` is the type the torso weights are computed in; norms, embedders and heads stay float32.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    offline: bool = False
    model_folder: Path | None = None

    @classmethod
    def detect(cls, *, device: str = "auto", precision: str | None = None, offline: bool = False) -> "Runtime":
        """Choose a device (`auto` takes the first GPU, else the CPU) and a precision (half on CUDA, else full).

        The environment adds `HF_HUB_OFFLINE` (no download) and `TRELLIS_MODELS` (a folder searched for models).
        Raises InvalidInputError for an unknown device or precision, or a device that is not there.
        """
        if device.split(":")[0] not in DEVICES:
            raise InvalidInputError(f"Unknown device {device!r}; choose one of {', '.join(DEVICES)}.")
        if precision is not None and precision not in PRECISIONS:
            raise InvalidInputError(f"Unknown precision {precision!r}; choose one of {', '.join(PRECISIONS)}.")
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise InvalidInputError("No CUDA GPU is usable here; choose --device cpu.")
        if device == "mps" and not torch.backends.mps.is_available():
            raise InvalidInputError("Apple's MPS is not usable here; choose --device cpu.")
        chosen = precision or ("half" if device.startswith("cuda") else "full")
        folder = os.environ.get("TRELLIS_MODELS")
        return cls(
            device=torch.device(device),
            dtype=PRECISIONS[chosen],
            offline=offline or _flag("HF_HUB_OFFLINE"),
            model_folder=Path(folder) if folder else None,
        )

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"


def matting_model_path() -> Path:
    """Where rembg keeps its u2net file: `U2NET_HOME`, else `~/.u2net`."""
    return Path(os.environ.get("U2NET_HOME", "~/.u2net")).expanduser() / "u2net.onnx"


def has_flash_attention(device: torch.device) -> bool:
    """The GPU has torch's flash attention kernels (NVIDIA, compute capability 8.0 or newer)."""
    if device.type != "cuda" or torch.version.hip is not None:
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)
