"""run.sh and the real uv, from an empty folder: what is installed, from where, and what is left after each mishap."""

import ensurepip
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.installer.small_packages import World, find_uv, make_world, put_wheel

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="run.sh needs bash"),
    pytest.mark.skipif(find_uv() is None, reason="run.sh has not brought uv here, and TRELLIS_UV names none"),
]


@pytest.fixture
def world(tmp_path: Path) -> World:
    uv = find_uv()
    assert uv is not None
    return make_world(tmp_path, uv)


@pytest.fixture
def cpu(world: World) -> World:
    """The index offers a CPU build of torch."""
    world.offer("index", "torch", "2.13.0+cpu")
    return world


@pytest.fixture
def installed(cpu: World) -> World:
    status, output = cpu.run("setup", "--yes")
    assert status == 0, output
    return cpu


def test_the_first_command_installs_and_runs_and_the_second_only_runs(cpu: World) -> None:
    status, output = cpu.run("generate", "a.png")
    assert status == 0 and "Installed in" in output and "made ['generate', 'a.png']" in output, output
    assert "torch       : torch==2.13.0+cpu, from the configured index" in output  # shown before
    assert output.index("torch build : cpu") < output.index("Installed")
    assert (cpu.version("torch"), cpu.version("apple")) == ("2.13.0+cpu", "1.0")
    assert cpu.version("nvidia_cublas") is None
    assert cpu.run("generate", "b.png", TRELLIS_UV="/none", PATH="/usr/bin:/bin") == (0, "made ['generate', 'b.png']\n")
    assert cpu.run("setup")[1] == "Everything is installed.\n"


def test_the_plan_is_shown_and_nothing_is_installed(cpu: World) -> None:
    status, output = cpu.run("setup", "--dry-run")
    assert status == 0
    for word in ("Python 3.", "torch build : cpu", "no NVIDIA card", "licence: ", "non-commercial"):
        assert word in output
    assert cpu.version("torch") is None
    status, output = cpu.run("doctor")
    assert status == 0 and "torch build : cpu" in output and "not installed yet" in output


def test_cuda_packages_never_come_unasked(world: World) -> None:
    status, output = world.run("setup", "--yes")
    assert status == 1 and "4.5 GB of CUDA packages" in output
    status, output = world.run("generate", "a.png")  # nobody is there to be asked
    assert status == 1 and "4.5 GB of CUDA packages" in output
    assert world.version("torch") is None and world.version("nvidia_cublas") is None


def test_torchs_own_index_goes_before_the_configured_one(cpu: World) -> None:
    mirror = cpu.place / "mirror"
    cpu.offer("mirror/cpu", "torch", "2.13.0+cpu", needs=["apple"])
    status, output = cpu.run("setup", "--yes", TRELLIS_TORCH_INDEX=mirror.as_uri())
    assert status == 0 and f"from {mirror.as_uri()}/cpu" in output, output
    assert cpu.version("torch") == "2.13.0+cpu"


@pytest.mark.parametrize("needs", [[], ["nvidia-cublas"]])
def test_a_wheel_in_a_folder_of_pips_is_taken_if_it_brings_no_cuda(world: World, needs: list[str]) -> None:
    wheels = world.place / "wheels"
    put_wheel(wheels, "torch", "2.13.0", needs=needs)
    status, output = world.run("setup", "--yes", PIP_FIND_LINKS=str(wheels))
    assert (status == 0) == (not needs), output
    assert (world.version("torch") is None) == bool(needs) and world.version("nvidia_cublas") is None


def card(world: World, driver: str) -> str:
    """A PATH with a driver's tool that tells of an RTX 3060."""
    tool = world.place / "driver" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\necho 'RTX 3060, {driver}.01, 8.6, 12288 MiB'\n")
    tool.chmod(0o755)
    return f"{tool.parent}:{os.environ['PATH']}"


