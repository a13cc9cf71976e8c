"""Who carries out what, and in which order: threads with a tool each, and tasks that any of them may take."""

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from trellis.app.failures import WorkerDiedError
from trellis.app.generation import RESULT_NAME
from trellis.app.jobs import Job, JobOutcome
from trellis.errors import Cancelled, TrellisError
from trellis.progress import CancelToken, StepInfo

CLOSING_PATIENCE = 2.0
MOST_AT_ONCE = 64  # jobs of one tool
T = TypeVar("T")

_log = logging.getLogger(__name__)


class Tool(Protocol):
    """Carries out jobs: a worker process, a function in a test, a machine elsewhere.

    `open` and `close` are called while nothing else is, `run` for `at_once` jobs side by side, none while that is 0.
    `patience` is how many seconds a cancelled job may take to end by itself, before the tool ends it by force.
    """

    patience: float
    at_once: int

    def open(self, cancel: CancelToken) -> dict[str, Any]:
        """Make ready for the first job; says how the model was opened (`resolved_plan`).

        Raises Cancelled, or what is wrong with the model.
        """

    def run(
        self,
        job: Job,
        *,
        on_step: Callable[[StepInfo], None],
        cancel: CancelToken,
        name: str = RESULT_NAME,
        write: bool = True,
    ) -> JobOutcome:
        """Carry out a job into its folder, as files `name.*`; raises Cancelled, or what failed.

        Without `write` the asset is made and kept alone; the same job, run by any tool, then has its files written.
        """

    def close(self) -> None:
        """Give back what the tool holds, until it is used again."""


Task = Callable[[Any], Any]  # called with a tool
Done = Callable[["Future[Any]"], None]


class _Member:
    def __init__(self, tool: Tool, threads: int = 1) -> None:
        self.tool = tool
        self.thread = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="executor")
        self.load = 0


