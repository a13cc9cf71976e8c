"""Tasks in their order, by whichever tool is free; tools that are opened, come later, rest; the end."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.unit.app.waiting import PATIENCE, wait_until
from trellis.app.executor import CLOSING_PATIENCE, Executor
from trellis.app.failures import WorkerDiedError
from trellis.progress import CancelToken

Log = list[tuple[str, str]]


def noting(log: Log, name: str, gate: threading.Event | None = None) -> Callable[[str], str]:
    """A task that notes (its name, its tool) when it begins, and ends once the gate is open."""

    def task(tool: str) -> str:
        log.append((name, tool))
        assert gate is None or gate.wait(PATIENCE)
        return name

    return task


class Tool(str):
    """Is its name; notes when it is opened and closed."""

    patience = 100.0
    at_once = 1

    def __new__(cls, name: str, log: Log | None = None) -> "Tool":
        tool = str.__new__(cls, name)
        tool.log = [] if log is None else log
        return tool

    def open(self, cancel: CancelToken) -> dict[str, Any]:
        self.log.append(("open", self))
        return {"opened": str(self)}

    def close(self) -> None:
        self.log.append(("close", self))


def ignore(_: "Future[Any]") -> None:
    pass


def test_one_tool_takes_tasks_in_their_order_and_tells_of_each_end() -> None:
    executor, log, ends = Executor([Tool("a")]), [], []
    for index in range(20):
        executor.submit(noting(log, str(index)), lambda future: ends.append(future.result()))
    wait_until(lambda: len(ends) == 20)
    assert [name for name, _ in log] == ends == [str(index) for index in range(20)]
    executor.close()


def test_whatever_hearing_of_an_end_raises_the_next_task_has_its_turn() -> None:
    executor, ends = Executor([Tool("a")]), []

    def fail(future: "Future[Any]") -> None:
        ends.append(future.result())
        raise OSError("nobody can write this down")

    for name in ("first", "second"):
        executor.submit(noting([], name), fail)
    wait_until(lambda: ends == ["first", "second"])
    executor.close()


def test_a_tool_that_comes_later_is_opened_and_then_helps() -> None:
    gate, log = threading.Event(), Log()
    executor = Executor([Tool("a")], further_tools=lambda plan: [Tool("b", log)] if plan else [])
    for name in ("first", "second", "third"):
        executor.submit(noting(log, name, gate), ignore)
    wait_until(lambda: len(log) == 1)
    executor.learn({"devices": 2})
    wait_until(lambda: len(log) == 3)
    assert log == [("first", "a"), ("open", "b"), ("second", "b")] and executor.tools == ["a", "b"]
    executor.learn({"devices": 3})
    assert executor.tools == ["a", "b"] and executor.plan == {"devices": 3}
    gate.set()
    wait_until(lambda: len(log) == 4)
    assert log[3][0] == "third"
    executor.close()


def test_every_tool_is_opened_before_what_came_later() -> None:
    log = Log()
    executor = Executor([Tool("a", log), Tool("b", log)])
    executor.open()
    executor.submit(noting(log, "job"), ignore)
    wait_until(lambda: len(log) == 3 and not executor.opening)
    taker = next(tool for name, tool in log if name == "job")
    assert log.index(("open", taker)) < log.index(("job", taker)) and executor.plan["opened"] in ("a", "b")
    executor.close()


def test_tools_rest_once_when_nothing_was_asked_for_a_while() -> None:
    log, gate = Log(), threading.Event()
    executor = Executor([Tool("a", log), Tool("b", log)], idle_seconds=0.05)
    executor.submit(noting(log, "first", gate), ignore)
    time.sleep(0.2)
    assert log == [("first", "a")]  # something goes on
    gate.set()
    wait_until(lambda: len(log) == 3)
    time.sleep(0.3)
    assert sorted(log[1:]) == [("close", "a"), ("close", "b")]
    executor.submit(noting(log, "second"), ignore)
    wait_until(lambda: len(log) == 6)
    executor.close()


def test_a_failing_task_costs_nobody_his_turn() -> None:
    executor, ends = Executor([Tool("a")]), []

    def fail(_: Tool) -> None:
        raise ValueError("told to the listener")

    executor.submit(fail, lambda future: ends.append(type(future.exception())))
    executor.submit(lambda tool: tool, lambda future: ends.append(future.result()))
    wait_until(lambda: ends == [ValueError, "a"])
    executor.close()


def test_what_dies_is_carried_out_again_twice_at_most() -> None:
    executor, deaths, log = Executor([], repeats=2), [True, False, True], Log()

    def die(tool: Tool) -> str:
        log.append(("die", tool))
        if deaths:
            raise WorkerDiedError("gone", begun=deaths.pop())
        return "alive"

    later = ThreadPoolExecutor(1).submit(executor.carry_out, die)
    executor.add(Tool("a"))
    assert later.result() == "alive" and log == [("die", "a")] * 4
    deaths.extend([True] * 4)
    with pytest.raises(WorkerDiedError):
        executor.carry_out(die)
    assert len(deaths) == 1
    executor.close()


def test_a_tool_takes_as_much_as_it_has_room_for_and_the_one_with_least_to_do_is_asked_first() -> None:
    gate, log = threading.Event(), Log()
    executor, wide, gone = Executor([]), Tool("wide"), Tool("gone")
    wide.at_once = 3
    for tool in (wide, gone):
        executor.add(tool)
    assert executor.room == 4
    for name in "abcd":
        executor.submit(noting(log, name, gate), ignore)
    wait_until(lambda: len(log) == 4)
    assert sorted(tool for _, tool in log) == ["gone", "wide", "wide", "wide"] and executor.wanted == 4
    executor.remove(gone)
    executor.submit(noting(log, "e"), ignore)
    executor.rest(wide)  # it has something to do
    assert len(log) == 4 and not wide.log
    gate.set()
    wait_until(lambda: executor.wanted == 0)
    assert log[4] == ("e", "wide")
    executor.rest(wide)
    wait_until(lambda: wide.log == [("close", "wide")])
    executor.close()


def test_a_tool_that_leaves_as_it_is_chosen_takes_no_task_along(monkeypatch: pytest.MonkeyPatch) -> None:
    executor, tool, ends = Executor([]), Tool("gone"), []
    executor.add(tool)
    # Between the choice and the end.
    monkeypatch.setattr(executor, "_rest_later", lambda _: tool in executor.tools and executor.remove(tool))
    executor.submit(lambda tool: tool, lambda future: ends.append(future.result()))
    wait_until(lambda: ends == ["gone"])
    executor.close()


def test_the_end_waits_for_what_goes_on_and_drops_what_waits() -> None:
    log, gate = Log(), threading.Event()
    executor = Executor([Tool("a", log)])
    for name in ("first", "second"):
        executor.submit(noting(log, name, gate), ignore)
    wait_until(lambda: log)
    threading.Timer(0.05, gate.set).start()
    executor.close()
    assert log == [("first", "a"), ("close", "a")] and executor.tools[0].patience == CLOSING_PATIENCE
    executor.submit(noting(log, "late"), ignore)
    assert log == [("first", "a"), ("close", "a")]
