"""Every measurement on a GPU in one go: `python -m benchmarks.session --output DIR --seconds 540 [--device cuda]`.

Each is a process of its own with a time limit, in order of value; what fails or is cut off leaves the others alone.
Those that are not timed (tests, evaluation) run side by side. DIR holds, up to date after each of them: `session.log`
(what they printed), `session.json` (exit codes, seconds, what they measured), `summary.md` (one table) and pictures.
`--list` shows the plan; `--device cpu` tries every measurement in a small size.
"""

import argparse
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.session_plan import FULL, SMALL, Job
from trellis.atomic import write_bytes

ROOT = Path(__file__).resolve().parent.parent
MARGIN = 5.0  # seconds kept at the end, for what is still to be written
GRACE = 3.0  # seconds between asking a process to end and ending it
LOG_LIMIT = 400_000  # characters of one measurement's output that are kept


@dataclass
class Result:
    """How a measurement went: status ("ok", "failed N", "out of time" or why it was skipped), seconds, its JSON."""

    name: str
    status: str
    seconds: float = 0.0
    measured: dict[str, Any] = field(default_factory=dict)
    log: str = ""


class Session:
    """Runs groups of jobs until the time is used up, and keeps what came out in a folder."""

    def __init__(self, output: Path, *, seconds: float, device: str) -> None:
        self.output, self.device = output, device
        self.results: list[Result] = []
        self._began = time.monotonic()
        self._seconds = seconds
        self._work = Path(tempfile.mkdtemp(prefix="session-"))

    @property
    def remaining(self) -> float:
        return self._seconds - MARGIN - (time.monotonic() - self._began)

    def run(self, group: Sequence[Job]) -> None:
        """Run the jobs of a group side by side, and write what is known so far."""
        started = [self._start(job) for job in group]
        self.results += [self._finish(job, process, begun) for job, process, begun in started]
        self.write()

    def close(self) -> None:
        shutil.rmtree(self._work, ignore_errors=True)

    def write(self) -> None:
        """The files of the output folder, each in one step."""
        log = "\n".join(f"===== {r.name}: {r.status}, {r.seconds:.0f} s\n{r.log}" for r in self.results)
        record = [{key: value for key, value in asdict(r).items() if key != "log"} for r in self.results]
        write_bytes(self.output / "session.log", log.encode())
        write_bytes(self.output / "session.json", json.dumps(record).encode())
        write_bytes(self.output / "summary.md", self.summary().encode())
        for picture in self._work.rglob("timeline_*.png"):
            write_bytes(self.output / picture.name, picture.read_bytes())

    def summary(self) -> str:
        """One line a measurement, then the lines of the main tables."""
        lines = ["| measurement | outcome | seconds |", "|---|---|---:|"]
        lines += [f"| {r.name} | {r.status} | {r.seconds:.0f} |" for r in self.results]
        return "\n".join(lines) + "\n" + "".join(highlights(result) for result in self.results)

    def _start(self, job: Job) -> tuple[Job, subprocess.Popen[bytes] | str, float]:
        begun = time.monotonic()
        missing = [module for module in job.needs if importlib.util.find_spec(module) is None]
        if missing:
            return job, f"skipped: {', '.join(missing)} is not installed", begun
        if self.remaining < job.least:
            return job, f"skipped: {max(0.0, self.remaining):.0f} s are left, it needs {job.least}", begun
        folder = self._work / job.name
        folder.mkdir(parents=True)
        command = [part.format(device=self.device, output=folder) for part in job.command]
        print(f"{job.name}: {' '.join(command)}", flush=True)
        with (folder / "log.txt").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
        return job, process, begun

    def _finish(self, job: Job, process: subprocess.Popen[bytes] | str, begun: float) -> Result:
        if isinstance(process, str):
            result = Result(job.name, process)
        else:
            status = self._wait(process, begun + job.limit - time.monotonic())
            folder = self._work / job.name
            log = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")[-LOG_LIMIT:]
            measured = {path.name: read_json(path) for path in sorted(folder.rglob("*.json"))}
            result = Result(job.name, status, time.monotonic() - begun, measured, log)
        print(f"{job.name}: {result.status}, {result.seconds:.0f} s\n{highlights(result)}", end="", flush=True)
        return result

    def _wait(self, process: subprocess.Popen[bytes], limit: float) -> str:
        try:
            code = process.wait(timeout=max(0.0, min(limit, self.remaining)))
        except subprocess.TimeoutExpired:
            end(process)
            return "out of time"
        return "ok" if code == 0 else f"failed {code}"


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(timeout=GRACE)
            return
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            return


def read_json(path: Path) -> Any:
    """What a measurement wrote; a half-written file is as good as none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None


# Lines worth showing in a summary: of the tables that the benchmarks print, and how tests ended.
TELLING = re.compile(
    r"( ms  |target |error against float32|relative change|holds up to|published|images agree|TFLOP/s"
    r"|\d+ (passed|failed|skipped|deselected)|^FAILED|^ERROR|Error: |^mean of|^large |watertight|^\| |results .* s$)"
)


def highlights(result: Result) -> str:
    """The telling lines of what a measurement printed; its last ones when it failed."""
    lines = result.log.splitlines()
    chosen = [line for line in lines if TELLING.search(line)][:80]
    if result.status.startswith(("failed", "out of time")):
        chosen += ["...", *lines[-12:]]
    return f"\n## {result.name}\n```\n" + "\n".join(line[:200] for line in chosen) + "\n```\n" if chosen else ""


def plan_lines(groups: Sequence[Sequence[Job]]) -> list[str]:
    """The plan with the seconds each is expected to take, and when it begins."""
    lines, at = [], 0.0
    for group in groups:
        for job in group:
            needs = f"  needs {', '.join(job.needs)}" if job.needs else ""
            lines.append(f"{at:6.0f} s  {job.name:24} {job.expected:4} s (limit {job.limit:3}){needs}")
        at += max(job.expected for job in group)
    return [*lines, f"{at:6.0f} s  in all"]


def chosen(groups: Sequence[Sequence[Job]], *, only: Sequence[str], begin: str | None) -> list[list[Job]]:
    """The groups from the one with the measurement `begin` on, and of those the names that start so."""
    first = next((i for i, group in enumerate(groups) if any(job.name == begin for job in group)), 0)
    kept = [[job for job in group if job.name.startswith(tuple(only))] for group in groups[first:]]
    return [group for group in kept if group]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.session", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, metavar="DIR", help="where the files go")
    parser.add_argument("--seconds", type=float, default=540.0, help="in all; what does not fit is left out")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="just the measurements whose names begin so")
    parser.add_argument("--begin", metavar="NAME", help="leave out what comes before this measurement")
    parser.add_argument("--list", action="store_true", help="show the plan and stop")
    options = parser.parse_args(arguments)
    groups = chosen(FULL if options.device == "cuda" else SMALL, only=options.only or ("",), begin=options.begin)
    if options.list or options.output is None:
        print("\n".join(plan_lines(groups)))
        return 0
    session = Session(options.output, seconds=options.seconds, device=options.device)
    try:
        for group in groups:
            session.run(group)
    finally:
        session.write()
        session.close()
    print(session.summary())
    return 0 if all(r.status == "ok" or r.status.startswith("skipped") for r in session.results) else 1


if __name__ == "__main__":
    sys.exit(main())