class Executor:
    """Carries out tasks in the order they came, each with the first tool that has the least to do.

    After `idle_seconds` without a task the tools are closed (0: never). `further_tools` says, once it is known how the
    first tool opened its model, which ones there are besides. `repeats`: how often a job whose tool died under it is
    carried out again.
    """

    def __init__(
        self,
        tools: Iterable[Tool],
        *,
        idle_seconds: float = 0.0,
        further_tools: Callable[[Mapping[str, Any]], Sequence[Tool]] | None = None,
        repeats: int = 0,
    ) -> None:
        self.repeats = repeats
        self.plan: Mapping[str, Any] = {}  # how the model was opened last
        self.opening = False  # before any task asks for it: `plan` is not known yet, but will be
        self._members = [_Member(tool) for tool in tools]
        self._waiting: deque[tuple[Task, Done]] = deque()
        self._lock = threading.Lock()
        self._closed = False
        self._stop_opening = CancelToken()
        self._further_tools = further_tools
        self._idle_seconds = idle_seconds
        self._idle: threading.Timer | None = None

    @property
    def tools(self) -> list[Any]:
        return [member.tool for member in self._members]

    @property
    def room(self) -> int:
        """How many tasks can be carried out side by side."""
        return sum(tool.at_once for tool in self.tools)

    @property
    def wanted(self) -> int:
        """How many tasks wait or are carried out."""
        return len(self._waiting) + sum(member.load for member in list(self._members))

    def submit(self, task: Task, done: Done, *, first: bool = False) -> None:
        """Have a task carried out once, with any tool; `done` then hears of its end, in any thread.

        first: before all that wait.
        """
        with self._lock:
            (self._waiting.appendleft if first else self._waiting.append)((task, done))
        self.hand_out()

    def withdraw(self, task: Task | None) -> bool:
        """Take out a task that still waits, of whose end nobody hears; whether it did."""
        with self._lock:
            others = [waiting for waiting in self._waiting if waiting[0] is not task]
            found = len(others) < len(self._waiting)
            self._waiting = deque(others)
        return found

    def carry_out(self, task: Callable[[Any], T]) -> T:
        """What a task returns or raises that waits for its turn among the others, as does the caller.

        While its tool dies under it, it is carried out `repeats` times more.
        """
        ended: queue.SimpleQueue[Future[T]] = queue.SimpleQueue()
        died: list[bool] = []
        while True:
            self.submit(task, ended.put, first=bool(died))
            future = ended.get()
            error = future.exception()
            if not isinstance(error, WorkerDiedError):
                return future.result()
            died.append(error.begun)
            if sum(died) > self.repeats:
                raise error

    def open(self) -> None:
        """Open all tools now, without waiting for it; a failure is told by the first task."""
        self.opening = True
        self._submit_to_all(self._open)

    def learn(self, plan: Mapping[str, Any]) -> None:
        """Take note of how a model was opened; the first time there may be more tools."""
        self.plan = plan
        with self._lock:
            ask, self._further_tools = self._further_tools, None
        for tool in ask(plan) if ask is not None and not self._closed else ():
            member = _Member(tool)
            member.load = 1
            with self._lock:
                self._members.append(member)
            self._begin(member, self._open, _log_failure)

    def add(self, tool: Tool) -> None:
        """One tool more, which is made ready by its first task, and may change how much it does at once."""
        with self._lock:
            self._members.append(_Member(tool, threads=MOST_AT_ONCE))
        self.hand_out()

    def remove(self, tool: Tool) -> None:
        """One tool less; what it is about ends as it will."""
        with self._lock:
            [gone] = [member for member in self._members if member.tool is tool]
            self._members.remove(gone)
        gone.thread.shutdown(wait=False)

    def rest(self, tool: Tool) -> None:
        """Close a tool that has nothing to do, until its next task."""
        with self._lock:
            idle = [member for member in self._members if member.tool is tool and not member.load]
            for member in idle:
                member.load = 1
        for member in idle:
            self._begin(member, _close, _log_failure)

    def close(self) -> None:
        """Wait for what goes on to end, with little patience, and close the tools; what waits is dropped."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            members = list(self._members)
        self._stop_opening.cancel()
        self._rest_later(0)
        for member in members:
            member.tool.patience = CLOSING_PATIENCE
        for member in members:
            member.thread.shutdown(wait=True)
            member.tool.close()

    def _open(self, tool: Tool) -> None:
        try:
            self.learn(tool.open(self._stop_opening))
        finally:
            self.opening = False

    def _submit_to_all(self, task: Task) -> None:
        """Have a task carried out with every tool, after what each is about now."""
        with self._lock:
            members = list(self._members)
            for member in members:
                member.load += 1
        for member in members:
            self._begin(member, task, _log_failure)

    def hand_out(self) -> None:
        """Have what waits carried out by tools that have room."""
        begun = []
        with self._lock:
            while self._waiting and not self._closed:
                free = [member for member in self._members if member.load < member.tool.at_once]
                if not free:
                    break
                member = min(free, key=lambda member: member.load)
                member.load += 1
                task, done = self._waiting.popleft()
                begun.append((member, task, done, member.thread.submit(task, member.tool)))  # before the tool can leave
        for one in begun:  # without the lock: `done` may be called at once
            self._hear(*one)

    def _begin(self, member: _Member, task: Task, done: Done) -> None:
        with self._lock:
            if self._closed or member not in self._members:
                return
            future = member.thread.submit(task, member.tool)
        self._hear(member, task, done, future)

    def _hear(self, member: _Member, task: Task, done: Done, future: "Future[Any]") -> None:
        def end(future: "Future[Any]") -> None:
            try:
                done(future)
            finally:  # whatever `done` raises, which is logged: the next task has its turn
                with self._lock:
                    member.load -= 1
                if task is not _close:
                    self._rest_later(self._idle_seconds)
                self.hand_out()

        self._rest_later(0)
        future.add_done_callback(end)

    def _rest_later(self, seconds: float) -> None:
        """Close the tools after so many seconds, if nothing begins before; 0: not now."""
        with self._lock:
            if self._idle is not None:
                self._idle.cancel()
            self._idle = threading.Timer(seconds, self._rest) if seconds and not self._closed else None
            if self._idle is not None:
                self._idle.daemon = True
                self._idle.start()

    def _rest(self) -> None:
        with self._lock:
            if self._closed or self._waiting or any(member.load for member in self._members):
                return
        _log.info("No job for %g s: the worker processes end", self._idle_seconds)
        self._submit_to_all(_close)


def _close(tool: Tool) -> None:
    tool.close()


def _log_failure(future: "Future[None]") -> None:
    error = future.exception()
    if error is not None and not isinstance(error, TrellisError):
        _log.error("Opening the model failed", exc_info=error)
    elif error is not None and not isinstance(error, Cancelled):
        _log.error("%s", error)
