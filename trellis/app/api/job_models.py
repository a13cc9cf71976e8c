"""Answers of the job routes."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, AliasPath, BaseModel, BeforeValidator, Field

from trellis.app.jobs import Job, JobState
from trellis.app.likeness import LIMIT

MEDIA_TYPES = {
    ".glb": "model/gltf-binary",
    ".mp4": "video/mp4",
    ".png": "image/png",
    ".obj": "model/obj",
    ".stl": "model/stl",
    ".usdz": "model/vnd.usdz+zip",
    ".zip": "application/zip",
}


LIKENESS = Field(
    description=f"How much the asset looks like its picture, from 0 to 1; below {LIMIT} it does not. Null for a text."
)

NOTICE = Field(description="The line that the model's licence asks everything made with it to carry; empty for none.")


class FileModel(BaseModel):
    """A result file."""

    kind: str = Field(description="The format that was asked for.")
    name: str
    url: str = Field(description="Where it is, relative to the server.")
    bytes: int
    media_type: str


class StageModel(BaseModel, from_attributes=True):
    """The last step of a stage that was reached."""

    stage: str = Field(validation_alias="label")
    step: int
    total: int


def file_models(files: dict[str, Path]) -> list[FileModel]:
    """The result files that are there and can be looked at."""
    models = []
    for kind, path in files.items():
        try:
            size = path.stat().st_size
        except OSError:
            continue
        address = f"/jobs/{path.parent.name}/files/{path.name}"
        models.append(FileModel(kind=kind, name=path.name, url=address, bytes=size, media_type=media_type(path)))
    return models


def _rounded(digits: int) -> AfterValidator:
    return AfterValidator(lambda value: None if value is None else round(value, digits))


_Files = Annotated[list[FileModel], BeforeValidator(file_models)]


class JobModel(BaseModel, from_attributes=True):
    """A job at one moment."""

    id: str
    operation: str = Field(validation_alias=AliasPath("request", "operation"))
    source: str | None = Field(description="The job that it starts from.")
    state: JobState
    model: str
    prompt: str | None = Field(description="The text it is made of, where it is not made of pictures.")
    ahead: int = Field(description="Jobs before this one in the queue.")
    progress: Annotated[float, _rounded(4)] = Field(description="Share that is done, from 0 to 1.")
    seconds: Annotated[float, _rounded(3)] = Field(description="Since it was started.")
    seconds_left: Annotated[float | None, _rounded(1)] = Field(
        description="A guess from an earlier job like this one; null without one, or once it has taken longer."
    )
    stages: list[StageModel]
    message: str = Field(description="What went wrong, where something did.")
    notes: list[str] = Field(description="Remarks on the result.")
    likeness: float | None = LIKENESS
    outside: dict[str, float] | None = Field(
        description="What an edit changed outside of its boxes, as measured: voxels_changed, and psnr (dB) of pictures "
        "before and after. Null for other operations."
    )
    notice: str = NOTICE
    files: _Files
    draft_url: Annotated[str | None, BeforeValidator(lambda path: path and f"/jobs/{path.parent.name}/draft")] = Field(
        validation_alias="draft", description="Where a first look at the asset is, before its files are made."
    )
    kept: bool = Field(description="Other files can be made of the same asset.")
    url: Annotated[str, BeforeValidator(lambda job_id: f"/jobs/{job_id}")] = Field(validation_alias="id")


class JobList(BaseModel):
    """Jobs, the oldest first."""

    jobs: list[JobModel]


class ResultModel(BaseModel, from_attributes=True):
    """The result of a finished job."""

    id: str
    seconds: Annotated[float, _rounded(3)]
    notes: list[str]
    likeness: float | None = LIKENESS
    notice: str = NOTICE
    files: _Files


def job_model(job: Job) -> JobModel:
    """A job as it is answered: what the fields are called in the job, they are taken from."""
    return JobModel.model_validate(job)


def media_type(path: Path) -> str:
    """The media type of a result file."""
    return MEDIA_TYPES.get(path.suffix, "application/octet-stream")
