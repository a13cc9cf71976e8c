"""The requirement files state exact versions, once each, that are installed here and used by the program."""

import sys
from importlib import metadata

import pytest

from installer.requirements import CLUSTER_FILE, DEV_FILE, MAIN_FILE, TORCH_FILE, normalised, read_pins
from tests.contract.sources import ROOT, imported_modules, product_files, python_files

# distributions whose module has another name
MODULES = {
    "huggingface-hub": "huggingface_hub",
    "imageio-ffmpeg": "imageio_ffmpeg",
    "opencv-python-headless": "cv2",
    "pi-heif": "pi_heif",
    "prometheus-client": "prometheus_client",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "pytest-xdist": "xdist",
    "usd-core": "pxr",
    "warp-lang": "warp",
}
# needed without being imported by name
INDIRECT = {
    "msvc-runtime": "torch needs it on Windows",
}
OPTIONAL = {"xformers", "spconv", "nvdiffrast", "kaolin", "flash_attn", "gsplat", "torchsparse", "triton", "ray"}
INSIDE_BLENDER = {"bpy", "mathutils"}
OWN = {"trellis", "installer", "extensions", "tests", "benchmarks"}


def test_pins_are_installed() -> None:
    for file in (TORCH_FILE, MAIN_FILE, DEV_FILE, CLUSTER_FILE):
        for name, version in read_pins(ROOT / file).items():
            if name == "msvc-runtime" and sys.platform != "win32":
                continue
            installed = metadata.version(name).split("+")[0]
            assert installed == version, f"{file}: {name}=={version}, installed is {installed}"


def test_each_distribution_is_pinned_once() -> None:
    names = [name for file in (TORCH_FILE, MAIN_FILE, DEV_FILE, CLUSTER_FILE) for name in read_pins(ROOT / file)]
    assert len(names) == len(set(names)) > 20


def test_torch_version_is_stated_in_one_place() -> None:
    version = read_pins(ROOT / TORCH_FILE)["torch"]
    places = [ROOT / name for name in (MAIN_FILE, DEV_FILE, "run.sh", "run.bat", "pyproject.toml", "Makefile")]
    assert [path.name for path in [*places, *product_files()] if version in path.read_text(encoding="utf-8")] == []


def third_party(*, programs: bool) -> set[str]:
    files = product_files() if programs else python_files("tests", "benchmarks")
    tops = {name.split(".")[0] for path in files for name in imported_modules(path)}
    return tops - set(sys.stdlib_module_names) - OWN - OPTIONAL - INSIDE_BLENDER


@pytest.mark.parametrize("programs", [True, False])
def test_every_import_is_required(programs: bool) -> None:
    files = (TORCH_FILE, MAIN_FILE) if programs else (TORCH_FILE, MAIN_FILE, DEV_FILE)
    pinned = {name for file in files for name in read_pins(ROOT / file)}
    modules = {MODULES.get(name, name) for name in pinned}
    modules |= {normalised(module).replace("-", "_") for module in modules}
    assert third_party(programs=programs) <= modules


def test_every_requirement_is_used() -> None:
    used = third_party(programs=True)
    unused = {name for name in read_pins(ROOT / MAIN_FILE) if MODULES.get(name, name) not in used}
    assert unused == set(INDIRECT)
