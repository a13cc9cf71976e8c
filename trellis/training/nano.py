"""Train a whole model in a given time: `python -m trellis.training.nano --output_dir runs --seconds 1650`.

Data, latent VAE and structure flow run side by side as processes of `train.py`; both flows follow together. From the
weights of a model (`--start-from`) the stages that the plan keeps are left out; the latent VAE, if it is not kept, has
the device to itself, unless there is a second one (`--device cuda:0 cuda:1`), on which data and structure flow are made
meanwhile; both flows are trained by all devices. `--plan configs/nano/plan_flows.json` keeps both VAEs and trains the
flows alone.
Everything is written to `train.log`; the model so far is assembled to `model` again and again, and once more when it
is stopped.
"""

import argparse
import dataclasses
import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from trellis.errors import Cancelled, CheckpointError, InvalidInputError, TrellisError
from trellis.training.assemble import assemble
from trellis.training.config import TrainConfig, config_values, read_config
from trellis.training.data import MESHES, training_kinds, without
from trellis.training.procedural.generic import KINDS
from trellis.training.stages.flow_data import finished_chunks
from trellis.training.start import adopt_model, started
from trellis.training.trainer import write_json

ROOT = Path(__file__).resolve().parents[2]
VAES = ("structure_vae", "latent_vae")
LOG_FILE, MODEL_FOLDER, DATA_FOLDER, CONFIG_FOLDER = "train.log", "model", "data", "configs"
_POLL = 0.5
_PATIENCE = 60.0  # seconds that a stopped process has to save and export

logger = logging.getLogger("nano")


@dataclass(frozen=True)
class Plan:
    """Shares of the whole time at whose end a stage is done; flows take the rest.

    stages: stage -> its configuration beside the plan; with the weights of a given model, kept: stages that are left
    out, warm: those that start from its weights, the others from nothing; processes: how many make data;
    assemble_seconds: time between two assemblies; reserve_seconds: kept for the last export, metrics and assembly.
    """

    stages: dict[str, str]
    kept: list[str]
    warm: list[str]
    structure_vae: float
    latent_vae: float
    data: float
    processes: int
    assemble_seconds: float
    reserve_seconds: float


def read_plan(path: Path) -> Plan:
    """Read a plan. Raises InvalidInputError for unknown or missing keys."""
    try:
        plan = Plan(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, json.JSONDecodeError, TypeError) as error:
        raise InvalidInputError(f"{path} is not a plan: {error}") from error
    for name, known in (("kept", VAES), ("warm", set(plan.stages))):
        if unknown := sorted(set(getattr(plan, name)) - set(known)):
            raise InvalidInputError(f"{path}: {name} names {unknown}, but it can name only {sorted(known)}.")
    return plan


