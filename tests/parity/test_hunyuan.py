"""Every reference number of the shape models, and what the runner says of a file that does not agree."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.parity.hunyuan import GOLDENS, TOKENS, checks_of, main
from tests.parity.hunyuan_cases import ShapeReferences

REFS = ShapeReferences.read(GOLDENS)


@pytest.mark.parametrize("name", [*REFS.arrays, TOKENS])
def test_reference(name: str) -> None:
    checks = checks_of(REFS, name)
    assert checks and [check for check in checks if not check.ok] == []


def test_a_file_that_does_not_agree_is_a_miss(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(GOLDENS, tmp_path / "other.json")
    times = torch.tensor([0.0, 0.5, 1, 1]).numpy()
    np.savez(tmp_path / "other.npz", sigmas_flow_3=times, sigmas_turbo_3=times, unheard_of=times)
    assert main(["--goldens", str(tmp_path / "other.json")]) == 1
    said = capsys.readouterr().out
    assert "MISS sigmas_turbo_3" in said and "ok   sigmas_flow_3" in said and "no recipe for unheard_of" in said


def test_the_salt_goes_before_each_key(tmp_path: Path) -> None:
    content = json.loads(GOLDENS.read_text())
    content["about"]["salt"] = "other"
    salted = ShapeReferences(content, REFS.arrays)
    assert not checks_of(salted, "vae_logits")[0].ok and checks_of(salted, "vae_fourier")[0].ok
