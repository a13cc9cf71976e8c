"""`run.sh test`: order, offline environment, exit status, and Chromium where it is required."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from installer import checks
from installer.errors import InstallError
from tests.contract.sources import ROOT
from tests.installer.fake_shell import FakeShell


def exits(status: int) -> list[str]:
    return [sys.executable, "-c", f"raise SystemExit({status})"]


def test_order() -> None:
    assert [name for name, _ in checks.commands([])] == ["ruff check", "ruff format", "mypy", "pytest, alone", "pytest"]


def test_every_test_runs_in_one_of_the_two_parts() -> None:
    alone, together = (command[3:] for name, command in checks.commands([]) if name.startswith("pytest"))
    assert alone == ["tests/alone"] and list((ROOT / "tests" / "alone").glob("test_*.py"))
    assert together == ["-n", "2", "--ignore=tests/alone"]


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


def test_arguments_run_only_pytest_with_them() -> None:
    [(name, command)] = checks.commands(["tests/unit", "-k", "mesh"])
    assert name == "pytest" and command == [sys.executable, "-m", "pytest", "tests/unit", "-k", "mesh"]


def test_tests_run_without_the_network(tmp_path: Path) -> None:
    environment = checks.offline_environment(tmp_path)
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert environment["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert environment["PYTHONPATH"] == str(tmp_path)


def test_chromium_that_is_there_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = FakeShell()
    monkeypatch.setattr(checks, "find_chromium", lambda: "/usr/bin/chromium")
    assert checks.provide_chromium(shell, required=True) == "/usr/bin/chromium"
    assert shell.commands == []


@pytest.mark.parametrize("administrator", [True, False])
def test_missing_chromium_fails_where_it_is_required(administrator: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = FakeShell(failures={"apt-get": 10})
    monkeypatch.setattr(checks, "find_chromium", lambda: None)
    monkeypatch.setattr(checks.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(checks.os, "geteuid", lambda: 0 if administrator else 1000, raising=False)
    with pytest.raises(InstallError, match="Chromium"):
        checks.provide_chromium(shell, required=True)
    assert bool(shell.commands) == administrator
    assert checks.provide_chromium(shell, required=False) is None


def put_validator(root: Path, version: str) -> Path:
    folder = root / ".state" / "node" / "node_modules" / "gltf-validator"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(json.dumps({"version": version}))
    return folder


def test_gltf_validator_is_installed_by_npm_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Npm(FakeShell):
        def run(self, command: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
            super().run(command, env=env)
            put_validator(tmp_path, checks.GLTF_VALIDATOR.partition("@")[2])

    monkeypatch.setattr(checks.shutil, "which", lambda name: f"/usr/bin/{name}")
    shell = Npm()
    put_validator(tmp_path, "1.0.0")  # an older one is replaced
    found = checks.provide_gltf_validator(shell, tmp_path, required=True)
    assert found == str(tmp_path / ".state" / "node" / "node_modules" / "gltf-validator")
    [command] = shell.commands
    assert command[:2] == ["/usr/bin/npm", "install"] and command[-1] == checks.GLTF_VALIDATOR
    assert "--ignore-scripts" in command
    assert checks.provide_gltf_validator(shell, tmp_path, required=True) == found and len(shell.commands) == 1
    assert checks.offline_environment(tmp_path)["TRELLIS_TEST_GLTF_VALIDATOR"] == found


@pytest.mark.parametrize("npm", [True, False])
def test_missing_gltf_validator_fails_where_it_is_required(
    npm: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = FakeShell(failures={"npm": 10})
    monkeypatch.delenv("TRELLIS_TEST_GLTF_VALIDATOR", raising=False)
    monkeypatch.setattr(checks.shutil, "which", lambda name: f"/usr/bin/{name}" if npm else None)
    with pytest.raises(InstallError, match="glTF validator"):
        checks.provide_gltf_validator(shell, tmp_path, required=True)
    assert bool(shell.commands) == npm
    assert checks.provide_gltf_validator(shell, tmp_path, required=False) is None
    assert "skipped" in shell.said[-1]
    assert "TRELLIS_TEST_GLTF_VALIDATOR" not in checks.offline_environment(tmp_path)
