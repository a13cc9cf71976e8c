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
# The one name of an optional package that says the accelerator (ops/rasterize/nvdiffrast_adapter.py).
NVDIFFRAST_CONTEXT = "RasterizeCudaContext"


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


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
    if device.type != "cpu":
        torch.get_device_module(device).synchronize()


def allocated_bytes(device: torch.device) -> int:
    """Bytes that torch's tensors hold on a CUDA device; 0 elsewhere, where torch does not count."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def peak_allocated_bytes(device: torch.device) -> int:
    """The most that `allocated_bytes` has been since `reset_peak_memory`."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0


def reset_peak_memory(device: torch.device) -> None:
    """Start `peak_allocated_bytes` anew from what is allocated now."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def release_cached_memory(device: torch.device) -> None:
    """Give memory that torch keeps for later tensors back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def limit_memory(device: torch.device, size: int) -> None:
    """Refuse to allocate more than `size` bytes on a CUDA device, as a smaller card would.

    Raises InvalidInputError for another device or a size that the card does not have.
    """
    if device.type != "cuda":
        raise InvalidInputError(f"Memory can be limited on a CUDA device only, not on {device}.")
    total = torch.cuda.get_device_properties(device).total_memory
    if not 0 < size <= total:
        raise InvalidInputError(f"The memory limit must be between 0 and the card's {total / 2**30:.1f} GiB.")
    torch.cuda.set_per_process_memory_fraction(size / total, device)


def free_bytes(device: torch.device) -> int | None:
    """Bytes that tensors may still take on a CUDA device, a limit counted in; None where that is not known."""
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    allocated, reserved = torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
    allowed = int(torch.cuda.get_per_process_memory_fraction(device) * total)
    return max(0, min(free + reserved, allowed) - allocated)


def device_name(device: torch.device) -> str:
    """The accelerator's name, or the device's type."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
