"""What this machine has, which back ends work on it and why others do not, and what would be used.

Every back end that can be used is tried on a small input and compared with the plain reference; nothing is downloaded.
"""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch

from trellis.app.models_command import model_state
from trellis.app.presets import AUTO, GIB, PRESETS, TABLES, choose_preset
from trellis.errors import TrellisError
from trellis.families.catalogue import list_models
from trellis.ops import attention, reference, sparse_conv
from trellis.ops.neighbours import neighbour_table
from trellis.ops.rasterize import backends as rasterize
from trellis.ops.segments import Segments
from trellis.ops.sparse_conv import choice, spconv_adapter
from trellis.runtime import Runtime, available_bytes, cudnn_fault, device_name, is_gpu, synchronize, total_bytes

# How packages of others fail on machines that they do not know.
FAULTS = (RuntimeError, ImportError, OSError, LookupError, AssertionError, AttributeError, TypeError, ValueError)
TOLERANCE = {torch.float16: 5e-3, torch.bfloat16: 4e-2, torch.float32: 1e-4}
LENGTHS = (700, 120, 700)  # tokens of the trial of attention
WIDTH, HEADS = 64, 4


@dataclass(frozen=True)
class Finding:
    """One thing looked at: whether it works here, and why or how well."""

    subject: str
    works: bool
    remark: str


@dataclass(frozen=True)
class Diagnosis:
    """Facts of the machine, and findings by topic; `plan` says what would be used."""

    machine: tuple[str, ...]
    attention: tuple[Finding, ...]
    convolution: tuple[Finding, ...]
    rendering: tuple[Finding, ...]
    models: tuple[Finding, ...]
    presets: tuple[str, ...]
    plan: tuple[str, ...]

    def lines(self) -> list[str]:
        """The diagnosis as text."""
        out = ["Machine", *(f"  {line}" for line in self.machine)]
        topics = {
            "Attention": self.attention,
            "Sparse convolution": self.convolution,
            "Rendering": self.rendering,
            "Models": self.models,
        }
        for title, findings in topics.items():
            out += ["", title]
            out += [f"  {'yes' if f.works else 'no ':3}  {f.subject:14} {f.remark}" for f in findings]
        out += ["", "Memory presets, and the GiB that they need of a graphics card in all"]
        out += [f"  {line}" for line in self.presets]
        return [*out, "", "Plan", *(f"  {line}" for line in self.plan)]


def diagnose(runtime: Runtime, *, preset: str = "auto") -> Diagnosis:
    """Look at the machine as `runtime` would use it; raises InvalidInputError for an unknown preset."""
    return Diagnosis(
        machine=_machine(runtime),
        attention=tuple(_try(name, partial(_try_attention, name, runtime)) for name in attention.BACKENDS),
        convolution=(
            _try("builtin", lambda: _try_convolution(runtime)),
            _try("triton", lambda: _try_triton(runtime)),
            _try("spconv", lambda: _try_spconv(runtime)),
        ),
        rendering=_rendering(runtime),
        models=tuple(
            Finding(model.name, model.location is not None, model_state(model, runtime))
            for model in list_models(runtime)
        ),
        presets=_presets(runtime),
        plan=_plan(runtime, preset),
    )


def _presets(runtime: Runtime) -> tuple[str, ...]:
    """A line for each family's models that need the same: what, and which preset `auto` takes here."""
    tables: dict[str, list[str]] = {}
    for table, presets in TABLES.items():
        needs = ", ".join(f"{name} {preset.needs / GIB:g}" for name, preset in presets.items())
        tables.setdefault(f"{needs}; auto is {choose_preset(AUTO, runtime, table=table)} here", []).append(table)
    return tuple(f"{', '.join(names)}: {needs}" for needs, names in tables.items())


def _machine(runtime: Runtime) -> tuple[str, ...]:
    lines = [
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}",
        f"device {runtime.device}: {device_name(runtime.device)}, {torch.get_num_threads()} CPU threads",
    ]
    if is_gpu(runtime.device):
        lines.append(f"cuDNN: {cudnn_fault(runtime.device) or 'works'}")
    available, total = available_bytes(runtime.device), total_bytes(runtime.device)
    if available is not None and total is not None:
        lines.append(f"memory of the device: {total / GIB:.1f} GiB, {available / GIB:.1f} GiB for this program in all")
    return tuple(lines)


def _try(subject: str, trial: Callable[[], str]) -> Finding:
    """A trial that returns a remark, or raises what is in the way."""
    try:
        return Finding(subject, True, trial())
    except TrellisError as error:
        return Finding(subject, False, str(error).splitlines()[0])
    except FAULTS as error:
        return Finding(subject, False, f"{type(error).__name__}: {error}".splitlines()[0])


def _try_attention(name: str, runtime: Runtime) -> str:
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(sum(LENGTHS), HEADS, WIDTH, generator=generator) for _ in range(3)]
    q, k, v = (part.to(runtime.device, runtime.dtype) for part in parts)
    if not attention.MODULES[name].is_usable(q):
        raise TrellisError(_not_for(runtime))
    exact = reference.packed_attention(parts[0], parts[1], v=parts[2], q_lengths=LENGTHS, k_lengths=LENGTHS)
    segments = Segments(LENGTHS, runtime.device)

    def run() -> torch.Tensor:
        return attention.packed_attention(q, k, v=v, q_segments=segments, k_segments=segments, backend=name)

    return _compare(run, exact, runtime)


