"""Memory presets: what each sets, in one table, and which one a machine gets by itself.

A preset says where networks live, how large the pieces of work are, in which precision, and (prototype) how much of
everything. Values that a request states itself go before those of the preset that it names, or else of the one that the
program was started with.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from trellis.errors import InvalidInputError
from trellis.runtime import Runtime, available_bytes

if TYPE_CHECKING:
    from trellis.memory import MemoryPlan

MIB = 1 << 20
GIB = 1 << 30
SPARE = 2 * GIB  # beside the networks that stay on a card, for the work itself
AUTO = "auto"


@dataclass(frozen=True)
class Preset:
    """Settings for graphics cards with at least `needs` bytes for all that the program takes there, libraries included.

    memory: values of `trellis.memory.MemoryPlan` other than its defaults; precision: one of
    `trellis.runtime.PRECISIONS`, None for the device's own (half on a GPU that computes in it as fast or faster, full
    on a CPU, where half is slow and memory is not what these are about); request: values of
    `trellis.app.request` that the preset changes. roomy: on cards with less, networks stay in what SPARE leaves of it.
    """

    help: str
    needs: int
    memory: Mapping[str, Any] = field(default_factory=dict)
    precision: str | None = None
    request: Mapping[str, object] = field(default_factory=dict)
    roomy: int = 0

    @property
    def plan(self) -> "MemoryPlan":
        """Where networks live and how stages go about their work."""
        from trellis.memory import MemoryPlan  # and torch with it, which the server's own process does without

        return MemoryPlan(**self.memory)

    def plan_on(self, runtime: Runtime) -> "MemoryPlan":
        """The plan for what a device has for this program."""
        available = available_bytes(runtime.device)
        if available is None or available >= self.roomy:
            return self.plan
        return replace(self.plan, residency="budget", budget=max(available - SPARE, GIB))


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


def _own_steps(preset: Preset) -> Preset:
    """The preset for a model that makes few steps by itself."""
    return replace(preset, request={n: None if n.endswith("_steps") else value for n, value in preset.request.items()})


def _shape_presets(largest: int, *, steps: int) -> Mapping[str, Preset]:
    """The presets of Hunyuan3D models: `largest` is what the first needs, `steps` what a model takes by itself."""
    own = PRESETS["prototype"].request
    small, quick = {"surface_resolution": 128, "structure_steps": steps * 4 // 5}, steps * 3 // 5
    told: Mapping[str, tuple[int, Mapping[str, Any], Mapping[str, object]]] = {
        "fastest": (largest, {}, {"texture_size": 2048}),
        "balanced": (4 * GIB, {"budget": 3 * GIB}, {"texture_size": 2048}),
        "sequential": (7 * GIB // 2, {}, {"texture_size": 2048}),
        "minimal": (3 * GIB, {}, {**PRESETS["minimal"].request, **small}),
        "prototype": (7 * GIB // 2, {}, {**own, **small, "structure_steps": quick}),
    }
    presets = {
        name: replace(PRESETS[name], needs=needs, memory={**PRESETS[name].memory, **memory}, request=request)
        for name, (needs, memory, request) in told.items()
    }
    return presets | {"fastest": replace(presets["fastest"], roomy=11 * GIB)}


# By what a model's description calls its table (`ModelDescription.presets`).
TABLES: Mapping[str, Mapping[str, Preset]] = {
    "trellis": PRESETS,
    "trellis-few-steps": {name: _own_steps(preset) for name, preset in PRESETS.items()},
    "hunyuan": _shape_presets(6 * GIB, steps=30),
    "hunyuan-turbo": _shape_presets(6 * GIB, steps=5),
    "hunyuan-mini": _shape_presets(5 * GIB, steps=30),
    "hunyuan-mini-turbo": _shape_presets(5 * GIB, steps=5),
}
PRESET_NAMES = (*PRESETS, AUTO)
BY_MEMORY = ("fastest", "balanced", "sequential", "minimal")  # the first that fits is what `auto` means


def choose_preset(name: str, runtime: Runtime, *, table: str = "trellis") -> str:
    """The preset called `name`; for "auto" the one for the memory that is free on the device ("fastest" on a CPU).

    table: one of TABLES, that of the model. Raises InvalidInputError for an unknown name.
    """
    if name not in PRESET_NAMES:
        raise InvalidInputError(f"Unknown preset {name!r}; choose one of {', '.join(PRESET_NAMES)}.")
    if name != AUTO:
        return name
    available = available_bytes(runtime.device)
    if available is None:
        return BY_MEMORY[0]
    return next((known for known in BY_MEMORY if TABLES[table][known].needs <= available), BY_MEMORY[-1])
