"""Progress and cancellation: one object that travels through every stage of a job."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from trellis.errors import Cancelled
from trellis.stages import Stage


@dataclass(frozen=True)
class StepInfo:
    """Step `step` of `total` (1-based, `step == total` means done) of a stage; `subject` is what it is done to.

    Where a model is fetched, the subject is its name and steps are megabytes. `label` is stage and subject in one text,
    for records and for other programs; `parse` reads it.
    """

    stage: Stage
    step: int
    total: int
    subject: str = ""

    @classmethod
    def parse(cls, label: str, step: int, total: int) -> "StepInfo":
        """The inverse of `label`; raises ValueError where that is of no stage."""
        for stage in Stage:
            if label == stage or label.startswith(f"{stage} "):
                return cls(stage, step, total, label[len(stage) + 1 :])
        raise ValueError(f"{label!r} is no stage")

    @property
    def label(self) -> str:
        return f"{self.stage} {self.subject}".rstrip()

    @property
    def share(self) -> float:
        """The share of a generation, from 0 to 1, that is done with this step."""
        return self.stage.begin + (self.stage.end - self.stage.begin) * self.step / max(self.total, 1)


class CancelToken:
    """A wish to stop, set from any thread and honoured at the next step."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        self._event.set()

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def raise_if_cancelled(self) -> None:
        """Raise `Cancelled` once `cancel` was called."""
        if self.cancelled:
            raise Cancelled("The job was cancelled.")


class Progress:
    """Reports steps to a listener and stops the work when its token is cancelled."""

    def __init__(self, listener: Callable[[StepInfo], None] | None = None, cancel: CancelToken | None = None) -> None:
        self._listener = listener
        self.cancel = cancel or CancelToken()

    def report(self, stage: Stage, step: int, total: int, subject: str = "") -> None:
        """Tell the listener that `step` of `total` is done; raises `Cancelled` when the token is set."""
        assert isinstance(stage, Stage), f"{stage!r} has no line in trellis/stages.py"
        self.tell(StepInfo(stage, step, total, subject))

    def tell(self, info: StepInfo) -> None:
        """Hand on a step that is told from elsewhere, as `report`."""
        self.cancel.raise_if_cancelled()
        if self._listener is not None:
            self._listener(info)

    def part(self, before: int, total: int) -> "Progress":
        """The progress of a part of a stage of `total` steps, `before` of which are done when it begins."""

        def tell(step: StepInfo) -> None:
            self.tell(replace(step, step=before + step.step, total=total))

        return Progress(tell, self.cancel)

    def steps(self, stage: Stage, total: int) -> Iterator[int]:
        """Yield 0..total-1, reporting each step after its body ran; cancellation is checked before and after each."""
        for index in range(total):
            self.cancel.raise_if_cancelled()
            yield index
            self.report(stage, index + 1, total)
