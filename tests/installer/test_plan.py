"""The plan is a pure function: a table of machines, and what must hold for every one of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from installer.extras import EXTRAS, FLASH_ATTN, SPCONV
from installer.machine import Gpu, Machine
from installer.plan import CUDA_BUILDS, TORCH_INDEX, Plan, make_plan, plan_from_folder
from tests.contract.sources import ROOT

VERSION = "2.13.0"
GIB = 2**30
ALL = frozenset({"cpu", "cu126", "cu129", "cu130"})
LINUX = Machine(system="Linux", architecture="x86_64", python=(3, 11), free_disk=200 * GIB)
WINDOWS = Machine(system="Windows", architecture="AMD64", python=(3, 12), free_disk=200 * GIB)
MAC = Machine(system="Darwin", architecture="arm64", python=(3, 12), free_disk=200 * GIB)

GTX_1060 = Gpu("GTX 1060", 550, (6, 1), 6 * GIB)
RTX_2070 = Gpu("RTX 2070", 535, (7, 5), 8 * GIB)
RTX_3060 = Gpu("RTX 3060", 566, (8, 6), 12 * GIB)
RTX_3050_LAPTOP = Gpu("RTX 3050 Laptop", 531, (8, 6), 4 * GIB)
RTX_4090 = Gpu("RTX 4090", 580, (8, 9), 24 * GIB)
V100 = Gpu("V100", 580, (7, 0), 16 * GIB)
A100 = Gpu("A100", 550, (8, 0), 80 * GIB)
H200 = Gpu("H200", 590, (9, 0), 141 * GIB)
B200 = Gpu("B200", 590, (10, 0), 180 * GIB)
RTX_5090 = Gpu("RTX 5090", 581, (12, 0), 32 * GIB)
RTX_5090_OLD_DRIVER = Gpu("RTX 5090", 572, (12, 0), 32 * GIB)
K80 = Gpu("K80", 570, (3, 7), 12 * GIB)
TITAN_X = Gpu("Titan X", 581, (5, 2), 12 * GIB)


@dataclass(frozen=True)
class Expected:
    """What a machine gets: torch's build and what uv is asked for, the index's last part, Warp's version if another
    one, and what spconv and xformers would be (None: not for this machine)."""

    build: str
    torch: str
    index: str | None
    warp: str | None = None
    spconv: str | None = None
    xformers: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class World:
    """A machine; the builds that PyTorch's index offers (None: it cannot be reached), what the configured one has."""

    machine: Machine
    offered: frozenset[str] | None
    configured: tuple[str, ...] = ()
    wheels: tuple[Path, ...] = ()

    def offers(self, plan: Plan) -> bool | None:
        if plan.index is None:
            return plan.torch in self.configured
        return None if self.offered is None else plan.build in self.offered

    def plan(self, *, extras: Sequence[str] = (), index: str = TORCH_INDEX) -> Plan:
        return make_plan(self.machine, VERSION, offers=self.offers, extras=extras, wheels=self.wheels, index=index)


def cuda(build: str, **rest: Any) -> Expected:
    return Expected(build, f"torch=={VERSION}+{build}", build, **rest)


CPU = Expected("cpu", f"torch=={VERSION}+cpu", "cpu")
PLAIN_CPU = Expected("cpu", f"torch=={VERSION}", None)
WHEEL = Path("/wheels/torch-2.13.0-cp311-cp311-linux_x86_64.whl")
LOCAL_WHEEL = f"torch @ file://{WHEEL}"
OLD_WARP = "1.17.0"


def linux(*gpus: Gpu, offered: frozenset[str] | None = ALL, **rest: Any) -> World:
    worldly = {name: rest.pop(name) for name in ("configured", "wheels") if name in rest}
    return World(replace(LINUX, gpus=gpus, **rest), offered, **worldly)


def windows(*gpus: Gpu, offered: frozenset[str] | None = ALL, **rest: Any) -> World:
    return World(replace(WINDOWS, gpus=gpus, **rest), offered)


