"""The one training loop: steps, averages, states on disk, time limits, logs; whatever is trained."""

import json
import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor, nn

from trellis import stages
from trellis.atomic import write_bytes
from trellis.errors import CheckpointError, TrellisError
from trellis.ops.eager import uncompiled
from trellis.progress import Progress
from trellis.training import state
from trellis.training.ema import Ema
from trellis.training.log import HELD_OUT, Log
from trellis.training.processes import Exchange, Processes, whole
from trellis.training.settings import RunSettings

CONFIG_FILE = "config.json"  # the configuration, in a run's folder
_PROFILED = 5  # steps
BEST_FOLDER = "best"  # below it: the networks with the lowest held-out loss

logger = logging.getLogger(__name__)


class Stage(Protocol):
    """What is trained: its networks, the losses of a step, metrics, and its finished networks.

    `modules` holds everything that is trained. `at_step` is called before each step (refreshing data). `losses` gives
    the parts of a step's loss, each with numbers to show, one after the other, as they are backpropagated; their sum is
    the mean over this process's share. `evaluate` runs with averaged weights and returns numbers. `export` writes the
    networks, with averaged weights in place, into a folder. `position` says which objects come next; `move_to` goes
    there. `samples` draws pictures of what the averaged networks make. All processes call all of these.
    """

    modules: nn.ModuleDict

    @property
    def batch_size(self) -> int:
        """Objects of a step, of all processes."""

    def at_step(self, step: int) -> None: ...

    def losses(self, step: int) -> Iterator[tuple[Tensor, dict[str, Tensor]]]: ...

    def evaluate(self) -> dict[str, float]: ...

    def export(self, folder: Path) -> None: ...

    def position(self, step: int) -> dict[str, int]: ...

    def move_to(self, step: int, position: Mapping[str, int]) -> None: ...

    def samples(self) -> dict[str, Image.Image]: ...


@dataclass
class Position:
    """Where a run is: steps done and seconds spent on them, over all its parts; the lowest held-out loss."""

    step: int = 0
    seconds: float = 0.0
    best: float = math.inf


