"""What clients of Hunyuan3D's server ask for, as jobs of the engine."""

from collections.abc import Mapping
from typing import Any

from fastapi import Request

from trellis.app.api.bodies import read_json, received
from trellis.app.api.errors import ApiError, FieldError
from trellis.app.api.hunyuan.options import SOURCES, generation_request, retexture_request
from trellis.app.api.job_routes import owner_of
from trellis.app.api.jobs import Jobs, Source
from trellis.app.api.pictures import read_pictures
from trellis.app.api.settings import ApiSettings
from trellis.app.api.submissions import Submission
from trellis.app.jobs import Job, JobState
from trellis.app.long_texts import LongText
from trellis.app.picture_reader import Content
from trellis.app.result_file import ResultFile, ResultTexts
from trellis.errors import InvalidInputError
from trellis.stages import Stage

GLB_TYPE = "model/gltf-binary"
TEXTURING = (Stage.LATENT, Stage.TEXTURE, Stage.PICTURE, Stage.REFINE, Stage.NORMAL_MAP)


class HunyuanServer:
    """Each generation is a job of its own, whose id is the protocol's uid."""

    def __init__(self, jobs: Jobs, settings: ApiSettings) -> None:
        self._jobs, self._settings = jobs, settings

    async def receive(self, request: Request) -> Submission:
        """The checked submission of a body; raises ApiError, InvalidInputError, LicenceError, StorageError."""
        async with received(request, self._settings.max_upload_bytes) as body, self._jobs.reading:
            return await self.read(await read_json(body))

    async def read(self, values: Mapping[str, object]) -> Submission:
        """The checked submission that an object states, its pictures read and its mesh kept; as `receive`."""
        image, text, mesh = (_given(values, name) for name in SOURCES)
        if isinstance(text, LongText):
            raise FieldError("text", "text is too long.")
        models, pictures = self._jobs.models, list[tuple[str, Content]]([] if image is None else [("image", image)])
        if mesh is None:
            model = models.choose(None, prompt=text, pictures=len(pictures))
            job: Any = generation_request(values, takes=models.options.get(model, ()))
        else:
            job, model = retexture_request(values), self._retexturer(is_text=text is not None)
        await self._jobs.check(job, model, prompt=text, pictures=len(pictures), source=None, mesh=mesh is not None)
        read = await read_pictures(self._jobs.pictures, pictures, max_pixels=self._settings.max_picture_pixels)
        kept = None if mesh is None else await self._jobs.keep_mesh(mesh, "mesh.glb")
        return Submission(job, Source(read, text, model, mesh=kept))

    def _retexturer(self, *, is_text: bool) -> str:
        """The first model here that colours meshes; raises InvalidInputError where there is none."""
        models = self._jobs.models
        for name in models.taking(prompts=is_text):
            can = "retexture" in models.operations.get(name, ()) and name not in models.to_fetch
            if can and models.refusal(name) is None:
                return name
        raise InvalidInputError("mesh: no model here gives a mesh new colours; fetch one first.", field="mesh")

    async def submit(self, submission: Submission, request: Request) -> str:
        """Queue it and return its id; raises InvalidInputError for a bad mesh too, QueueFullError, StorageError."""
        await self._jobs.check_mesh(submission.source)
        return await self._jobs.submit(submission.request, submission.source, owner=owner_of(request))

    async def generate(self, submission: Submission, request: Request) -> ResultFile:
        """The GLB of a submission, when it is finished; raises ApiError 499 or 500 where it ended otherwise."""
        job_id = await self.submit(submission, request)
        view = await self._jobs.wait(job_id, lambda view: view.state.final)
        if view.state is JobState.CANCELLED:
            raise ApiError(499, "The generation was cancelled.")
        if view.state is JobState.FAILED:
            raise ApiError(500, view.message)
        return ResultFile(view.files["glb"], media_type=GLB_TYPE, filename="model.glb")

    async def status(self, job_id: str) -> dict[str, str] | ResultTexts:
        """How far a generation is; with the model once it is there. Raises UnknownJobError."""
        view = await self._jobs.view(job_id)
        if view.state is JobState.DONE and "glb" in view.files:
            return _completed(view)
        if view.state.final:
            return {"status": "error", "message": view.message or "The generation ended without a GLB."}
        texturing = bool(view.stages) and view.stages[-1].stage in TEXTURING
        return {"status": "texturing" if texturing else "processing"}


def _given(values: Mapping[str, object], name: str) -> str | LongText | None:
    """A text of an object, None where it is missing or empty; raises FieldError."""
    value = values.get(name)
    if not isinstance(value, str | LongText | None):
        raise FieldError(name, f"{name} must be a text.")
    return value or None


def _completed(view: Job) -> ResultTexts:
    try:
        return ResultTexts([view.files["glb"]], before=b'{"status":"completed","model_base64":', after=b"}")
    except FileNotFoundError as error:
        raise ApiError(404, "This result does not exist any more.") from error
