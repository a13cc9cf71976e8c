"""Progress and cancellation: one object that travels through every stage of a job."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from trellis.errors import Cancelled


@dataclass(frozen=True)
class StepInfo:
    """Step `step` of `total` (1-based, `step == total` means done) of the stage called `stage`."""

    stage: str
    step: int
    total: int


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

    def report(self, stage: str, step: int, total: int) -> None:
        """Tell the listener that `step` of `total` is done; raises `Cancelled` when the token is set."""
        self.cancel.raise_if_cancelled()
        if self._listener is not None:
            self._listener(StepInfo(stage, step, total))

    def steps(self, stage: str, total: int) -> Iterator[int]:
        """Yield 0..total-1, reporting each step after its body ran; cancellation is checked before and after each."""
        for index in range(total):
            self.cancel.raise_if_cancelled()
            yield index
            self.report(stage, index + 1, total)
