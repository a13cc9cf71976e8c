"""Memory over the time of one run, with marks where stages begin: samples, and a chart of them as a PNG.

On a CUDA device the memory is what torch's tensors hold there; on a CPU it is what the whole process holds.
"""

import threading
import time
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont

from trellis.atomic import write_bytes
from trellis.runtime import allocated_bytes, synchronize

GIB = 1 << 30
INTERVAL = 0.002  # seconds between samples
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 1200, 420, 70, 34, 150
LINE, FILL, GRID, TEXT = "#1f5fa8", "#cfe0f3", "#d8d8d8", "#222222"


@dataclass
class Timeline:
    """Samples the memory of a device in a thread while its body runs: `with Timeline(device) as timeline`.

    samples: (seconds since the start, bytes); marks: (seconds, name of the stage that begins).
    """

    device: torch.device
    samples: list[tuple[float, int]] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list)

    def __enter__(self) -> "Timeline":
        self._ended = threading.Event()
        self._began = time.perf_counter()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        synchronize(self.device)
        self._look()
        self.samples.sort()  # two threads looked

    def mark(self, stage: str) -> None:
        """A stage begins now, what was begun before is done."""
        synchronize(self.device)
        self.marks.append((time.perf_counter() - self._began, stage))
        self._look()

    def _watch(self) -> None:
        while not self._ended.wait(INTERVAL):
            self._look()

    def _look(self) -> None:
        held = allocated_bytes(self.device) if self.device.type != "cpu" else resident_bytes()
        self.samples.append((time.perf_counter() - self._began, held))

    def record(self) -> dict[str, Any]:
        """Everything sampled, for a JSON file; not more than some 2,000 samples, peaks kept."""
        step = max(1, len(self.samples) // 2000)
        pieces = [self.samples[at : at + step] for at in range(0, len(self.samples), step)]
        kept = [max(piece, key=lambda sample: sample[1]) for piece in pieces]
        return {"samples": [[round(at, 4), held] for at, held in kept], "marks": self.marks}

    def peaks(self) -> list[tuple[str, float, int]]:
        """(stage, seconds, largest number of bytes) of every marked stage."""
        ends = [at for at, _ in self.marks[1:]] + [self.samples[-1][0]]
        rows = []
        for (begin, stage), end in zip(self.marks, ends):
            held = [size for at, size in self.samples if begin <= at <= end]
            rows.append((stage, end - begin, max(held, default=0)))
        return rows

    def draw(self, path: Path, *, title: str) -> Path:
        """Write the chart as a PNG; returns where."""
        picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
        pen, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
        length = max(self.samples[-1][0], 1e-9)
        top = max(size for _, size in self.samples) / GIB
        step = next(s for s in (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 50) if top / s <= 8)
        ceiling = step * (int(top / step) + 1)

        def place(at: float, gib: float) -> tuple[float, float]:
            return LEFT + at / length * (WIDTH - LEFT - 20), TOP + (1 - gib / ceiling) * (HEIGHT - TOP - BOTTOM)

        for index in range(int(ceiling / step) + 1):
            x, y = place(0, index * step)
            pen.line([(x, y), (WIDTH - 20, y)], fill=GRID)
            pen.text((x - 8, y), f"{index * step:g}", fill=TEXT, font=font, anchor="rm")
        points = [place(at, size / GIB) for at, size in self.samples]
        base = place(0, 0)[1]
        pen.polygon([(points[0][0], base), *points, (points[-1][0], base)], fill=FILL)
        pen.line(points, fill=LINE, width=2)
        for index, (at, _) in enumerate(self.marks):
            pen.line([(place(at, 0)[0], TOP), (place(at, 0)[0], base + 22 + 19 * (index % 7))], fill="#888888")
        for index, ((at, stage), (_, seconds, size)) in enumerate(zip(self.marks, self.peaks())):
            text = f"{stage} {seconds * 1e3:.0f} ms, {size / GIB:.2f} GiB"
            x, y = place(at, 0)[0] + 4, base + 8 + 19 * (index % 7)
            x = min(x, WIDTH - 10 - pen.textlength(text, font=font))
            pen.rectangle(pen.textbbox((x, y), text, font=font), fill="white")
            pen.text((x, y), text, fill=TEXT, font=font)
        pen.text((LEFT, 8), f"{title} (GiB over {length:.2f} s)", fill=TEXT, font=font)
        packed = BytesIO()
        picture.save(packed, "PNG", optimize=True)
        return write_bytes(path, packed.getvalue())


def resident_bytes() -> int:
    """Bytes of memory that this process holds now; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * 4096
