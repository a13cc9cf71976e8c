"""Fetching models while the program runs: one fetch of each at a time, for everybody who asks."""

import threading
from dataclasses import dataclass, replace

from trellis.errors import Cancelled, TrellisError
from trellis.families.acquire import get_model
from trellis.progress import CancelToken, Progress, StepInfo
from trellis.runtime import ModelFiles


@dataclass(frozen=True)
class Fetch:
    """How far a fetch is, in megabytes; `active` until it ended, `message` is why it brought nothing."""

    active: bool = True
    step: int = 0
    total: int = 0
    message: str = ""


class ModelFetches:
    """The fetches since the program was started, by the model's name."""

    def __init__(self, files: ModelFiles) -> None:
        self._files = files
        self._fetches: dict[str, Fetch] = {}
        self._tokens: dict[str, CancelToken] = {}
        self._lock = threading.Lock()

    def start(self, name: str) -> None:
        """Begin to fetch a model, or go on where an earlier fetch ended; nothing where it is being fetched."""
        with self._lock:
            if self.active(name):
                return
            self._fetches[name] = Fetch()
            token = self._tokens[name] = CancelToken()
        threading.Thread(target=self._run, args=(name, token), name=f"fetch {name}", daemon=True).start()

    def cancel(self, name: str) -> None:
        """Stop fetching a model; what is here stays for the next time."""
        if name in self._tokens:
            self._tokens[name].cancel()

    def active(self, name: str) -> bool:
        """Whether a model is being fetched now."""
        return name in self._fetches and self._fetches[name].active

    def state(self, name: str) -> Fetch | None:
        """How far the last fetch of a model is; None where nobody asked for one."""
        return self._fetches.get(name)

    def _run(self, name: str, token: CancelToken) -> None:
        def listen(info: StepInfo) -> None:
            self._fetches[name] = Fetch(step=info.step, total=info.total)

        message = ""
        try:
            get_model(name, runtime=self._files, progress=Progress(listen, token))
        except Cancelled:
            message = "Cancelled"
        except TrellisError as error:
            message = str(error)
        self._fetches[name] = replace(self._fetches[name], active=False, message=message)
