"""Residency of networks: loaded once, moved as told, given back after a failure; stages that lack memory go on."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from trellis import memory
from trellis.errors import CheckpointError, InvalidInputError
from trellis.memory import Effort, MemoryPlan, ModelHost

DEVICE = torch.device("meta")  # a device that any machine has and that is not the CPU
CPU = torch.device("cpu")


class Net(nn.Linear):
    """A network whose torso has a precision."""

    config = "its configuration"

    def __init__(self) -> None:
        super().__init__(2, 2)

    @property
    def torso_dtype(self) -> torch.dtype:
        return self.weight.dtype

    def set_precision(self, dtype: torch.dtype) -> None:
        self.to(dtype)


def host(residency: str, device: torch.device = DEVICE, **options: Any) -> tuple[ModelHost, list[str]]:
    loads: list[str] = []

    def loader(role: str) -> Callable[[], nn.Module]:
        def load() -> nn.Module:
            loads.append(role)
            return Net()

        return load

    loaders = {role: loader(role) for role in ("net", "second", "third")}
    return ModelHost(loaders, device=device, plan=MemoryPlan(residency=residency, **options)), loads


def place(models: ModelHost, role: str) -> str:
    return next(models._network(role).model.parameters()).device.type


def test_a_network_is_loaded_once_and_kept_on_the_device() -> None:
    keep, loads = host("keep")
    with keep.on_device("net") as first:
        assert not first.training and not first.weight.requires_grad
    with keep.on_device("net") as second:
        assert second is first and second.weight.device == DEVICE
    assert loads == ["net"]


def test_offload_gives_the_device_back_even_after_a_failure() -> None:
    offload, _ = host("offload")
    before = offload._network("net").model.weight.clone()
    with pytest.raises(ValueError, match="stage"), offload.on_device("net") as model:
        assert model.weight.device == DEVICE
        raise ValueError("stage failed")
    assert place(offload, "net") == "cpu"
    assert torch.equal(offload._network("net").model.weight, before)


def test_offload_works_inside_inference_mode() -> None:
    offload, _ = host("offload", CPU)
    with torch.inference_mode(), offload.on_device("net") as model:
        model(torch.ones(1, 2))
    assert not offload._network("net").model.weight.is_inference()


def test_a_budget_keeps_the_networks_used_last() -> None:
    size = 6 * 4
    models, loads = host("budget", budget=2 * size)
    for role in ("net", "second", "net", "third"):
        with models.on_device(role):
            pass
    assert [place(models, role) for role in ("net", "second", "third")] == ["meta", "cpu", "meta"]
    assert loads == ["net", "second", "third"]


def test_a_configuration_is_read_without_the_device() -> None:
    keep, _ = host("keep")
    assert keep.config("net") == "its configuration"
    assert place(keep, "net") == "cpu"


def test_unknown_role_and_residency_name_the_known_ones() -> None:
    keep, _ = host("keep")
    with pytest.raises(InvalidInputError, match="it has net"), keep.on_device("other"):
        pass
    with pytest.raises(InvalidInputError, match="keep, offload, budget"):
        MemoryPlan(residency="somewhere")
    with pytest.raises(InvalidInputError, match="budget"):
        MemoryPlan(residency="budget")
    with pytest.raises(InvalidInputError, match="auto, on, off"):
        MemoryPlan(graphs="always")
    with pytest.raises(InvalidInputError, match="chunk_bytes"):
        MemoryPlan(chunk_bytes=0)


@pytest.mark.parametrize("options", [{"residency": "offload"}, {"residency": "budget", "budget": 1000}])
def test_a_stage_that_lacks_memory_goes_on_with_less(options: dict[str, Any]) -> None:
    models, _ = host(**options)
    with models.on_device("second"):
        pass
    tried: list[Effort] = []

    def work(model: nn.Module, effort: Effort) -> str:
        tried.append(effort)
        assert place(models, "net") == effort.device.type
        if len(tried) > 1:
            assert place(models, "second") == "cpu"  # the others made room
        if effort.device.type != "cpu":
            raise torch.OutOfMemoryError("out of memory")
        return "done"

    assert models.run("net", work) == "done"
    assert [effort.device.type for effort in tried] == ["meta", "meta", "meta", "cpu"]
    assert [effort.together for effort in tried] == [True, False, False, False]
    sizes = [effort.chunk_bytes for effort in tried[:3]]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 3
    notes = models.take_notes()
    assert notes == ("Memory was short: net ran in smaller pieces.", "Memory was short: net ran on the CPU.")
    assert models.take_notes() == ()


def test_the_last_way_out_fails_openly_and_other_errors_at_once() -> None:
    models, _ = host("keep", CPU)
    calls: list[int] = []

    def short(model: nn.Module, effort: Effort) -> None:
        calls.append(1)
        raise MemoryError

    with pytest.raises(MemoryError):
        models.run("net", short)
    assert len(calls) == 3

    def broken(model: nn.Module, effort: Effort) -> None:
        calls.append(1)
        raise RuntimeError("a fault")

    with pytest.raises(RuntimeError, match="a fault"):
        models.run("net", broken)
    assert len(calls) == 4


def test_a_tight_device_starts_with_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    models, _ = host("keep")
    monkeypatch.setattr(memory, "free_bytes", lambda device: memory.ROOMY - 1)
    assert models.run("net", lambda model, effort: effort.together) is False
    monkeypatch.setattr(memory, "free_bytes", lambda device: memory.ROOMY)
    assert models.run("net", lambda model, effort: effort.together) is True
    assert models.take_notes() == ()


class Chain(nn.Module):
    """Blocks and an end; `seen` says after each block's work where the weights of all were during it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[str]] = []
        self.blocks_in_order = nn.ModuleList(ChainBlock(self.seen, self) for _ in range(2))
        self.end = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks_in_order:
            x = block(x)
        return self.end(x)


