"""Tasks in their order, by whichever tool is free; tools that come later; the end."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from tests.unit.app.waiting import PATIENCE, wait_until
from trellis.app.executor import Executor

Log = list[tuple[str, str]]


def noting(log: Log, name: str, gate: threading.Event | None = None) -> Callable[[str], str]:
    """A task that notes (its name, its tool) when it begins, and ends once the gate is open."""

    def task(tool: str) -> str:
        log.append((name, tool))
        assert gate is None or gate.wait(PATIENCE)
        return name

    return task


def ignore(_: "Future[Any]") -> None:
    pass


def test_one_tool_takes_tasks_in_their_order_and_tells_of_each_end() -> None:
    executor, log, ends = Executor(["a"]), [], []
    for index in range(20):
        executor.submit(noting(log, str(index)), lambda future: ends.append(future.result()))
    wait_until(lambda: len(ends) == 20)
    assert [name for name, _ in log] == ends == [str(index) for index in range(20)]
    executor.close()


def test_whatever_hearing_of_an_end_raises_the_next_task_has_its_turn() -> None:
    executor, ends = Executor(["a"]), []

    def fail(future: "Future[Any]") -> None:
        ends.append(future.result())
        raise OSError("nobody can write this down")

    for name in ("first", "second"):
        executor.submit(noting([], name), fail)
    wait_until(lambda: ends == ["first", "second"])
    executor.close()


def test_a_tool_that_comes_later_begins_with_its_own_task_and_then_helps() -> None:
    executor, gate = Executor(["a"]), threading.Event()
    log: Log = []
    for name in ("first", "second", "third"):
        executor.submit(noting(log, name, gate), ignore)
    wait_until(lambda: len(log) == 1)
    executor.add("b", noting(log, "open"), ignore)
    wait_until(lambda: len(log) == 3)
    assert log == [("first", "a"), ("open", "b"), ("second", "b")] and executor.tools == ["a", "b"]
    gate.set()
    wait_until(lambda: len(log) == 4)
    assert log[3][0] == "third"
    executor.close()


def test_every_tool_does_a_task_for_all_before_what_came_later() -> None:
    executor = Executor(["a", "b"])
    log: Log = []
    executor.submit_to_all(noting(log, "open"), ignore)
    executor.submit(noting(log, "job"), ignore)
    wait_until(lambda: len(log) == 3)
    taker = next(tool for name, tool in log if name == "job")
    assert log.index(("open", taker)) < log.index(("job", taker))
    executor.close()


def test_a_failing_task_costs_nobody_his_turn() -> None:
    executor, ends = Executor(["a"]), []

    def fail(_: str) -> None:
        raise ValueError("told to the listener")

    executor.submit(fail, lambda future: ends.append(type(future.exception())))
    executor.submit(lambda tool: tool, lambda future: ends.append(future.result()))
    wait_until(lambda: ends == [ValueError, "a"])
    executor.close()


def test_the_end_waits_for_what_goes_on_and_drops_what_waits() -> None:
    executor, gate = Executor(["a"]), threading.Event()
    log: Log = []
    for name in ("first", "second"):
        executor.submit(noting(log, name, gate), ignore)
    wait_until(lambda: log)
    threading.Timer(0.05, gate.set).start()
    executor.close()
    assert log == [("first", "a")]
    executor.submit(noting(log, "late"), ignore)
    assert log == [("first", "a")]
