"""Training state on disk under the published names: weights, averages, and the rest of each step that was saved."""

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from trellis.atomic import written_aside
from trellis.errors import CheckpointError
from trellis.training.ema import Ema
from trellis.training.processes import split_like, whole

FOLDER = "ckpts"
MOMENTS = ("exp_avg", "exp_avg_sq", "momentum_buffer")
KEPT, LASTING = 3, 10  # the last ones, and every tenth
_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_NAME = re.compile(r"misc_step(\d+)\.pt")
# What torch raises for a file that is not, or no longer, one of its own.
_DAMAGE = (RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError, UnpicklingError)

State = dict[str, Any]


def steps_saved(folder: Path) -> list[int]:
    """The steps whose state is in a run's folder, in the order in which they were written, each when complete.

    A run that was begun anew, or went back, writes smaller steps after larger ones.
    """
    found = []
    for path in (folder / FOLDER).glob("misc_step*.pt"):
        if name := _NAME.fullmatch(path.name):
            found.append((path.stat().st_mtime_ns, int(name[1])))
    return [step for _, step in sorted(found)]


def written(folder: Path, step: int) -> float:
    """When the state of a step was written (time.time())."""
    return state_file(folder, "misc", step).stat().st_mtime


def state_file(folder: Path, name: str, step: int) -> Path:
    """The file of a step: `name` is "misc", a role, or a role with `_ema` and a rate."""
    return folder / FOLDER / f"{name}_step{step:07d}.pt"


@torch.no_grad()
def round_moments(optimizers: Sequence[torch.optim.Optimizer], precision: str) -> None:
    """Round the moments to `precision` in place, so that a run goes on as one that was resumed would."""
    for optimizer in optimizers:
        for state in optimizer.state.values():
            for key in MOMENTS:
                if key in state:
                    state[key].copy_(state[key].to(_TYPES[precision]))


def gather(
    modules: nn.ModuleDict, ema: Ema, optimizers: Sequence[torch.optim.Optimizer], *, precision: str, rest: State
) -> dict[str, State]:
    """The state of a run by the names of its files, copied to the CPU; every process must ask.

    Moments are stored in `precision`; `rest` is what else "misc" holds. A run of one optimiser keeps its state as
    published runs do.
    """
    round_moments(optimizers, precision)
    files = {role: {name: _kept(value) for name, value in each.state_dict().items()} for role, each in modules.items()}
    for rate in ema.rates:
        means = ema.state(rate)
        for role in modules:
            own = {name: _kept(means[f"{role}.{name}"]) for name in files[role] if f"{role}.{name}" in means}
            files[f"{role}_ema{rate}"] = files[role] | own
    packed = [_packed(optimizer, _TYPES[precision]) for optimizer in optimizers]
    return files | {"misc": {"optimizer": packed[0] if len(packed) == 1 else packed, **rest}}


def _packed(optimizer: torch.optim.Optimizer, dtype: torch.dtype) -> State:
    content = optimizer.state_dict()
    copies = {
        index: {k: _kept(v.to(dtype) if k in MOMENTS else v) if torch.is_tensor(v) else v for k, v in state.items()}
        for index, state in content["state"].items()
    }
    return {**content, "state": copies}


def _kept(value: Tensor) -> Tensor:
    return whole(value.detach()).to("cpu", copy=True)


class Writer:
    """Writes states while training goes on, one after the other."""

    def __init__(self, folder: Path, every: int) -> None:
        self._folder, self._every = folder, every
        self._pool, self._last = ThreadPoolExecutor(1), Future[None]()
        self._last.set_result(None)

    def write(self, files: Mapping[str, State], step: int) -> None:
        """Begin to write the state of a step, "misc" last, and then remove what need not stay."""
        self.finish()
        self._last = self._pool.submit(self._write, files, step)

    def finish(self) -> None:
        """Wait for what is being written; raises OSError where that failed."""
        self._last.result()

    def _write(self, files: Mapping[str, State], step: int) -> None:
        for name, content in sorted(files.items(), key=lambda item: item[0] == "misc"):
            with written_aside(state_file(self._folder, name, step)) as aside:
                torch.save(content, aside)
        for old in steps_saved(self._folder)[:-KEPT]:
            if old % (LASTING * self._every):
                state_file(self._folder, "misc", old).unlink()  # first: what remains is no state
                for path in (self._folder / FOLDER).glob(f"*_step{old:07d}.pt"):
                    path.unlink()


def read_state(folder: Path, name: str, step: int) -> State:
    """A file of a step, on the CPU. Raises CheckpointError when it is missing or damaged."""
    path = state_file(folder, name, step)
    if not path.is_file():
        raise CheckpointError(f"{path} is missing: choose another step with --ckpt, or none to begin anew.")
    return read_tensors(path)


def read_tensors(path: Path) -> State:
    """What torch saved in a file. Raises CheckpointError for a damaged one, or one that holds programs."""
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except _DAMAGE as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"{path} cannot be read: {reason}") from error


@torch.no_grad()
def fill(modules: nn.ModuleDict, ema: Ema, folder: Path, step: int) -> None:
    """Put the stored weights and averages of a step into networks. Raises CheckpointError for what does not fit."""
    for role, network in modules.items():
        own = network.state_dict()
        found = read_state(folder, role, step)
        check_fit(found, own, f"{state_file(folder, role, step)}")
        for name, value in own.items():
            value.copy_(split_like(found[name], value))
    for rate in ema.rates:
        means = ema.state(rate)
        for role in modules:
            found = read_state(folder, f"{role}_ema{rate}", step)
            for name, mean in means.items():
                if name.startswith(f"{role}."):
                    mean.copy_(split_like(found[name.removeprefix(f"{role}.")], mean))


def check_fit(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str) -> None:
    """Raise CheckpointError naming the first tensors that are missing, unexpected or of another shape."""
    for label, names in (("lacks", expected.keys() - found.keys()), ("has besides", found.keys() - expected.keys())):
        if names:
            raise CheckpointError(f"{source} does not fit the network: it {label} {', '.join(sorted(names)[:5])}.")
    for name, value in expected.items():
        if found[name].shape != value.shape:
            raise CheckpointError(
                f"{source}: {name} has shape {list(found[name].shape)}, the network needs {list(value.shape)}."
            )


def fill_optimizers(optimizers: Sequence[torch.optim.Optimizer], content: Any) -> None:
    """Put back what `gather` kept of optimisers. Raises CheckpointError for those of other parameters."""
    states = content if isinstance(content, list) else [content]
    for optimizer, state in zip(optimizers, states, strict=True):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for index, own in state["state"].items():
            moments = {key: value for key, value in own.items() if key in MOMENTS}
            if index >= len(parameters) or any(v.shape != parameters[index].shape for v in moments.values()):
                raise CheckpointError("The optimiser's state is of other networks: begin anew with --ckpt none.")
            own.update({key: split_like(value.float(), parameters[index]) for key, value in moments.items()})
        optimizer.load_state_dict(state)
