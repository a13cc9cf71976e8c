"""The embedded model gives mesh files new colours: the goals of the measure, the same bytes again, cancel, the job."""

from pathlib import Path

import pytest
import trimesh

from tests.e2e.conftest import EXAMPLES, MODEL
from tests.unit.app.engines import PipelineTool
from trellis import ImageTo3D
from trellis.app.jobs import Job
from trellis.app.request import read_request
from trellis.errors import Cancelled
from trellis.progress import CancelToken, Progress, StepInfo
from trellis.stages import Stage
from trellis.training.evaluate_retexture import measure, same_accessors, summary

MUG = Path(__file__).resolve().parents[2] / "assets" / "example_model" / "mug.glb"
GOALS = {"view": 19.0, "around": 16.0}  # dB


def test_a_file_takes_the_colours_of_a_picture_of_it(pipeline: ImageTo3D, tmp_path: Path) -> None:
    """One object of the measure, whose old colours are far from the new ones."""
    found = summary(measure(pipeline, tmp_path, families=("car",)))
    assert found["equal"] == 1
    for name, goal in GOALS.items():
        assert found[name] >= goal and found[f"{name}_before"] < goal - 6, found


def test_a_job_retextures_a_mesh_and_the_same_one_the_same_bytes(pipeline: ImageTo3D, tmp_path: Path) -> None:
    request = read_request({"operation": "retexture", "latent_steps": 2, "texture_size": 512, "seed": 3})
    written, stages = [], set[Stage]()

    def listen(info: StepInfo) -> None:
        stages.add(info.stage)

    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        job = Job(folder=folder, model=MODEL, pictures=(EXAMPLES / "mug.png",), mesh=MUG, request=request)
        outcome = PipelineTool(lambda: pipeline, MODEL).run(job, on_step=listen, cancel=CancelToken())
        written.append(outcome.files["glb"])
    assert written[0].read_bytes() == written[1].read_bytes()
    assert same_accessors(MUG, written[0]) and set(outcome.files) == {"glb"}
    assert stages >= {Stage.PREPARE, Stage.ENCODE, Stage.LATENT, Stage.DECODE, Stage.TEXTURE, Stage.PICTURE}
    assert outcome.likeness is not None and outcome.likeness > 0.5


@pytest.mark.parametrize("stage", [Stage.ENCODE, Stage.SOLID, Stage.LATENT, Stage.TEXTURE, Stage.PICTURE])
def test_cancel_is_honoured_within_a_step(pipeline: ImageTo3D, stage: Stage, tmp_path: Path) -> None:
    token, reached = CancelToken(), list[Stage]()
    bar = tmp_path / "bar.glb"  # of few voxels
    trimesh.creation.box((1, 0.25, 0.25)).export(bar)

    def listen(info: StepInfo) -> None:
        reached.append(info.stage)
        if info.stage == stage:
            token.cancel()

    with pytest.raises(Cancelled):
        pipeline.retexture(bar, EXAMPLES / "mug.png", latent_steps=2, progress=Progress(listen, token))
    assert reached.count(stage) == 1 and reached[-1] == stage
