"""Find out the facts of this machine that the plan depends on; nothing here decides anything."""

from __future__ import annotations

import os
import platform
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

NVIDIA_TIMEOUT = 15.0  # seconds
_NVIDIA = ["nvidia-smi", "--query-gpu=name,driver_version,compute_cap,memory.total", "--format=csv,noheader"]


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA card: its name, the driver's major number, the compute capability, as (8, 9), and memory in bytes."""

    name: str
    driver: int
    compute_capability: tuple[int, int]
    memory: int = 0


@dataclass(frozen=True)
class Machine:
    """The facts. `place` is the program's folder; `path_limit` is how many characters a path may have, None without a
    limit; `compiler`: CUDA sources can be compiled here; `earlier` is the build of torch that is installed."""

    system: str
    architecture: str
    python: tuple[int, int]
    free_disk: int
    gpus: tuple[Gpu, ...] = ()
    amd_gpu: bool = False
    is_64bit: bool = True
    compiler: bool = False
    place: str = ""
    path_limit: int | None = None
    in_cloud_folder: bool = False
    earlier: str = ""

    def lines(self) -> list[str]:
        """The facts as text."""
        version = ".".join(map(str, self.python))
        lines = [f"system      : {self.system} {self.architecture}, Python {version}"]
        lines.append(f"space       : {self.free_disk / 2**30:.0f} GB free on the disk")
        for gpu in self.gpus:
            capability = ".".join(map(str, gpu.compute_capability))
            size = f", {gpu.memory / 2**30:.0f} GB" if gpu.memory else ""
            lines.append(f"GPU         : {gpu.name}{size}, compute capability {capability}, driver {gpu.driver}")
        if not self.gpus:
            lines.append(f"GPU         : {'AMD' if self.amd_gpu else 'no NVIDIA card'}")
        return [*lines, f"installed   : {f'torch ({self.earlier})' if self.earlier else 'nothing yet'}"]


def look(root: Path, *, earlier: str) -> Machine:
    """Return the facts of this machine, for a program in the folder `root` that has `earlier` installed already."""
    try:
        listing = subprocess.run(_NVIDIA, capture_output=True, text=True, timeout=NVIDIA_TIMEOUT, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        listing = ""
    gpus, system = parse_nvidia(listing), platform.system()
    return Machine(
        system=system,
        architecture=platform.machine(),
        python=sys.version_info[:2],
        free_disk=shutil.disk_usage(root).free,
        gpus=gpus,
        amd_gpu=system == "Linux" and not gpus and Path("/dev/kfd").exists(),
        is_64bit=struct.calcsize("P") == 8,
        compiler=shutil.which("nvcc") is not None and (system != "Windows" or shutil.which("cl") is not None),
        place=str(root),
        path_limit=path_limit(),
        in_cloud_folder=is_in_cloud_folder(root),
        earlier=earlier,
    )


def parse_nvidia(text: str) -> tuple[Gpu, ...]:
    """Return the cards in nvidia-smi's `name, driver_version, compute_cap, memory.total` lines.

    Lines of another form are left out. Drivers older than 510 do not know `compute_cap` and print an error instead:
    they count as no card, which is what they are to every build of torch that is offered today.
    """
    gpus = []
    for line in text.splitlines():
        name, *fields = [part.strip() for part in line.rsplit(",", 3)]
        if not name or len(fields) != 3:
            continue
        driver, capability, memory = fields[0].split(".")[0], fields[1].split("."), fields[2].split(" ")[0]
        if driver.isdigit() and len(capability) == 2 and all(part.isdigit() for part in capability):
            size = int(memory) * 2**20 if memory.isdigit() else 0
            gpus.append(Gpu(name, int(driver), (int(capability[0]), int(capability[1])), size))
    return tuple(gpus)


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
