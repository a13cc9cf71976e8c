"""How a failure is told: to people in one sentence, and by a worker process to the one that asked."""

from typing import Any

from trellis.errors import Cancelled, InvalidInputError, TrellisError
from trellis.runtime import is_out_of_memory


class JobFailedError(TrellisError):
    """The worker reported that a job failed; the message is fit for people."""


class WorkerDiedError(TrellisError):
    """What did the work ended in the middle of a job, or (`begun` is false) before it had begun with it."""

    def __init__(self, message: str, *, begun: bool = True) -> None:
        super().__init__(message)
        self.begun = begun


def explain(error: BaseException) -> str:
    """One sentence for people; the log has the rest."""
    if isinstance(error, TrellisError):
        return str(error)
    if is_out_of_memory(error):
        return "There was not enough memory; a smaller texture size or a smaller model needs less."
    return f"Something went wrong inside the program ({type(error).__name__}); the log has the details."


def describe(error: BaseException) -> dict[str, Any]:
    """The report of a failure, in plain values: its kind, and its message."""
    if isinstance(error, Cancelled):
        kind = "cancelled"
    elif isinstance(error, InvalidInputError):
        kind = "input"
    elif is_out_of_memory(error):
        kind = "memory"
    elif isinstance(error, WorkerDiedError):
        kind = "died"
    else:
        kind = "other"
    return {"report": "failed", "kind": kind, "message": explain(error)}


def failure(report: dict[str, Any]) -> Exception:
    """The error that a report of `describe` is about."""
    kinds = {
        "cancelled": Cancelled,
        "input": InvalidInputError,
        "memory": MemoryError,
        "died": WorkerDiedError,
        "other": JobFailedError,
    }
    return kinds[report["kind"]](report["message"])
