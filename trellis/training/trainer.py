"""The training loop of every stage: schedule, clipping, averaging, checkpoints, time limits, logs."""

import json
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from trellis import stages
from trellis.atomic import write_bytes
from trellis.errors import CheckpointError, TrellisError
from trellis.progress import Progress
from trellis.training import checkpoint
from trellis.training.config import TrainConfig, config_values
from trellis.training.ema import Ema
from trellis.training.optimizers import create_optimizers, set_rates
from trellis.training.randomness import step_generator
from trellis.training.schedule import ema_decay, learning_rate, plan_fraction

CONFIG_FILE = "config.json"  # the configuration, beside a stage's checkpoint

logger = logging.getLogger(__name__)


class Stage(Protocol):
    """What a stage brings: its networks, the loss of one step, metrics, and its finished networks.

    `modules` holds everything that is trained. `loss` draws its batch and noise from `generator` alone.
    `at_step` is called before each step (refreshing data). `evaluate` runs with averaged weights and returns numbers.
    `export` writes the networks, with averaged weights in place, into a folder.
    """

    modules: nn.ModuleDict

    def at_step(self, step: int) -> None: ...

    def loss(self, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]: ...

    def evaluate(self) -> dict[str, float]: ...

    def export(self, folder: Path) -> None: ...


@dataclass
class Position:
    """Where a run is: steps done and seconds spent on them, over all its parts."""

    step: int = 0
    seconds: float = 0.0


