"""What a run tells of itself: lines on the terminal, log.txt, TensorBoard's files where that is installed, curves."""

import json
import logging
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from trellis.atomic import written_aside

LOG_FILE, CURVES_FILE, BOARD_FOLDER = "log.txt", "loss.png", "tb_logs"
HELD_OUT = "held_out_"  # begins the names of what is measured on objects that are not trained on
_WIDTH, _HEIGHT, _EDGE = 900, 500, 60  # pixels
_LINES = {"loss": "#1f77b4", f"{HELD_OUT}loss": "#d62728"}

logger = logging.getLogger(__name__)


class Log:
    """Numbers of steps, as lines `step: {json}` of the run's log.txt and on the terminal."""

    def __init__(self, folder: Path, step: int, fraction: float, *, batch: int, seconds: float) -> None:
        """batch: objects of a step; seconds: spent on the steps before."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._batch = folder, batch
        path = folder / LOG_FILE
        if path.is_file() and not path.read_bytes().endswith(b"\n"):
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")  # a killed process may have left its last line torn
        self._last, self._began = (step, seconds), (fraction, time.perf_counter())
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._board: Any = None
            logger.info("no TensorBoard files: its package is not installed")
        else:
            self._board = SummaryWriter(str(folder / BOARD_FOLDER), purge_step=step)

    def line(self, step: int, numbers: Mapping[str, float], *, fraction: float, seconds: float) -> None:
        """Write the numbers of a step.

        fraction: of the plan that is done, from which the time left follows, pictures and all; seconds: spent on steps
        alone, from which their pace follows.
        """
        numbers = dict(numbers)
        if step > self._last[0]:
            numbers["it_s"] = (step - self._last[0]) / max(1e-9, seconds - self._last[1])
            numbers["objects_s"] = self._batch * numbers["it_s"]
            self._last = step, seconds
        if fraction > self._began[0]:
            passed = time.perf_counter() - self._began[1]
            numbers["left"] = round(passed * (1 - fraction) / (fraction - self._began[0]))
        logger.info("step %d  %s", step, describe(numbers))
        with (self._folder / LOG_FILE).open("a", encoding="utf-8") as file:
            file.write(f"{step}: {json.dumps({**numbers, 'time': round(time.time())})}\n")
        for name, value in numbers.items():
            if self._board is not None:
                self._board.add_scalar(name, value, step)

    def picture(self, name: str, picture: Image.Image, step: int) -> None:
        """Keep a picture of the step in samples/."""
        with written_aside(self._folder / "samples" / f"{name}_step{step:07d}.png") as aside:
            picture.save(aside)

    def curves(self) -> None:
        """Draw the losses so far as loss.png."""
        with written_aside(self._folder / CURVES_FILE) as aside:
            draw_curves(read_log(self._folder)).save(aside)


def describe(numbers: Mapping[str, float]) -> str:
    """Numbers in one line."""
    words = [f"{name} {value:.4g}" for name, value in numbers.items() if name not in ("left", "time")]
    if "left" in numbers:
        hours, seconds = divmod(int(numbers["left"]), 3600)
        words.append(f"{hours} h {seconds // 60} min left" if hours else f"{seconds // 60} min {seconds % 60} s left")
    return "  ".join(words)


def read_log(folder: Path) -> dict[int, dict[str, float]]:
    """The numbers of a log.txt by step, the latest of each; lines that a killed process left torn do not count."""
    found: dict[int, dict[str, float]] = defaultdict(dict)
    for line in (folder / LOG_FILE).read_text(encoding="utf-8").splitlines():
        step, _, content = line.partition(": ")
        try:
            numbers = json.loads(content)
            found[int(step)] |= numbers
        except ValueError:
            continue
    return dict(sorted(found.items()))


def draw_curves(rows: Mapping[int, Mapping[str, float]]) -> Image.Image:
    """The loss, and that of held-out objects, over the steps."""
    picture = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    draw = ImageDraw.Draw(picture)
    found = {name: [(step, row[name]) for step, row in rows.items() if name in row] for name in _LINES}
    points = [point for line in found.values() for point in line]
    if not points:
        return picture
    last, low, high = max(max(p[0] for p in points), 1), min(p[1] for p in points), max(p[1] for p in points)

    def place(step: int, value: float) -> tuple[float, float]:
        height = (value - low) / max(high - low, 1e-9)
        return _EDGE + (_WIDTH - 2 * _EDGE) * step / last, _HEIGHT - _EDGE - (_HEIGHT - 2 * _EDGE) * height

    draw.rectangle([_EDGE, _EDGE, _WIDTH - _EDGE, _HEIGHT - _EDGE], outline="gray")
    for number, (name, color) in enumerate(_LINES.items()):
        places = [place(*point) for point in found[name]]
        if len(places) > 1:
            draw.line(places, fill=color, width=2)
        draw.text((_EDGE + 150 * number, 20), name, fill=color)
    draw.text((5, _EDGE), f"{high:.4g}", fill="black")
    draw.text((5, _HEIGHT - _EDGE - 10), f"{low:.4g}", fill="black")
    draw.text((_WIDTH - _EDGE - 40, _HEIGHT - _EDGE + 10), f"{last:,}", fill="black")
    return picture


def status(folder: Path) -> list[str]:
    """How far the runs in a folder and in those inside it are, a few lines each."""
    lines = []
    for path in sorted([*folder.glob(LOG_FILE), *folder.glob(f"*/{LOG_FILE}")]):
        rows = read_log(path.parent)
        if not rows:
            continue
        step, numbers = list(rows.items())[-1]
        lines.append(f"{path.parent.name}: step {step:,}, {time.time() - numbers['time']:.0f} s ago")
        lines.append(f"  {describe(numbers)}")
        measured = {at: row[f"{HELD_OUT}loss"] for at, row in rows.items() if f"{HELD_OUT}loss" in row}
        if measured:
            lowest, last = min(measured, key=measured.__getitem__), max(measured)
            lines.append(f"  held-out loss {measured[last]:.4g}, the lowest {measured[lowest]:.4g} at step {lowest:,}")
    return lines