def test_a_card_decides_the_build_and_an_old_driver_warps_version(cpu: World) -> None:
    cpu.offer("mirror/cu126", "torch", "2.13.0+cu126")
    mirror = (cpu.place / "mirror").as_uri()
    status, output = cpu.run("setup", "--yes", PATH=card(cpu, "550"), TRELLIS_TORCH_INDEX=mirror)
    assert status == 0 and "torch build : cu126" in output and "instead     : warp-lang==1.17.0" in output, output
    assert (cpu.version("torch"), cpu.version("warp_lang")) == ("2.13.0+cu126", "1.17.0")


def test_an_optional_package_names_its_licence_and_may_fail(cpu: World) -> None:
    cpu.offer("mirror/cu126", "torch", "2.13.0+cu126")
    settings = {"PATH": card(cpu, "550"), "TRELLIS_TORCH_INDEX": (cpu.place / "mirror").as_uri()}
    status, output = cpu.run("setup", "--extra", "spconv", **settings)
    assert status == 0 and "licence: Apache-2.0" in output and "works without it" in output, output
    cpu.offer("index", "spconv-cu124", "2.3.8", needs=["torch"])
    status, output = cpu.run("setup", "--extra", "spconv", **settings)
    assert status == 0 and "works without it" not in output, output
    assert cpu.version("spconv_cu124") == "2.3.8" and cpu.version("torch") == "2.13.0+cu126"


@pytest.mark.parametrize("how", [shutil.move, shutil.copytree])
def test_a_moved_or_copied_folder_installs_nothing(installed: World, how: Callable[..., object]) -> None:
    other = installed.place / "another folder"
    how(str(installed.root), str(other), **({"symlinks": True} if how is shutil.copytree else {}))
    settings = {"TRELLIS_UV": "/none", "PATH": "/usr/bin:/bin", "UV_CACHE_DIR": "/none"}
    status, output = installed.run(
        "exec", "python", "-c", "import torch; print(torch.__file__)", root=other, **settings
    )
    assert status == 0 and output.startswith(str(other)) and len(output.splitlines()) == 1


def test_a_python_that_has_gone_is_replaced_and_the_packages_stay(installed: World) -> None:
    python = installed.root / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/does/not/exist")
    status, output = installed.run("generate", "a.png", PIP_CONFIG_FILE=os.devnull)
    assert (status, output) == (0, "made ['generate', 'a.png']\n")


def require(world: World, apple: str) -> None:
    (world.root / "requirements_2.txt").write_text(f"apple=={apple}\nwarp-lang==1.19.0\n")


def test_changed_requirements_are_installed(installed: World) -> None:
    installed.offer("index", "apple", "1.1")
    require(installed, "1.1")
    status, output = installed.run("generate", "a.png")
    assert status == 0 and "made" in output and installed.version("apple") == "1.1", output


def test_line_endings_do_not_count_as_a_change(installed: World) -> None:
    path = installed.root / "requirements_2.txt"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert installed.run("setup")[1] == "Everything is installed.\n"


def test_a_failed_change_leaves_everything_as_it_was(installed: World) -> None:
    require(installed, "9.9")
    status, output = installed.run("generate", "a.png")
    assert status == 1 and "SSL_CERT_FILE" in output and "made" not in output, output
    assert installed.version("apple") == "1.0"
    require(installed, "1.0")
    assert installed.run("generate", "a.png") == (0, "made ['generate', 'a.png']\n")


def damage(world: World) -> None:
    [module] = (world.root / ".venv" / "lib").glob("python3.*/site-packages/apple/__init__.py")
    module.unlink()


def test_repair_brings_every_package_back(installed: World) -> None:
    damage(installed)
    status, output = installed.run("setup", "--repair", "--yes")
    assert status == 0 and installed.version("apple") == "1.0", output


def test_half_an_installation_is_not_taken_for_a_whole_one(installed: World) -> None:
    """Killed in the middle, uv may leave a package that only looks installed."""
    uv = installed.place / "uv that never ends"
    uv.write_text(
        f'#!/bin/sh\n[ "$1$2" = pipinstall ] && [ "$5" != --dry-run ] && sleep 60\nexec "{installed.uv}" "$@"\n'
    )
    uv.chmod(0o755)
    installed.offer("index", "apple", "1.1")
    require(installed, "1.1")
    command = ["bash", str(installed.root / "run.sh"), "setup", "--yes"]
    process = subprocess.Popen(command, env=installed.environment(TRELLIS_UV=str(uv)), start_new_session=True)
    state = installed.root / ".venv" / "trellis-state.json"
    deadline = time.monotonic() + 60
    while '"changing": true' not in state.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    require(installed, "1.0")
    damage(installed)
    status, output = installed.run("generate", "a.png")
    assert status == 0 and "made" in output and installed.version("apple") == "1.0", output


