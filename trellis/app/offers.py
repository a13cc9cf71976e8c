"""What people can choose from on this machine: the models, and the line that says where the work is done."""

import logging
from dataclasses import dataclass

from trellis.errors import CheckpointError
from trellis.models import CatalogueEntry, list_models, resolve_model
from trellis.runtime import Runtime, free_bytes

DEMO_MODEL = "nano"
GIB = 1 << 30

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelChoice:
    """A model that may be chosen: what it is called, and whether it takes texts in place of pictures.

    `fetch_bytes` is what must be fetched before its first use.
    """

    name: str
    label: str
    takes_text: bool = False
    fetch_bytes: int = 0


def offered_models(model: str, runtime: Runtime) -> list[ModelChoice]:
    """The model that the program is started with, then those that are here, then image models that can be fetched.

    Nothing is fetched to find out. Offline, only those that are here are offered.
    """
    entries = {entry.name: entry for entry in list_models(runtime)}
    entries.setdefault(model, CatalogueEntry(model, None, 0))
    choices = [_choice(entry, runtime, given=entry.name == model) for entry in entries.values()]
    known = [choice for choice in choices if choice is not None]
    return sorted(known, key=lambda choice: (choice.name != model, choice.fetch_bytes))


def _choice(entry: CatalogueEntry, runtime: Runtime, *, given: bool) -> ModelChoice | None:
    short = entry.name.split("/")[-1]
    if entry.location is not None or given:
        label = f"{short} (demo)" if entry.name == DEMO_MODEL else short
        return ModelChoice(entry.name, label, takes_text=_takes_text(entry, runtime))
    if runtime.offline or "-text-" in short:
        return None
    return ModelChoice(entry.name, f"{short} · {entry.size_bytes / 1e9:.1f} GB to fetch", fetch_bytes=entry.size_bytes)


def _takes_text(entry: CatalogueEntry, runtime: Runtime) -> bool:
    if entry.location is None and "/" in entry.name:  # it would have to be fetched to find out
        return "-text-" in entry.name
    try:
        return resolve_model(entry.name, runtime=runtime).config.image_cond_model is None
    except CheckpointError as error:
        _log.warning("%s: %s", entry.name, error)  # its first job says so too
        return False


def describe_machine(runtime: Runtime) -> str:
    """Device, precision and attention back end in one line."""
    device = runtime.device.type.upper()
    if runtime.device.type != "cpu":
        device = device_name(runtime)
    precision = str(runtime.dtype).removeprefix("torch.")
    return " · ".join([device, precision, *([runtime.attention] if runtime.attention else [])])


def device_count(runtime: Runtime) -> int:
    """How many accelerators of the runtime's kind there are; 1 on a CPU."""
    import torch

    return 1 if runtime.device.type == "cpu" else max(1, torch.accelerator.device_count())


def device_name(runtime: Runtime) -> str:
    """What the accelerator is called."""
    import torch

    module = torch.get_device_module(runtime.device)
    name = getattr(module, "get_device_name", None)
    return str(name(runtime.device)) if name is not None else runtime.device.type.upper()


def describe_memory(runtime: Runtime) -> str:
    """The memory that is free now: the accelerator's, else the machine's; nothing where it is not known."""
    free = free_bytes(runtime.device)
    if free is None:
        import psutil

        free = int(psutil.virtual_memory().available)
    return f"{free / GIB:.1f} GB free"
