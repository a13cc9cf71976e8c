"""How much of a card a program may use: context and libraries count like torch's own memory (a stand-in for CUDA)."""

from types import SimpleNamespace

import pytest
import torch

from trellis import runtime
from trellis.app.presets import BY_MEMORY, PRESETS, choose_preset
from trellis.errors import InvalidInputError
from trellis.memory import GIB
from trellis.runtime import CONTEXT_BYTES, LATER_BYTES, Runtime, available_bytes, free_bytes, limit_memory

CUDA = torch.device("cuda", 0)


class Card:
    """A card as torch.cuda shows it; sizes in bytes."""

    def __init__(self, total: float, *, context: float = 0.4 * GIB, others: float = 0.0) -> None:
        self.total, self.context, self.others = int(total), int(context), int(others)
        self.reserved = self.allocated = 0
        self.fraction = 1.0

    @property
    def free(self) -> int:
        return self.total - self.context - self.others - self.reserved

    def hold(self, size: float) -> None:
        """Let torch reserve and use so many bytes, as its allocator would."""
        assert size <= self.fraction * self.total and size - self.reserved <= self.free
        self.reserved = self.allocated = int(size)


def use(card: Card, monkeypatch: pytest.MonkeyPatch) -> Card:
    def limit(fraction: float, device: int) -> None:
        card.fraction = fraction

    stand_ins = {
        "mem_get_info": lambda device: (card.free, card.total),
        "memory_reserved": lambda device: card.reserved,
        "memory_allocated": lambda device: card.allocated,
        "get_device_properties": lambda device: SimpleNamespace(total_memory=card.total),
        "set_per_process_memory_fraction": limit,
        "get_per_process_memory_fraction": lambda device: card.fraction,
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, stand_in, raising=False)
    monkeypatch.setattr(runtime, "_limits", {})
    return card


@pytest.mark.parametrize("limit", [2.5, 4, 6, 8])
@pytest.mark.parametrize("context", [0.2, 0.5])
def test_a_limit_holds_for_the_whole_card(limit: float, context: float, monkeypatch: pytest.MonkeyPatch) -> None:
    card = use(Card(140 * GIB, context=context * GIB), monkeypatch)
    limit_memory(CUDA, int(limit * GIB))
    assert available_bytes(CUDA) == int(limit * GIB)
    tensors = free_bytes(CUDA)
    assert tensors is not None and limit * GIB - tensors == pytest.approx(context * GIB + LATER_BYTES, abs=1024)
    card.hold(tensors)
    card.context += LATER_BYTES  # what libraries take later
    assert card.total - card.free <= limit * GIB
    assert available_bytes(CUDA) == int(limit * GIB)


def test_other_programs_do_not_eat_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    use(Card(12 * GIB, others=4 * GIB), monkeypatch)
    limit_memory(CUDA, 4 * GIB)
    tensors = free_bytes(CUDA)
    assert tensors is not None and tensors >= 4 * GIB - CONTEXT_BYTES - LATER_BYTES - 1024


def test_limits_that_leave_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    use(Card(8 * GIB), monkeypatch)
    for size in (0, LATER_BYTES, 9 * GIB):
        with pytest.raises(InvalidInputError, match=r"between 0\.9 GiB and the card\'s 8\.0 GiB"):
            limit_memory(CUDA, size)


@pytest.mark.parametrize("name", BY_MEMORY)
def test_auto_takes_a_preset_that_fits_the_card(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is the card before the program: its context is not to be subtracted twice, nor left out."""
    needs = PRESETS[name].needs
    card = use(Card(needs), monkeypatch)
    assert choose_preset("auto", Runtime(device=CUDA)) == name
    card.hold(GIB)
    assert choose_preset("auto", Runtime(device=CUDA)) == name
    smaller = use(Card(needs - 1), monkeypatch)
    assert choose_preset("auto", Runtime(device=CUDA)) != name or name == BY_MEMORY[-1]
    assert smaller.reserved == 0
    use(Card(140 * GIB), monkeypatch)
    limit_memory(CUDA, needs)
    assert choose_preset("auto", Runtime(device=CUDA)) == name
