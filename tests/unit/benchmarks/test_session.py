"""The session of measurements goes on after failures, keeps to its time and writes few files."""

import json
from pathlib import Path

import pytest

from benchmarks import session
from benchmarks.session_plan import FULL, SMALL, Job


def job(name: str, code: str, **options: object) -> Job:
    return Job(name, ("-c", code), expected=1, limit=int(str(options.pop("limit", 100))), **options)  # type: ignore[arg-type]


def test_one_failure_leaves_the_others_alone(tmp_path: Path) -> None:
    run = session.Session(tmp_path / "out", seconds=200, device="cpu")
    writes = "import json, pathlib; pathlib.Path('{output}/x.json').write_text('[1]'); print('flow 1.0 ms  ok')"
    run.run([job("writes", writes)])
    run.run([job("fails", "raise SystemExit(3)"), job("waits", "import time; time.sleep(600)", limit=1)])
    run.run([job("needs", "print('never')", needs=("no_such_module",)), job("after", "print('12 passed in 1s')")])
    run.close()
    status = {result.name: result.status for result in run.results}
    assert status == {
        "writes": "ok",
        "fails": "failed 3",
        "waits": "out of time",
        "needs": "skipped: no_such_module is not installed",
        "after": "ok",
    }
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["session.json", "session.log", "summary.md"]
    [first, *_] = json.loads((tmp_path / "out" / "session.json").read_text())
    assert first["measured"] == {"x.json": [1]}
    summary = (tmp_path / "out" / "summary.md").read_text()
    assert "flow 1.0 ms  ok" in summary and "12 passed" in summary and "| waits | out of time |" in summary


def test_what_does_not_fit_is_left_out(tmp_path: Path) -> None:
    run = session.Session(tmp_path, seconds=session.MARGIN + 0.5, device="cpu")
    run.run([job("late", "print('never')")])
    run.close()
    assert run.results[0].status.startswith("skipped: 0 s are left")


@pytest.mark.parametrize("groups", [FULL, SMALL])
def test_the_plan_names_every_measurement_once(groups: tuple[tuple[Job, ...], ...]) -> None:
    names = [job.name for group in groups for job in group]
    assert len(set(names)) == len(names)
    assert all(job.expected < job.limit for group in groups for job in group)
    first = session.chosen(groups, only=("",), begin=names[-1])
    assert [job.name for job in first[0]][-1] == names[-1] and len(first) == 1


def test_the_main_table_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert session.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[2] == "float16" and lines[-1].endswith("s  in all")