class Trainer:
    """Runs a stage in `folder` until its plan is done or the time is up."""

    def __init__(self, stage: Stage, config: TrainConfig, folder: Path, *, device: torch.device) -> None:
        self.stage, self.config, self.folder, self.device = stage, config, folder, device
        self.parameters = [p for p in stage.modules.parameters() if p.requires_grad]
        self.optimizers = create_optimizers(self.parameters, config.optimizer, device=device)
        self.ema = Ema(stage.modules)
        self.position = Position()
        self._stopped = False
        self._window: tuple[float, float, float] | None = None

    def stop(self) -> None:
        """Have `run` save, export and return after the step it is at; for signal handlers."""
        self._stopped = True

    def resume(self) -> None:
        """Continue from the folder's checkpoint. Raises CheckpointError when it is of another configuration."""
        state = checkpoint.load_state(self.folder)
        differing = _differences(state["config"], config_values(self.config))
        if differing:
            raise CheckpointError(f"The run in {self.folder} was started with other settings: {', '.join(differing)}.")
        checkpoint.restore_state(state, modules=self.stage.modules, optimizers=self.optimizers, ema=self.ema)
        self.position = Position(state["step"], state["seconds"])
        logger.info("resumed at step %d (%.0f s)", self.position.step, self.position.seconds)

    @property
    def has_checkpoint(self) -> bool:
        return (self.folder / checkpoint.STATE_FILE).is_file()

    def summary(self) -> str:
        """Millions of trained parameters a network."""
        counts = {
            role: sum(p.numel() for p in module.parameters()) / 1e6 for role, module in self.stage.modules.items()
        }
        return ", ".join(f"{role} {count:.2f} M" for role, count in counts.items())

    @property
    def fraction(self) -> float:
        done = plan_fraction(self.config.optimizer, self.position.step, self.position.seconds)
        if self._window is None:
            return done
        began, until, start = self._window
        passed = (time.monotonic() - began) / max(1e-6, until - began)
        return min(1.0, max(done, start + (1 - start) * passed))

    def run(self, *, deadline: float | None = None, fit: bool = False, progress: Progress | None = None) -> bool:
        """Train to the end of the plan, or to `deadline` (time.monotonic seconds); saves in either case.

        With `fit` the plan, and with it the fall of the learning rate, ends at the deadline instead of being cut off.
        Returns True when the plan is done. The networks are exported with their averages in either case.
        """
        progress = progress or Progress()
        config, position = self.config, self.position
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / CONFIG_FILE, config_values(config))
        self.stage.at_step(position.step)  # what is made first is no part of the first step's time
        log = _Log(self.folder / "log.jsonl", position.step)
        if fit and deadline is not None:
            self._window = time.monotonic(), deadline, self.fraction
        exported, started = time.monotonic(), position.step
        while self.fraction < 1.0 and not self._stopped and not (deadline is not None and time.monotonic() > deadline):
            began = time.perf_counter()
            self.stage.at_step(position.step)
            loss, parts, norm = self._step()
            position.step += 1
            due = position.step % config.log_every == 0 or position.step == 1
            numbers = (
                {"loss": loss.item(), "norm": norm.item(), **{k: v.item() for k, v in parts.items()}} if due else {}
            )
            position.seconds += time.perf_counter() - began
            if due:
                log.line(
                    position,
                    numbers | {"lr": self.optimizers[0].param_groups[0]["lr"], "done": round(self.fraction, 4)},
                )
            if due and not math.isfinite(numbers["loss"]):
                raise TrellisError(f"The loss is no longer finite at step {position.step}; resume with a lower rate.")
            if config.evaluate_every and position.step % config.evaluate_every == 0 and self.fraction < 1.0:
                self.evaluate(log)
            if position.step % config.save_every == 0:
                self.save()
            if config.export_seconds and time.monotonic() - exported > config.export_seconds:
                self.export()
                exported = time.monotonic()
            progress.report(stages.Stage.TRAIN, min(position.step, config.optimizer.steps), config.optimizer.steps)
        if self._stopped and position.step == started:
            return False  # nothing new to keep, and what an earlier part has exported stays
        self.save()
        finished = self.fraction >= 1.0
        self.export()
        self.evaluate(log)
        logger.info("%s after %d steps, %.0f s", "done" if finished else "stopped", position.step, position.seconds)
        return finished

    def _step(self) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        config, step = self.config.optimizer, self.position.step
        set_rates(self.optimizers, learning_rate(config, step, self.fraction) / config.learning_rate)
        self.stage.modules.train()
        loss, parts = self.stage.loss(step_generator(self.config.seed, step, self.device))
        for parameter in self.parameters:
            parameter.grad = None
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, config.max_norm)
        for optimizer in self.optimizers:
            optimizer.step()
        self.ema.update(ema_decay(config, step))
        return loss.detach(), parts, norm

    def export(self) -> None:
        """Write the networks with their averages into the run's folder."""
        with self.ema.applied():
            self.stage.export(self.folder)

    @torch.no_grad()
    def evaluate(self, log: "_Log") -> None:
        began = time.perf_counter()
        self.stage.modules.eval()
        with self.ema.applied():
            numbers = self.stage.evaluate()
        log.line(
            self.position, {f"held_out_{k}": v for k, v in numbers.items()} | {"took": time.perf_counter() - began}
        )

    def save(self) -> None:
        position: dict[str, Any] = {
            "step": self.position.step, "seconds": self.position.seconds, "config": config_values(self.config)
        }  # fmt: skip
        checkpoint.save_state(
            self.folder,
            modules=self.stage.modules,
            optimizers=self.optimizers,
            ema=self.ema,
            precision=self.config.optimizer.state_precision,
            position=position,
        )


def write_json(path: Path, values: Any) -> None:
    """Write `values` as JSON, in one stroke."""
    write_bytes(path, (json.dumps(values, indent=2) + "\n").encode())


class _Log:
    """Numbers as log lines and as JSON lines beside the checkpoint."""

    def __init__(self, path: Path, step: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._step, self._time = path, step, time.perf_counter()

    def line(self, position: Position, numbers: dict[str, float]) -> None:
        now = time.perf_counter()
        if position.step > self._step:
            rate = (position.step - self._step) / max(1e-9, now - self._time)
            numbers = numbers | {"it_s": rate}
            self._step, self._time = position.step, now
        logger.info("step %d  %s", position.step, "  ".join(f"{k} {v:.4g}" for k, v in numbers.items()))
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": position.step, "seconds": round(position.seconds, 2), **numbers}) + "\n")


def _differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Settings that shape the weights and differ; lengths, logs and intervals may change between parts."""
    free = {"log_every", "evaluate_every", "save_every", "compile", "inputs", "export_seconds"}
    return sorted(k for k in new if k not in free and k != "optimizer" and old.get(k) != new[k])
