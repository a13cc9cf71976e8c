"""The table of stages: a scale from 0 to 1, and nothing else can be reported."""

import pytest

from trellis.progress import Progress, StepInfo
from trellis.stages import Stage


def test_shares_rise_from_zero_to_one_in_the_order_of_a_job() -> None:
    ends = [stage.end for stage in Stage if stage.share]
    assert ends == sorted(set(ends)) and ends[0] > 0 and ends[-1] == 1 and Stage.OPEN.begin == 0
    assert all(stage.caption and stage.caption[0].isupper() for stage in Stage)


def test_a_stage_that_is_not_in_the_table_cannot_be_reported() -> None:
    told: list[StepInfo] = []
    for stage in ("latent", "another"):
        with pytest.raises(AssertionError, match=r"stages\.py"):
            Progress(told.append).report(stage, 1, 1)  # type: ignore[arg-type]
        with pytest.raises(AssertionError, match=r"stages\.py"):
            list(Progress(told.append).steps(stage, 1))  # type: ignore[arg-type]
    assert told == []


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("subject", ["", "model", "owner/a model"])
def test_a_label_is_read_back(stage: Stage, subject: str) -> None:
    info = StepInfo(stage, 2, 3, subject)
    assert StepInfo.parse(info.label, 2, 3) == info


def test_a_label_of_no_stage() -> None:
    for label in ("", "background", "structure_vae", "latents 1"):
        with pytest.raises(ValueError, match="no stage"):
            StepInfo.parse(label, 1, 1)
