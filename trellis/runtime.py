"""What machine the work runs on: the only file that reads the environment and tells devices apart.

torch is imported where it is used, not here: the server's own process reads options and must answer at once.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trellis.errors import InvalidInputError

if TYPE_CHECKING:
    import torch

# Read when huggingface_hub is imported, which nothing does before: it tells nobody what runs here.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

logger = logging.getLogger(__name__)

ATTENTION_BACKENDS = ("sdpa", "varlen", "flash-attn", "xformers")
SPARSE_CONV_BACKENDS = ("builtin", "triton", "spconv")
RASTERIZERS = ("builtin", "gsplat", "kaolin", "nvdiffrast")
CUDNN_MODES = ("auto", "on", "off")
SPCONV_ALGORITHMS = ("auto", "native", "implicit_gemm")
PRECISIONS = {  # name: torch's type
    "full": "float32",
    "half": "float16",
    "float32": "float32",
    "float16": "float16",
    "bfloat16": "bfloat16",
}
MODEL_FOLDER = Path(__file__).resolve().parents[1] / "models"
DEVICES = ("auto", "cpu", "cuda", "mps")
# What libraries say of memory that is short: the accelerator's, torch (also on Windows), C++, numpy, OpenCV, Warp.
OUT_OF_MEMORY_WORDS = (
    "out of memory",
    "alloc_failed",
    "allocate memory",
    "not enough memory",
    "bad_alloc",
    "bad allocation",
    "unable to allocate",
    "insufficient memory",
    "failed to allocate",
)
# What a program takes of a CUDA card beside torch's memory: its context at most, and what comes after that is made
# (kernels, captured launches, Warp). Measured on an H200; contexts of smaller cards are smaller.
CONTEXT_BYTES = 5 << 27
LATER_BYTES = 1 << 29


def _flag(name: str) -> bool:
    return os.environ.get(name, "").strip().lower() in {"1", "true", "yes", "on"}


def share_of_job(rank: int | None, count: int | None) -> tuple[int, int]:
    """Which share of the work is this process's, of how many: as stated, else as torchrun or Slurm says, else all."""
    for names in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
        own, size = (os.environ.get(name, "") for name in names)
        if rank is None and count is None and own.isdigit() and size.isdigit():
            return int(own), int(size)
    return rank or 0, 1 if count is None else count


