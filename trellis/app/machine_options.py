"""Which model runs where, for every command that works with one: the options, and opening it; quick to import."""

import argparse
import gc
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from trellis.app.presets import AUTO, PRESET_NAMES, TABLES, choose_preset
from trellis.options import MACHINE
from trellis.progress import Progress
from trellis.runtime import (
    ATTENTION_BACKENDS,
    CUDNN_MODES,
    DEVICES,
    PRECISIONS,
    RASTERIZERS,
    SPARSE_CONV_BACKENDS,
    Runtime,
    limit_memory,
    set_cudnn,
)

if TYPE_CHECKING:
    from trellis.opening import Pipeline

DEMO_MODEL = "nano"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MachineOptions:
    """A model, and the machine's part in opening it.

    `precision` of None is the memory preset's, else the device's; `attention` and `sparse_conv` of None are the fastest
    that work; `memory_limit` is the most GPU memory in GiB that the program takes in all, None: all there is. See
    `Runtime.detect`, `PRESETS` and `set_cudnn`.
    """

    model: str = DEMO_MODEL
    device: str = "auto"
    precision: str | None = None
    offline: bool = False
    preset: str = AUTO
    attention: str | None = None
    sparse_conv: str | None = None
    rasterizer: str = "builtin"
    memory_limit: float | None = None
    cudnn: str = "auto"

    @classmethod
    def from_arguments(cls, parsed: argparse.Namespace) -> "MachineOptions":
        """What a parser with `add_machine_options` found."""
        return cls(**{option.name: getattr(parsed, option.name) for option in fields(cls)})

    def detect(self, **others: Any) -> Runtime:
        """The runtime of this machine with its memory limited as stated; `others` go before the options.

        Raises InvalidInputError for what does not exist or is not here.
        """
        names = ("device", "precision", "offline", "attention", "sparse_conv", "rasterizer")
        runtime = Runtime.detect(**{name: getattr(self, name) for name in names} | others)
        if self.memory_limit is not None:
            limit_memory(runtime.device, int(self.memory_limit * 2**30))
        return runtime


def add_machine_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which model runs where, on which back ends."""
    default = MachineOptions()
    add = parser.add_argument_group(MACHINE).add_argument
    add("--model", default=default.model, metavar="NAME", help="nano (embedded), a folder, or a repository on the hub")
    add(
        "--device",
        default=default.device,
        metavar=f"{{{','.join(DEVICES)}}}",
        help="where it computes; cuda:1 is the second card",
    )
    add(
        "--precision", metavar=f"{{{','.join(PRECISIONS)}}}", help="of the networks (default: half on a GPU, else full)"
    )
    add("--offline", action="store_true", help="never download anything")
    add("--preset", choices=PRESET_NAMES, default=default.preset, help="how memory is used; auto goes by what is free")
    add("--attention", choices=ATTENTION_BACKENDS, help="attention back end (default: the fastest that works)")
    add(
        "--sparse-conv",
        choices=SPARSE_CONV_BACKENDS,
        help="sparse convolutions (default: the faster of builtin and triton)",
    )
    add(
        "--rasterizer",
        choices=RASTERIZERS,
        default=default.rasterizer,
        help="what draws previews and the views of a texture; other packages than builtin must be installed "
        "(kaolin by hand), and what they do not draw is drawn by builtin",
    )
    add("--memory-limit", type=float, metavar="GIB", help="most GPU memory in all (default: all of it)")
    cudnn = "NVIDIA's library of convolutions; auto leaves it out where a small one fails"
    add("--cudnn", choices=CUDNN_MODES, default=default.cudnn, help=cudnn)


@contextmanager
def _kept_for_good() -> Iterator[None]:
    """While libraries are imported: to look for garbage among what they make, which stays, takes 0.5 s of two."""
    if "torch" in sys.modules:
        yield
        return
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def open_pipeline(*, index: int | None = None, progress: Progress | None = None, **values: Any) -> "Pipeline":
    """The pipeline of a model on this machine; `values` are those of `MachineOptions`.

    A preset's precision holds where none is stated. A model of the hub that is not here is fetched, of which `progress`
    hears in megabytes, and its cancel stops that. `index` is which of several accelerators is used.
    """
    with _kept_for_good():
        from trellis.families.acquire import obtain_model
        from trellis.opening import open_model  # and torch with it
        from trellis.ops.rasterize import ADAPTERS, require_adapter

    options = MachineOptions(**values)
    if index is not None:
        import torch

        torch.accelerator.set_device_index(index)  # what "the device" is from here on, for every library
    detected = options.detect()
    if options.rasterizer in ADAPTERS:
        require_adapter(options.rasterizer, detected.device)
    remark = set_cudnn(options.cudnn, detected.device)
    table = obtain_model(options.model, runtime=detected, progress=progress).describe().presets
    name = choose_preset(options.preset, detected, table=table)
    preset = TABLES[table][name]
    runtime = options.detect(precision=options.precision or preset.precision)
    runtime = replace(runtime, preset=name, presets=table, remarks=() if remark is None else (remark,))
    pipeline = open_model(options.model, runtime=runtime, plan=preset.plan_on(runtime), progress=progress)
    _log.info("Model %s, memory preset %s, %s on %s", options.model, name, runtime.dtype, runtime.device)
    return pipeline
