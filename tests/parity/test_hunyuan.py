"""Every reference number of the shape models, and what the runner says of a file that does not agree."""

import json
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.parity.hunyuan import GOLDENS, TOKENS, checks_of, main
from tests.parity.hunyuan_cases import ShapeReferences

REFS = ShapeReferences.read(GOLDENS)
# The references were made on a processor with AVX-512. OpenCV's resizing rounds some pixels by 1/255 otherwise on one
# without it: what follows from the picture may then differ by so much.
OTHER_ROUNDING = {
    "prepared_every_8": 0.00785, TOKENS: 1e-3, "tokens_first_64": 1e-3, "views_0_2_first_8_and_1370": 1e-3,
    "velocity_t0.25_condition_and_zeros": 1e-4, "velocity_guidance5_t0.25": 2e-4,
    "sampled_flow_4_steps_guidance_5_seed_1": 4e-4, "sampled_turbo_3_steps_guidance_5_seed_1": 2e-4,
}  # fmt: skip
# Times reach 1000 periods: where this processor rounds a frequency up and that of the references down, by 2^-24, a wave
# differs by 1000 times that. So it does on some with AVX-512.
WAVES = {"time_embedding_256_of_0_0.25_1": 6e-5, "velocity_guidance5_t0.25": 2e-5}


@cache
def rounds_otherwise() -> bool:
    """Whether this machine's resizing differs from that of the references: in few pixels, and by one step."""
    off = (REFS.framed * 2 - 1)[..., ::8, ::8] - REFS.tensor("prepared_every_8")
    different = off.abs() > 1e-4
    return bool(different.any()) and float(off.abs().max()) < 2.01 / 255 and float(different.float().mean()) < 0.01


@pytest.mark.parametrize("name", [*REFS.arrays, TOKENS])
def test_reference(name: str) -> None:
    checks = checks_of(REFS, name)
    most = max(WAVES.get(name, 0.0), OTHER_ROUNDING.get(name, 0.0) if rounds_otherwise() else 0.0)
    assert checks and [check for check in checks if not check.ok and check.error > most] == []


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