TABLE = {
    # no NVIDIA card
    "linux, no gpu": (linux(), CPU),
    "linux, no gpu, Python 3.12": (linux(python=(3, 12)), CPU),
    "linux, no gpu, mirror with cpu build": (
        linux(offered=None, configured=("torch==2.13.0+cpu",)),
        Expected("cpu", "torch==2.13.0+cpu", None, notes=("cannot be reached",)),
    ),
    "linux, no gpu, local wheel": (
        linux(offered=None, configured=(LOCAL_WHEEL,), wheels=(WHEEL,)),
        Expected("cpu", LOCAL_WHEEL, None, notes=("cannot be reached",)),
    ),
    "linux, AMD": (linux(amd_gpu=True), replace(CPU, notes=("AMD", "ROCm"))),
    "linux, ARM without gpu": (linux(architecture="aarch64"), CPU),
    "windows laptop, no gpu": (windows(), PLAIN_CPU),
    "windows laptop, no gpu, no network": (windows(offered=None), PLAIN_CPU),
    "windows, OneDrive": (windows(in_cloud_folder=True), replace(PLAIN_CPU, notes=("OneDrive",))),
    "windows, short path": (windows(place="C:\\" + "a" * 64, path_limit=259), PLAIN_CPU),
    "mac": (World(MAC, ALL), PLAIN_CPU),
    "mac, Python 3.11": (World(replace(MAC, python=(3, 11)), ALL), PLAIN_CPU),
    # cards that torch no longer knows, and drivers from before it
    "linux, Kepler": (linux(K80), replace(CPU, warp=OLD_WARP, notes=("No CUDA build",))),
    "linux, driver of 2021": (linux(replace(RTX_2070, driver=470)), replace(CPU, warp=OLD_WARP, notes=("too old",))),
    "windows, GTX 1060 on a driver of 2019": (
        windows(replace(GTX_1060, driver=431)),
        replace(PLAIN_CPU, warp=OLD_WARP, notes=("too old",)),
    ),
    # Maxwell and Pascal
    "windows, GTX 1060": (windows(GTX_1060), cuda("cu126", warp=OLD_WARP, spconv="spconv-cu124==2.3.8")),
    "linux, Pascal": (linux(GTX_1060), cuda("cu126", warp=OLD_WARP, spconv="spconv-cu124==2.3.8")),
    "windows, Maxwell on a new driver": (windows(TITAN_X), cuda("cu126", spconv="spconv-cu126==2.3.8")),
    # Volta and Turing
    "linux, Volta on a new driver": (linux(V100), cuda("cu129", spconv="spconv-cu126==2.3.8", xformers=True)),
    "linux, Turing on driver 535": (
        linux(RTX_2070),
        cuda("cu129", warp=OLD_WARP, spconv="spconv-cu121==2.3.8", xformers=True),
    ),
    "linux, Turing on driver 525, Python 3.11": (
        linux(replace(RTX_2070, driver=525)),
        cuda("cu129", warp=OLD_WARP, spconv="spconv-cu120==2.3.6", xformers=True),
    ),
    "windows, Turing on driver 528, Python 3.12": (
        windows(replace(RTX_2070, driver=528)),
        cuda("cu129", warp=OLD_WARP, spconv="spconv-cu118==2.3.8", xformers=True),
    ),
    # Ampere
    "windows, RTX 3060": (windows(RTX_3060), cuda("cu129", warp=OLD_WARP, spconv="spconv-cu126==2.3.8", xformers=True)),
    "windows, laptop with 4 GB": (
        windows(RTX_3050_LAPTOP),
        cuda("cu129", warp=OLD_WARP, spconv="spconv-cu121==2.3.8", xformers=True),
    ),
    "linux, A100 on driver 550": (
        linux(A100),
        cuda("cu129", warp=OLD_WARP, spconv="spconv-cu124==2.3.8", xformers=True),
    ),
    "linux, A100, only cu126 offered": (
        linux(A100, offered=frozenset({"cpu", "cu126"})),
        cuda("cu126", warp=OLD_WARP, spconv="spconv-cu124==2.3.8", xformers=True),
    ),
    # Ada and Hopper
    "linux, Ada": (linux(RTX_4090), cuda("cu130", spconv="spconv-cu126==2.3.8")),
    "windows, Ada": (windows(RTX_4090), cuda("cu130", spconv="spconv-cu126==2.3.8")),
    "windows, Ada, index out of reach": (
        windows(RTX_4090, offered=None),
        replace(PLAIN_CPU, notes=("setup --repair",)),
    ),
    "linux, two Hopper": (linux(H200, H200), cuda("cu130", spconv="spconv-cu126==2.3.8")),
    "linux, Hopper on ARM": (linux(H200, architecture="aarch64"), cuda("cu130")),
    "linux, Hopper, index out of reach": (
        linux(H200, offered=None),
        Expected("cu130", "torch==2.13.0", None, spconv="spconv-cu126==2.3.8", notes=("cannot be reached",)),
    ),
    # Blackwell
    "windows, RTX 5090": (windows(RTX_5090), cuda("cu130")),
    "linux, Blackwell on driver 572": (linux(RTX_5090_OLD_DRIVER), cuda("cu129", warp=OLD_WARP, xformers=True)),
    "linux, B200": (linux(B200), cuda("cu130")),
    "linux, Blackwell, Ada and Pascal": (
        linux(RTX_5090, RTX_4090, replace(GTX_1060, driver=581)),
        cuda("cu130", notes=("Not every NVIDIA card",)),
    ),
}


