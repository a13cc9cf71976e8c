"""Tables and searches give the same answers."""

import pytest
import torch

from trellis.representations import flexicubes, key_index
from trellis.representations.key_index import KeyIndex, unique_keys

SIDE = 7


@pytest.fixture(params=["table", "search"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "search":
        monkeypatch.setattr(key_index, "DENSE_VERTICES", 0)
    monkeypatch.setattr(key_index, "CPU_SHARE", 1000)
    return request.param


@pytest.mark.usefixtures("way")
def test_keys_are_found_also_from_outside() -> None:
    keys = torch.tensor([0, 3, 50, SIDE**3 - 1])
    index = KeyIndex(keys, SIDE)
    step = SIDE * SIDE + SIDE + 1
    queries = torch.tensor([3, -step, 0, SIDE**3 - 1 + step, 49, 50, SIDE**3 - 1])
    assert index.find(queries).tolist() == [1, -1, 0, -1, -1, 2, 3]
    assert index.find(queries - 2, 2).tolist() == [1, -1, 0, -1, -1, 2, 3]
    assert KeyIndex(keys[:0], SIDE).find(queries).tolist() == [-1] * 7
    values = torch.tensor([9, 0, 7, 8])
    assert KeyIndex(keys, SIDE, values).find(queries).tolist() == [0, -1, 9, -1, -1, 7, 8]


@pytest.mark.usefixtures("way")
def test_unique_keys() -> None:
    keys = torch.tensor([5, 1, 342])
    assert unique_keys(keys, [0, -4, 0], SIDE).tolist() == [-3, 1, 5, 338, 342]
    assert unique_keys(keys[:0], [0, 1], SIDE).tolist() == []


def test_both_ways_extract_the_same_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    coords = torch.cartesian_prod(*[torch.arange(9)] * 3)[torch.randperm(729, generator=generator)[:400]]
    feats = torch.randn(400, 101, generator=generator)
    monkeypatch.setattr(key_index, "CPU_SHARE", 1000)
    by_table = flexicubes.extract_mesh(coords, feats, resolution=9)
    monkeypatch.setattr(key_index, "DENSE_VERTICES", 0)
    by_search = flexicubes.extract_mesh(coords, feats, resolution=9)
    assert len(by_table.faces) > 500
    assert torch.equal(by_table.vertices, by_search.vertices) and torch.equal(by_table.faces, by_search.faces)
