"""What a run tells of itself: its log, curves and status, and TensorBoard's files where that is installed."""

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trellis.training.log import CURVES_FILE, LOG_FILE, Log, describe, draw_curves, read_log, status


def test_lines_are_read_back_and_drawn(tmp_path: Path) -> None:
    log = Log(tmp_path, 0, 0.0, batch=8, seconds=10.0)
    for step, loss in ((1, 3.0), (2, 2.0), (4, 1.0)):
        log.line(step, {"loss": loss}, fraction=step / 10, seconds=10 + 2 * step)
    log.line(4, {"held_out_loss": 1.5}, fraction=0.4, seconds=18.0)
    with (tmp_path / LOG_FILE).open("a") as file:
        file.write('5: {"loss": 0.')  # torn by a kill
    rows = read_log(tmp_path)
    assert list(rows) == [1, 2, 4] and rows[4]["loss"] == 1.0 and rows[4]["held_out_loss"] == 1.5
    assert [rows[4][name] for name in ("it_s", "objects_s")] == [0.5, 4.0] and rows[4]["left"] >= 0
    log.curves()
    assert (tmp_path / CURVES_FILE).is_file()
    lines = status(tmp_path.parent)
    assert lines[0].startswith(f"{tmp_path.name}: step 4") and "lowest 1.5 at step 4" in lines[2]
    Log(tmp_path, 1, 0.1, batch=8, seconds=0).line(
        2, {"loss": 9.0}, fraction=0.2, seconds=1
    )  # done again after resuming
    assert read_log(tmp_path)[2]["loss"] == 9.0


def test_curves_fall_where_the_loss_does() -> None:
    picture = np.asarray(draw_curves({1: {"loss": 3.0}, 50: {"loss": 2.0}, 100: {"loss": 1.0, "held_out_loss": 2.0}}))
    blue = (picture == [31, 119, 180]).all(2)[60:-59]
    rows, columns = blue.nonzero()
    assert rows[columns.argmin()] < 20 and rows[columns.argmax()] > 360  # from the top left to the bottom right
    assert draw_curves({}).size == (900, 500)


def test_time_left_is_told_in_hours_or_minutes() -> None:
    assert describe({"loss": 0.5, "left": 7321, "time": 1}) == "loss 0.5  2 h 2 min left"
    assert describe({"left": 61}) == "1 min 1 s left"


def test_tensorboard_gets_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []

    class Writer:
        def __init__(self, folder: str, purge_step: int) -> None:
            written.append((Path(folder).name, purge_step))

        def add_scalar(self, *values: Any) -> None:
            written.append(values)

    module = types.ModuleType("torch.utils.tensorboard")
    monkeypatch.setattr(module, "SummaryWriter", Writer, raising=False)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    Log(tmp_path, 7, 0.5, batch=1, seconds=0).line(7, {"loss": 2.0}, fraction=0.5, seconds=0)
    assert written == [("tb_logs", 7), ("loss", 2.0, 7)]