def restarts_of_job() -> int:
    """How often torchrun has begun the processes of this job again."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT") or 0)


def _choice(name: str, option: str | None, allowed: tuple[str, ...]) -> str | None:
    """An option, else the environment variable `name`; None if neither says anything ("auto" too means that)."""
    value = option or os.environ.get(name, "").strip().lower()
    if not value or (value == "auto" and "auto" not in allowed):
        return None
    if value not in allowed:
        raise InvalidInputError(f"Unknown {name} {value!r}; choose one of {', '.join(allowed)}.")
    return value


@dataclass(frozen=True)
class ModelFiles:
    """Where models are looked for, and whether one that is not there may be fetched."""

    offline: bool = False
    model_folder: Path | None = None

    @classmethod
    def locate(cls, *, offline: bool = False) -> ModelFiles:
        """By `HF_HUB_OFFLINE` (fetch nothing) and `TRELLIS_MODELS` (the folder; else `models` beside the package)."""
        folder = os.environ.get("TRELLIS_MODELS")
        return ModelFiles(
            offline=offline or _flag("HF_HUB_OFFLINE"),
            model_folder=Path(folder).expanduser() if folder else MODEL_FOLDER,
        )


def _cpu() -> torch.device:
    import torch

    return torch.device("cpu")


def _float32() -> torch.dtype:
    import torch

    return torch.float32


@dataclass(frozen=True)
class Runtime(ModelFiles):
    """Device, precision of the transformer torsos and file locations of one run.

    `dtype` is the type the torso weights are computed in; norms, embedders and heads stay float32. `preset` is the name
    of the memory preset of `trellis.app.presets` that the run was started with, if it was, and `presets` of its table.
    `remarks` are for everybody who gets a result of the run.
    """

    device: torch.device = field(default_factory=_cpu)
    dtype: torch.dtype = field(default_factory=_float32)
    attention: str | None = None  # one of ATTENTION_BACKENDS; None: chosen at every call
    sparse_conv: str | None = None  # one of SPARSE_CONV_BACKENDS; None: the faster of builtin and triton
    spconv_algo: str = "auto"  # one of SPCONV_ALGORITHMS
    rasterizer: str = "builtin"  # one of RASTERIZERS, for the pictures that it draws; the others are drawn by builtin
    preset: str | None = None
    presets: str = "trellis"
    remarks: tuple[str, ...] = ()

    @classmethod
    def detect(
        cls,
        *,
        device: str = "auto",
        precision: str | None = None,
        offline: bool = False,
        attention: str | None = None,
        sparse_conv: str | None = None,
        rasterizer: str = "builtin",
    ) -> Runtime:
        """Choose a device (`auto` takes the first GPU, else the CPU) and a precision (half on CUDA, else full).

        One of several GPUs, as cuda:1, becomes the current one, where libraries and kernels of our own are launched.
        The environment adds what `ModelFiles.locate` says and, where no option says otherwise, `ATTN_BACKEND`
        (attention), `SPARSE_BACKEND` (sparse convolution) and `SPCONV_ALGO` (spconv's algorithm, if that is used).
        Raises InvalidInputError for an unknown device, precision or back end, or a device that is not there.
        """
        check_machine_options(device, precision)
        if rasterizer not in RASTERIZERS:
            raise InvalidInputError(f"Unknown rasterizer {rasterizer!r}; choose one of {', '.join(RASTERIZERS)}.")
        import torch

        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise InvalidInputError("No CUDA GPU is usable here; choose --device cpu.")
        if device == "mps" and not torch.backends.mps.is_available():
            raise InvalidInputError("Apple's MPS is not usable here; choose --device cpu.")
        if (index := torch.device(device).index) is not None and not device.startswith("cpu"):
            if index >= torch.accelerator.device_count():
                raise InvalidInputError(
                    f"There is no {device} here, but {torch.accelerator.device_count()} of its kind."
                )
            torch.accelerator.set_device_index(index)
        chosen = precision or ("half" if device.startswith("cuda") else "full")
        files = ModelFiles.locate(offline=offline)
        return cls(
            offline=files.offline,
            model_folder=files.model_folder,
            device=torch.device(device),
            dtype=getattr(torch, PRECISIONS[chosen]),
            attention=_choice("ATTN_BACKEND", attention, ATTENTION_BACKENDS),
            sparse_conv=_choice("SPARSE_BACKEND", sparse_conv, SPARSE_CONV_BACKENDS),
            spconv_algo=_choice("SPCONV_ALGO", None, SPCONV_ALGORITHMS) or "auto",
            rasterizer=rasterizer,
        )


def check_machine_options(device: str, precision: str | None) -> None:
    """Raise InvalidInputError for a device or precision that does not exist; whether it is here is not looked at."""
    if device.split(":")[0] not in DEVICES:
        raise InvalidInputError(f"Unknown device {device!r}; choose one of {', '.join(DEVICES)}.")
    if precision is not None and precision not in PRECISIONS:
        raise InvalidInputError(f"Unknown precision {precision!r}; choose one of {', '.join(PRECISIONS)}.")


def name_upload_folder(folder: Path) -> None:
    """Have Gradio keep its files here: it asks the environment, and takes every file there for an upload."""
    os.environ["GRADIO_TEMP_DIR"] = str(folder.absolute())


def secure_ray(*, local: bool) -> None:
    """Have Ray ask everybody for a token and tell nobody what runs here; where `local`, it listens here alone.

    It asks the environment when it is imported.
    """
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if local:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # its only word for that, on every system
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        root = str(Path(__file__).resolve().parents[1])  # its processes find the program
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))


def matting_model_path() -> Path:
    """Where rembg keeps its u2net file: `U2NET_HOME`, else `~/.u2net`."""
    return Path(os.environ.get("U2NET_HOME", "~/.u2net")).expanduser() / "u2net.onnx"


def measurements_path() -> Path:
    """Where measurements of this machine are kept: `TRELLIS_CACHE`, else `~/.cache/trellis`."""
    return Path(os.environ.get("TRELLIS_CACHE", "~/.cache/trellis")).expanduser() / "measured.json"


def is_gpu(device: torch.device) -> bool:
    """Whether this is a GPU that CUDA or ROCm drives: Apple's has neither Triton nor memory of its own."""
    return device.type == "cuda"


def has_float64(device: torch.device) -> bool:
    """Whether the device computes in double precision: Apple's does not."""
    return device.type != "mps"


def has_flash_attention(device: torch.device) -> bool:
    """The GPU has torch's flash attention kernels (NVIDIA, compute capability 8.0 or newer)."""
    import torch

    if not is_gpu(device) or torch.version.hip is not None:
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)


def set_cudnn(mode: str, device: torch.device) -> str | None:
    """Use cuDNN in this process or not: one of CUDNN_MODES, of which auto does where a small convolution works.

    Returns a remark for people where it does not; raises InvalidInputError for another mode.
    """
    import torch

    if mode not in CUDNN_MODES:
        raise InvalidInputError(f"Unknown cudnn {mode!r}; choose one of {', '.join(CUDNN_MODES)}.")
    torch.backends.cudnn.enabled = mode != "off"
    fault = cudnn_fault(device) if mode == "auto" else None
    if fault is None:
        return None
    torch.backends.cudnn.enabled = False
    logger.warning("cuDNN is off: %s", fault)
    return f"cuDNN does not work on this card ({fault}): convolutions went on without it, a little slower."


