"""The plan is a pure function: a table of machines, and what must hold for every one of them."""

from dataclasses import replace

import pytest

from installer.plan import CUDA_BUILDS, Plan, describe, make_plan
from installer.probe import TORCH_INDEX, Gpu, Machine

VERSION = "2.13.0"
GIB = 2**30
ALL = frozenset({"cpu", "cu126", "cu129", "cu130"})
LINUX = Machine(system="Linux", architecture="x86_64", python=(3, 11), free_disk=200 * GIB)
WINDOWS = Machine(system="Windows", architecture="AMD64", python=(3, 12), free_disk=200 * GIB)
MAC = Machine(system="Darwin", architecture="arm64", python=(3, 12), free_disk=200 * GIB)

GTX_1060 = Gpu("GTX 1060", 550, (6, 1))
RTX_2070 = Gpu("RTX 2070", 535, (7, 5))
RTX_4090 = Gpu("RTX 4090", 580, (8, 9))
V100 = Gpu("V100", 580, (7, 0))
H200 = Gpu("H200", 590, (9, 0))
RTX_5090 = Gpu("RTX 5090", 581, (12, 0))
RTX_5090_OLD_DRIVER = Gpu("RTX 5090", 572, (12, 0))

# machine, torch build, what pip is asked for, extra index (its last part)
TABLE = {
    "linux, no gpu": (replace(LINUX, offered=frozenset({"cpu"})), "cpu", "torch==2.13.0+cpu", "cpu"),
    "linux, no gpu, mirror with cpu build": (
        replace(LINUX, configured_cpu_torch="torch==2.13.0+cpu"),
        "cpu",
        "torch==2.13.0+cpu",
        None,
    ),
    "linux, no gpu, local wheel": (
        replace(LINUX, configured_cpu_torch="file:///wheels/torch-2.13.0-cp311-cp311-linux_x86_64.whl"),
        "cpu",
        "file:///wheels/torch-2.13.0-cp311-cp311-linux_x86_64.whl",
        None,
    ),
    "linux, amd": (replace(LINUX, amd_gpu=True, offered=frozenset({"cpu"})), "cpu", "torch==2.13.0+cpu", "cpu"),
    "linux, arm without gpu": (
        replace(LINUX, architecture="aarch64", offered=frozenset({"cpu"})),
        "cpu",
        "torch==2.13.0+cpu",
        "cpu",
    ),
    "linux, Pascal": (replace(LINUX, gpus=(GTX_1060,), offered=ALL), "cu126", "torch==2.13.0+cu126", "cu126"),
    "linux, Volta on a new driver": (
        replace(LINUX, gpus=(V100,), offered=ALL),
        "cu129",
        "torch==2.13.0+cu129",
        "cu129",
    ),
    "linux, Turing on driver 535": (
        replace(LINUX, gpus=(RTX_2070,), offered=ALL),
        "cu129",
        "torch==2.13.0+cu129",
        "cu129",
    ),
    "linux, Ada": (replace(LINUX, gpus=(RTX_4090,), offered=ALL), "cu130", "torch==2.13.0+cu130", "cu130"),
    "linux, two Hopper": (replace(LINUX, gpus=(H200, H200), offered=ALL), "cu130", "torch==2.13.0+cu130", "cu130"),
    "linux, Hopper, index out of reach": (replace(LINUX, gpus=(H200,)), "cu130", "torch==2.13.0", None),
    "linux, Blackwell on driver 572": (
        replace(LINUX, gpus=(RTX_5090_OLD_DRIVER,), offered=ALL),
        "cu129",
        "torch==2.13.0+cu129",
        "cu129",
    ),
    "linux, Blackwell and Pascal": (
        replace(LINUX, gpus=(RTX_5090, RTX_4090, replace(GTX_1060, driver=581)), offered=ALL),
        "cu130",
        "torch==2.13.0+cu130",
        "cu130",
    ),
    "linux, driver of 2021": (
        replace(LINUX, gpus=(replace(RTX_2070, driver=470),), offered=ALL),
        "cpu",
        "torch==2.13.0+cpu",
        "cpu",
    ),
    "linux, Kepler": (
        replace(LINUX, gpus=(Gpu("K80", 570, (3, 7)),), offered=ALL),
        "cpu",
        "torch==2.13.0+cpu",
        "cpu",
    ),
    "windows, no gpu": (WINDOWS, "cpu", "torch==2.13.0", None),
    "windows, Blackwell": (replace(WINDOWS, gpus=(RTX_5090,), offered=ALL), "cu130", "torch==2.13.0+cu130", "cu130"),
    "windows, Ada, index out of reach": (replace(WINDOWS, gpus=(RTX_4090,)), "cpu", "torch==2.13.0", None),
    "mac": (MAC, "cpu", "torch==2.13.0", None),
}


@pytest.mark.parametrize("name", TABLE)
def test_table(name: str) -> None:
    machine, build, torch, index = TABLE[name]
    plan = make_plan(machine, VERSION)
    assert (plan.build, plan.torch) == (build, torch)
    assert plan.index == (f"{TORCH_INDEX}/{index}" if index else None)
    assert not plan.problems
    assert plan.question is None
    assert make_plan(machine, VERSION) == plan


@pytest.mark.parametrize("name", TABLE)
def test_chosen_builds_run_on_the_driver(name: str) -> None:
    machine, *_ = TABLE[name]
    build = make_plan(machine, VERSION).build
    if build != "cpu":
        driver, lowest, highest = CUDA_BUILDS[build]
        assert any(gpu.driver >= driver and lowest <= gpu.compute_capability <= highest for gpu in machine.gpus)


def test_without_a_reachable_cpu_build_it_asks_instead_of_taking_cuda() -> None:
    plan = make_plan(LINUX, VERSION)
    assert plan.question is not None
    assert "4.5 GB" in plan.question


def test_old_card_does_not_take_the_plain_cuda_build() -> None:
    plan = make_plan(replace(LINUX, gpus=(GTX_1060,)), VERSION)
    assert plan.build == "cpu"
    assert plan.question is not None


@pytest.mark.parametrize(
    ("gpus", "expected"), [((), {}), ((RTX_4090,), {}), ((RTX_2070,), {"warp-lang": "1.17.0"}), ((H200, H200), {})]
)
def test_warp_follows_the_driver(gpus: tuple[Gpu, ...], expected: dict[str, str]) -> None:
    assert dict(make_plan(replace(LINUX, gpus=gpus, offered=ALL), VERSION).replacements) == expected


@pytest.mark.parametrize(
    ("machine", "word"),
    [
        (replace(LINUX, python=(3, 10)), "3.10"),
        (replace(LINUX, python=(3, 13)), "3.13"),
        (replace(LINUX, free_disk=3 * GIB), "disk"),
        (replace(LINUX, gpus=(H200,), offered=ALL, free_disk=8 * GIB), "disk"),
        (replace(MAC, architecture="x86_64"), "Intel"),
        (replace(WINDOWS, is_64bit=False), "64-bit"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_installed(machine: Machine, word: str) -> None:
    plan = make_plan(machine, VERSION)
    assert any(word in problem for problem in plan.problems)
    assert word in describe(plan)


def test_mirror_is_used() -> None:
    machine = replace(LINUX, offered=frozenset({"cpu"}), torch_index="https://mirror.example/whl")
    assert make_plan(machine, VERSION).index == "https://mirror.example/whl/cpu"


def test_description_shows_the_decision() -> None:
    text = describe(Plan(build="cpu", torch="torch==2.13.0+cpu", index=None, notes=("a note",)))
    assert "torch==2.13.0+cpu" in text
    assert "a note" in text
