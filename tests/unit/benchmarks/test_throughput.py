"""What is told of how busy accelerator and cores were."""

from benchmarks.measures import sampled
from benchmarks.throughput import used


def test_samples_are_taken_while_something_goes_on() -> None:
    with sampled(used, 0.01) as use:
        while len(use) < 2:
            pass
    assert use[1][0] > use[0][0] and use[0][3] > 1 << 20
    assert all(0 <= percent <= 100 for row in use for percent in row[1:3])