def _not_for(runtime: Runtime) -> str:
    return f"not for {str(runtime.dtype).removeprefix('torch.')} on {runtime.device.type}"


def _compare(run: Callable[[], torch.Tensor], exact: torch.Tensor, runtime: Runtime) -> str:
    """Error of the result and time of a second call; raises TrellisError for a wrong result."""
    got = run().float().cpu()
    error = float((got - exact).abs().max() / exact.abs().max())
    if not error <= TOLERANCE[runtime.dtype]:
        raise TrellisError(f"gives wrong results (error {error:.1e})")
    synchronize(runtime.device)
    started = time.perf_counter()
    run()
    synchronize(runtime.device)
    return f"agrees with the reference (error {error:.0e}, {(time.perf_counter() - started) * 1e3:.2f} ms)"


def _convolution_trial(runtime: Runtime) -> tuple[torch.Tensor, ...]:
    """Coordinates, features, weight and bias on the device, and the exact result on the CPU."""
    generator = torch.Generator().manual_seed(0)
    side = torch.arange(4)
    grid = torch.stack(torch.meshgrid(side[:1], side, side, side, indexing="ij"), -1).reshape(-1, 4)
    coords = grid[torch.randperm(64, generator=generator)[:40].sort().values].int()
    feats, weight, bias = (torch.randn(shape, generator=generator) for shape in ((40, 16), (16, 3, 3, 3, 16), (16,)))
    exact = reference.submanifold_conv(feats, weight, bias=bias, coords=coords)
    moved = [part.to(runtime.device, runtime.dtype) for part in (feats, weight, bias)]
    return coords.to(runtime.device), *moved, exact


@torch.no_grad()
def _try_convolution(runtime: Runtime, *, backend: str = "builtin") -> str:
    coords, feats, weight, bias, exact = _convolution_trial(runtime)
    table = neighbour_table(coords, (40,), resolution=4)
    return _compare(
        lambda: sparse_conv.submanifold_conv(feats, weight, bias=bias, neighbours=table, backend=backend),
        exact,
        runtime,
    )


def _try_triton(runtime: Runtime) -> str:
    choice.require()
    if runtime.dtype not in choice.HALF or runtime.device.type == "cpu":
        raise TrellisError(_not_for(runtime))
    if choice.kernels_on(runtime.device) is None:
        raise TrellisError("its kernel does not run here, or gives wrong results")
    return _try_convolution(runtime, backend="triton")


@torch.no_grad()
def _try_spconv(runtime: Runtime) -> str:
    spconv_adapter.require()
    coords, feats, weight, bias, exact = _convolution_trial(runtime)
    if not spconv_adapter.is_usable(feats):
        raise TrellisError(_not_for(runtime))
    options: dict[str, Any] = {"coords": coords, "resolution": 4, "batch_size": 1, "algorithm": runtime.spconv_algo}
    return _compare(
        lambda: spconv_adapter.convolve(feats, weight, bias=bias, indices={}, **options),
        exact,
        runtime,
    )


def _rendering(runtime: Runtime) -> tuple[Finding, ...]:
    warp = rasterize.warp_usable(runtime.device)
    findings = [Finding("warp", warp, "used" if warp else "not installed, or not for this device")]
    findings.append(Finding("reference", True, "plain torch; used where Warp is not, and for gradients"))
    for name, how in rasterize.ADAPTERS.items():
        present = find_spec(name) is not None
        findings.append(Finding(name, present, "adapter, untested on hardware" + ("" if present else f"; {how}")))
    return tuple(findings)


def _plan(runtime: Runtime, preset: str) -> tuple[str, ...]:
    name = choose_preset(preset, runtime)
    plan = PRESETS[name].plan
    precision = str(runtime.dtype).removeprefix("torch.")
    sizes = f"pieces of {plan.chunk_bytes >> 20} MiB; conditions {'together' if plan.together else 'one at a time'}"
    if runtime.device.type == "cpu":
        return (
            f"networks on the CPU, in this computer's memory, their torsos in {precision}",
            f"attention: {runtime.attention or 'sdpa'}",
            f"sparse convolution: {runtime.sparse_conv or 'builtin'}",
            f"rendering: {runtime.rasterizer}",
            f"preset {name}, of which only sizes count without a graphics card: {sizes}",
        )
    budget = f" of {plan.budget / GIB:.1f} GiB" if plan.budget is not None else ""
    return (
        f"networks on {runtime.device}, their torsos in {precision}",
        f"attention: {runtime.attention or 'chosen at every call (sdpa; varlen for ragged windows on a GPU)'}",
        f"sparse convolution: {runtime.sparse_conv or 'the faster of builtin and triton, measured once a layer width'}"
        + (f" ({runtime.spconv_algo})" if runtime.sparse_conv == "spconv" else ""),
        f"rendering: {runtime.rasterizer}",
        f"preset {name}: {PRESETS[name].help} Needs {PRESETS[name].needs / GIB:.2f} GiB of a graphics card in all.",
        f"  networks: {plan.residency}{budget}; {sizes}; captured launches {plan.graphs}",
    )