@pytest.mark.parametrize("content", ["", "{", "[]", '{"unknown": 1}'])
def test_a_damaged_state_counts_as_nothing_done(installed: World, content: str) -> None:
    (installed.root / ".venv" / "trellis-state.json").write_text(content)
    status, output = installed.run("generate", "a.png")
    assert status == 0 and "Installed in" in output and "made" in output


def test_two_starts_install_once(cpu: World) -> None:
    command = ["bash", str(cpu.root / "run.sh"), "generate", "a.png"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    both = [subprocess.Popen(command, env=cpu.environment(), **pipes) for _ in range(2)]  # type: ignore[call-overload]
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert all(output.endswith("made ['generate', 'a.png']\n") for output in outputs), outputs
    assert sum("Installed in" in output for output in outputs) == 1


@pytest.fixture
def wheels(cpu: World) -> Path:
    """A folder of packages that was made on another machine."""
    [pip] = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    cpu.offer_file("index", "pip", pip)
    cpu.offer("index", "uv", "0.13.9")
    folder = cpu.place / "wheels & more"
    status, output = cpu.run("setup", "--download", str(folder))
    assert status == 0 and "setup --offline" in output, output
    assert cpu.version("torch") is None
    return folder


OFFLINE = {"PIP_CONFIG_FILE": os.devnull, "UV_OFFLINE": "1"}


def test_a_folder_of_packages_installs_without_any_index(cpu: World, wheels: Path) -> None:
    names = {path.name.split("-")[0] for path in wheels.iterdir()}
    assert names == {"torch", "apple", "warp_lang", "uv", "trellis"}
    status, output = cpu.run("setup", "--offline", str(wheels), **OFFLINE)
    assert status == 0, output
    assert (cpu.version("torch"), cpu.version("apple")) == ("2.13.0+cpu", "1.0")
    assert cpu.run("generate", "a.png", **OFFLINE) == (0, "made ['generate', 'a.png']\n")


def test_a_folder_with_a_damaged_or_missing_file_is_refused(cpu: World, wheels: Path) -> None:
    [apple] = wheels.glob("apple-*")
    content = apple.read_bytes()
    put_wheel(wheels, "apple", "1.0", files=["apple/other"])
    status, output = cpu.run("setup", "--offline", str(wheels), **OFFLINE)
    assert status == 1 and "damaged" in output and "setup --download" in output
    apple.unlink()
    status, output = cpu.run("setup", "--offline", str(wheels), **OFFLINE)
    assert status == 1 and "missing" in output
    assert cpu.version("torch") is None
    apple.write_bytes(content)
    assert cpu.run("setup", "--offline", str(wheels), **OFFLINE)[0] == 0


def test_a_folder_of_another_version_or_an_interrupted_one_is_refused(cpu: World, wheels: Path) -> None:
    require(cpu, "1.1")
    status, output = cpu.run("setup", "--offline", str(wheels), **OFFLINE)
    assert status == 1 and "another version of the program" in output
    (wheels / "trellis-wheels.txt").unlink()
    status, output = cpu.run("setup", "--offline", str(wheels), **OFFLINE)
    assert status == 1 and "trellis-wheels.txt is missing" in output


def test_uninstall_leaves_the_programs_files(installed: World) -> None:
    assert installed.run("uninstall")[0] == 1  # nobody answered yes
    assert installed.version("torch") is not None
    assert installed.run("uninstall", "--yes")[0] == 0
    left = {path.name for path in installed.root.iterdir()}
    assert left == {
        "run.sh",
        "installer",
        "trellis",
        "requirements_1.txt",
        "requirements_2.txt",
        "requirements_cluster.txt",
    }