class ChainBlock(nn.Linear):
    def __init__(self, seen: list[list[str]], chain: Chain) -> None:
        super().__init__(8, 8)
        self.look = lambda: seen.append([value.device.type for value in chain.parameters() if value.ndim == 2])

    def forward(self, x: Tensor) -> Tensor:
        self.look()
        return super().forward(x)


@pytest.mark.parametrize("residency", ["keep", "offload"])
def test_a_network_larger_than_its_device_comes_block_by_block(residency: str, monkeypatch: pytest.MonkeyPatch) -> None:
    models = ModelHost({"net": Chain}, device=DEVICE, plan=MemoryPlan(residency=residency))
    chain = models._network("net").model
    weights = [value.clone() for value in chain.parameters()]
    monkeypatch.setattr(memory, "free_bytes", lambda device: models._network("net").size)

    def work(model: nn.Module, effort: Effort) -> bool:
        model(torch.zeros(2, 8, device=DEVICE))
        return effort.streamed

    with torch.inference_mode():
        assert models.run("net", work) is True
    assert chain.seen == [["meta", "cpu", "meta"], ["cpu", "meta", "meta"]]
    assert models.take_notes() == ("Memory was short: net ran block by block.",)
    assert all(torch.equal(old, new) for old, new in zip(weights, chain.parameters(), strict=True))
    assert not any(value.is_inference() for value in chain.parameters())
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1 << 40)
    assert models.run("net", lambda model, effort: effort.streamed) is False


def test_room_is_left_for_work_without_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    models, _ = host("budget", budget=1000)
    for role in ("net", "second", "third"):
        with models.on_device(role):
            pass
    free = iter([0, memory.ROOMY])
    monkeypatch.setattr(memory, "free_bytes", lambda device: next(free))
    models.leave_room()
    assert [place(models, role) for role in ("net", "second", "third")] == ["cpu", "meta", "meta"]


def test_an_overflow_is_run_again_in_float32_and_noted() -> None:
    models, _ = host("keep", CPU)
    models._network("net").model.half()
    dtypes: list[torch.dtype] = []

    def work(model: nn.Linear, effort: Effort) -> Tensor:
        dtypes.append(model.weight.dtype)
        large = torch.full((1,), 60000.0, dtype=model.weight.dtype)
        return large * 2

    result = models.run("net", work, values=lambda x: x)
    assert dtypes == [torch.float16, torch.float32]
    assert float(result) == 120000
    assert models.take_notes() == ("net overflowed in float16 and was run again in float32.",)
    assert models._network("net").model.weight.dtype == torch.float16


class Upload:
    """Weights under way to a device that has no streams; says when they were waited for."""

    waited: ClassVar[list[int]] = []

    def __init__(self, masters: Sequence[Tensor], device: torch.device) -> None:
        self._values = [master.to(device) for master in masters]

    def values(self) -> list[Tensor]:
        self.waited.append(len(self._values))
        return self._values