def test_the_table_is_long_enough() -> None:
    assert len(TABLE) >= 30


def rows() -> list[str]:
    """The table as docs/windows.md shows it."""
    lines = []
    for name, (world, _) in TABLE.items():
        plan = world.plan()
        warp = plan.replacements[0].partition("==")[2] if plan.replacements else "pinned"
        fitting = {extra.name: extra.requirement for extra in plan.fitting}
        source = "torch's" if plan.index else "configured"
        cells = (name, plan.build, source, warp, fitting["spconv"] or "none", "yes" if fitting["xformers"] else "no")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def test_the_documents_show_the_table() -> None:
    shown = (ROOT / "docs" / "windows.md").read_text(encoding="utf-8").splitlines()
    expected = rows()
    missing = [line for line in expected if line not in shown]
    assert not missing, "\n".join(["docs/windows.md shows another table; this is it:", *expected])


@pytest.mark.parametrize("name", TABLE)
def test_table(name: str) -> None:
    world, expected = TABLE[name]
    plan = world.plan()
    assert (plan.build, plan.torch) == (expected.build, expected.torch)
    assert plan.index == (f"{TORCH_INDEX}/{expected.index}" if expected.index else None)
    assert plan.options == (("--torch-backend", expected.index) if expected.index else ())
    assert plan.replacements == ((f"warp-lang=={expected.warp}",) if expected.warp else ())
    fitting = {extra.name: extra.requirement for extra in plan.fitting}
    assert fitting["spconv"] == expected.spconv
    assert (fitting["xformers"] is not None) == expected.xformers
    assert all(word in " ".join(plan.notes) for word in expected.notes) and bool(plan.notes) == bool(expected.notes)
    assert not plan.problems and plan.question is None and not plan.extras


@pytest.mark.parametrize("name", TABLE)
def test_chosen_builds_run_on_the_driver(name: str) -> None:
    world, _ = TABLE[name]
    build = world.plan().build
    if build != "cpu":
        driver, lowest, highest = CUDA_BUILDS[build]
        assert any(gpu.driver >= driver and lowest <= gpu.compute_capability <= highest for gpu in world.machine.gpus)


@pytest.mark.parametrize("name", TABLE)
def test_spconv_only_where_its_binaries_run(name: str) -> None:
    world, _ = TABLE[name]
    [spconv] = [extra for extra in world.plan().fitting if extra.name == "spconv"]
    if spconv.requirement is None:
        assert spconv.reason
        return
    version, driver, (first, last) = SPCONV[spconv.requirement.split("==")[0]]
    assert spconv.requirement.endswith(version) and first <= world.machine.python <= last
    assert all(gpu.driver >= driver and (5, 0) <= gpu.compute_capability <= (9, 0) for gpu in world.machine.gpus)


@pytest.mark.parametrize("name", TABLE)
def test_optional_packages_come_only_when_asked_for_and_name_their_licence(name: str) -> None:
    world, _ = TABLE[name]
    plan = world.plan()
    assert [extra.name for extra in plan.fitting] == list(EXTRAS)
    assert all(extra.licence in line for extra, line in zip(plan.fitting, plan.optional_lines(), strict=True))
    for extra in plan.fitting:
        asked = world.plan(extras=[extra.name])
        assert (asked.extras == (extra,)) == (extra.requirement is not None) == (not asked.problems)
        assert not asked.extras or any(extra.licence in line for line in asked.lines())


def test_an_unknown_optional_package_is_a_problem() -> None:
    [problem] = linux(A100).plan(extras=["spconf"]).problems
    assert "spconf" in problem and all(name in problem for name in EXTRAS)


