"""A pipeline for worker processes that obeys a file: what goes wrong where, and where it waits."""

import ctypes
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from trellis.app.presets import PRESETS
from trellis.errors import CheckpointError, InvalidInputError
from trellis.progress import CancelToken, Progress

if TYPE_CHECKING:
    from trellis.memory import MemoryPlan, ModelHost
from trellis.runtime import Runtime
from trellis.stages import Stage

STAGES = (
    (Stage.PREPARE, 1),
    (Stage.ENCODE, 1),
    (Stage.STRUCTURE, 4),
    (Stage.LATENT, 4),
    (Stage.DECODE, 2),
    (Stage.TEXTURE, 5),
    (Stage.PREVIEW, 3),
)
TILES = {1001: (255, 0, 0), 1002: (0, 0, 255)}  # of a retextured mesh, with their colours
GENERATING = 5  # so many of the stages make the asset, the others write files
MEMORY_FAULTS = ("memory", "memory of torch", "memory of numpy")
FAULTS = ("none", "error", "input", *MEMORY_FAULTS, "exit", "kill", "segfault", "hang", "wait")
UNLIKE_SEED = 13  # its asset does not look like the picture
HUGE = 1 << 50  # bytes that no machine has
CANCEL_ARRIVED = "told to stop"


class Control:
    """The file's content as a dict, read anew at every step; absent means empty. `log` appends a line beside it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "control.json"
        self.journal = folder / "journal.txt"

    def set(self, **values: Any) -> None:
        aside = self.file.with_suffix(".new")
        aside.write_text(json.dumps(values))
        aside.replace(self.file)

    def read(self) -> dict[str, Any]:
        return json.loads(self.file.read_text()) if self.file.exists() else {}

    def log(self, line: str) -> None:
        with self.journal.open("a") as journal:
            journal.write(line + "\n")

    def lines(self) -> list[str]:
        return self.journal.read_text().splitlines() if self.journal.exists() else []

    def obey(self, stage: str, step: int, cancel: CancelToken) -> None:
        """Do what the file says for this step, if it speaks of it.

        `wait` lasts until the file says otherwise; a line of the journal tells when a cancel arrives meanwhile.
        """
        time.sleep(float(self.read().get("step_seconds", 0)))
        told = False
        while (order := self.read()).get("stage") == stage and order.get("step", 0) == step:
            assert order["fault"] in FAULTS
            if order["fault"] != "wait":
                commit(order["fault"])
                return
            if cancel.cancelled and not told:
                self.log(CANCEL_ARRIVED)
                told = True
            time.sleep(0.005)


def commit(fault: str) -> None:
    if fault == "error":
        raise ValueError("an internal detail")
    if fault == "input":
        raise InvalidInputError("The picture shows nothing.")
    if fault == "memory":
        raise RuntimeError("The device is out of memory: tried to allocate")
    if fault == "memory of torch":
        import torch

        torch.empty(HUGE, dtype=torch.uint8)
    if fault == "memory of numpy":
        np.empty(HUGE, dtype=np.uint8)
    if fault == "exit":
        os._exit(3)
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "segfault":
        ctypes.string_at(0)
    if fault == "hang":
        time.sleep(600)


class ProcessAsset:
    """Writes small files that depend on the seed, through the stages that write."""

    notes = ("A note of the pipeline.",)
    picture = kept = None
    notice = ""

    def __init__(self, seed: int, control: Control) -> None:
        self.seed = seed
        self.control = control

    def store(self, path: Path) -> Path:
        path.write_text(str(self.seed))
        return path

    def save(
        self,
        folder: Path,
        *,
        name: str,
        formats: Sequence[str],
        progress: Progress,
        on_draft: Callable[[Any], None] | None = None,
        **options: Any,
    ) -> dict[str, Path]:
        if on_draft is not None:
            on_draft(np.full((4, 4, 3), self.seed % 256, dtype=np.uint8))
        options["on_likeness"](0.125 if self.seed == UNLIKE_SEED else 0.75)
        self.control.log(f"save seed {self.seed} texture {options.get('texture_size')}")
        self.control.log(f"video of {options.get('preview_frames')} frames, {options.get('preview_size')} px")
        run(STAGES[GENERATING:], self.control, progress)
        paths = {kind: folder / f"{name}.{kind}" for kind in formats}
        for kind, path in paths.items():
            path.write_bytes((b"glTF" if kind == "glb" else kind.encode()) + f" {self.seed}".encode() * 100)
        return paths


def empty_host(plan: "MemoryPlan") -> "ModelHost":
    """The memory of a pipeline without networks (torch is imported here only: workers start faster without)."""
    import torch

    from trellis.memory import ModelHost

    return ModelHost({}, device=torch.device("cpu"), plan=plan)


class ProcessPipeline:
    """Has a runtime, and so a plan, where it is opened with a memory preset."""

    name = "fake"
    inputs, operations = ("pictures", "text"), ("generate", "variant", "retexture", "encode")
    representations = ("gaussians", "mesh", "radiance_field")
    options, notice = (), ""

    def __init__(self, control: Control, *, preset: str | None = None) -> None:
        self.control = control
        preset = "minimal" if preset == "auto" else preset
        if preset is not None:
            self.runtime = Runtime(preset=preset)
            self.host = empty_host(PRESETS[preset].plan)

    def load_asset(self, path: Path) -> ProcessAsset:
        return ProcessAsset(int(path.read_text()), self.control)

    def retexture(
        self, mesh: Path, source: Sequence[Path] | str, *, uvs: str, progress: Progress, **settings: Any
    ) -> "ProcessTextures":
        size, steps = mesh.stat().st_size, settings["latent_steps"]
        self.control.log(f"retexture {mesh.suffix} of {size} bytes, {uvs}, pictures {len(source)}, steps {steps}")
        run(STAGES[:GENERATING], self.control, progress)
        return ProcessTextures(mesh, uvs)

    def __call__(self, source: Sequence[Path] | str, *, seed: int, progress: Progress, **settings: Any) -> ProcessAsset:
        sys.stdout.write("libraries print what they like\n")
        os.write(1, b"native code too\n")
        kind = f"prompt {len(source)}" if isinstance(source, str) else f"pictures {len(source)}"
        self.control.log(f"generate seed {seed} {kind} in {os.getpid()}")
        self.control.log(f"steps {settings['structure_steps']} {settings['latent_steps']}")
        run(STAGES[:GENERATING], self.control, progress)
        return ProcessAsset(seed, self.control)


class ProcessTextures:
    """Two UDIM tiles of plain colours, or the mesh itself where no tiles are asked for."""

    notes, likeness, notice = (), 0.5, ""

    def __init__(self, mesh: Path, uvs: str) -> None:
        self.mesh, self.uvs = mesh, uvs

    def save(self, folder: Path, *, name: str) -> dict[str, Path]:
        if self.uvs != "tiles":
            return {"glb": Path(shutil.copyfile(self.mesh, folder / f"{name}.glb"))}
        paths = {f"base_color_{tile}": folder / f"{name}_{tile}.png" for tile in TILES}
        for tile, path in zip(TILES.values(), paths.values()):
            Image.new("RGB", (64, 64), tile).save(path)
        return paths


def run(stages: Sequence[tuple[Stage, int]], control: Control, progress: Progress) -> None:
    for stage, total in stages:
        for index in progress.steps(stage, total):
            control.log(f"{stage} {index + 1}")
            control.obey(stage, index + 1, progress.cancel)


def open_pipeline(
    *, folder: str, model: str = "fake", progress: Progress | None = None, **setup: Any
) -> ProcessPipeline:
    """What a worker process is told to call."""
    setup = ({} if model == "fake" else {"model": model}) | setup
    control, progress = Control(Path(folder)), progress or Progress()
    control.log("open")
    if setup:
        control.log(f"setup {json.dumps(setup, sort_keys=True)}")
    time.sleep(float(control.read().get("open_seconds", 0)))
    for megabytes in range(int(control.read().get("fetch_megabytes", 0))):
        progress.report(Stage.FETCH, megabytes + 1, control.read()["fetch_megabytes"], "large")
        control.log(f"fetched {megabytes + 1}")
        control.obey("download large", megabytes + 1, progress.cancel)
    if control.read().get("fault") == "checkpoint":
        raise CheckpointError("The folder has no pipeline.json.")
    control.obey("load model", 0, progress.cancel)
    return ProcessPipeline(control, preset=setup.get("preset"))
