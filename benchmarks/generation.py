"""Time and memory of every stage of a generation: `python -m benchmarks.generation --device cuda --output DIR`.

Networks of the released shapes with random weights (fixed seeds), an object of 20,232 voxels. Prints one table a
precision and writes `generation.json`; docs/performance.md says what the published figures are.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.measures import measured, timed
from benchmarks.released import SCALES, make_scene, random_pipeline
from benchmarks.stages import Stages
from trellis.app.presets import PRESETS
from trellis.atomic import write_bytes
from trellis.memory import MemoryPlan, ModelHost
from trellis.models import Network
from trellis.ops.attention import BACKENDS
from trellis.runtime import (
    SPARSE_CONV_BACKENDS,
    Runtime,
    device_name,
    limit_memory,
    release_cached_memory,
    synchronize,
    used_bytes,
)
from trellis.sampling import SPEEDS
from trellis.sparse import SparseTensor

GIB = 2**30
PRECISIONS = ("float16", "bfloat16", "float32")
# Seconds of the published code on an H200 with a float16 torso, and ours to reach (docs/performance.md).
GOALS: dict[str, tuple[float, float] | None] = {
    "image encoder": None,
    "structure flow": (0.865, 0.45),
    "structure decoder": (0.0063, 0.005),
    "latent flow": (2.00, 0.75),
    "gaussian decoder": (0.016, 0.012),
    "radiance decoder": (0.016, 0.012),
    "mesh decoder": (0.066, 0.060),
    "flexicubes": (0.030, 0.015),
    "all": (3.0, 1.3),
}
ROLES = {
    "structure flow": "sparse_structure_flow_model",
    "structure decoder": "sparse_structure_decoder",
    "latent flow": "slat_flow_model",
    "gaussian decoder": "slat_decoder_gs",
    "radiance decoder": "slat_decoder_rf",
    "mesh decoder": "slat_decoder_mesh",
}


@dataclass(frozen=True)
class Row:
    """One measured stage: seconds of every repeat; bytes allocated at most in it and before it; used on the device."""

    stage: str
    seconds: tuple[float, ...]
    peak: int
    before: int
    used: int
    detail: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass
class Bench:
    """Measures the stages of one pipeline."""

    stages: Stages
    repeats: int
    rows: list[Row] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        return self.stages.device

    @property
    def host(self) -> ModelHost:
        return self.stages.pipeline.host

    def measure(self, stage: str) -> None:
        """Run a stage once to warm up, then `repeats` times; prints and keeps the row."""
        run = self.stages.by_name()[stage]
        note = "; ".join([describe(run()), *self.host.take_notes()])
        seconds, peak, before = measured(run, self.device, self.repeats)
        self.host.take_notes()
        self.rows.append(Row(stage, tuple(seconds), peak, before, used_bytes(self.device), note))
        print(line(self.rows[-1]), flush=True)

    def profile(self, names: Sequence[str], rows: int = 30) -> None:
        """Print where the device's time of each stage goes, kernel by kernel."""
        kinds = {"cpu": ProfilerActivity.CPU, "cuda": ProfilerActivity.CUDA}
        for stage in names:
            run = self.stages.by_name()[stage]
            run()
            synchronize(self.device)
            with profile(activities=[kinds[self.device.type]]) as profiler:
                run()
                synchronize(self.device)
            key = "self_cpu_time_total" if self.device.type == "cpu" else "self_device_time_total"
            print(f"\n{stage}\n{profiler.key_averages().table(sort_by=key, row_limit=rows, max_name_column_width=90)}")

    def compare_precisions(self) -> list[dict[str, Any]]:
        """How far each network's output in its precision is from that of the same weights in float32."""
        rows = []
        for stage, role in ROLES.items():
            run, model = self.stages.by_name()[stage], cast("Network[Any]", self.host._network(role).model)
            own = model.torso_dtype
            got = values_of(run())
            model.set_precision(torch.float32)
            exact = values_of(run())
            model.set_precision(own)
            difference = got - exact
            rms, worst = float(difference.norm() / exact.norm()), float(difference.abs().max() / exact.abs().max())
            rows.append({"stage": stage, "rms": rms, "max": worst})
            print(f"{stage:18} error against float32: rms {rms:.2e}, largest {worst:.2e}", flush=True)
        return rows

    def compare_speeds(self) -> list[dict[str, Any]]:
        """Time of both flows at each of `SPEEDS`, and how far their results move from the exact ones."""
        runs: list[Callable[[], Any]] = [self.stages.structure_flow, self.stages.latent_flow]
        exact, rows = [values_of(run()) for run in runs], []
        for speed in SPEEDS:
            self.stages.speed = speed
            got, seconds = [], []
            for run in runs:
                run()
                spent, result = timed(run, self.device)
                seconds.append(spent)
                got.append(values_of(result))
            change = [float((a - b).norm() / b.norm()) for a, b in zip(got, exact)]
            rows.append({"speed": speed, "seconds": seconds, "change": change})
            milliseconds = [1e3 * value for value in seconds]
            print(f"{speed}: ms {milliseconds}, relative change {change}", flush=True)
        self.stages.speed = "exact"
        return rows


