"""Dealing of batches, limits of gradients, the factor of the loss, memory, and low-rank updates, by hand."""

from collections import Counter

import pytest
import torch
from torch import nn

from trellis.errors import InvalidInputError, TrellisError
from trellis.models import create_model, initialize_for_training
from trellis.training.batches import Batches, Loader, Place, deal
from trellis.training.elastic import LinearMemory
from trellis.training.lora import add_lora, merged
from trellis.training.numerics import LossScale, PercentileLimit
from trellis.training.processes import Exchange, Processes
from trellis.training.released_config import Lora, MemoryArgs
from trellis.training.run import half_precision

CPU = torch.device("cpu")
WEIGHTS = [5, 9, 1, 7, 3, 8, 2, 6, 4, 10]


def batches(rank: int, count: int, size: int = 4, split: int = 1) -> Batches:
    return Batches(WEIGHTS, size=size, processes=Processes(rank, count), split=split, seed=3)


def test_the_heaviest_goes_first_to_the_lightest() -> None:
    assert deal([9, 1, 8, 2], 2) == [[0, 1], [2, 3]]
    assert deal([9, 9, 1], 2) == [[0, 2], [1]]
    assert deal([1], 3) == [[0]]


def test_an_epoch_sees_every_object_once_whatever_the_processes() -> None:
    seen: Counter[int] = Counter()
    for step in range(5):  # two epochs
        whole = {place for part in batches(0, 1).parts(step) for place in part}
        dealt = [place for rank in (0, 1) for part in batches(rank, 2, split=2).parts(step) for place in part]
        assert set(dealt) == whole and len(dealt) == 4
        assert sorted(place.index for place in whole) == [0, 1, 2, 3]
        seen.update(place.number for place in whole)
    assert set(seen.values()) == {2} and len(seen) == len(WEIGHTS)
    first = [p.number for s in range(2) for p in sorted(batches(0, 1).parts(s)[0], key=lambda p: p.index)]
    second = [p.number for s in range(5, 7) for p in sorted(batches(0, 1).parts(s)[0], key=lambda p: p.index)]
    assert first != second  # other orders in other epochs
    with pytest.raises(InvalidInputError, match="cannot be dealt to 3"):
        batches(0, 3)


def test_a_run_goes_on_where_it_was_with_batches_of_another_size() -> None:
    position = batches(0, 1).position(3)
    assert position == {"epoch": 1, "idx": 2}
    later = batches(0, 1, size=2)
    later.move_to(3, position)
    whole = [p for s in range(6) for p in sorted(batches(0, 1, size=2).parts(s)[0], key=lambda p: p.index)]
    assert [p.number for p in later.parts(3)[0]] != [] and later.position(3) == position
    after = [p for s in range(6, 8) for p in sorted(batches(0, 1, size=2).parts(s)[0], key=lambda p: p.index)]
    assert [p.number for p in sorted(later.parts(3)[0], key=lambda p: p.index)] == [p.number for p in after[:2]]
    assert len(whole) == 12


def test_objects_are_read_ahead_and_their_faults_are_told() -> None:
    read: list[int] = []

    def load(step: int, place: Place) -> tuple[int, int]:
        if step == 3:
            raise InvalidInputError("damaged")
        read.append(step)
        return step, place.number

    loader = Loader(load, batches(0, 1, split=2), prefetch=True)
    expected = [[(0, place.number) for place in part] for part in batches(0, 1, split=2).parts(0)]
    assert loader.take(0) == expected
    assert loader.take(1)[0][0][0] == 1 and max(read) >= 1
    assert loader.take(0) == expected  # back, as after resuming
    with pytest.raises(InvalidInputError, match="damaged"):
        loader.take(3)


def test_the_limit_falls_to_a_percentile_of_the_last_norms() -> None:
    weight = nn.Parameter(torch.zeros(1))
    limit = PercentileLimit(1.0, 50, 4, CPU)

    def clipped(norm: float) -> float:
        weight.grad = torch.tensor([norm])
        limit.clip([weight], torch.tensor(norm))
        assert weight.grad is not None
        return float(weight.grad)

    assert [clipped(norm) for norm in (0.1, 0.2, 0.3, 4.0)] == pytest.approx([0.1, 0.2, 0.3, 1.0], abs=1e-3)
    again, kept = PercentileLimit(1.0, 50, 4, CPU), limit.state()
    assert clipped(2.0) == pytest.approx(0.25, abs=1e-3)  # the median of the four
    again.load(kept)  # of what was, whatever came since
    weight.grad = torch.tensor([2.0])
    again.clip([weight], torch.tensor(2.0))
    assert float(weight.grad) == pytest.approx(0.25, abs=1e-3)