class Driver:
    """One run of a plan in `folder`."""

    def __init__(
        self, plan: Plan, configs: Path, folder: Path, *, seconds: float, devices: Sequence[str], meshes: str = "",
        left_out: Sequence[str] = ()
    ) -> None:  # fmt: skip
        """meshes: of the flows' data; left_out: what no stage is trained on, see `data.without`."""
        self.plan, self.folder, self.devices = plan, folder, devices
        self.began = time.monotonic()
        self.end = self.began + seconds
        self.seconds = seconds
        self.configs = {stage: read_config(configs / name) for stage, name in plan.stages.items()}
        for stage, config in self.configs.items():
            data = (
                config.data if stage in VAES else dataclasses.replace(config.data, meshes=meshes or config.data.meshes)
            )
            self.configs[stage] = dataclasses.replace(config, data=without(data, left_out))
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._stopped = False
        self._assembled = 0.0
        (folder / CONFIG_FOLDER).mkdir(parents=True, exist_ok=True)

    def stop(self) -> None:
        """End the run at the next opportunity; for signal handlers."""
        self._stopped = True

    def run(self, start_from: Path | None) -> bool:
        """Train everything; True when the plan was done. The model is assembled in either case.

        Raises InvalidInputError for a plan that gives a VAE no time, and no model to take it from.
        """
        untrained = [stage for stage in VAES if getattr(self.plan, stage) == 0]
        if untrained and start_from is None:
            raise InvalidInputError(
                f"This plan does not train {', '.join(untrained)}: give a model to take it from, "
                "--start-from assets/models/trellis-nano, or another plan."
            )
        try:
            if start_from is not None:
                self._adopt(start_from)
            self._train(adopted=start_from is not None)
        except Cancelled:
            logger.info("stopped")
        finally:
            self._end_all()
        return self._assemble() and not self._stopped

    def _adopt(self, model: Path) -> None:
        adopt_model(model, self.folder)
        for stage, config in self.configs.items():
            self.configs[stage] = started(config, fresh=stage not in self.plan.warm, kept=self.plan.kept)

    def _train(self, *, adopted: bool) -> None:
        plan, beside = self.plan, self.devices[-1]
        latent_end = self.began + plan.latent_vae * self.seconds
        trained = set(VAES) - set(plan.kept if adopted else ())
        if "structure_vae" in trained:
            self._start("structure_vae", until=self.began + plan.structure_vae * self.seconds)
        if "latent_vae" in trained:
            self._start("latent_vae", until=latent_end)
        self._make_data(devices=[beside] if trained else self.devices)
        self._wait("structure_vae")
        init = self.configs["flows"].init if adopted else {}
        # An adopted structure flow can wait; the latent VAE's steps cannot.
        if not adopted or ("latent_vae" in trained and len(self.devices) > 1):
            self._start("structure_flow", until=latent_end, device=beside)
        self._wait("latent_vae")
        if self._wait("structure_flow") in (0, 3):
            init = init | self._finished_roles("structure_flow", self.configs["flows"])
        elif "structure_flow" in self._running:
            logger.warning("structure_flow failed: the flows start without it")
        self._start("flows", until=self.end - plan.reserve_seconds, init=init, device=self._all_devices())
        if self._wait("flows") not in (0, 3):
            raise CheckpointError(f"The stage flows failed; see {self.folder / LOG_FILE}.")

    def _all_devices(self) -> str:
        """All devices by one name, on each of which a process trains; on processors one is enough."""
        kinds = {torch.device(name).type for name in self.devices[1:]}
        return self.devices[0] if kinds <= {"cpu"} else kinds.pop()

    def _make_data(self, *, devices: Sequence[str]) -> None:
        """Run the processes that fill the cache, then fit the flows' pools to what they have made."""
        plan, config = self.plan, self.configs["flows"]
        until = self.began + plan.data * self.seconds
        parts = [f"data_{part}" for part in range(plan.processes)]
        path = self._write_config("flows", config)
        for part, name in enumerate(parts):
            options = ["--make-data", f"{part}/{plan.processes}", *_threads(2)]
            self._launch(name, path, *options, device=devices[part % len(devices)])
        while any(self._alive(name) for name in parts) and time.monotonic() < until:
            self._pause()
        for name in parts:
            self._kill(name)
        count = finished_chunks(config, self.folder / DATA_FOLDER)
        turn = len(training_kinds(config.data)) * len(self.devices)  # each process has every kind as often
        wanted = config.data.objects // config.data.chunk
        usable = min(wanted, count // turn * turn or count)
        logger.info("data: %d of %d chunks after %.0f s", count, wanted, time.monotonic() - self.began)
        if not usable:
            raise CheckpointError(f"No data could be made; see {self.folder / LOG_FILE}.")
        for stage in ("structure_flow", "flows"):
            data = dataclasses.replace(self.configs[stage].data, objects=usable * config.data.chunk)
            self.configs[stage] = dataclasses.replace(self.configs[stage], data=data)

    def _finished_roles(self, stage: str, config: TrainConfig) -> dict[str, str]:
        """Networks of `config` that `stage` has exported, as its `init`."""
        roles = {role: f"{stage}/{role}" for role in self.configs[stage].models if role in config.models}
        files = [self.folder / f"{path}.json" for path in roles.values()]
        folders = [self.folder / path / "config.json" for path in roles.values()]
        return roles if all(a.is_file() or b.is_file() for a, b in zip(files, folders)) else {}

    # Processes --------------------------------------------------------------------------------------------------------
    def _start(
        self, stage: str, *, until: float, init: dict[str, str] | None = None, device: str | None = None
    ) -> None:
        """Start a stage that shall end at `until`, on the first device or another; nothing when no time is left."""
        within = until - time.monotonic()
        if within <= 0:
            logger.warning("no time is left for %s", stage)
            return
        config = self.configs[stage] if init is None else dataclasses.replace(self.configs[stage], init=init)
        device = device or self.devices[0]
        processes = 1 if device in self.devices else len(self.devices)
        options = ["--within", f"{within:.1f}", "--num_gpus", str(processes), *_threads(4)]
        self._launch(stage, self._write_config(stage, config), *options, device=device)

    def _write_config(self, stage: str, config: TrainConfig) -> Path:
        path = self.folder / CONFIG_FOLDER / f"{stage}.json"
        write_json(path, config_values(config))
        return path

    def _launch(self, name: str, config: Path, *options: str, device: str) -> None:
        command = [
            sys.executable, str(ROOT / "train.py"), "--config", str(config), "--output_dir", str(self.folder),
            "--ckpt", "none", "--device", device, *options,
        ]  # fmt: skip
        if not name.endswith("_vae"):  # the VAEs' targets are large and quicker to make than to keep
            command += ["--data_dir", str(self.folder / DATA_FOLDER)]
        logger.info("start %s on %s: %s", name, device, " ".join(options))
        with (self.folder / LOG_FILE).open("ab") as log:
            self._running[name] = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT)

    def _alive(self, name: str) -> bool:
        return name in self._running and self._running[name].poll() is None

    def _wait(self, name: str) -> int | None:
        """Wait for a process; its exit status, None if it never ran."""
        while self._alive(name):
            self._pause()
        if name not in self._running:
            return None
        status = self._running[name].returncode
        logger.info("%s ended with status %d after %.0f s", name, status, time.monotonic() - self.began)
        if name.endswith("_vae") and status not in (0, 3):
            raise CheckpointError(f"The stage {name} failed; see {self.folder / LOG_FILE}.")
        return status

    def _pause(self) -> None:
        time.sleep(_POLL)
        if self._stopped or time.monotonic() > self.end:
            raise Cancelled("The run was asked to end, or its time is over.")
        exported = (self.folder / "flows" / "slat_flow_model.json").is_file()
        if exported and time.monotonic() - self._assembled > self.plan.assemble_seconds:
            self._assemble()

    def _kill(self, name: str) -> None:
        if self._alive(name):
            self._running[name].kill()
            self._running[name].wait()

    def _end_all(self) -> None:
        """Ask every process to export and end; after a while, end it."""
        alive = [process for process in self._running.values() if process.poll() is None]
        for process in alive:
            process.send_signal(signal.SIGTERM)
        until = time.monotonic() + _PATIENCE
        for process in alive:
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _assemble(self) -> bool:
        """Make a model of what has been exported; False if something is still missing."""
        self._assembled = time.monotonic()
        try:
            sizes = assemble(self.folder, self.folder / MODEL_FOLDER)
        except (TrellisError, OSError) as error:
            logger.info("no model yet: %s", error)
            return False
        logger.info("model assembled: %d bytes, after %.0f s", sum(sizes.values()), time.monotonic() - self.began)
        return True


