"""Who carries out what, and in which order: threads with a tool each, and tasks that any of them may take."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

Tool = TypeVar("Tool")
Task = Callable[[Tool], Any]
Done = Callable[["Future[Any]"], None]


class _Member(Generic[Tool]):
    def __init__(self, tool: Tool) -> None:
        self.tool = tool
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="executor")
        self.load = 0


class Executor(Generic[Tool]):
    """Carries out tasks in the order they came, each in the thread of the first tool that is free.

    A task is called with the tool (a worker process, say); `done` then hears of its end, in any thread. Tools may be
    added while tasks wait.
    """

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._members = [_Member(tool) for tool in tools]
        self._waiting: deque[tuple[Task[Tool], Done]] = deque()
        self._lock = threading.Lock()
        self._closed = False

    @property
    def tools(self) -> list[Tool]:
        return [member.tool for member in self._members]

    def submit(self, task: Task[Tool], done: Done) -> None:
        """Have a task carried out once."""
        with self._lock:
            self._waiting.append((task, done))
        self._hand_out()

    def submit_to_all(self, task: Task[Tool], done: Done) -> None:
        """Have a task carried out with every tool, after what each is about now."""
        with self._lock:
            members = list(self._members)
            for member in members:
                member.load += 1
        for member in members:
            self._begin(member, task, done)

    def add(self, tool: Tool, first: Task[Tool], done: Done) -> None:
        """One tool more, which begins with a task of its own."""
        member = _Member(tool)
        member.load = 1
        with self._lock:
            self._members.append(member)
        self._begin(member, first, done)

    def close(self) -> None:
        """Wait for what goes on to end; what still waits is dropped."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            members = list(self._members)
        for member in members:
            member.thread.shutdown(wait=True)

    def _hand_out(self) -> None:
        begun = []
        with self._lock:
            for member in self._members:
                if self._waiting and member.load == 0:
                    member.load = 1
                    begun.append((member, *self._waiting.popleft()))
        for one in begun:  # without the lock: `done` may be called at once
            self._begin(*one)

    def _begin(self, member: _Member[Tool], task: Task[Tool], done: Done) -> None:
        def end(future: "Future[Any]") -> None:
            try:
                done(future)
            finally:  # whatever `done` raises, which is logged: the next task has its turn
                with self._lock:
                    member.load -= 1
                self._hand_out()

        if not self._closed:
            member.thread.submit(task, member.tool).add_done_callback(end)