def test_the_factor_grows_slowly_and_falls_at_once() -> None:
    scale = LossScale(0.001)
    assert scale.factor == 2**20
    assert scale.accepts(torch.tensor(3.0)) and scale.exponent == pytest.approx(20.001)
    assert not scale.accepts(torch.tensor(float("inf"))) and scale.exponent == pytest.approx(19.001)
    fixed = LossScale()
    assert not fixed.accepts(torch.tensor(float("nan"))) and fixed.factor == 1
    with pytest.raises(TrellisError, match="no longer finite"):
        for _ in range(200):
            fixed.accepts(torch.tensor(float("nan")))


def test_precisions() -> None:
    assert half_precision("auto", "inflat_all", CPU) is None
    assert half_precision("float16", "inflat_all", CPU) == torch.float16
    assert half_precision("bfloat16", None, CPU) is None


def test_memory_is_filled_to_the_wanted_share() -> None:
    used = {}

    def peak(device: torch.device) -> int:
        return int(100 + used["size"] * (1 + 2 * used["kept"]))

    memory = LinearMemory(MemoryArgs(), CPU, total=lambda device: 1000, peak=peak)
    for number in range(12):
        size = 100 + 40 * number
        used = {"size": size, "kept": memory.kept(size)}
        with memory.limited(nn.Module(), size):
            pass
        assert peak(CPU) <= 760
    assert memory.kept(300) == pytest.approx((750 - 100 - 300) / 600, abs=0.01)
    assert memory.kept(100) == 1 and memory.kept(5000) == 0
    assert LinearMemory(MemoryArgs(), CPU, total=lambda device: None).kept(10**9) == 1


def test_blocks_are_recomputed_as_the_memory_asks_for() -> None:
    args = {"resolution": 2, "in_channels": 4, "out_channels": 4, "model_channels": 16, "cond_channels": 8,
            "num_blocks": 4, "num_heads": 2, "patch_size": 1}  # fmt: skip
    network = create_model("SparseStructureFlowModel", args).train()
    network.recomputed = 0.5
    assert [network.recomputes(index, 4) for index in range(4)] == [True, True, False, False]
    initialize_for_training(network)
    nn.init.normal_(network.get_submodule("out_layer").weight)  # type: ignore[arg-type]
    x, t, cond = torch.randn(1, 4, 2, 2, 2), torch.tensor([300.0]), torch.randn(1, 3, 8)

    def gradient() -> torch.Tensor:
        network.zero_grad()
        network(x, t, cond).square().sum().backward()
        found = network.get_parameter("input_layer.weight").grad
        assert found is not None and found.any()
        return found.clone()

    half = gradient()
    network.recomputed = 0.0
    assert torch.equal(gradient(), half)


def test_updates_are_the_merged_weights() -> None:
    args = {"resolution": 2, "in_channels": 4, "out_channels": 4, "model_channels": 16, "cond_channels": 8,
            "num_blocks": 2, "num_heads": 2, "patch_size": 1}  # fmt: skip
    network = create_model("SparseStructureFlowModel", args).train()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    x, t, cond = torch.randn(1, 4, 2, 2, 2), torch.tensor([300.0]), torch.randn(1, 3, 8)
    before = network(x, t, cond).detach()
    add_lora(network, rank=3, alpha=6.0)
    assert torch.equal(network(x, t, cond), before)
    trained = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    assert len(trained) == 2 * 2 * 7 and all(
        "lora_" in name for name in trained
    )  # qkv, out, q, kv, out, two of the MLP
    for name, parameter in network.named_parameters():
        if "lora_" in name:
            nn.init.normal_(parameter, std=0.2)
    after = network(x, t, cond).detach()
    plain = create_model("SparseStructureFlowModel", args)
    plain.load_state_dict(merged(network.state_dict(), Lora(rank=3, alpha=6.0)))
    assert torch.allclose(plain.train()(x, t, cond), after, atol=1e-4) and not torch.allclose(after, before, atol=1e-2)
    with pytest.raises(InvalidInputError, match="no attention"):
        add_lora(nn.Linear(2, 2), rank=1, alpha=1)


def test_what_processes_tell_is_known_one_step_later() -> None:
    exchange = Exchange(Processes(), torch.device("cpu"))
    assert exchange.tell(1.0, 0.5) is None
    assert exchange.tell(0.0, 0.75) == [1.0, 0.5] and exchange.tell(0.0, 1.0) == [0.0, 0.75]
