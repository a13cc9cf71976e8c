"""Find out the facts of this machine that the plan depends on; nothing here decides anything."""

from __future__ import annotations

import json
import os
import platform
import shutil
import struct
import sys
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from installer.shell import Shell

TORCH_INDEX = "https://download.pytorch.org/whl"
INDEX_TIMEOUT = 5.0  # seconds for one page of the index
NVIDIA_TIMEOUT = 15.0
PIP_TIMEOUT = 90.0


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA card: its name, the driver's major number and the compute capability, as (8, 9)."""

    name: str
    driver: int
    compute_capability: tuple[int, int]


@dataclass(frozen=True)
class Machine:
    """The facts. `offered` are the builds of the wanted torch (`cpu`, `cu126`, ...) that PyTorch's index showed.

    `configured_cpu_torch` is what to ask pip for to get a CPU build from the configured index, None if it has none.
    """

    system: str
    architecture: str
    python: tuple[int, int]
    free_disk: int
    gpus: tuple[Gpu, ...] = ()
    amd_gpu: bool = False
    offered: frozenset[str] = frozenset()
    configured_cpu_torch: str | None = None
    torch_index: str = TORCH_INDEX
    is_64bit: bool = True


def probe_machine(shell: Shell, root: Path, *, python: Path, torch_version: str, builds: tuple[str, ...]) -> Machine:
    """Return the facts of this machine; takes some seconds, also without a network.

    `python` is an interpreter with pip that answers for the configured index; `builds` are the CUDA builds to look for.
    """
    gpus = parse_nvidia(
        shell.read(
            ["nvidia-smi", "--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader"],
            timeout=NVIDIA_TIMEOUT,
        )
    )
    system = platform.system()
    index = os.environ.get("TRELLIS_TORCH_INDEX", TORCH_INDEX).rstrip("/")
    wanted = (*builds, "cpu") if gpus else ("cpu",)
    offered: frozenset[str] = frozenset()
    if gpus or system == "Linux":
        offered = offered_builds(index, wanted, torch_version)
    configured = None
    if system == "Linux" and not offered:
        configured = configured_cpu_torch(shell, python, torch_version)
    return Machine(
        system=system,
        architecture=platform.machine(),
        python=sys.version_info[:2],
        free_disk=shutil.disk_usage(root).free,
        gpus=gpus,
        amd_gpu=system == "Linux" and not gpus and Path("/dev/kfd").exists(),
        offered=offered,
        configured_cpu_torch=configured,
        torch_index=index,
        is_64bit=struct.calcsize("P") == 8,
    )


def parse_nvidia(text: str | None) -> tuple[Gpu, ...]:
    """Return the cards in nvidia-smi's `name, driver_version, compute_cap` lines; lines of another form are left out.

    Drivers older than 510 do not know `compute_cap` and print an error instead: they count as no card, which is what
    they are to every build of torch that is offered today.
    """
    gpus = []
    for line in (text or "").splitlines():
        name, _, rest = line.rpartition(",")[0].rpartition(",")
        driver, capability = rest.strip().split(".")[0], line.rpartition(",")[2].strip().split(".")
        if name and driver.isdigit() and len(capability) == 2 and all(part.isdigit() for part in capability):
            gpus.append(Gpu(name.strip(), int(driver), (int(capability[0]), int(capability[1]))))
    return tuple(gpus)


def wheel_is_listed(page: str, version: str, build: str) -> bool:
    """Tell whether an index page lists a wheel of this version and build for this Python and system."""
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    system = {"Linux": "linux", "Windows": "win", "Darwin": "macosx"}[platform.system()]
    architecture = platform.machine().lower()
    spellings = ("amd64", "x86_64") if architecture in ("amd64", "x86_64") else (architecture,)
    for separator in ("%2B", "+"):
        for rest in page.split(f"torch-{version}{separator}{build}-{tag}-{tag}-")[1:]:
            platform_tag = rest.split(".whl")[0]
            if system in platform_tag and any(spelling in platform_tag for spelling in spellings):
                return True
    return False


def offered_builds(index: str, builds: tuple[str, ...], version: str) -> frozenset[str]:
    """Return the builds that the index lists; stops at the first page that cannot be reached."""
    found = set()
    for build in builds:
        page = _fetch(f"{index}/{build}/torch/")
        if page is None:
            break
        if wheel_is_listed(page, version, build):
            found.add(build)
    return frozenset(found)


def _fetch(url: str) -> str | None:
    """Return a page's text, "" for a page that does not exist, None if nothing answers within the time limit."""
    answer: list[str] = []

    def fetch() -> None:
        try:
            with urllib.request.urlopen(url, timeout=INDEX_TIMEOUT) as response:
                answer.append(response.read().decode("utf-8", "replace"))
        except urllib.error.HTTPError as error:
            if error.code in (403, 404):  # the storage behind the index answers 403 for a missing folder
                answer.append("")
        except (OSError, ValueError):
            pass

    thread = threading.Thread(target=fetch, daemon=True)  # a name lookup that hangs has no time limit of its own
    thread.start()
    thread.join(INDEX_TIMEOUT + 1)
    return answer[0] if answer else None


def configured_cpu_torch(shell: Shell, python: Path, version: str) -> str | None:
    """Return what to ask the configured index for to get a CPU build of torch, or None.

    Either the version with the `+cpu` tag, or, where a wheel lies in a local folder that pip is told of, its address.
    Neither question can fetch a CUDA package.
    """
    pip = [str(python), "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet"]
    pip += ["--only-binary", ":all:", "--report", "-"]
    tagged = f"torch=={version}+cpu"
    if shell.read([*pip, tagged], timeout=PIP_TIMEOUT) is not None:
        return tagged
    report = shell.read([*pip, "--no-index", f"torch=={version}"], timeout=PIP_TIMEOUT)
    return local_wheel(report)


def local_wheel(report: str | None) -> str | None:
    """Return the file address of the one wheel in pip's report, or None if it is not a local file."""
    start = (report or "").find("{")
    if report is None or start < 0:
        return None
    try:
        url = json.loads(report[start:])["install"][0]["download_info"]["url"]
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    return url if url.startswith("file:") else None