def cudnn_fault(device: torch.device) -> str | None:
    """What cuDNN says of a small convolution on a CUDA device, None where it works or there is none to try."""
    import torch

    if not is_gpu(device) or not torch.backends.cudnn.is_available():
        return None
    pixels = torch.ones(1, 8, 16, 16, device=device, dtype=torch.float16)
    try:
        torch.nn.functional.conv2d(pixels, pixels[:, :, :3, :3])
        synchronize(device)
    except RuntimeError as error:
        if "cudnn" not in str(error).lower():
            raise
        return str(error).splitlines()[0]
    return None


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
    import torch

    if device.type != "cpu":
        torch.get_device_module(device).synchronize()


def allocated_bytes(device: torch.device) -> int:
    """Bytes that torch's tensors hold on a CUDA device; 0 elsewhere, where torch does not count."""
    import torch

    return torch.cuda.memory_allocated(device) if is_gpu(device) else 0


def peak_allocated_bytes(device: torch.device) -> int:
    """The most that `allocated_bytes` has been since `reset_peak_memory`."""
    import torch

    return torch.cuda.max_memory_allocated(device) if is_gpu(device) else 0


def reset_peak_memory(device: torch.device) -> None:
    """Start `peak_allocated_bytes` anew from what is allocated now."""
    import torch

    if is_gpu(device):
        torch.cuda.reset_peak_memory_stats(device)


def release_cached_memory(device: torch.device) -> None:
    """Give memory that torch keeps for later tensors back to the device."""
    import torch

    if is_gpu(device):
        torch.cuda.empty_cache()


_limits: dict[int, int] = {}  # bytes that this program may use in all, by the number of the CUDA device


def _index(device: torch.device) -> int:
    """The number of a CUDA device, also where it is called just "cuda"."""
    import torch

    return torch.cuda.current_device() if device.index is None else device.index


def _context_bytes(device: torch.device) -> int:
    """What a CUDA device holds beside torch's memory, CONTEXT_BYTES at most: other programs cannot be told apart."""
    import torch

    return min(used_bytes(device) - torch.cuda.memory_reserved(device), CONTEXT_BYTES)


def limit_memory(device: torch.device, size: int) -> None:
    """Use no more than `size` bytes of a CUDA device in all, as on a smaller card.

    Tensors get what that leaves beside the context and LATER_BYTES. Raises InvalidInputError for another device, and
    for a size that leaves them nothing or that the card does not have.
    """
    import torch

    if not is_gpu(device):
        raise InvalidInputError(f"Memory can be limited on a CUDA device only, not on {device}.")
    total = torch.cuda.get_device_properties(device).total_memory
    beside = _context_bytes(device) + LATER_BYTES
    if not beside < size <= total:
        least, most = beside / 2**30, total / 2**30
        raise InvalidInputError(f"The memory limit must be between {least:.1f} GiB and the card's {most:.1f} GiB.")
    torch.cuda.set_per_process_memory_fraction((size - beside) / total, _index(device))
    _limits[_index(device)] = size


def available_bytes(device: torch.device) -> int | None:
    """Bytes of a CUDA device that this program may use in all, what it uses now counted in; None where not known."""
    import torch

    if not is_gpu(device):
        return None
    free, total = torch.cuda.mem_get_info(device)
    mine = torch.cuda.memory_reserved(device) + _context_bytes(device)
    return min(free + mine, _limits.get(_index(device), total))


def free_bytes(device: torch.device) -> int | None:
    """Bytes that tensors may still take on a CUDA device, a limit counted in; None where that is not known."""
    import torch

    if not is_gpu(device):
        return None
    free, total = torch.cuda.mem_get_info(device)
    allocated, reserved = torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
    fraction = getattr(torch.cuda, "get_per_process_memory_fraction", lambda _: 1.0)  # torch 2.8 and newer
    allowed = int(fraction(_index(device)) * total)
    return max(0, min(free + reserved, allowed) - allocated)


def total_bytes(device: torch.device) -> int | None:
    """Memory of a CUDA device; None for others."""
    import torch

    return torch.cuda.get_device_properties(device).total_memory if is_gpu(device) else None


def used_bytes(device: torch.device) -> int:
    """Memory of a CUDA device that all programs together use now, this one's libraries and caches counted in."""
    import torch

    if not is_gpu(device):
        return 0
    free, total = torch.cuda.mem_get_info(device)
    return total - free


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was short, on a device, in one of its libraries or on the host."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    text = str(error).lower()
    return any(part in text for part in OUT_OF_MEMORY_WORDS)


def device_name(device: torch.device) -> str:
    """The accelerator's name, or the device's type."""
    import torch

    return torch.cuda.get_device_name(device) if is_gpu(device) else device.type
