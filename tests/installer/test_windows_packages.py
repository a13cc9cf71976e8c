"""Everything that is installed exists for Windows as wheels, for each Python that is supported; found by the set-up."""

import pytest

from installer.checks import UV_VERSION
from installer.plan import PYTHONS
from installer.requirements import MAIN_FILE, TORCH_FILE, files_hash, normalised, read_pins
from tests.contract.sources import ROOT


@pytest.mark.parametrize("version", [f"{major}.{minor}" for major, minor in PYTHONS])
def test_every_package_has_a_wheel_for_windows(version: str) -> None:
    listing = ROOT / ".state" / f"windows-{version}.txt"
    if not listing.is_file():
        pytest.skip("the set-up could not look (no network): ./run.sh setup --group dev")
    first, *lines = listing.read_text(encoding="utf-8").splitlines()
    if first != "# " + files_hash(ROOT / TORCH_FILE, ROOT / MAIN_FILE):
        pytest.skip("the requirements have changed since the set-up looked: ./run.sh setup --group dev")
    found = {}
    for line in lines:
        if "==" in line and not line.startswith("#"):
            name, _, exact = line.split(" ")[0].partition("==")
            found[normalised(name)] = exact
    pins = {**read_pins(ROOT / TORCH_FILE), **read_pins(ROOT / MAIN_FILE)}
    assert {name: found.get(name) for name in pins} == pins
    assert len(found) > len(pins)  # what they need themselves


def test_uv_is_the_same_everywhere() -> None:
    assert f'set "UV_VERSION={UV_VERSION}"' in (ROOT / "run.bat").read_text(encoding="utf-8")
    assert f"UV_VERSION={UV_VERSION}\n" in (ROOT / "run.sh").read_text(encoding="utf-8")
