"""Work side by side on the CPU's threads."""

import threading
from collections.abc import Iterator

import pytest
import torch

from trellis.ops.rasterize import rasterize_triangles
from trellis.ops.warp_device import side_by_side

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_two_items_are_in_work_at_once_and_results_keep_their_order() -> None:
    meeting = threading.Barrier(2, timeout=30)  # breaks unless two threads come to it

    def work(item: int) -> tuple[int, bool]:
        meeting.wait()
        return 10 * item, torch.is_grad_enabled()

    assert list(side_by_side(work, range(6), device=CPU)) == [(10 * item, False) for item in range(6)]
    assert torch.is_grad_enabled()


def test_elsewhere_items_are_taken_one_after_the_other_as_they_are_asked_for() -> None:
    begun: list[int] = []
    results = side_by_side(lambda item: begun.append(item) or item, range(6), device=torch.device("meta"))
    assert next(results) == 0 and begun == [0]


def test_an_error_is_raised_in_its_turn_and_what_comes_after_is_not_begun() -> None:
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 1:
            raise ValueError("the second")
        return item

    results = side_by_side(work, range(100), device=CPU)
    assert next(results) == 0
    with pytest.raises(ValueError, match="the second"):
        list(results)
    assert len(begun) < 10


def test_kernels_draw_the_same_in_these_threads() -> None:
    draw = torch.Generator().manual_seed(0)
    scenes = [
        torch.cat([200 * torch.rand(90, 2, generator=draw), torch.rand(90, 1, generator=draw) + 1], 1) for _ in range(5)
    ]
    faces = torch.arange(90).view(30, 3).int()

    def drawn(points: torch.Tensor) -> torch.Tensor:
        return rasterize_triangles(points, faces, size=200, near=0.01, backend="warp").depth

    alone = [drawn(points) for points in scenes]
    assert all(depth.std() > 0.1 for depth in alone)
    for depth, expected in zip(side_by_side(drawn, scenes, device=CPU), alone, strict=True):
        assert torch.equal(depth, expected)
