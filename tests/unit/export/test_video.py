import subprocess
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from trellis.errors import Cancelled, InvalidInputError
from trellis.export.video import write_video


def moving_square(count: int) -> Iterator[np.ndarray]:
    for index in range(count):
        frame = np.full((64, 96, 3), 30, dtype=np.uint8)
        frame[16:48, 4 * index : 4 * index + 32] = (200, 80, 40)
        yield frame


def test_a_video_reads_back(tmp_path: Path) -> None:
    path = write_video(tmp_path / "new" / "turn.mp4", moving_square(10), fps=10)
    reader = imageio_ffmpeg.read_frames(str(path))
    facts = next(reader)
    frames = [np.frombuffer(data, np.uint8).reshape(64, 96, 3) for data in reader]
    assert facts["size"] == (96, 64) and facts["fps"] == 10 and len(frames) == 10
    for frame, source in zip(frames, moving_square(10)):
        assert np.abs(frame.astype(int) - source).mean() < 4
    told = subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path)], capture_output=True, text=True).stderr
    assert "h264 (Main)" in told and "yuv420p" in told
    assert [item.name for item in path.parent.iterdir()] == ["turn.mp4"]


def test_a_cancelled_video_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "turn.mp4"
    path.write_bytes(b"older")

    def frames() -> Iterator[np.ndarray]:
        yield from moving_square(3)
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        write_video(path, frames())
    assert path.read_bytes() == b"older" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "at least one frame"),
        ([np.zeros((64, 60, 3), np.uint8)], "multiples of 16"),
        ([np.zeros((64, 64, 4), np.uint8)], r"\[H, W, 3\]"),
        ([np.zeros((64, 64, 3), np.float32)], "uint8"),
        ([np.zeros((64, 64, 3), np.uint8), np.zeros((64, 32, 3), np.uint8)], "one size"),
    ],
)
def test_unusable_frames_are_refused(tmp_path: Path, frames: list[np.ndarray], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        write_video(tmp_path / "turn.mp4", frames)
    assert not list(tmp_path.iterdir())
