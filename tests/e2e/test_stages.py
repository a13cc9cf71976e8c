"""What a whole job of the embedded model reports stands in the table of stages, and its share rises to the end."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.conftest import MODEL
from tests.unit.app.engines import PipelineTool
from trellis import ImageTo3D
from trellis.app.jobs import Job
from trellis.app.request import GenerationRequest, read_request
from trellis.progress import CancelToken, StepInfo
from trellis.stages import Stage


def test_a_job_of_all_files_reports_the_stages_of_the_table(
    pipeline: ImageTo3D, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As with published models: there is nothing to refine in a texture that is not made of views.
    monkeypatch.setattr(pipeline, "config", replace(pipeline.config, texture_source="gaussians"))
    values = {"structure_steps": 2, "latent_steps": 2, "texture_size": 512, "preview_frames": 2, "preview_size": 256}
    values |= {"faces": 2000, "texture_mode": "best", "normal_map": True}
    request = read_request(values | {"formats": list(GenerationRequest.options()["formats"].values)})
    job = Job(folder=tmp_path, model=MODEL, pictures=(picture,), request=request)
    told: list[StepInfo] = []
    outcome = PipelineTool(lambda: pipeline, MODEL).run(job, on_step=told.append, cancel=CancelToken())
    assert len(outcome.files) > 10
    assert {info.stage for info in told} == {stage for stage in Stage if stage.share}
    shares = [0.0]
    for info in told:
        job = job.stepped(info)
        shares.append(job.progress)
    assert shares == sorted(shares) and len(set(shares)) > len(told) / 2
    assert max(info.share for info in told) == 1
    assert all(info.step <= info.total for info in told)
