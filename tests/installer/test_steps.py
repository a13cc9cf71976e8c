"""Steps with a shell that runs nothing: failure and resume at each step, idempotence, invalidation."""

import json
import shutil
from pathlib import Path

import pytest

from installer import steps
from installer.errors import CommandError, InstallError
from installer.plan import Plan
from installer.state import STATE_FILE, is_current, load_state
from installer.steps import build_steps, create_environment, refuse_or_ask, run_steps
from tests.installer.fake_shell import FakeShell

ROOT = Path(__file__).resolve().parents[2]
PLAN = Plan(build="cpu", torch="torch==2.13.0+cpu", index="https://index.example/cpu")
FILES = ("requirements_1.txt", "requirements_2.txt", "requirements_dev.txt")


@pytest.fixture(autouse=True)
def posix_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake environment has the layout of Linux on every system."""
    interpreter = lambda venv: venv / "bin" / "python"  # noqa: E731
    monkeypatch.setattr("installer.steps.environment_python", interpreter)
    monkeypatch.setattr("installer.state.environment_python", interpreter)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "a folder with spaces"
    folder.mkdir()
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    return folder


def install(root: Path, shell: FakeShell, *, plan: Plan = PLAN, group: str = "main") -> None:
    venv = root / ".venv"
    create_environment(shell, venv)
    run_steps(shell, build_steps(plan, root, venv, dev=group == "dev"), root=root, venv=venv, group=group)


def alive() -> FakeShell:
    """A shell in which an existing environment's interpreter answers with this Python's version."""
    return FakeShell(answers={"import sys, pip": f"{steps.sys.version_info[0]}.{steps.sys.version_info[1]}\n"})


def pip_commands(shell: FakeShell) -> list[list[str]]:
    return [command for command in shell.commands if "pip" in command]


def test_first_installation(root: Path) -> None:
    shell = FakeShell()
    install(root, shell, group="dev")
    torch, packages, dev = pip_commands(shell)
    assert torch[-1] == "torch==2.13.0+cpu"
    assert torch[torch.index("--extra-index-url") + 1] == "https://index.example/cpu"
    for command in (packages, dev):
        constraint = Path(command[command.index("-c") + 1])
        assert constraint.read_text() == "torch==2.13.0+cpu\n"
    assert is_current(root / ".venv", root, "main")
    assert is_current(root / ".venv", root, "dev")


def test_second_installation_does_nothing(root: Path) -> None:
    install(root, FakeShell())
    again = alive()
    install(root, again)
    assert again.commands == []


def test_test_tools_are_added_to_an_installation(root: Path) -> None:
    install(root, FakeShell())
    assert not is_current(root / ".venv", root, "dev")
    again = alive()
    install(root, again, group="dev")
    assert len(pip_commands(again)) == 1


@pytest.mark.parametrize(
    ("failing", "left"), [("torch==2.13.0+cpu", 3), ("trellis-requirements.txt", 2), ("import numpy", 1)]
)
def test_failure_and_resume_at_each_step(root: Path, failing: str, left: int) -> None:
    broken = FakeShell(failures={failing: 100})
    with pytest.raises(CommandError, match="failed") as caught:
        install(root, broken)
    assert caught.value.detail == "the last lines"
    assert not is_current(root / ".venv", root, "main")
    resumed = alive()
    install(root, resumed)
    assert len(resumed.commands) == left
    assert is_current(root / ".venv", root, "main")


def test_a_passing_network_failure_is_tried_again(root: Path) -> None:
    shell = FakeShell(failures={"torch==2.13.0+cpu": 2})
    install(root, shell)
    assert shell.slept == [5, 10]
    assert is_current(root / ".venv", root, "main")


def test_failure_to_create_the_environment(root: Path) -> None:
    with pytest.raises(CommandError):
        install(root, FakeShell(failures={"venv": 1}))
    install(root, FakeShell())
    assert is_current(root / ".venv", root, "main")


def test_broken_interpreter_is_replaced(root: Path) -> None:
    install(root, FakeShell())
    shell = FakeShell()  # the interpreter does not answer
    create_environment(shell, root / ".venv")
    assert "--clear" in shell.commands[0]


@pytest.mark.parametrize(("file", "commands"), [("requirements_1.txt", 3), ("requirements_2.txt", 2)])
def test_changed_requirements_are_installed(root: Path, file: str, commands: int) -> None:
    install(root, FakeShell())
    path = root / file
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("2.13.0", "2.13.1").replace("psutil==7.2.2", "psutil==7.2.3"), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != text
    assert not is_current(root / ".venv", root, "main")
    again = alive()
    install(root, again)
    assert len(again.commands) == commands


def test_line_endings_do_not_count_as_a_change(root: Path) -> None:
    install(root, FakeShell())
    path = root / "requirements_2.txt"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert is_current(root / ".venv", root, "main")


def test_another_plan_installs_torch_again(root: Path) -> None:
    install(root, FakeShell())
    again = alive()
    install(root, again, plan=Plan(build="cu130", torch="torch==2.13.0+cu130", index=None))
    assert "torch==2.13.0+cu130" in again.commands[0]


def test_moved_folder_is_not_current(root: Path, tmp_path: Path) -> None:
    install(root, FakeShell())
    moved = tmp_path / "moved"
    root.rename(moved)
    assert not is_current(moved / ".venv", moved, "main")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 99}', '{"unknown": 1}'])
def test_damaged_state_counts_as_nothing_done(root: Path, content: str) -> None:
    install(root, FakeShell())
    (root / ".venv" / STATE_FILE).write_text(content)
    assert load_state(root / ".venv", root).done == {}
    assert not is_current(root / ".venv", root, "main")


def test_deleted_environment_is_not_current(root: Path) -> None:
    install(root, FakeShell())
    state = json.loads((root / ".venv" / STATE_FILE).read_text())
    assert set(state["done"]) == {"torch", "packages", "check"}
    shutil.rmtree(root / ".venv")
    assert not is_current(root / ".venv", root, "main")


def test_replaced_pins_reach_pip(root: Path) -> None:
    plan = Plan(build="cu126", torch="torch==2.13.0+cu126", index=None, replacements=(("warp-lang", "1.17.0"),))
    shell = FakeShell()
    install(root, shell, plan=plan)
    packages = pip_commands(shell)[1]
    lines = Path(packages[packages.index("-r") + 1]).read_text().splitlines()
    assert "warp-lang==1.17.0" in lines
    assert sum(line.startswith("warp-lang") for line in lines) == 1


def test_question_needs_a_person() -> None:
    plan = Plan(build="cpu", torch="torch==2.13.0", index=None, question="4.5 GB?")
    with pytest.raises(InstallError, match=r"4\.5 GB"):
        refuse_or_ask(plan, assume_yes=True, ask=lambda _: True)
    with pytest.raises(InstallError, match=r"4\.5 GB"):
        refuse_or_ask(plan, assume_yes=False, ask=None)
    with pytest.raises(InstallError, match="Nothing"):
        refuse_or_ask(plan, assume_yes=False, ask=lambda _: False)
    refuse_or_ask(plan, assume_yes=False, ask=lambda _: True)


def test_problems_stop_it() -> None:
    with pytest.raises(InstallError, match="no room"):
        refuse_or_ask(Plan(build="cpu", torch="", index=None, problems=("no room",)), assume_yes=True, ask=None)
