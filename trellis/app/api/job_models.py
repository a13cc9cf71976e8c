"""Answers of the job routes."""

from pathlib import Path

from pydantic import BaseModel, Field

from trellis.app.jobs import JobState, JobView
from trellis.app.stage_progress import seconds_left, share_done

MEDIA_TYPES = {
    ".glb": "model/gltf-binary",
    ".mp4": "video/mp4",
    ".png": "image/png",
    ".obj": "model/obj",
    ".stl": "model/stl",
    ".usdz": "model/vnd.usdz+zip",
    ".zip": "application/zip",
}


class FileModel(BaseModel):
    """A result file."""

    kind: str = Field(description="The format that was asked for.")
    name: str
    url: str = Field(description="Where it is, relative to the server.")
    bytes: int
    media_type: str


class StageModel(BaseModel):
    """The last step of a stage that was reached."""

    stage: str
    step: int
    total: int


class JobModel(BaseModel):
    """A job at one moment."""

    id: str
    state: JobState
    model: str
    prompt: str | None = Field(description="The text it is made of, where it is not made of pictures.")
    ahead: int = Field(description="Jobs before this one in the queue.")
    progress: float = Field(description="Share that is done, from 0 to 1.")
    seconds: float = Field(description="Since it was started.")
    seconds_left: float | None = Field(description="A guess from the pace so far.")
    stages: list[StageModel]
    message: str = Field(description="What went wrong, where something did.")
    notes: list[str] = Field(description="Remarks on the result.")
    files: list[FileModel]
    draft_url: str | None = Field(description="Where a first look at the asset is, before its files are made.")
    kept: bool = Field(description="Other files can be made of the same asset.")
    url: str


class JobList(BaseModel):
    """Jobs, the oldest first."""

    jobs: list[JobModel]


class ResultModel(BaseModel):
    """The result of a finished job."""

    id: str
    seconds: float
    notes: list[str]
    files: list[FileModel]


def job_model(view: JobView) -> JobModel:
    """A job as it is answered."""
    left = seconds_left(view)
    return JobModel(
        id=view.id,
        state=view.state,
        model=view.origin.model,
        prompt=view.origin.prompt,
        ahead=view.ahead,
        progress=round(share_done(view), 4),
        seconds=round(view.seconds, 3),
        seconds_left=None if left is None else round(left, 1),
        stages=[StageModel(stage=info.stage, step=info.step, total=info.total) for info in view.stages],
        message=view.message,
        notes=list(view.notes),
        files=file_models(view),
        draft_url=f"/jobs/{view.id}/draft" if view.draft is not None else None,
        kept=view.kept,
        url=f"/jobs/{view.id}",
    )


def result_model(view: JobView) -> ResultModel:
    """The result of a job that is done."""
    return ResultModel(id=view.id, seconds=round(view.seconds, 3), notes=list(view.notes), files=file_models(view))


def file_models(view: JobView) -> list[FileModel]:
    """The result files that are there and can be looked at."""
    models = []
    for kind, path in view.files.items():
        try:
            size = path.stat().st_size
        except OSError:
            continue
        address = f"/jobs/{view.id}/files/{path.name}"
        models.append(FileModel(kind=kind, name=path.name, url=address, bytes=size, media_type=media_type(path)))
    return models


def media_type(path: Path) -> str:
    """The media type of a result file."""
    return MEDIA_TYPES.get(path.suffix, "application/octet-stream")