class Trainer:
    """Runs a stage in `folder` until its plan is done or the time is up."""

    def __init__(
        self,
        stage: Stage,
        settings: RunSettings,
        folder: Path,
        *,
        device: torch.device,
        processes: Processes | None = None,
    ) -> None:
        self.stage, self.settings, self.folder, self.device = stage, settings, folder, device
        self.processes = processes or Processes()
        self.parameters = [p for p in stage.modules.parameters() if p.requires_grad]
        self.optimizers = settings.optimizers(self.parameters)
        self.rates = settings.rates(self.optimizers)
        self.ema = Ema(stage.modules, settings.ema)
        self.position = Position()
        self._writer = state.Writer(folder, settings.save_every)
        self._exchange = Exchange(self.processes, device) if self.processes.count > 1 else None
        self._stopped, self._saved, self._agreed = False, -1, 0.0
        self._window: tuple[float, float, float] | None = None

    def stop(self) -> None:
        """Have `run` save, export and return after the step it is at; for signal handlers."""
        self._stopped = True

    def resume(self, folder: Path | None = None, step: int | None = None) -> None:
        """Continue from a state (None: the last) in a run's folder (None: this one's).

        Raises CheckpointError when there is none, or it is of another configuration.
        """
        folder = folder or self.folder
        saved = state.steps_saved(folder)
        if not saved or (step is not None and step not in saved):
            there = f"there are {', '.join(map(str, saved))}" if saved else "there is none"
            raise CheckpointError(f"There is nothing to resume in {folder}: of saved steps {there}.")
        step = saved[-1] if step is None else step
        rest = state.read_state(folder, "misc", step)
        differing = _differences(rest.get("config", {}), self.settings.fixed)
        if differing:
            raise CheckpointError(
                f"The run in {folder} was started with other settings: {', '.join(differing)}; --ckpt none begins anew."
            )
        state.fill(self.stage.modules, self.ema, folder, step)
        state.fill_optimizers(self.optimizers, rest["optimizer"])
        self.rates.load_state_dict(rest.get("lr_scheduler") or {})
        self.settings.limit.load(rest.get("grad_clip") or {})
        if self.settings.scale is not None:
            self.settings.scale.exponent = rest.get("log_scale", self.settings.scale.exponent)
        self.stage.move_to(step, rest.get("data_sampler") or {})
        self.position = Position(step, rest.get("seconds", 0.0), rest.get("best", math.inf))
        logger.info("resumed at step %d (%.0f s)", self.position.step, self.position.seconds)

    def summary(self) -> str:
        """Millions of trained parameters a network."""
        counts = {
            role: sum(p.numel() for p in module.parameters() if p.requires_grad) / 1e6
            for role, module in self.stage.modules.items()
        }
        return ", ".join(f"{role} {count:.2f} M" for role, count in counts.items())

    @property
    def fraction(self) -> float:
        """How much of the plan is done, 0..1; of several processes, by steps and by what they agree on."""
        if self._exchange is not None:
            return max(self._agreed, self.settings.fraction(self.position.step, 0.0))
        return self._own_fraction()

    def _own_fraction(self) -> float:
        done = self.settings.fraction(self.position.step, self.position.seconds)
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
        position = self.position
        if self.processes.leads:
            write_json(self.folder / CONFIG_FILE, self.settings.values)
        self.stage.at_step(position.step)  # what is made first is no part of the first step's time
        log = None
        if self.processes.leads:
            log = Log(self.folder, position.step, self.fraction, batch=self.stage.batch_size, seconds=position.seconds)
        if fit and deadline is not None:
            self._window = time.monotonic(), deadline, self.fraction
        started = position.step
        try:
            self._steps(log, deadline, progress or Progress())
            if self._stopped and position.step == started:
                return False  # nothing new to keep, and what an earlier part has exported stays
            self.save()
            finished = self.fraction >= 1.0
            self.export()
            self.evaluate(log)
            if log is not None:
                log.curves()
        finally:
            self._writer.finish()
        ended = "done" if finished else "stopped"
        logger.info("%s after %d steps that took %.0f s", ended, position.step, position.seconds)
        return finished

    def _steps(self, log: Log | None, deadline: float | None, progress: Progress) -> None:
        settings, position = self.settings, self.position
        exported = time.monotonic()
        while self.fraction < 1.0 and not self._must_end(deadline):
            began = time.perf_counter()
            self.stage.at_step(position.step)
            numbers = self._step()
            position.step += 1
            due = position.step % settings.log_every == 0 or position.step == 1
            shown = self._shown(numbers) if due else {}
            position.seconds += time.perf_counter() - began
            if due and log is not None:
                log.line(position.step, shown, fraction=self.fraction, seconds=position.seconds)
            if due and not math.isfinite(shown["loss"]):
                raise TrellisError(f"The loss is no longer finite at step {position.step}; resume with a lower rate.")
            if _is_due(settings.evaluate_every, position.step) and self.fraction < 1.0:
                self.evaluate(log)
            if _is_due(settings.save_every, position.step):
                self.save()
                if log is not None:
                    log.curves()
            if _is_due(settings.export_every, position.step):
                self.export()
            if _is_due(settings.sample_every, position.step):
                self._draw(log)
            if settings.export_seconds and time.monotonic() - exported > settings.export_seconds:
                self.export()
                exported = time.monotonic()
            progress.report(stages.Stage.TRAIN, min(position.step, settings.steps), settings.steps)

    def _must_end(self, deadline: float | None) -> bool:
        """Whether this process was asked to stop, or the time is up; of several, any of them, one step ago."""
        late = deadline is not None and time.monotonic() > deadline
        if self._exchange is None:
            return self._stopped or late
        told = self._exchange.tell(self._stopped, late, self._own_fraction())
        if told is None:
            return False
        stopped, late_ones, self._agreed = told
        self._stopped = self._stopped or stopped > 0
        return stopped > 0 or late_ones > 0

    def _step(self) -> dict[str, Tensor]:
        """One step; the sums of its parts' loss and numbers, and the norm of the gradients."""
        scale, step = self.settings.scale, self.position.step
        self.rates.set(step, self.fraction)
        self.stage.modules.train()
        for parameter in self.parameters:
            parameter.grad = None
        factor = 1.0 if scale is None else scale.factor
        sums: dict[str, Tensor] = {}
        for loss, parts in self.stage.losses(step):
            (loss * factor if factor != 1 else loss).backward()
            for name, value in {"loss": loss.detach(), **parts}.items():
                sums[name] = sums[name] + value if name in sums else value
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if factor != 1:
            torch._foreach_div_(gradients, factor)
        norm = whole(nn.utils.get_total_norm(gradients))
        if scale is None or scale.accepts(norm):
            self.settings.limit.clip(self.parameters, norm)
            for optimizer in self.optimizers:
                optimizer.step()
            self.ema.update(step)
        return {**sums, "norm": norm}

    def _shown(self, numbers: Mapping[str, Tensor]) -> dict[str, float]:
        """The step's numbers as means over the processes, with the rate and how far the plan is."""
        values = self.processes.mean(
            torch.stack([value.detach().float().to(self.device) for value in numbers.values()])
        )
        shown = dict(zip(numbers, values.tolist())) | {"lr": self.optimizers[0].param_groups[0]["lr"]}
        return shown | {"done": round(self.fraction, 4)}

    def profile(self, path: Path) -> None:
        """Write what a few steps spend their time on, for a browser's trace viewer."""
        with torch.profiler.profile() as profiler:
            for _ in range(_PROFILED):
                self.stage.at_step(self.position.step)
                self._step()
                self.position.step += 1
        profiler.export_chrome_trace(str(path))

    def export(self) -> None:
        """Write the networks with their averages into the run's folder."""
        with self.ema.applied():
            self.stage.export(self.folder)

    @torch.no_grad()
    def evaluate(self, log: Log | None) -> None:
        """Measure with averaged weights; the networks that are best on held-out objects are kept."""
        began = time.perf_counter()
        self.stage.modules.eval()
        with self.ema.applied(), uncompiled():
            numbers = self.stage.evaluate()
            if numbers.get("loss", math.inf) < self.position.best:
                self.position.best = numbers["loss"]
                self.stage.export(self.folder / BEST_FOLDER)
        if log is not None and numbers:
            shown = {f"{HELD_OUT}{k}": v for k, v in numbers.items()} | {"took": time.perf_counter() - began}
            log.line(self.position.step, shown, fraction=self.fraction, seconds=self.position.seconds)

    @torch.no_grad()
    def _draw(self, log: Log | None) -> None:
        self.stage.modules.eval()
        with self.ema.applied():
            pictures = self.stage.samples()
        for name, picture in pictures.items():
            if log is not None:
                log.picture(name, picture, self.position.step)

    def save(self) -> None:
        """Keep the state of the step that is done, unless it is kept already."""
        if self._saved == self.position.step:
            return
        self._saved = self.position.step
        rest: dict[str, Any] = {
            "step": self.position.step,
            "seconds": self.position.seconds,
            "best": self.position.best,
            "config": dict(self.settings.fixed),
            "lr_scheduler": self.rates.state_dict(),
            "grad_clip": self.settings.limit.state(),
            "data_sampler": self.stage.position(self.position.step),
        }
        if self.settings.scale is not None:
            rest["log_scale"] = self.settings.scale.exponent
        files = state.gather(
            self.stage.modules, self.ema, self.optimizers, precision=self.settings.state_precision, rest=rest
        )
        if self.processes.leads:
            self._writer.write(files, self.position.step)


def write_json(path: Path, values: Any) -> None:
    """Write `values` as JSON, in one stroke."""
    write_bytes(path, (json.dumps(values, indent=2) + "\n").encode())


def _is_due(every: int, step: int) -> bool:
    return every > 0 and step % every == 0


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Settings that shape the weights and differ; those of a state that names none are not known."""
    return sorted(key for key in new if old and old.get(key) != new[key])
