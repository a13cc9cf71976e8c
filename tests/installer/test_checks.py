"""`run.sh test`: order, offline environment, exit status, and Chromium where it is required."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from installer import checks
from installer.environment import Uv
from installer.errors import InstallError
from installer.plan import PYTHONS
from tests.contract.sources import ROOT

posix = pytest.mark.skipif(os.name == "nt", reason="stands for programs with scripts of sh")


def exits(status: int) -> list[str]:
    return [sys.executable, "-c", f"raise SystemExit({status})"]


def test_order() -> None:
    assert [name for name, _ in checks.commands([])] == ["ruff check", "ruff format", "mypy", "pytest, alone", "pytest"]


def test_every_test_runs_in_one_of_the_two_parts() -> None:
    alone, together = (command[3:] for name, command in checks.commands([]) if name.startswith("pytest"))
    assert alone == ["tests/alone"] and list((ROOT / "tests" / "alone").glob("test_*.py"))
    assert together[:3] == ["-n", "3", "--ignore=tests/alone"]


@pytest.mark.parametrize(("statuses", "expected"), [((0, 0, 0), 0), ((1, 0, 0), 1), ((0, 0, 5), 5), ((2, 1, 0), 1)])
def test_one_failure_fails_all_and_pytest_still_runs(
    statuses: tuple[int, ...],
    expected: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    names = ("ruff check", "mypy", "pytest")
    monkeypatch.setattr(checks, "commands", lambda _: list(zip(names, map(exits, statuses))))
    assert checks.run_all(tmp_path, []) == expected
    output = capfd.readouterr().out
    assert output.rstrip().endswith("== pytest")
    assert ("FAILED" in output) == any(statuses[:2])


def test_in_a_fresh_clone_all_tests_are_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before those that measure time, and not again where an earlier run has done so."""
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_one.py").write_text("def test_one():\n    raise SystemExit(1)\n")
    compiled = "import sys, pathlib; sys.exit(not [*pathlib.Path('tests/__pycache__').glob('test_one*')])"
    look = ("pytest, alone", [sys.executable, "-c", compiled])
    monkeypatch.setattr(checks, "commands", lambda _: [look])
    assert checks.run_all(tmp_path, ["tests"]) == 1
    assert checks.run_all(tmp_path, []) == 0
    assert checks._compile_ahead(tmp_path, {}) is None


def test_arguments_run_only_pytest_with_them() -> None:
    [(name, command)] = checks.commands(["tests/unit", "-k", "mesh"])
    assert name == "pytest" and command == [sys.executable, "-m", "pytest", "tests/unit", "-k", "mesh"]


def test_tests_run_without_the_network(tmp_path: Path) -> None:
    environment = checks.offline_environment(tmp_path)
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert environment["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert environment["PYTHONPATH"] == str(tmp_path)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that has every tool: programs that do nothing, and an uv that finds and fetches everything."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("chromium", "node", "npm", "apt-get", "uv"):
        put_program(programs / name, f'echo {name} "$@" >> "{tmp_path}/asked"')
    for folder in ("bash", "sh"):
        (programs / folder).symlink_to(shutil.which(folder) or "")
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(checks.os, "geteuid", lambda: 0, raising=False)
    put_package(tmp_path, checks.GLTF_VALIDATOR)
    put_package(tmp_path, checks.AXE)
    return programs


def put_program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def put_package(root: Path, pinned: str) -> Path:
    name, _, version = pinned.rpartition("@")
    folder = root / ".state" / "node" / "node_modules" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(json.dumps({"version": version}))
    return folder


@pytest.fixture
def program(tmp_path: Path) -> Path:
    for name in ("requirements_1.txt", "requirements_2.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def asked(program: Path) -> str:
    return (program / "asked").read_text() if (program / "asked").exists() else ""


@posix
def test_tools_that_are_there_are_used_and_the_windows_packages_are_looked_up_once(tools: Path, program: Path) -> None:
    uv = Uv(str(tools / "uv"))
    checks.provide_tools(uv, program, required=True)
    assert "chromium" not in asked(program) and "npm" not in asked(program)
    assert asked(program).count("--python-platform windows") == len(PYTHONS)
    for major, minor in PYTHONS:
        assert (program / ".state" / f"windows-{major}.{minor}.txt").read_text().startswith("# ")
    checks.provide_tools(uv, program, required=True)
    assert asked(program).count("--python-platform windows") == len(PYTHONS)
    assert checks.offline_environment(program)["TRELLIS_TEST_GLTF_VALIDATOR"].endswith("gltf-validator")
    assert checks.offline_environment(program)["TRELLIS_TEST_AXE"].endswith("axe.min.js")


@posix
@pytest.mark.parametrize(
    ("missing", "sentence", "remedy"),
    [
        ("chromium", "Chromium is not here", "apt-get install"),
        ("gltf-validator", "The glTF validator is not here", f"npm install --prefix {{}} .*{checks.GLTF_VALIDATOR}"),
        ("axe-core", "axe-core is not here", f"npm install --prefix {{}} .*{checks.AXE}"),
        ("uv", "uv for Windows could not be fetched", ""),
    ],
)
def test_a_missing_tool_is_installed_or_fails_where_it_is_required(
    missing: str, sentence: str, remedy: str, tools: Path, program: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    uv = Uv(str(tools / "uv"))
    if missing == "chromium":
        (tools / "chromium").unlink()
    elif missing == "uv":
        put_program(tools / "uv", "exit 1")
    else:
        put_package(program, f"{missing}@1.0.0")  # an older one is replaced
    checks.provide_tools(uv, program, required=False)
    assert f"{sentence}" in capfd.readouterr().out
    assert re.search(remedy.format(re.escape(str(program / ".state" / "node"))), asked(program))
    with pytest.raises(InstallError, match=sentence):
        checks.provide_tools(uv, program, required=True)
