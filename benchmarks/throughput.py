"""Assets a minute of the whole program: `python -m benchmarks.throughput --device cuda --output DIR`.

Jobs go through the queue as the server's do: networks of the released shapes with random weights run from a picture to
a latent; then the object of `benchmarks.export` takes their place, whose GLB (1024 texture, 5 % of the faces), Gaussian
PLY and preview of 120 frames are written. `--model nano` has the embedded model make its own assets instead. The use
of accelerator and cores over time goes to throughput.png, everything to throughput.json. `--cluster ADDRESS|local` has
workers of a cluster do it; with `--nodes N --model stand-in`, so many nodes on this machine, whose jobs wait STAND_IN
seconds and write files of usual sizes: what the head itself costs.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import torch
from PIL import Image, ImageDraw

from benchmarks.editing import ScenePipeline, object_picture
from benchmarks.export_scene import Scene as Vessel
from benchmarks.export_scene import build_scene
from benchmarks.measures import tree_bytes
from benchmarks.released import SCALES, make_scene, random_pipeline
from trellis.app.cluster.crew import cluster_executor
from trellis.app.cluster.options import ClusterOptions
from trellis.app.engine import Engine
from trellis.app.executor import Executor
from trellis.app.history import folder_bytes
from trellis.app.job_sources import Models
from trellis.app.jobs import Job, JobState
from trellis.app.request import read_request
from trellis.app.worker_process import PipelineSource, WorkerProcess
from trellis.app.writers import writing_processes
from trellis.asset import Asset
from trellis.atomic import write_bytes
from trellis.memory import MemoryPlan
from trellis.progress import CancelToken, Progress
from trellis.runtime import Runtime, secure_ray
from trellis.stages import Stage

SAMPLE_SECONDS = 0.25
FILES = {"formats": ["glb", "ply", "mp4"], "simplify": 0.95, "texture_size": 1024, "preview_frames": 120}
GIB = 2**30
RANDOM, STAND_IN = "random", "stand-in"
STAND_IN_SECONDS = 2.0  # of a job
STAND_IN_BYTES = {"glb": 5_000_000, "ply": 44_000_000, "mp4": 1_000_000, "kept": 70_000_000}


class VesselPipeline(ScenePipeline):
    """Its networks run; the vessel of the export's benchmark is what they are said to have made."""

    vessel: Vessel

    def __call__(self, *arguments: Any, **options: Any) -> Asset:
        made = super().__call__(*arguments, **options)
        return replace(made, mesh=self.vessel.mesh, gaussians=self.vessel.gaussians)


def open_random(*, device: str, precision: str, scale: str, resolution: int, **_: Any) -> ScenePipeline:
    """A pipeline of random networks in a worker process; other options of the program are left aside."""
    runtime = Runtime.detect(device=device, precision=precision, offline=True)
    pipeline = random_pipeline(runtime, scale=scale, plan=MemoryPlan(residency="keep"), kind=VesselPipeline)
    assert isinstance(pipeline, VesselPipeline)
    pipeline.scene = make_scene(scale=scale, device=runtime.device)
    pipeline.vessel = build_scene(resolution, device=runtime.device)  # once: it takes seconds of many cores
    return pipeline


