"""Steps with a shell that runs nothing: failure and resume at each step, idempotence, invalidation."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from installer import steps
from installer.errors import CommandError, InstallError
from installer.extras import Extra
from installer.plan import Plan
from installer.shell import clean_environment
from installer.state import STATE_FILE, is_current, load_state
from installer.steps import (
    RUNTIME_PATH_FILE,
    RUNTIME_USERS,
    WINDOWS_RUNTIME,
    build_steps,
    create_environment,
    refuse_or_ask,
    run_steps,
)
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
    ("failing", "left"), [("torch==2.13.0+cpu", 4), ("trellis-requirements.txt", 3), ("import numpy", 2)]
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


@pytest.mark.parametrize(("file", "commands"), [("requirements_1.txt", 4), ("requirements_2.txt", 3)])
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
    assert set(state["done"]) == {"torch", "packages", "check", "warm"}
    assert state["build"] == "cpu"
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


def test_windows_gets_its_runtime(root: Path) -> None:
    plan = replace(PLAN, system="Windows")
    broken = FakeShell(failures={"msvc-runtime": 100})
    with pytest.raises(CommandError, match="runtime"):
        install(root, broken, plan=plan)
    shell = alive()
    install(root, shell, plan=plan)
    assert shell.commands[0][-1] == WINDOWS_RUNTIME
    text = (root / ".venv" / "Lib" / "site-packages" / RUNTIME_PATH_FILE).read_text()
    assert "add_dll_directory" in text and text.startswith("import ")  # else site ignores the line


def test_the_runtime_that_windows_has_is_enough_if_torch_can_be_imported_with_it(root: Path) -> None:
    plan = replace(PLAN, system="Windows")
    shell = FakeShell(failures={"msvc-runtime": 100}, answers={RUNTIME_USERS: ""})
    install(root, shell, plan=plan)
    assert any("this Windows has is enough" in line for line in shell.said)
    assert is_current(root / ".venv", root, "main")


def test_a_strange_certificate_is_said_at_once(root: Path) -> None:
    class Distrusting(FakeShell):
        def run(self, command: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
            if "pip" in command:
                raise CommandError("python exited with 1", detail="[SSL: CERTIFICATE_VERIFY_FAILED] self-signed")
            super().run(command, env=env)

    shell = Distrusting()
    with pytest.raises(CommandError, match="SSL_CERT_FILE"):
        install(root, shell)
    assert not shell.slept


def test_pip_trusts_what_the_system_was_told_to_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", "the company's.pem")
    assert clean_environment()["PIP_CERT"] == "the company's.pem"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "mine.pem")
    assert "PIP_CERT" not in clean_environment()


def test_background_removal_is_prepared_and_its_failure_is_no_failure(root: Path) -> None:
    shell = FakeShell(failures={"import torch, rembg": 5})
    install(root, shell)
    assert "works without it" in shell.said[-1]
    assert is_current(root / ".venv", root, "main")


EXTRA = Extra("spconv", "Apache-2.0", "spconv-cu126==2.3.8")


def test_an_optional_package_is_installed_with_its_licence_named(root: Path) -> None:
    shell = FakeShell()
    install(root, shell, plan=replace(PLAN, extras=(EXTRA,)))
    [command] = [command for command in shell.commands if EXTRA.requirement in command]
    assert "-c" in command
    assert any("Apache-2.0" in line for line in shell.said)


def test_an_optional_package_that_fails_is_left_out(root: Path) -> None:
    shell = FakeShell(failures={"spconv-cu126": 5})
    install(root, shell, plan=replace(PLAN, extras=(EXTRA,)))
    assert any("works without it" in line for line in shell.said)
    assert is_current(root / ".venv", root, "main")


def frozen(version: str = "1.0") -> FakeShell:
    answers = {
        "import sys, pip": f"{steps.sys.version_info[0]}.{steps.sys.version_info[1]}\n",
        "freeze": f"a=={version}\n",
    }
    return FakeShell(answers=answers, failures={"trellis-requirements.txt": 100})


def change(root: Path) -> None:
    path = root / "requirements_2.txt"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("psutil==7.2.2", "psutil==7.2.3"), encoding="utf-8")


def test_a_failed_change_brings_the_old_packages_back(root: Path) -> None:
    install(root, FakeShell())
    before = load_state(root / ".venv", root)
    change(root)
    shell = frozen()
    with pytest.raises(CommandError):
        install(root, shell)
    assert "--no-deps" in shell.commands[-1] and shell.commands[-1][-1].endswith(steps.BEFORE)
    assert load_state(root / ".venv", root) == before
    assert not is_current(root / ".venv", root, "main")  # the next start tries the change again
    assert not (root / ".venv" / steps.BEFORE).exists()


def test_packages_noted_before_an_interruption_are_the_ones_that_come_back(root: Path) -> None:
    install(root, FakeShell())
    (root / ".venv" / steps.BEFORE).write_text("a==0.9\n")  # a change was interrupted
    change(root)
    shell = frozen()
    seen: list[str] = []
    run = shell.run

    def watch(command: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
        if "--no-deps" in command:
            seen.append(Path(command[-1]).read_text())
        run(command, env=env)

    shell.run = watch  # type: ignore[method-assign]
    with pytest.raises(CommandError):
        install(root, shell)
    assert seen == ["a==0.9\n"]


def test_a_first_installation_that_fails_is_not_rolled_back(root: Path) -> None:
    shell = frozen()
    with pytest.raises(CommandError):
        install(root, shell)
    assert not any("--no-deps" in command for command in shell.commands)


def test_a_folder_of_wheels_is_the_only_source(root: Path) -> None:
    shell = FakeShell()
    install(root, shell, plan=Plan(build="cpu", torch="torch==2.13.0+cpu", index=None, wheels="/wheels"))
    for command in pip_commands(shell):
        if "install" in command:
            assert "--no-index" in command and command[command.index("--find-links") + 1] == "/wheels"


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