def under_way(models: ModelHost) -> list[str]:
    return [role for role, network in models._networks.items() if network._coming is not None]


@pytest.fixture
def uploads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    monkeypatch.setattr(memory, "_Upload", Upload)
    monkeypatch.setattr(memory, "free_bytes", lambda device: 2 * memory.ROOMY)
    monkeypatch.setattr(Upload, "waited", [])
    return Upload.waited


def test_the_next_network_comes_while_one_works(uploads: list[int]) -> None:
    models, _ = host("offload")
    roles = ("net", "second", "third")
    for role in roles:
        models._network(role)
    seen = []
    with models.in_order(roles):
        for role in roles:
            seen.append(models.run(role, lambda model, effort: under_way(models)))
    assert seen == [["second"], ["third"], []]
    assert uploads == [2, 2]  # weight and bias of the second, of the third
    assert [place(models, role) for role in roles] == ["cpu"] * 3


def test_what_comes_in_vain_is_let_go(uploads: list[int]) -> None:
    models, _ = host("offload")
    for role in ("net", "second"):
        models._network(role)
    with pytest.raises(ValueError, match="stage"), models.in_order(("net", "second")):
        models.run("net", lambda model, effort: (_ for _ in ()).throw(ValueError("stage")))
    assert uploads == [2] and under_way(models) == []
    assert place(models, "second") == "cpu"


def test_nothing_comes_without_room_or_order(uploads: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    models, _ = host("budget", budget=30)  # one network has 24 bytes
    for role in ("net", "second"):
        models._network(role)
    with models.in_order(("net", "second")):
        assert models.run("net", lambda model, effort: under_way(models)) == []
    roomy, _ = host("offload")
    for role in ("net", "second"):
        roomy._network(role)
    assert roomy.run("net", lambda model, effort: under_way(roomy)) == []
    thrifty, _ = host("offload", together=False)
    for role in ("net", "second"):
        thrifty._network(role)
    with thrifty.in_order(("net", "second")):
        assert thrifty.run("net", lambda model, effort: under_way(thrifty)) == []
    monkeypatch.setattr(memory, "free_bytes", lambda device: memory.ROOMY + 10)
    with roomy.in_order(("net", "second")):
        assert roomy.run("net", lambda model, effort: under_way(roomy)) == []


def test_networks_of_another_host_are_lent_under_this_plan() -> None:
    (mine, _), (other, loads) = host("offload"), host("offload")
    with other.on_device("net") as before:
        pass
    mine.adopt(other, ["net"])
    with mine.on_device("net") as network:
        assert network is before and place(mine, "net") == "meta"
    assert loads == ["net"] and place(mine, "net") == "cpu"
    newer, _ = host("offload")
    mine.adopt(newer, ["net"])
    with mine.on_device("net") as network:
        assert network is not before


def test_networks_are_read_while_others_work() -> None:
    read, (models, loads) = threading.Event(), host("keep")
    load = models._loaders["second"]

    def told() -> nn.Module:
        network = load()
        read.set()
        return network

    models._loaders["second"] = told
    with models.in_order(("net", "second", "third")):
        assert models.run("net", lambda model, effort: read.wait(10))
        models.run("second", lambda model, effort: None)
    assert loads[:2] == ["net", "second"]


def test_what_cannot_be_read_is_told_where_it_is_used() -> None:
    models, loads = host("keep")
    good = models._loaders["second"]

    def damaged() -> nn.Module:
        raise CheckpointError("second is damaged.")

    models._loaders["second"] = damaged
    with pytest.raises(CheckpointError, match="damaged"), models.in_order(("net", "second")):
        assert models.run("net", lambda model, effort: True)
        models.run("second", lambda model, effort: None)
    models._loaders["second"] = good
    with models.on_device("second"):
        assert loads == ["net", "second"]


def test_a_stage_that_ends_early_has_no_more_networks_read() -> None:
    go_on, (models, loads) = threading.Event(), host("keep")
    load = models._loaders["second"]

    def waits() -> nn.Module:
        assert go_on.wait(10)
        return load()

    models._loaders["second"] = waits
    with pytest.raises(ValueError, match="stage"), models.in_order(("net", "second", "third")):
        models.run("net", lambda model, effort: (_ for _ in ()).throw(ValueError("stage")))
    go_on.set()
    models._network("second")
    assert loads == ["net", "second"]  # not the third; the second, which had begun or not, once
