"""Decide what to install: a pure function from the facts of a machine to a plan that can be printed and tested."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Plan:
    """What to install. `problems` forbid it; `question` must be answered with yes first; `notes` are for reading.

    `torch` is what pip is asked for (`torch==VERSION+cpu`, or a wheel's address) and `index` an index in addition to
    the configured one, or None. `replacements` are pins of requirements_2.txt that this machine needs otherwise.
    """

    build: str
    torch: str
    index: str | None
    replacements: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    question: str | None = None


def make_plan(machine: Machine, torch_version: str) -> Plan:
    """Return the plan for a machine; the same facts always give the same plan."""
    problems = _problems(machine)
    notes: list[str] = []
    build = _best_cuda_build(machine, notes) if machine.gpus else None
    if build is not None:
        plan = _from_index(machine, build, torch_version)
    else:
        plan = _cuda_from_configured(machine, torch_version, notes) or _cpu_plan(machine, torch_version, notes)
    needed = SPACE_CPU if plan.build == "cpu" else SPACE_CUDA
    if machine.free_disk < needed:
        problems.append(
            f"The installation needs {needed / 2**30:.0f} GB of free disk space; "
            f"there are {machine.free_disk / 2**30:.1f} GB."
        )
    if machine.amd_gpu:
        notes.append(
            "An AMD GPU is there. The CPU is used; a ROCm build of torch can be put into the environment by hand "
            "(Linux, best effort)."
        )
    return Plan(
        build=plan.build,
        torch=plan.torch,
        index=plan.index,
        replacements=_replacements(machine),
        notes=tuple(notes),
        problems=tuple(problems),
        question=plan.question,
    )


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
    lines = [f"torch build : {plan.build}", f"torch       : {plan.torch}", f"extra index : {plan.index or 'none'}"]
    lines += [f"instead     : {name}=={version}" for name, version in plan.replacements]
    lines += [f"note        : {note}" for note in plan.notes]
    lines += [f"problem     : {problem}" for problem in plan.problems]
    if plan.question:
        lines.append(f"question    : {plan.question}")
    return "\n".join(lines)
