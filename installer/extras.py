"""Optional back ends: which package of each fits a machine, under which licence, and why the others do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from installer.machine import Gpu, Machine
from installer.requirements import CLUSTER_FILE, read_pins

XFORMERS = "xformers==0.0.35"  # one wheel for torch 2.10 and newer, built with CUDA 12
# Wheels that compile their kernels at the first use, by a compiler of NVIDIA's that comes along.
FLASH_ATTN = "flash-attn-4[cu13]==4.0.0b36"
FLASH_ATTN_LICENCE = "BSD-3-Clause; its compiler nvidia-cutlass-dsl: NVIDIA's licence of CUTLASS DSL"
# package: its version, the first driver that knows its CUDA, the Pythons of its wheels. Each holds code for
# compute capabilities 5.0 to 9.0 and nothing that a newer card could translate.
SPCONV = {
    "spconv-cu126": ("2.3.8", 560, ((3, 10), (3, 13))),
    "spconv-cu124": ("2.3.8", 550, ((3, 10), (3, 13))),
    "spconv-cu121": ("2.3.8", 530, ((3, 10), (3, 13))),
    "spconv-cu120": ("2.3.6", 525, ((3, 10), (3, 11))),
    "spconv-cu118": ("2.3.8", 520, ((3, 10), (3, 13))),
}
SPCONV_CARDS = ((5, 0), (9, 0))
CLUSTER = "cluster"  # the one that works without a GPU
RAY = f"ray=={read_pins(Path(__file__).parents[1] / CLUSTER_FILE)['ray']}"
COMPILER = "is compiled on this machine, which needs NVIDIA's nvcc and, on Windows, Visual Studio's C++ compiler"


@dataclass(frozen=True)
class Extra:
    """An optional package: `requirement` for uv, or None and in `reason` why this machine cannot have it."""

    name: str
    licence: str
    requirement: str | None
    reason: str = ""


@dataclass(frozen=True)
class _Source:
    """What does not depend on the machine: the licence, where uv gets it, and whether it is compiled on the spot."""

    licence: str
    requirement: str | None = None
    compiled: bool = False
    isolated: bool = True


SOURCES = {
    CLUSTER: _Source("Apache-2.0 (Ray)", RAY),
    "xformers": _Source("BSD-3-Clause"),
    "spconv": _Source("Apache-2.0"),
    "flash-attn": _Source("BSD-3-Clause", "flash-attn", compiled=True, isolated=False),
    "gsplat": _Source("Apache-2.0", "gsplat", compiled=True),
    "kaolin": _Source("Apache-2.0"),
    "nvdiffrast": _Source(
        "NVIDIA Source Code License: non-commercial use only",
        "nvdiffrast @ https://github.com/NVlabs/nvdiffrast/archive/refs/tags/v0.3.3.zip",
        compiled=True,
        isolated=False,
    ),
}
EXTRAS = tuple(sorted(SOURCES))


def choose_extras(machine: Machine, build: str) -> tuple[Extra, ...]:
    """Return every optional package in the order of their names, as it is for this machine and this build of torch."""
    chosen = []
    for name in EXTRAS:
        source = SOURCES[name]
        if build == "cpu" and name != CLUSTER:
            chosen.append(Extra(name, source.licence, None, "it needs an NVIDIA GPU"))
        elif name == "spconv":
            chosen.append(_spconv(machine, source))
        elif name == "xformers":
            chosen.append(_xformers(machine, build, source))
        elif name == "flash-attn" and _has_flash_attn_wheels(machine, build):
            chosen.append(Extra(name, FLASH_ATTN_LICENCE, FLASH_ATTN))
        else:
            chosen.append(_other(name, machine, source))
    return tuple(chosen)


def _oldest_and_newest(gpus: Sequence[Gpu]) -> tuple[tuple[int, int], tuple[int, int]]:
    capabilities = [gpu.compute_capability for gpu in gpus]
    return min(capabilities), max(capabilities)


def _spconv(machine: Machine, source: _Source) -> Extra:
    """Return the newest package whose CUDA the driver knows and whose wheels exist for this Python and these cards."""
    lowest, highest = _oldest_and_newest(machine.gpus)
    if lowest < SPCONV_CARDS[0] or highest > SPCONV_CARDS[1]:
        shown = ".".join(map(str, highest if highest > SPCONV_CARDS[1] else lowest))
        return Extra("spconv", source.licence, None, f"its binaries hold no code for compute capability {shown}")
    if machine.system not in ("Linux", "Windows") or machine.architecture.lower() not in ("x86_64", "amd64"):
        return Extra("spconv", source.licence, None, "it has binaries for Linux and Windows on x86-64 only")
    driver = min(gpu.driver for gpu in machine.gpus)
    for package, (version, oldest_driver, (first, last)) in SPCONV.items():
        if driver >= oldest_driver and first <= machine.python <= last:
            return Extra("spconv", source.licence, f"{package}=={version}")
    return Extra("spconv", source.licence, None, f"it has no binaries for driver {driver} and this Python")


def _xformers(machine: Machine, build: str, source: _Source) -> Extra:
    if build.startswith("cu13"):
        return Extra("xformers", source.licence, None, "its build for CUDA 12 does not load beside a torch for CUDA 13")
    if machine.architecture.lower() not in ("x86_64", "amd64"):
        return Extra("xformers", source.licence, None, "it has binaries for x86-64 only")
    lowest, _ = _oldest_and_newest(machine.gpus)
    if lowest < (7, 0):
        return Extra("xformers", source.licence, None, "its kernels need compute capability 7.0 or newer")
    return Extra("xformers", source.licence, XFORMERS)


def _has_flash_attn_wheels(machine: Machine, build: str) -> bool:
    """Tell whether release 4, which is not compiled at its installation, is for this machine."""
    lowest, _ = _oldest_and_newest(machine.gpus)
    place = (machine.system, machine.architecture.lower())
    return build.startswith("cu13") and place == ("Linux", "x86_64") and lowest >= (8, 0)


def _other(name: str, machine: Machine, source: _Source) -> Extra:
    if source.requirement is None:
        return Extra(name, source.licence, None, "no build of it exists for this version of torch")
    if source.compiled and not machine.compiler:
        return Extra(name, source.licence, None, f"it {COMPILER}; none was found")
    return Extra(name, source.licence, source.requirement)


def uv_options(name: str) -> list[str]:
    """Return what uv must be told besides the requirement."""
    return [] if SOURCES[name].isolated else ["--no-build-isolation"]