def test_what_is_compiled_needs_a_compiler() -> None:
    for compiler in (False, True):
        extras = {e.name: e for e in windows(RTX_4090, compiler=compiler).plan().fitting}
        assert (extras["nvdiffrast"].requirement is not None) == compiler
        assert (extras["flash-attn"].requirement is not None) == compiler
        assert "non-commercial" in extras["nvdiffrast"].licence


@pytest.mark.parametrize(
    ("world", "wheel"),
    [
        (linux(H200), True),
        (linux(RTX_4090), True),
        (linux(RTX_5090), True),
        (linux(replace(RTX_2070, driver=581)), False),
        (linux(GTX_1060), False),
        (linux(H200, architecture="aarch64"), False),
        (windows(RTX_4090), False),
        (linux(RTX_5090_OLD_DRIVER), False),
    ],
)
def test_flash_attn_is_a_wheel_where_there_is_one(world: World, *, wheel: bool) -> None:
    [found] = [extra for extra in world.plan().fitting if extra.name == "flash-attn"]
    assert found.requirement == (FLASH_ATTN if wheel else None)
    assert ("nvidia-cutlass-dsl" in found.licence) == wheel


def test_a_folder_of_wheels_needs_no_index() -> None:
    plan = plan_from_folder(LINUX, Path("/wheels/list.txt"), "cpu")
    assert plan.options == ("--no-index", "--find-links", "/wheels")
    assert (plan.listing, plan.problems, plan.question) == (Path("/wheels/list.txt"), (), None)
    assert any("/wheels" in line for line in plan.lines())
    plan = plan_from_folder(linux(RTX_5090).machine, Path("/wheels/list.txt"), "cu126")
    assert "cannot use" in plan.problems[0]


def test_facts_are_shown() -> None:
    text = " ".join(linux(RTX_3060, earlier="cu126").machine.lines())
    for word in ("RTX 3060", "12 GB", "8.6", "566", "cu126", "Python 3.11"):
        assert word in text
    assert "AMD" in " ".join(linux(amd_gpu=True).machine.lines())


def test_a_repair_needs_less_space() -> None:
    assert linux(free_disk=2 * GIB).plan().problems
    assert not linux(free_disk=2 * GIB, earlier="cpu").plan().problems


def test_without_a_reachable_cpu_build_it_asks_instead_of_taking_cuda() -> None:
    plan = linux(offered=None, configured=(f"torch=={VERSION}",)).plan()  # the plain wheel brings CUDA
    assert plan.question is not None and "4.5 GB" in plan.question


def test_old_card_does_not_take_the_plain_cuda_build() -> None:
    plan = linux(GTX_1060, offered=None, configured=(f"torch=={VERSION}",)).plan()
    assert plan.build == "cpu" and plan.question is not None


def test_an_index_that_cannot_be_reached_is_asked_for_one_cuda_build() -> None:
    asked: list[str] = []

    def offers(plan: Plan) -> None:
        asked.append(plan.torch)

    make_plan(linux(A100).machine, VERSION, offers=offers)
    assert asked == ["torch==2.13.0+cu129", "torch==2.13.0+cpu", "torch==2.13.0+cpu"]  # the last: the configured one


@pytest.mark.parametrize(
    ("machine", "word"),
    [
        (replace(LINUX, python=(3, 10)), "3.10"),
        (replace(LINUX, python=(3, 13)), "3.13"),
        (replace(LINUX, free_disk=3 * GIB), "disk"),
        (replace(WINDOWS, free_disk=int(3.9 * GIB)), "3.9 GB"),
        (replace(WINDOWS, place="C:\\" + "a" * 65, path_limit=259), "allows 67"),
        (replace(LINUX, gpus=(H200,), free_disk=8 * GIB), "disk"),
        (replace(MAC, architecture="x86_64"), "Intel"),
        (replace(WINDOWS, is_64bit=False), "64-bit"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_installed(machine: Machine, word: str) -> None:
    plan = World(machine, ALL).plan()
    assert any(word in problem for problem in plan.problems)
    assert word in "\n".join(plan.lines())


def test_a_mirror_of_the_index_is_used() -> None:
    plan = linux().plan(index="https://mirror.example/whl")
    assert plan.index == "https://mirror.example/whl/cpu"
    assert plan.options == ("--index", "https://mirror.example/whl/cpu")
