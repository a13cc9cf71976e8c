"""Seconds from a process's start to its first asset: `python -m benchmarks.first_asset --device cuda --output DIR`.

Networks of the released shapes with random weights are written to DIR/model once. Every run is a process of its own
that imports the program, opens that model and makes Gaussians and mesh of a picture; printed are the seconds since its
start at which each stage had its first step done. The first run also compiles what is kept compiled, Python's byte
code too, which every installation keeps even if this machine is told not to. In a cold run the pages of the model's and
the packages' files are first taken out of the system's memory (Linux). Everything goes to first_asset.json.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

SCENE, PICTURE, MODEL, ENCODER = "scene.pt", "picture.png", "model", "image_encoder"
BYTE_CODE = "bytecode"  # kept here, of the packages too


def write_model(folder: Path, *, device: str, precision: str, scale: str) -> None:
    """The networks as files, the scene that they are said to make, and a picture."""
    import torch

    from benchmarks.editing import object_picture
    from benchmarks.released import SAMPLER, make_scene, random_encoder, random_network
    from trellis.families.trellis_family import TRELLIS
    from trellis.models import PipelineConfig
    from trellis.models.checkpoint import save_model
    from trellis.models.pipeline_config import DECODERS, REQUIRED_ROLES
    from trellis.runtime import Runtime

    runtime = Runtime.detect(device=device, precision=precision, offline=True)
    sampler = SAMPLER if scale == "released" else replace(SAMPLER, steps=2)
    roles = (*REQUIRED_ROLES, DECODERS["gaussians"], DECODERS["mesh"])
    (folder / MODEL / "ckpts").mkdir(parents=True)
    (folder / MODEL / ENCODER).mkdir()
    for role in roles:
        network = random_network(role, scale=scale, dtype=runtime.dtype, device=runtime.device)
        save_model(network, folder / MODEL / "ckpts" / role)
    encoder = random_encoder(scale, device=runtime.device)
    encoder.backbone.save(folder / MODEL / ENCODER)
    PipelineConfig(
        models={role: f"ckpts/{role}" for role in roles},
        structure_sampler=sampler,
        latent_sampler=sampler,
        latent_statistics=((0.0,) * 8, (1.0,) * 8),
        image_cond_model={"path": ENCODER, "image_size": 518},
    ).write(folder / MODEL / TRELLIS.description_file)
    torch.save(vars(make_scene(scale=scale, device=torch.device("cpu"))), folder / SCENE)
    object_picture().save(folder / PICTURE)


def first_asset(folder: Path, *, device: str, precision: str) -> dict[str, float]:
    """What this process has done at which second of its life, up to its first asset."""
    began = psutil.Process().create_time()
    at: dict[str, float] = {}

    import trellis.app.generation
    from trellis.opening import open_model
    from trellis.progress import Progress, StepInfo
    from trellis.runtime import Runtime, synchronize

    assert trellis.app.generation  # what a worker process imports
    at["imported"] = time.time() - began
    runtime = Runtime.detect(device=device, precision=precision, offline=True)
    opened: Any = open_model(folder / MODEL, runtime=runtime)

    import torch

    from benchmarks.editing import ScenePipeline
    from benchmarks.released import Scene

    pipeline = ScenePipeline(opened.name, opened.config, reader=opened.reader, host=opened.host, runtime=runtime)
    pipeline.scene = Scene(**{name: value.to(runtime.device) for name, value in torch.load(folder / SCENE).items()})
    at["opened"] = time.time() - began

    def hear(info: StepInfo) -> None:
        at.setdefault(info.label, time.time() - began)

    made = pipeline([folder / PICTURE], progress=Progress(hear))
    synchronize(runtime.device)
    assert made.gaussians is not None and made.mesh is not None and len(made.gaussians) and len(made.mesh.faces)
    at["asset"] = time.time() - began
    return at


def forget(folders: Iterable[Path]) -> None:
    """Have the system drop what it holds of these folders' files."""
    os.sync()
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                file = os.open(path, os.O_RDONLY)
                try:
                    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
                finally:
                    os.close(file)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="half")
    parser.add_argument("--scale", choices=("released", "tiny"), default="released", help="tiny: to try the benchmark")
    parser.add_argument("--warm", type=int, default=3, metavar="N", help="runs with all files in memory")
    parser.add_argument("--cold", type=int, default=1, metavar="N", help="runs with none")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where model and results go")
    parser.add_argument("--run", action="store_true", help=argparse.SUPPRESS)  # the process that is measured
    chosen = parser.parse_args(arguments)
    if chosen.run:
        print(json.dumps(first_asset(chosen.output, device=chosen.device, precision=chosen.precision)))
        return 0
    if not (chosen.output / MODEL).is_dir():
        write_model(chosen.output, device=chosen.device, precision=chosen.precision, scale=chosen.scale)
    command = [sys.executable, "-m", "benchmarks.first_asset", "--run", "--output", str(chosen.output)]
    command += ["--device", chosen.device, "--precision", chosen.precision]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str((chosen.output / BYTE_CODE).resolve())
    runs: list[dict[str, Any]] = []
    packages = [Path(entry) for entry in sys.path if entry.endswith("site-packages")]
    for kind in ["first", *["warm"] * chosen.warm, *["cold"] * chosen.cold]:
        if kind == "cold":
            forget([chosen.output / MODEL, chosen.output / BYTE_CODE, *packages])
        answer = subprocess.run(command, capture_output=True, text=True, env=environment)
        if answer.returncode:
            raise SystemExit(f"The measured process failed: {answer.stderr[-2000:]}")
        runs.append({"kind": kind, "seconds": json.loads(answer.stdout.splitlines()[-1])})
        told = ", ".join(f"{name} {second:.1f}" for name, second in runs[-1]["seconds"].items())
        print(f"{kind}: {told}", flush=True)
    (chosen.output / "first_asset.json").write_text(json.dumps(runs, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
