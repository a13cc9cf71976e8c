"""Memory presets: what each sets, in one table, and which one a machine gets by itself.

A preset says where networks live, how large the pieces of work are, in which precision, and (prototype) how much of
everything. Values that a request states itself go before those of the preset that it names, or else of the one that the
program was started with.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trellis.errors import InvalidInputError
from trellis.runtime import Runtime, available_bytes

if TYPE_CHECKING:
    from trellis.memory import MemoryPlan

MIB = 1 << 20
GIB = 1 << 30
AUTO = "auto"


@dataclass(frozen=True)
class Preset:
    """Settings for graphics cards with at least `needs` bytes for all that the program takes there, libraries included.

    memory: values of `trellis.memory.MemoryPlan` other than its defaults; precision: one of
    `trellis.runtime.PRECISIONS`, None for the device's own (half on a GPU that computes in it as fast or faster, full
    on a CPU, where half is slow and memory is not what these are about); request: values of
    `trellis.app.request` that the preset changes.
    """

    help: str
    needs: int
    memory: Mapping[str, Any] = field(default_factory=dict)
    precision: str | None = None
    request: Mapping[str, object] = field(default_factory=dict)

    @property
    def plan(self) -> "MemoryPlan":
        """Where networks live and how stages go about their work."""
        from trellis.memory import MemoryPlan  # and torch with it, which the server's own process does without

        return MemoryPlan(**self.memory)


PRESETS: Mapping[str, Preset] = {
    "fastest": Preset(
        "Everything stays on the graphics card; steps are captured launches.",
        needs=29 * GIB // 4,
    ),
    "balanced": Preset(
        "The networks last used stay on the graphics card.",
        needs=21 * GIB // 4,
        memory={"residency": "budget", "budget": 5 * GIB // 2, "chunk_bytes": 64 * MIB},
    ),
    "sequential": Preset(
        "Each network comes to the graphics card for its stage and leaves it again.",
        needs=7 * GIB // 2,
        memory={"residency": "offload", "chunk_bytes": 64 * MIB, "graphs": "off"},
    ),
    "minimal": Preset(
        "As sequential, in small pieces and one condition at a time: the least memory.",
        needs=3 * GIB,
        memory={"residency": "offload", "chunk_bytes": 16 * MIB, "together": False, "graphs": "off"},
        request={"texture_size": 1024, "preview_size": 256},
    ),
    "prototype": Preset(
        "A quick look: few steps, a small texture and a short preview.",
        needs=7 * GIB // 2,
        memory={"residency": "offload", "chunk_bytes": 64 * MIB, "graphs": "off"},
        request={
            "structure_steps": 8,
            "latent_steps": 8,
            "texture_size": 512,
            "preview_size": 256,
            "preview_frames": 24,
        },
    ),
}
PRESET_NAMES = (*PRESETS, AUTO)
BY_MEMORY = ("fastest", "balanced", "sequential", "minimal")  # the first that fits is what `auto` means


def choose_preset(name: str, runtime: Runtime) -> str:
    """The preset called `name`; for "auto" the one for the memory that is free on the device ("fastest" on a CPU).

    Raises InvalidInputError for an unknown name.
    """
    if name not in PRESET_NAMES:
        raise InvalidInputError(f"Unknown preset {name!r}; choose one of {', '.join(PRESET_NAMES)}.")
    if name != AUTO:
        return name
    available = available_bytes(runtime.device)
    if available is None:
        return BY_MEMORY[0]
    return next((known for known in BY_MEMORY if PRESETS[known].needs <= available), BY_MEMORY[-1])
