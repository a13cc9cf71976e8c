"""Decide what to install: facts of the machine, and what indexes offer, to a plan that can be shown and tested."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from installer.extras import EXTRAS, Extra, choose_extras
from installer.machine import Gpu, Machine

TORCH_INDEX = "https://download.pytorch.org/whl"
# Oldest driver (major number) of each CUDA build, and the compute capabilities it holds code for.
# 12.x builds run on every driver of the 12 line (525 on); Blackwell needs one that knows the card (570 on).
CUDA_BUILDS = {
    "cu130": (580, (7, 5), (12, 1)),
    "cu129": (525, (7, 0), (12, 1)),
    "cu128": (525, (7, 0), (12, 1)),
    "cu126": (525, (5, 0), (9, 0)),
}
WARP_FOR_OLD_DRIVERS = "1.17.0"  # the last one built with CUDA 12; newer ones need driver 580
WARP_DRIVER = 580
SPACE_CPU = 4 * 2**30
SPACE_CUDA = 12 * 2**30
PYTHONS = ((3, 11), (3, 12))
LONGEST_PACKAGE_PATH = 192  # characters below the program's folder: a licence text within torch's wheel


@dataclass(frozen=True)
class Plan:
    """What to install. `problems` forbid it; `question` must be answered with yes first; `notes` are for reading.

    `torch` is the requirement (`torch==VERSION+cpu`, or a wheel's address), `options` are uv's options that say where
    it comes from, and `index` an index in addition to the configured one, or None. `listing` is a file of exact
    versions with hashes that goes before the requirement files. `replacements` are requirements that
    take the place of pins. `extras` are the optional packages that were asked for, `fitting` all of them as they are
    for this machine.
    """

    build: str
    torch: str
    options: tuple[str, ...] = ()
    index: str | None = None
    listing: Path | None = None
    replacements: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    question: str | None = None
    extras: tuple[Extra, ...] = ()
    fitting: tuple[Extra, ...] = ()

    def lines(self) -> list[str]:
        """The decision as text."""
        lines = [
            f"torch build : {self.build}",
            f"torch       : {self.torch}, from {self.index or 'the configured index'}",
        ]
        lines += [f"instead     : {requirement}" for requirement in self.replacements]
        lines += [f"optional    : {e.name} {e.requirement} (licence: {e.licence})" for e in self.extras]
        lines += [f"note        : {note}" for note in self.notes]
        return [*lines, *(f"problem     : {problem}" for problem in self.problems)]

    def optional_lines(self) -> list[str]:
        """Every optional package as it is for this machine."""
        return [
            f"optional    : {extra.name}: {extra.reason or f'possible with --extra {extra.name}'} "
            f"(licence: {extra.licence})"
            for extra in self.fitting
        ]


Offers = Callable[[Plan], bool | None]  # whether a plan's torch can be had; None: its index cannot be reached


def make_plan(
    machine: Machine,
    version: str,
    *,
    offers: Offers,
    extras: Sequence[str] = (),
    wheels: Sequence[Path] = (),
    index: str = TORCH_INDEX,
) -> Plan:
    """Return the plan for a machine.

    `version` is torch's; `extras` are names of `installer.extras.EXTRAS`: an unknown one, or one that this machine
    cannot have, is a problem. `wheels` are torch's wheels in local folders that pip is told of, `index` is PyTorch's or
    its mirror.
    """
    notes: list[str] = []
    builds = _suitable_builds(machine.gpus, notes)
    plan = None
    reachable = True
    for build in builds:
        plan = _from_torch_index(build, version, index)
        answer = offers(plan)
        if answer:
            break
        plan = None
        if answer is None:
            reachable = False
            break
    if builds and plan is None and reachable:
        notes.append("No offered CUDA build of torch suits the card and its driver; the CPU is used.")
    if plan is None and builds[:1] == ["cu130"] and not reachable and machine.system == "Linux":
        plan = Plan("cu130", f"torch=={version}")  # the plain wheel for Linux is this build
        notes.append("PyTorch's index cannot be reached; the configured index's CUDA build is used.")
    if plan is None:
        plan = _cpu_plan(machine, version, offers, wheels, index, notes)
        if builds and not reachable:
            notes.append("The graphics card is not used. When PyTorch's index can be reached, run setup --repair.")
    return _completed(plan, machine, extras, notes)


def plan_from_folder(machine: Machine, listing: Path, build: str, *, extras: Sequence[str] = ()) -> Plan:
    """Return the plan for an installation from the folder of wheels beside `listing`, which was made for `build`."""
    options = ("--no-index", "--find-links", str(listing.parent))
    plan = _completed(Plan(build, "torch", options, index=str(listing.parent), listing=listing), machine, extras, [])
    if build == "cpu" or any(_suits(gpu, build) for gpu in machine.gpus):
        return plan
    problem = f"The folder holds the build {build} of torch, which this machine's card or driver cannot use."
    return replace(plan, problems=(*plan.problems, problem))


def _completed(plan: Plan, machine: Machine, extras: Sequence[str], notes: Sequence[str]) -> Plan:
    """Return a plan with everything that does not depend on where torch comes from."""
    fitting = choose_extras(machine, plan.build)
    problems = [*_problems(machine, plan.build), *_extra_problems(extras, fitting)]
    return replace(
        plan,
        replacements=_replacements(machine),
        notes=(*notes, *_advice(machine)),
        problems=tuple(problems),
        extras=tuple(extra for extra in fitting if extra.name in extras and extra.requirement is not None),
        fitting=fitting,
    )


def _suits(gpu: Gpu, build: str) -> bool:
    driver, lowest, highest = CUDA_BUILDS[build]
    if gpu.compute_capability >= (10, 0):
        driver = max(driver, 570)
    return gpu.driver >= driver and lowest <= gpu.compute_capability <= highest


def _suitable_builds(gpus: Sequence[Gpu], notes: list[str]) -> list[str]:
    """Return the builds for these cards: those that suit the most first, of these the newest."""
    if not gpus:
        return []
    newest = max(gpu.driver for gpu in gpus)
    if newest < min(driver for driver, _, _ in CUDA_BUILDS.values()):
        notes.append(f"The NVIDIA driver ({newest}) is too old for any CUDA build (525 or newer); the CPU is used.")
        return []
    counts = {build: sum(_suits(gpu, build) for gpu in gpus) for build in CUDA_BUILDS}
    best = max(counts.values())
    if best == 0:
        notes.append("No CUDA build of torch suits the card and its driver; the CPU is used.")
    elif best < len(gpus):
        notes.append("Not every NVIDIA card here is covered by one CUDA build; the build for most of them is chosen.")
    return sorted((build for build in counts if counts[build]), key=lambda build: -counts[build])


def _from_torch_index(build: str, version: str, index: str) -> Plan:
    """PyTorch's own index is uv's to find; a mirror of it is an index beside the configured one."""
    address = f"{index}/{build}"
    options = ("--torch-backend", build) if index == TORCH_INDEX else ("--index", address)
    return Plan(build, f"torch=={version}+{build}", options, index=address)


def _cpu_plan(
    machine: Machine, version: str, offers: Offers, wheels: Sequence[Path], index: str, notes: list[str]
) -> Plan:
    """Return the CPU's plan; never one that brings CUDA packages unless the question is answered with yes."""
    plain = Plan("cpu", f"torch=={version}")
    if machine.system != "Linux":  # there the plain wheel is the CPU (or Apple) build
        return plain
    plan = _from_torch_index("cpu", version, index)
    if offers(plan):
        return plan
    configured = [f"torch=={version}+cpu", *(f"torch @ {wheel.as_uri()}" for wheel in wheels)]
    for torch in configured:
        plan = Plan("cpu", torch)
        if offers(plan):
            notes.append("PyTorch's index has no such build or cannot be reached; the configured index offers it.")
            return plan
    question = (
        f"PyTorch's index ({index}/cpu) cannot be reached, and the configured package index offers no CPU build of "
        f"torch {version}: it would install about 4.5 GB of CUDA packages that this machine cannot use. Check the "
        "network or proxy, or set TRELLIS_TORCH_INDEX to a mirror."
    )
    return replace(plain, question=question)


def _replacements(machine: Machine) -> tuple[str, ...]:
    if machine.gpus and max(gpu.driver for gpu in machine.gpus) < WARP_DRIVER:
        return (f"warp-lang=={WARP_FOR_OLD_DRIVERS}",)
    return ()


def _advice(machine: Machine) -> list[str]:
    """Return what does not stop the installation and is good to know."""
    notes = []
    if machine.amd_gpu:
        notes.append(
            "An AMD GPU is there. The CPU is used; a ROCm build of torch can be put into the environment by hand "
            "(Linux, best effort)."
        )
    if machine.in_cloud_folder:
        notes.append("This folder is in OneDrive, which would upload gigabytes of packages: move it elsewhere.")
    return notes


def _problems(machine: Machine, build: str) -> list[str]:
    problems = []
    if machine.python not in PYTHONS:
        problems.append(f"Python {machine.python[0]}.{machine.python[1]} is not supported; 3.11 and 3.12 are.")
    if machine.system == "Darwin" and machine.architecture == "x86_64":
        problems.append("torch no longer exists for Intel Macs; a Mac with Apple silicon, Linux or Windows is needed.")
    if not machine.is_64bit:
        problems.append("This Python is a 32-bit build. Install the 64-bit Python 3.11 or 3.12.")
    if machine.path_limit is not None and len(machine.place) + LONGEST_PACKAGE_PATH > machine.path_limit:
        problems.append(
            f"The path of this folder has {len(machine.place)} characters; this Windows allows "
            f"{machine.path_limit - LONGEST_PACKAGE_PATH}, because the packages' own paths are long. Move the folder "
            "nearer to the top of the disk (for example C:\\trellis), or allow long paths in Windows."
        )
    needed = SPACE_CPU if build == "cpu" else SPACE_CUDA
    if machine.earlier == build:
        needed //= 4  # most of it is there
    if machine.free_disk < needed:
        problems.append(
            f"The installation needs {needed / 2**30:.0f} GB of free disk space; "
            f"there are {machine.free_disk / 2**30:.1f} GB."
        )
    return problems


def _extra_problems(extras: Sequence[str], fitting: Sequence[Extra]) -> list[str]:
    unknown = [name for name in extras if name not in EXTRAS]
    problems = [f"There is no optional package {name!r}; choose one of {', '.join(EXTRAS)}." for name in unknown]
    for extra in fitting:
        if extra.name in extras and extra.requirement is None:
            problems.append(f"{extra.name} cannot be installed here: {extra.reason}.")
    return problems
