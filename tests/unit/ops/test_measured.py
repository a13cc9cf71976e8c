"""What is measured on a GPU is measured once a machine, not once a program."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from trellis.ops import fastest, measured

GPU, CPU = torch.device("meta"), torch.device("cpu")  # any accelerator will do


@pytest.fixture(autouse=True)
def nothing_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastest, "synchronize", lambda device: None)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRELLIS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "measured.json"


def choose(
    device: torch.device = GPU, *, ways: tuple[int | None, ...] = (None, 3), question: str = "a"
) -> list[object]:
    """The ways that were run to find the fastest."""
    tried: list[object] = []

    def run(way: int | None) -> Tensor:
        tried.append(way)
        return torch.ones(2)

    assert fastest.fastest(run, ways, device, question=question) in ways
    return tried


def test_a_question_is_measured_once(path: Path) -> None:
    assert len(choose()) > 2 and not choose()
    assert choose(question="b") and choose(ways=(None, 4)) and choose(CPU) and choose(CPU)
    answers = json.loads(path.read_text())
    assert [len(questions) for questions in answers.values()] == [3]


def test_the_answer_is_that_of_before(path: Path) -> None:
    choose()
    content = path.read_text()
    (machine,) = answers = json.loads(content)
    (question,) = answers[machine]
    for seconds, expected in (({"None": 1.0, "3": 2.0}, None), ({"None": 2.0, "3": 1.0}, 3), ({"3": 9.0}, 3)):
        path.write_text(json.dumps({machine: {question: seconds}}))
        assert fastest.fastest(lambda way: torch.ones(2), (None, 3), GPU, question="a") == expected


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": 1}', '{"x": {}}'])
def test_a_file_of_something_else_is_replaced(path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    assert choose() and not choose()


def test_another_torch_measures_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choose()
    monkeypatch.setattr(measured.torch, "__version__", "9.9")
    assert choose() and not choose()


def test_without_a_place_to_write_to_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRELLIS_CACHE", str(tmp_path / "file" / "below"))
    assert choose() and choose()
