"""What was measured on this machine, kept between programs: the same seed shall give the same asset in each of them.

One JSON file of the user, `trellis.runtime.measurements_path`: device and torch -> question -> way -> seconds.
"""

import json
import logging
from typing import Any

import torch

from trellis.atomic import write_bytes
from trellis.runtime import device_name, measurements_path

logger = logging.getLogger(__name__)


def recall(question: str, device: torch.device) -> dict[str, float] | None:
    """The seconds of each way that an earlier program measured; None where there are none, and on a CPU."""
    if device.type == "cpu":
        return None
    seconds = _read().get(_machine(device), {}).get(question)
    return seconds if isinstance(seconds, dict) and seconds else None


def keep(question: str, device: torch.device, seconds: dict[str, float]) -> None:
    """Keep what was measured, unless on a CPU; without a place to write to, the next program measures again."""
    if device.type == "cpu":
        return
    known = _read()
    known.setdefault(_machine(device), {})[question] = seconds
    try:
        write_bytes(measurements_path(), json.dumps(known, indent=1).encode())
    except OSError as error:
        logger.info("measurements are not kept: %s", error)


def _machine(device: torch.device) -> str:
    return f"{device_name(device)}, torch {torch.__version__}"


def _read() -> dict[str, Any]:
    try:
        content = json.loads(measurements_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and all(isinstance(v, dict) for v in content.values()) else {}
