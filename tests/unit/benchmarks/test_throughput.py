"""The picture of how busy accelerator and cores were, and what is said of them."""

import pytest

from benchmarks.throughput import Use


def test_use_is_averaged_and_drawn() -> None:
    use = Use([(float(second), 100.0 * (second % 2), 50.0, 1 << 30) for second in range(1, 11)])
    assert use.mean(1) == pytest.approx(50) and use.mean(2) == 50
    picture = use.drawn("30 assets a minute")
    colours = {colour for _, colour in picture.getcolors(1 << 20)}
    assert {(0, 128, 0), (0, 0, 255)} <= colours


def test_samples_are_taken_while_something_goes_on() -> None:
    with Use().watched() as use:
        while len(use.rows) < 2:
            pass
    assert use.rows[1][0] > use.rows[0][0] and use.rows[0][3] > 1 << 20