def _threads(most: int) -> list[str]:
    """The option of a process that shares the machine's processors with others."""
    return ["--threads", str(min(most, torch.get_num_threads()))]


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0: the plan is done and the model assembled; 3: stopped early; 1: an error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", type=Path, default=ROOT / "configs" / "nano" / "plan.json", help="JSON of the plan")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder of the run; the model comes to model/")
    parser.add_argument("--seconds", type=float, required=True, help="time for everything")
    parser.add_argument("--start-from", type=Path, metavar="MODEL", help="model folder whose weights are the start")
    parser.add_argument("--device", nargs="+", default=["auto"], help="a second one works beside the latent VAE; the "
        "flows are trained by all")  # fmt: skip
    parser.add_argument("--meshes", default="", metavar="DIR", help="data folder whose meshes the flows see too")
    parser.add_argument("--without", nargs="+", default=[], metavar="KIND", help="leave out families, kinds of generic "
        f"programs ({', '.join(KINDS)}), all `families` or `{MESHES}`")  # fmt: skip
    options = parser.parse_args(arguments)
    options.output_dir.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s nano %(message)s", datefmt="%H:%M:%S", force=True,
        handlers=[logging.FileHandler(options.output_dir / LOG_FILE), logging.StreamHandler(sys.stdout)],
    )  # fmt: skip
    try:
        driver = Driver(
            read_plan(options.plan), options.plan.parent, options.output_dir.resolve(), seconds=options.seconds,
            devices=options.device, meshes=options.meshes,
            left_out=options.without,
        )  # fmt: skip
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: driver.stop())
        return 0 if driver.run(options.start_from) else 3
    except TrellisError as error:
        logger.error("%s", error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
