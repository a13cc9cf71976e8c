"""Networks of the released shapes in the memory of small cards: everything runs, and the card gives no more."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.contract.sources import ROOT
from trellis.app.presets import BY_MEMORY, PRESETS
from trellis.memory import GIB
from trellis.runtime import used_bytes

STAGES = ["image encoder", "structure flow", "latent flow", "gaussian decoder", "mesh decoder", "flexicubes", "all"]


def watched(command: list[str], *, folder: Path) -> tuple[int, str, int]:
    """Exit code of a program, what it printed, and by how many bytes the card was fuller while it ran, at most."""
    gpu = torch.device("cuda")
    before = most = used_bytes(gpu)  # this process's own context included
    with (folder / "log.txt").open("w") as log, subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log) as program:
        ends = time.monotonic() + 500
        while program.poll() is None and time.monotonic() < ends:
            most = max(most, used_bytes(gpu))
            time.sleep(0.005)
        program.kill()
    return program.returncode, (folder / "log.txt").read_text(), most - before


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize(
    ("limit", "options"),
    [
        *((PRESETS[name].needs / GIB, ["--preset", name]) for name in BY_MEMORY),
        (5, []),  # everything is to stay on the card, and does not fit
        (6, ["--preset", "balanced"]),  # where captures once gave up beside memory that torch kept
    ],
    ids=str,
)
def test_a_generation_in_little_memory(tmp_path: Path, limit: float, options: list[str]) -> None:
    command = [sys.executable, "-m", "benchmarks.generation", "--device", "cuda", "--precision", "float16"]
    command += ["--memory-limit", str(limit), "--repeats", "1", "--output", str(tmp_path), "--stages", *STAGES]
    code, said, most = watched([*command, *options], folder=tmp_path)
    assert code == 0, said[-3000:]
    assert most <= limit * GIB
    assert "capture failed" not in said
    [result] = json.loads((tmp_path / "generation.json").read_text())["results"]
    assert [row["stage"] for row in result["rows"]] == STAGES
    for row in result["rows"]:
        assert 0 < row["peak"] <= limit * GIB, row
        assert "NOT FINITE" not in row["detail"] and "ran on the CPU" not in row["detail"], row