@dataclass
class Use:
    """Samples of seconds, and of the use of accelerator (0 without one) and cores, 0 to 100, and bytes of RAM."""

    rows: list[tuple[float, float, float, int]] = field(default_factory=list)
    own: float = 0.0  # processor time of the watching itself, seconds

    @contextmanager
    def watched(self) -> Any:
        """Sample while the body runs."""
        end = threading.Event()
        thread = threading.Thread(target=self._watch, args=(end,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            end.set()
            thread.join()

    def _watch(self, end: threading.Event) -> None:
        began = time.monotonic()
        psutil.cpu_percent()
        while not end.wait(SAMPLE_SECONDS):
            cores = psutil.cpu_percent()
            self.rows.append((time.monotonic() - began, accelerator_use(), cores, tree_bytes(psutil.Process().pid)))
        self.own = time.thread_time()

    def mean(self, column: int) -> float:
        return statistics.fmean(row[column] for row in self.rows) if self.rows else 0.0

    def drawn(self, title: str) -> Image.Image:
        """The use of accelerator (green) and cores (blue) over time."""
        width, height, margin = 1200, 360, 40
        picture = Image.new("RGB", (width, height), "white")
        draw = ImageDraw.Draw(picture)
        draw.text((margin, 8), title, fill="black")
        last, base, across, up = self.rows[-1][0], height - margin, width - 2 * margin, height - 2 * margin
        for percent in (0, 50, 100):
            y = base - percent / 100 * up
            draw.line((margin, y, width - margin, y), fill="lightgrey")
            draw.text((6, y - 6), f"{percent} %", fill="black")
        draw.text((width - 2 * margin, base + 8), f"{last:.0f} s", fill="black")
        for column, name, colour in ((1, "accelerator", "green"), (2, "cores", "blue")):
            points = [(margin + row[0] / last * across, base - row[column] / 100 * up) for row in self.rows]
            draw.line(points, fill=colour, width=2)
            draw.text((margin + 150 * column, base + 8), name, fill=colour)
        return picture


def accelerator_use() -> float:
    """How busy the first NVIDIA card is, in percent; 0 without one."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0.0
    command = [tool, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0"]
    answer = subprocess.run(command, capture_output=True, text=True)
    return float(answer.stdout) if answer.returncode == 0 else 0.0


class StandIn:
    """A pipeline, and its asset, that takes no processor: steps pass, and files have a size alone."""

    name, inputs, operations, options, notice = "stand-in", ("pictures",), ("generate",), (), ""
    representations = ("gaussians", "mesh")
    notes, picture, kept = (), None, None

    def __call__(self, source: Any, *, progress: Progress, **settings: Any) -> "StandIn":
        for stage in (Stage.STRUCTURE, Stage.LATENT):
            for _ in progress.steps(stage, 25):
                time.sleep(STAND_IN_SECONDS / 50)
        return self

    def store(self, path: Path) -> Path:
        return write_bytes(path, bytes(STAND_IN_BYTES["kept"]))

    def save(self, folder: Path, *, name: str, formats: Sequence[str], progress: Progress, **_: Any) -> dict[str, Path]:
        return {kind: write_bytes(folder / f"{name}.{kind}", bytes(STAND_IN_BYTES[kind])) for kind in formats}


def open_stand_in(**_: Any) -> StandIn:
    """What a worker process of `--model stand-in` is told to call."""
    return StandIn()


@contextmanager
def nodes(count: int) -> Iterator[str]:
    """The address of a cluster of so many nodes on this machine, beside its head."""
    secure_ray(local=True)
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(count):
        cluster.add_node(num_cpus=1, wait=False)
    cluster.wait_for_nodes()
    try:
        yield cluster.address
    finally:
        cluster.shutdown()


def head_seconds() -> float:
    """Processor time of the head: this process, and Ray's that direct the cluster."""
    processes = [psutil.Process(), *psutil.Process().children()]
    head = [one for one in processes if one.pid == os.getpid() or one.name() == "gcs_server"]
    return sum(sum(one.cpu_times()[:2]) for one in head)


def carry_out(engine: Engine, count: int, picture: Path, options: argparse.Namespace) -> list[Job]:
    """So many jobs with seeds in a row, ended."""
    requests = [read_request(FILES | {"seed": seed, "preview_frames": options.frames}) for seed in range(count)]
    ids = [engine.submit(request, [picture]) for request in requests]
    began, done = time.monotonic(), 0
    while done < count:
        before, done = done, sum(engine.view(job_id).state.final for job_id in ids)
        if done > before:
            print(f"  {done} of {count} after {time.monotonic() - began:.1f} s", flush=True)
        time.sleep(0.02)
    jobs = [engine.view(job_id) for job_id in ids]
    failed = [job.message for job in jobs if job.state is not JobState.DONE]
    if failed:
        raise SystemExit(f"{len(failed)} of {count} jobs failed: {failed[0]}")
    return jobs


def open_tools(stack: ExitStack, options: argparse.Namespace, source: PipelineSource) -> tuple[Executor, int]:
    """What makes the assets, ready; and how many processes write files beside it, or a cluster warms up."""
    if options.cluster is None:
        maker = WorkerProcess(source)
        plan = maker.open(CancelToken())
        return Executor([maker]), len(writing_processes(source, plan)) if options.writers is None else options.writers
    address = stack.enter_context(nodes(options.nodes)) if options.nodes else options.cluster
    choice = ClusterOptions(address, options.workers)
    executor = stack.enter_context(cluster_executor(choice, source, keep=options.keep))
    while len(executor.tools) < (options.workers or options.nodes or 1):
        time.sleep(0.1)
    return executor, 4 * len(executor.tools)


def measure(options: argparse.Namespace, picture: Path) -> dict[str, Any]:
    """Assets a minute over the jobs, after a warm-up of every process."""
    if options.model == STAND_IN:
        source = PipelineSource("benchmarks.throughput:open_stand_in", {"device": "cpu"})
    elif options.model == RANDOM:
        setup = {"device": options.device, "precision": options.precision, "scale": options.scale}
        source = PipelineSource("benchmarks.throughput:open_random", setup | {"resolution": options.resolution})
    else:
        source = PipelineSource(options={"device": options.device, "precision": options.precision, "offline": True})
    with ExitStack() as stack:
        began = time.monotonic()
        executor, count = open_tools(stack, options, source)
        print(f"opened after {time.monotonic() - began:.1f} s; first {1 + count} jobs to warm up", flush=True)
        writers = Executor([WorkerProcess(source) for _ in range(0 if options.cluster else count)])
        engine = Engine(
            executor,
            options.output / "jobs",
            models=Models((options.model,)),
            writers=writers,
            queue_limit=options.jobs + count + 2,
        )
        stack.callback(engine.close)
        carry_out(engine, 1 + count, picture, options)
        plan = executor.plan
        began, before, resident = time.monotonic(), head_seconds(), psutil.Process().memory_info().rss
        with Use().watched() as use:
            jobs = carry_out(engine, options.jobs, picture, options)
        seconds, spent = time.monotonic() - began, head_seconds() - before - use.own
        resident_after = psutil.Process().memory_info().rss
    stages = sorted({stage for job in jobs for stage in job.spent})
    tools = f"{len(executor.tools)} workers" if options.cluster else f"{len(writers.tools)} writers"
    title = f"{options.jobs / seconds * 60:.1f} assets a minute, {tools}, {plan.get('device_name')}"
    use.drawn(title).save(options.output / "throughput.png")
    return {
        "title": title,
        "assets_a_minute": options.jobs / seconds * 60,
        "seconds": seconds,
        "writers": len(writers.tools),
        "workers": len(executor.tools),
        "head_ms_an_asset": spent / options.jobs * 1000,
        "mb_an_asset": sum(folder_bytes(job.folder) for job in jobs) / options.jobs / 1e6,
        "head_ram": [resident, resident_after],
        "stages": {stage: statistics.median(job.spent.get(stage, 0.0) for job in jobs) for stage in stages},
        "accelerator": use.mean(1),
        "cores": use.mean(2),
        "peak_ram": max((row[3] for row in use.rows), default=0),
        "samples": asdict(use)["rows"],
        "plan": plan,
        "torch": torch.__version__,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="half")
    parser.add_argument("--model", default=RANDOM, help="a model of the program, instead of random networks")
    parser.add_argument("--jobs", type=int, default=60)
    parser.add_argument("--writers", type=int, help="processes that write files (default: as the program decides)")
    parser.add_argument("--frames", type=int, default=120, help="of the preview")
    parser.add_argument("--scale", choices=SCALES, default="released", help="tiny: to try the benchmark itself")
    parser.add_argument("--resolution", type=int, default=64, help="of the vessel, 8 to 64")
    parser.add_argument("--cluster", metavar="ADDRESS", help="have workers of a cluster do it; local: of this machine")
    parser.add_argument("--workers", type=int, default=0, help="of the cluster, at most (default: all)")
    parser.add_argument("--nodes", type=int, default=0, metavar="N", help="make a cluster of so many nodes here")
    parser.add_argument("--keep", action="store_true", help="assets themselves come back too, as to the server")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where results go")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    picture = options.output / "picture.png"
    object_picture().save(picture)
    result = measure(options, picture)
    print(f"{result['title']}; {result['seconds']:.1f} s, peak RAM {result['peak_ram'] / GIB:.1f} GiB")
    print(f"head: {result['head_ms_an_asset']:.0f} ms of a processor and {result['mb_an_asset']:.1f} MB an asset, RAM "
          f"{result['head_ram'][0] / GIB:.2f} to {result['head_ram'][1] / GIB:.2f} GiB")  # fmt: skip
    for name in ("accelerator", "cores"):
        print(f"{name}: {result[name]:.0f} % busy")
    for stage, seconds in result["stages"].items():
        print(f"  {stage:24} {seconds:7.2f} s")
    write_bytes(options.output / "throughput.json", json.dumps(result, indent=1).encode())
    shutil.rmtree(options.output / "jobs", ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
