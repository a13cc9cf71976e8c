"""What a command shows on the terminal: bars of progress, and what came out."""

from typing import Any

from trellis.app.jobs import JobOutcome
from trellis.app.likeness import ADVICE, UNLIKE, is_unlike, judged
from trellis.progress import Progress, StepInfo
from trellis.runtime import Runtime


class ProgressBars:
    """A `Progress` that draws one bar a stage with its time on the terminal."""

    def __enter__(self) -> Progress:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        self._bars = Bars(TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._tasks: dict[str, Any] = {}
        return Progress(self._show)

    def _show(self, info: StepInfo) -> None:
        if not self._tasks:
            self._bars.start()
        if info.label not in self._tasks:
            self._tasks[info.label] = self._bars.add_task(info.label, total=info.total)
        self._bars.update(self._tasks[info.label], completed=info.step, total=info.total)

    def __exit__(self, *exception: object) -> None:
        if self._tasks:
            self._bars.stop()


def print_summary(name: str, outcome: JobOutcome, *, seconds: float, operation: str = "generate") -> None:
    """One line a file with its size, the time taken, and what the user should know."""
    print(f"{name}: {seconds:.1f} s")
    for path in outcome.files.values():
        print(f"  {path}  {path.stat().st_size / 1e6:.2f} MB")
    for note in outcome.notes:
        print(f"  note: {note}")
    if outcome.notice:
        print(f"  {outcome.notice}")
    print_likeness(outcome.likeness, operation)
    if outcome.outside is not None:
        changed, psnr = outcome.outside["voxels_changed"], outcome.outside.get("psnr")
        agreement = "" if psnr is None else f", pictures agree to {psnr:.0f} dB"
        print(f"  outside of the boxes: {changed:.0f} voxels changed{agreement}")


def print_likeness(likeness: float | None, operation: str = "generate") -> None:
    """How much an asset looks like its picture, where it has one, and what to do where that is too little."""
    if likeness is not None:
        print(f"  likeness to the picture: {likeness:.0%}")
    if is_unlike(judged(likeness, operation)):
        print(f"  {UNLIKE}. {ADVICE}")


def peak_memory_line(runtime: Runtime) -> str:
    """The most memory that was needed: that of tensors on an accelerator, if there is one, and RAM of this process."""
    from trellis.memory import GIB, peak_memory_bytes
    from trellis.runtime import device_name, free_bytes, peak_allocated_bytes, used_bytes

    device, ram = runtime.device, f"{peak_memory_bytes() / GIB:.2f} GiB"
    if free_bytes(device) is None:
        return f"Peak memory {ram}."
    allocated, used = peak_allocated_bytes(device) / GIB, used_bytes(device) / GIB
    return (
        f"Peak memory {allocated:.2f} GiB allocated on {device_name(device)}, "
        f"of which all programs now use {used:.2f} GiB; RAM {ram}."
    )
