"""Decide what to install: a pure function from the facts of a machine to a plan that can be printed and tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from installer.extras import EXTRAS, Extra, choose_extras
from installer.probe import Gpu, Machine

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
LITTLE_RAM = 6 * 2**30
LITTLE_GPU_MEMORY = 5.5 * 2**30
LONGEST_PACKAGE_PATH = 192  # characters below the program's folder: a licence text within torch's wheel


@dataclass(frozen=True)
class Plan:
    """What to install. `problems` forbid it; `question` must be answered with yes first; `notes` are for reading.

    `torch` is what pip is asked for (`torch==VERSION+cpu`, or a wheel's address) and `index` an index in addition to
    the configured one, or None. `replacements` are pins of requirements_2.txt that this machine needs otherwise.
    `extras` are the optional packages that were asked for, `fitting` all of them as they are for this machine.
    `wheels` is a folder that everything comes from, without any index; `system` is the one it is for.
    """

    build: str
    torch: str
    index: str | None
    replacements: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    question: str | None = None
    extras: tuple[Extra, ...] = ()
    fitting: tuple[Extra, ...] = ()
    wheels: str | None = None
    system: str = "Linux"


def make_plan(machine: Machine, torch_version: str, *, extras: Sequence[str] = ()) -> Plan:
    """Return the plan for a machine; the same facts always give the same plan.

    `extras` are names of `installer.extras.EXTRAS`; an unknown one, or one that this machine cannot have, is a problem.
    """
    notes: list[str] = []
    build = _best_cuda_build(machine, notes) if machine.gpus else None
    if build is not None:
        plan = _from_index(machine, build, torch_version)
    else:
        plan = _cuda_from_configured(machine, torch_version, notes) or _cpu_plan(machine, torch_version, notes)
    return _completed(plan, machine, extras, notes)


def plan_from_folder(machine: Machine, folder: str, *, build: str, torch: str, extras: Sequence[str] = ()) -> Plan:
    """Return the plan for an installation from a folder of wheels that `--download` made for `build`."""
    notes: list[str] = []
    covered = build == "cpu" or any(_suits(gpu, build) for gpu in machine.gpus)
    plan = Plan(build=build, torch=torch, index=None, wheels=folder)
    plan = _completed(plan, machine, extras, notes)
    if covered:
        return plan
    problem = f"The folder holds the build {build} of torch, which this machine's card or driver cannot use."
    return replace(plan, problems=(*plan.problems, problem))


def _completed(plan: Plan, machine: Machine, extras: Sequence[str], notes: list[str]) -> Plan:
    fitting = choose_extras(machine, plan.build)
    problems = [*_problems(machine), *_extra_problems(extras, fitting)]
    needed = SPACE_CPU if plan.build == "cpu" else SPACE_CUDA
    if machine.earlier == plan.build:
        needed //= 4  # most of it is there; pip still unpacks what changed beside it
    if machine.free_disk < needed:
        problems.append(
            f"The installation needs {needed / 2**30:.0f} GB of free disk space; "
            f"there are {machine.free_disk / 2**30:.1f} GB."
        )
    notes += _advice(machine, plan.build)
    return replace(
        plan,
        replacements=_replacements(machine),
        notes=tuple(notes),
        problems=tuple(problems),
        extras=tuple(extra for extra in fitting if extra.name in extras and extra.requirement is not None),
        fitting=fitting,
        system=machine.system,
    )


def _extra_problems(extras: Sequence[str], fitting: Sequence[Extra]) -> list[str]:
    unknown = [name for name in extras if name not in EXTRAS]
    problems = [f"There is no optional package {name!r}; choose one of {', '.join(EXTRAS)}." for name in unknown]
    for extra in fitting:
        if extra.name in extras and extra.requirement is None:
            problems.append(f"{extra.name} cannot be installed here: {extra.reason}.")
    return problems


def _advice(machine: Machine, build: str) -> list[str]:
    """Return what does not stop the installation and is good to know."""
    notes = []
    if machine.amd_gpu:
        notes.append(
            "An AMD GPU is there. The CPU is used; a ROCm build of torch can be put into the environment by hand "
            "(Linux, best effort)."
        )
    if 0 < machine.ram < LITTLE_RAM:
        notes.append(f"There are only {machine.ram / 2**30:.1f} GB of memory: the embedded model works, little else.")
    memory = max((gpu.memory for gpu in machine.gpus), default=0)
    if build != "cpu" and 0 < memory < LITTLE_GPU_MEMORY:
        notes.append(
            f"The GPU has {memory / 2**30:.0f} GB: the embedded model runs on it; for the large ones choose the memory "
            "preset minimal, or the CPU."
        )
    if machine.in_cloud_folder:
        notes.append("This folder is in OneDrive, which would upload gigabytes of packages: move it elsewhere.")
    if machine.place.startswith("\\\\"):
        notes.append("This folder is on another computer: everything works more slowly than from a disk of this one.")
    if machine.proxy:
        notes.append(f"Downloads go through the proxy {machine.proxy}.")
    return notes


def _problems(machine: Machine) -> list[str]:
    problems = []
    if machine.python not in PYTHONS:
        problems.append(
            f"Python {machine.python[0]}.{machine.python[1]} is not supported. Install Python 3.11 or 3.12 (64 bit)."
        )
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
    return problems


def _suits(gpu: Gpu, build: str) -> bool:
    driver, lowest, highest = CUDA_BUILDS[build]
    if gpu.compute_capability >= (10, 0):
        driver = max(driver, 570)
    return gpu.driver >= driver and lowest <= gpu.compute_capability <= highest


def _best_cuda_build(machine: Machine, notes: list[str]) -> str | None:
    """Return the newest offered build that suits the most cards, or None."""
    newest = max(gpu.driver for gpu in machine.gpus)
    if newest < min(driver for driver, _, _ in CUDA_BUILDS.values()):
        notes.append(f"The NVIDIA driver ({newest}) is too old for any CUDA build (525 or newer); the CPU is used.")
        return None
    counts = {b: sum(_suits(gpu, b) for gpu in machine.gpus) for b in CUDA_BUILDS if b in machine.offered}
    best = max(counts.values(), default=0)
    if best == 0:
        if counts:
            notes.append("No offered CUDA build of torch suits the card and its driver; the CPU is used.")
        return None
    if best < len(machine.gpus):
        notes.append("Not every NVIDIA card here is covered by one CUDA build; the build for most of them is chosen.")
    return next(build for build in CUDA_BUILDS if counts.get(build) == best)


def _from_index(machine: Machine, build: str, version: str) -> Plan:
    return Plan(build=build, torch=f"torch=={version}+{build}", index=f"{machine.torch_index}/{build}")


def _cuda_from_configured(machine: Machine, version: str, notes: list[str]) -> Plan | None:
    """Return a plan for the configured index where torch's own is out of reach and the plain wheel is a CUDA build."""
    plain_is_cuda = machine.system == "Linux"
    wanted = any(_suits(gpu, "cu130") for gpu in machine.gpus)
    if machine.offered or not (plain_is_cuda and wanted):
        return None
    notes.append("PyTorch's index cannot be reached; the configured index's CUDA build is used.")
    return Plan(build="cu130", torch=f"torch=={version}", index=None)


def _cpu_plan(machine: Machine, version: str, notes: list[str]) -> Plan:
    plain = f"torch=={version}"
    if machine.system != "Linux":  # there the plain wheel is the CPU (or Apple) build
        if not machine.offered and any(_suits(gpu, build) for gpu in machine.gpus for build in CUDA_BUILDS):
            notes.append(
                "PyTorch's index cannot be reached: the CPU build is installed, and the graphics card is not used. "
                "When it can be reached, run setup --repair."
            )
        return Plan(build="cpu", torch=plain, index=None)
    if "cpu" in machine.offered:
        return _from_index(machine, "cpu", version)
    if machine.configured_cpu_torch is not None:
        notes.append("PyTorch's index cannot be reached; the configured index offers the CPU build.")
        return Plan(build="cpu", torch=machine.configured_cpu_torch, index=None)
    return Plan(
        build="cpu",
        torch=plain,
        index=None,
        question=(
            f"PyTorch's index ({machine.torch_index}/cpu) cannot be reached, and the configured package index offers "
            f"no CPU build of torch {version}: it would install about 4.5 GB of CUDA packages that this machine "
            "cannot use. Check the network or proxy, or set TRELLIS_TORCH_INDEX to a mirror."
        ),
    )


def _replacements(machine: Machine) -> tuple[tuple[str, str], ...]:
    if machine.gpus and max(gpu.driver for gpu in machine.gpus) < WARP_DRIVER:
        return (("warp-lang", WARP_FOR_OLD_DRIVERS),)
    return ()


def describe(plan: Plan) -> str:
    """Return the plan as text for `--dry-run` and the log."""
    lines = [f"torch build : {plan.build}", f"torch       : {plan.torch}"]
    lines.append(f"from folder : {plan.wheels}" if plan.wheels else f"extra index : {plan.index or 'none'}")
    lines += [f"instead     : {name}=={version}" for name, version in plan.replacements]
    chosen = {extra.name for extra in plan.extras}
    for extra in plan.fitting:
        if extra.requirement is None:
            state = f"not here: {extra.reason}"
        else:
            state = extra.requirement if extra.name in chosen else f"possible with --extra {extra.name}"
        lines.append(f"optional    : {extra.name}: {state} (licence: {extra.licence})")
    lines += [f"note        : {note}" for note in plan.notes]
    lines += [f"problem     : {problem}" for problem in plan.problems]
    if plan.question:
        lines.append(f"question    : {plan.question}")
    return "\n".join(lines)


def describe_machine(machine: Machine) -> str:
    """Return the facts of a machine as text."""
    version = ".".join(map(str, machine.python))
    lines = [f"system      : {machine.system} {machine.architecture}, Python {version}"]
    memory = f", {machine.ram / 2**30:.0f} GB of memory" if machine.ram else ""
    lines.append(f"space       : {machine.free_disk / 2**30:.0f} GB free on the disk{memory}")
    for gpu in machine.gpus:
        capability = ".".join(map(str, gpu.compute_capability))
        size = f", {gpu.memory / 2**30:.0f} GB" if gpu.memory else ""
        lines.append(f"GPU         : {gpu.name}{size}, compute capability {capability}, driver {gpu.driver}")
    if not machine.gpus:
        lines.append(f"GPU         : {'AMD' if machine.amd_gpu else 'no NVIDIA card'}")
    if machine.earlier:
        lines.append(f"installed   : torch ({machine.earlier})")
    return "\n".join(lines)