def values_of(result: SparseTensor | Tensor) -> Tensor:
    return (result.feats if isinstance(result, SparseTensor) else result).float()


def describe(result: Any) -> str:
    """What came out, and whether all of it is finite."""
    if isinstance(result, tuple):
        return ", ".join(describe(part) for part in result)
    if isinstance(result, SparseTensor):
        result = result.feats
    if isinstance(result, Tensor):
        finite = "" if not result.is_floating_point() or bool(torch.isfinite(result).all()) else " NOT FINITE"
        return f"{list(result.shape)}{finite}"
    return f"{len(result.faces):,} faces" if hasattr(result, "faces") else f"{len(result.positions):,} Gaussians"


def line(row: Row) -> str:
    verdict = ""
    if goals := GOALS[row.stage]:
        published, target = goals
        reached = "ok" if row.median <= target else "OVER"
        verdict = f"{published / row.median:6.2f}x published  target {target * 1e3:7.1f} ms {reached:4}"
    memory = f"peak {row.peak / GIB:6.3f} GiB (before {row.before / GIB:6.3f}, device {row.used / GIB:6.2f})"
    return f"{row.stage:18} {row.median * 1e3:9.1f} ms  {verdict:47}  {memory}  {row.detail}"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generation", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", action="append", choices=PRECISIONS, help="may be given several times (all)")
    parser.add_argument("--output", type=Path, default=None, metavar="DIR", help="where generation.json goes")
    parser.add_argument("--scale", choices=SCALES, default="released", help="tiny: to try the benchmark itself")
    parser.add_argument("--stages", nargs="+", choices=list(GOALS), default=list(GOALS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--attention", choices=BACKENDS, help="attention back end of all networks (chosen)")
    parser.add_argument("--sparse-conv", choices=SPARSE_CONV_BACKENDS, help="(SPCONV_ALGO says which of spconv)")
    parser.add_argument("--errors", action="store_true", help="also compare every network with itself in float32")
    parser.add_argument("--steps", type=int, help="of both flows, instead of the released 25")
    parser.add_argument("--preset", choices=list(PRESETS), help="a preset's plan and steps instead of the options'")
    parser.add_argument("--speeds", action="store_true", help="also compare the speeds of sampling")
    parser.add_argument("--profile", action="store_true", help="also print the kernels of every stage")
    parser.add_argument("--memory-limit", type=float, metavar="GIB", help="allow no more GPU memory than this")
    return parser.parse_args(arguments)


def measure(precision: str, options: argparse.Namespace) -> dict[str, Any]:
    """Everything that was asked for, in one precision, as it goes into the file."""
    runtime = Runtime.detect(
        device=options.device,
        precision=precision,
        offline=True,
        attention=options.attention,
        sparse_conv=options.sparse_conv,
    )
    if options.memory_limit is not None:
        limit_memory(runtime.device, int(options.memory_limit * GIB))
    plan, steps = MemoryPlan(), options.steps
    if options.preset is not None:
        preset = PRESETS[options.preset]
        plan, steps = preset.plan, steps or preset.request.get("structure_steps")
    name = device_name(runtime.device)
    print(f"\n{precision} on {name}, {plan}, median of {options.repeats}", flush=True)
    pipeline = random_pipeline(runtime, scale=options.scale, plan=plan, steps=steps)
    bench = Bench(Stages(pipeline, make_scene(scale=options.scale, device=runtime.device)), options.repeats)
    with torch.inference_mode():
        for stage in options.stages:
            bench.measure(stage)
        errors = bench.compare_precisions() if options.errors and precision != "float32" else []
        moved = bench.compare_speeds() if options.speeds else []
        if options.profile:
            bench.profile(options.stages)
    return {
        "precision": precision,
        "device": name,
        "plan": asdict(plan),
        "rows": [asdict(row) for row in bench.rows],
        "speeds": moved,
        "errors": errors,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    results = []
    for precision in options.precision or PRECISIONS:
        results.append(measure(precision, options))
        release_cached_memory(Runtime.detect(device=options.device).device)  # the networks ended with the call
        if options.output is not None:  # what is measured is kept, whatever becomes of the next precision
            record = vars(options) | {"output": None, "torch": torch.__version__, "results": results}
            write_bytes(options.output / "generation.json", (json.dumps(record) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
