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
    """An NVIDIA card: its name, the driver's major number, the compute capability, as (8, 9), and memory in bytes."""

    name: str
    driver: int
    compute_capability: tuple[int, int]
    memory: int = 0


@dataclass(frozen=True)
class Machine:
    """The facts. `offered` are the builds of the wanted torch (`cpu`, `cu126`, ...) that PyTorch's index showed.

    `configured_cpu_torch` is what to ask pip for to get a CPU build from the configured index, None if it has none.
    `ram` (bytes) is 0 where it is not known; `proxy` names the proxy without its password; `path_limit` is how many
    characters a path may have, None without a limit; `place` is the program's folder; `earlier` is the build of torch
    that an earlier installation left.
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
    ram: int = 0
    proxy: str = ""
    compiler: bool = False
    place: str = ""
    path_limit: int | None = None
    in_cloud_folder: bool = False
    earlier: str = ""


def probe_machine(
    shell: Shell,
    root: Path,
    *,
    python: Path,
    torch_version: str,
    builds: tuple[str, ...],
    online: bool = True,
    earlier: str = "",
) -> Machine:
    """Return the facts of this machine; takes some seconds, also without a network.

    `python` is an interpreter with pip that answers for the configured index; `builds` are the CUDA builds to look for.
    Without `online` no index is asked.
    """
    gpus = parse_nvidia(
        shell.read(
            ["nvidia-smi", "--query-gpu=name,driver_version,compute_cap,memory.total", "--format=csv,noheader"],
            timeout=NVIDIA_TIMEOUT,
        )
    )
    system = platform.system()
    index = os.environ.get("TRELLIS_TORCH_INDEX", TORCH_INDEX).rstrip("/")
    wanted = (*builds, "cpu") if gpus else ("cpu",)
    offered: frozenset[str] = frozenset()
    if online and (gpus or system == "Linux"):
        offered = offered_builds(index, wanted, torch_version)
    configured = None
    if online and system == "Linux" and not offered:
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
        ram=total_ram(),
        proxy=proxy_in_use(),
        compiler=shutil.which("nvcc") is not None and (system != "Windows" or shutil.which("cl") is not None),
        place=str(root),
        path_limit=path_limit(),
        in_cloud_folder=is_in_cloud_folder(root),
        earlier=earlier,
    )


def parse_nvidia(text: str | None) -> tuple[Gpu, ...]:
    """Return the cards in nvidia-smi's `name, driver_version, compute_cap, memory.total` lines.

    Lines of another form are left out. Drivers older than 510 do not know `compute_cap` and print an error instead:
    they count as no card, which is what they are to every build of torch that is offered today.
    """
    gpus = []
    for line in (text or "").splitlines():
        name, *fields = [part.strip() for part in line.rsplit(",", 3)]
        if not name or len(fields) != 3:
            continue
        driver, capability, memory = fields[0].split(".")[0], fields[1].split("."), fields[2].split(" ")[0]
        if driver.isdigit() and len(capability) == 2 and all(part.isdigit() for part in capability):
            size = int(memory) * 2**20 if memory.isdigit() else 0
            gpus.append(Gpu(name, int(driver), (int(capability[0]), int(capability[1])), size))
    return tuple(gpus)


def total_ram() -> int:
    """Return the machine's memory in bytes, 0 where the system does not tell."""
    if sys.platform == "win32":
        import ctypes

        class Status(ctypes.Structure):
            _fields_ = (
                ("length", ctypes.c_uint32),
                ("load", ctypes.c_uint32),
                *(
                    (name, ctypes.c_uint64)
                    for name in ("total", "free", "pages", "free_pages", "virtual", "left", "ext")
                ),
            )

        status = Status(length=ctypes.sizeof(Status))
        return int(status.total) if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else 0
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0


def proxy_in_use() -> str:
    """Return the proxy for https that the environment or Windows names, without user and password; "" if none."""
    proxy = urllib.request.getproxies().get("https", "")
    scheme, separator, rest = proxy.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def path_limit() -> int | None:
    """Return how many characters a path may have on this Windows; None elsewhere and where long paths are allowed."""
    if sys.platform != "win32":
        return None
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:
            return None if winreg.QueryValueEx(key, "LongPathsEnabled")[0] else 259
    except OSError:
        return 259


def is_in_cloud_folder(folder: Path) -> bool:
    """Tell whether OneDrive would upload what is written to a folder."""
    names = ("OneDrive", "OneDriveConsumer", "OneDriveCommercial")
    places = [Path(place) for name in names if (place := os.environ.get(name))]
    return any(folder.is_relative_to(place) for place in places)


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
