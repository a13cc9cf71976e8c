"""A folder of wheels: made, checked in full before it is used, and refused where it does not fit."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from installer import offline
from installer.errors import CommandError, InstallError
from installer.offline import MANIFEST, download, pins_fingerprint, read_folder
from installer.plan import Plan
from tests.installer.fake_shell import FakeShell

ROOT = Path(__file__).resolve().parents[2]
PLAN = Plan(build="cpu", torch="torch==2.13.0+cpu", index="https://index.example/cpu")


class FakePip(FakeShell):
    """`pip download` puts small files where it is told to; each command adds one."""

    def run(self, command: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
        super().run(command, env=env)
        folder = Path(command[command.index("--dest") + 1])
        name = (
            "torch-2.13.0+cpu-cp311-none-any.whl" if command[-1].startswith("torch") else f"a{len(self.commands)}-1.whl"
        )
        (folder / name).write_text(name)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("requirements_1.txt", "requirements_2.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def make(root: Path, shell: FakeShell | None = None, plan: Plan = PLAN) -> Path:
    folder = root / "a folder"
    download(shell or FakePip(), plan, root, python=Path("python"), folder=folder)
    return folder


def test_a_folder_is_made_and_read(root: Path) -> None:
    shell = FakePip()
    folder = make(root, shell)
    made = read_folder(folder)
    assert (made.build, made.torch) == ("cpu", "torch==2.13.0+cpu")
    assert made.requirements == pins_fingerprint(root, PLAN)
    assert sorted(made.files) == sorted(path.name for path in folder.iterdir() if path.name != MANIFEST)
    assert len(made.files) == 2 and "setup --offline" in shell.said[-1]
    assert all("--only-binary" in command for command in shell.commands)


def test_windows_brings_its_runtime(root: Path) -> None:
    shell = FakePip()
    make(root, shell, replace(PLAN, system="Windows"))
    assert any("msvc-runtime" in command[-1] for command in shell.commands)


def test_an_interrupted_download_is_no_folder(root: Path) -> None:
    with pytest.raises(CommandError, match="Downloading"):
        make(root, FakePip(failures={"-r": 100, "trellis-requirements.part": 100}))
    with pytest.raises(InstallError, match=f"{MANIFEST} is missing"):
        read_folder(root / "a folder")
    read_folder(make(root))


def test_a_passing_failure_is_tried_again(root: Path) -> None:
    shell = FakePip(failures={"torch==2.13.0+cpu": 2})
    read_folder(make(root, shell))
    assert shell.slept == [5, 10]


def test_every_file_is_checked(root: Path) -> None:
    folder = make(root)
    for name in list(read_folder(folder).files):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content + b"x")
        with pytest.raises(InstallError, match="damaged"):
            read_folder(folder)
        (folder / name).unlink()
        with pytest.raises(InstallError, match="missing"):
            read_folder(folder)
        (folder / name).write_bytes(content)
    read_folder(folder)


@pytest.mark.parametrize("field", ["python", "system", "architecture"])
def test_a_folder_for_another_machine_is_refused(field: str, root: Path) -> None:
    folder = make(root)
    stored = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**stored, field: "other"}))
    with pytest.raises(InstallError, match="other"):
        read_folder(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"build": "cpu"}'])
def test_a_damaged_manifest_is_refused(text: str, root: Path) -> None:
    folder = make(root)
    (folder / MANIFEST).write_text(text)
    with pytest.raises(InstallError, match="damaged"):
        read_folder(folder)


def test_pins_are_part_of_a_folder(root: Path) -> None:
    before = pins_fingerprint(root, PLAN)
    assert pins_fingerprint(root, replace(PLAN, replacements=(("warp-lang", "1.17.0"),))) != before
    path = root / "requirements_2.txt"
    path.write_text(path.read_text(encoding="utf-8").replace("psutil==7.2.2", "psutil==7.2.3"), encoding="utf-8")
    assert pins_fingerprint(root, PLAN) != before


def test_large_files_are_hashed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert offline.file_sha256(tmp_path / "a").startswith("ba7816bf")
