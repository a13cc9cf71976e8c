"""Networks of the released shapes in the memory of small cards: everything runs, and nothing asks for more."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.contract.sources import ROOT
from trellis.memory import GIB

STAGES = ["image encoder", "structure flow", "latent flow", "gaussian decoder", "mesh decoder", "flexicubes", "all"]


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize(
    ("limit", "options"),
    [
        (2.2, ["--preset", "minimal"]),
        (4, ["--preset", "sequential"]),
        (4, []),  # everything is to stay on the card, and does not fit
        (6, ["--preset", "balanced"]),
        (8, ["--preset", "fastest"]),
    ],
    ids=str,
)
def test_a_generation_in_little_memory(tmp_path: Path, limit: float, options: list[str]) -> None:
    command = [sys.executable, "-m", "benchmarks.generation", "--device", "cuda", "--precision", "float16"]
    command += ["--memory-limit", str(limit), "--repeats", "1", "--output", str(tmp_path), "--stages", *STAGES]
    run = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert run.returncode == 0, run.stderr[-3000:]
    [result] = json.loads((tmp_path / "generation.json").read_text())["results"]
    assert [row["stage"] for row in result["rows"]] == STAGES
    for row in result["rows"]:
        assert 0 < row["peak"] <= limit * GIB, row
        assert "NOT FINITE" not in row["detail"] and "ran on the CPU" not in row["detail"], row
