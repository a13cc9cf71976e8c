"""Facts are read correctly from what programs print."""

from pathlib import Path

import pytest

from installer import machine
from installer.machine import Gpu, is_in_cloud_folder, look, parse_nvidia


def test_nvidia_lines() -> None:
    text = "NVIDIA H200, 590.44.01, 9.0, 143771 MiB\nQuadro, with a comma, 572.16, 12.0, [N/A]\n"
    assert parse_nvidia(text) == (
        Gpu("NVIDIA H200", 590, (9, 0), 143771 * 2**20),
        Gpu("Quadro, with a comma", 572, (12, 0)),
    )


@pytest.mark.parametrize(
    "text", ["", "No devices were found\n", 'Field "compute_cap" is not a valid field to query.\n', "a, b, c\n"]
)
def test_no_nvidia(text: str) -> None:
    assert parse_nvidia(text) == ()


@pytest.mark.parametrize("command", [["does-not-exist"], ["false"]])
def test_a_machine_without_the_drivers_tool(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_NVIDIA", command)
    facts = look(tmp_path, earlier="cpu")
    assert facts.gpus == () and facts.earlier == "cpu" and facts.free_disk > 0


def test_onedrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_in_cloud_folder(tmp_path)
    monkeypatch.setenv("OneDriveConsumer", str(tmp_path))
    assert is_in_cloud_folder(tmp_path / "TRELLIS desktop")
