"""The job interface: submit, watch, cancel, fetch. A job belongs to whoever knows its unguessable id."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData

from trellis.app.api.bodies import file_field, is_form, is_json, read_form, read_json
from trellis.app.api.documented import ERRORS, file_answer, files_body, job_body
from trellis.app.api.engines import Jobs
from trellis.app.api.errors import ApiError, FieldError
from trellis.app.api.job_models import JobList, JobModel, ResultModel, job_model, media_type, result_model
from trellis.app.api.numbers import parse_number
from trellis.app.api.pictures import decode_base64, read_pictures
from trellis.app.api.settings import ApiSettings
from trellis.app.engine import MAX_PICTURES, UnknownJobError
from trellis.app.jobs import JobState, JobView
from trellis.app.request import Choice, GenerationRequest, Option, Range, Subset, Switch, options
from trellis.errors import InvalidInputError

EVENT_SECONDS = 0.2
KEEP_ALIVE_SECONDS = 15.0
SUBMITTED = ERRORS[400] | ERRORS[413] | ERRORS[415] | ERRORS[422] | ERRORS[503]
EVENT_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Events until the job ends."}
}


def job_routes(jobs: Jobs, settings: ApiSettings) -> APIRouter:
    """The routes under /jobs; the list shows what was submitted here, not what people do on the page."""
    router = APIRouter(prefix="/jobs", tags=["Jobs"])
    submitted: dict[str, None] = {}

    @router.post("", status_code=202, responses=SUBMITTED, openapi_extra=job_body(MAX_PICTURES))
    async def submit(request: Request, response: Response) -> JobModel:
        """Queue a job for pictures of one object, sent as files of a form or as base64 in JSON."""
        options_given, pictures = await read_submission(request, jobs, settings)
        job_id = await jobs.submit(options_given, pictures)
        submitted[job_id] = None
        response.headers["Location"] = f"/jobs/{job_id}"
        return await _shown(jobs, job_id)

    @router.get("")
    async def list_jobs() -> JobList:
        """List the jobs that were submitted here."""
        views = [view for view in await jobs.views() if view.id in submitted]
        return JobList(jobs=await run_in_threadpool(lambda: [job_model(view) for view in views]))

    @router.get("/{job_id}", responses=ERRORS[404])
    async def show(job_id: str) -> JobModel:
        """Show a job at this moment."""
        return await _shown(jobs, job_id)

    @router.get("/{job_id}/events", response_class=StreamingResponse, responses=ERRORS[404] | EVENT_STREAM)
    async def events(job_id: str, request: Request) -> StreamingResponse:
        """Stream server-sent events `job`, the job as JSON, at every change until it has ended."""
        first = await jobs.view(job_id)
        return StreamingResponse(
            watch(jobs, first, request), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    @router.post("/{job_id}/cancel", status_code=202, responses=ERRORS[404])
    async def cancel(job_id: str) -> JobModel:
        """Stop a job: at once while it waits, at its next step while it runs; a finished one stays as it is."""
        await jobs.cancel(job_id)
        return await _shown(jobs, job_id)

    @router.delete("/{job_id}", status_code=204, responses=ERRORS[404])
    async def delete(job_id: str) -> Response:
        """Stop a job if it has not ended, forget it and delete its files."""
        await jobs.remove(job_id)
        submitted.pop(job_id, None)
        return Response(status_code=204)

    @router.get("/{job_id}/result", responses=ERRORS[404] | ERRORS[409])
    async def result(job_id: str) -> ResultModel:
        """List the files of a finished job."""
        view = await jobs.view(job_id)
        if view.state is not JobState.DONE:
            raise ApiError(409, f"The job is {view.state.value}" + (f": {view.message}" if view.message else "."))
        return await run_in_threadpool(result_model, view)

    @router.get("/{job_id}/draft", response_class=FileResponse, responses=ERRORS[404] | file_answer("image/png"))
    async def draft(job_id: str) -> FileResponse:
        """Fetch a first look at the asset (PNG); it is there before the files."""
        path = (await jobs.view(job_id)).draft
        if path is None:
            raise ApiError(404, "This job has no first look (yet).")
        return FileResponse(path, media_type="image/png", headers={"Cache-Control": "no-store"})

    @router.post("/{job_id}/files", status_code=202, responses=SUBMITTED | ERRORS[404], openapi_extra=files_body())
    async def extract(job_id: str, request: Request, response: Response) -> JobModel:
        """Queue a job for other files of a finished job's asset, which is not sampled again."""
        await jobs.view(job_id)
        if not is_json(request):
            raise ApiError(415, "Send JSON (application/json).")
        values = await read_json(request, settings.max_upload_bytes)
        checked_request(values)
        new_id = await jobs.extract(job_id, values)
        submitted[new_id] = None
        response.headers["Location"] = f"/jobs/{new_id}"
        return await _shown(jobs, new_id)

    @router.get(
        "/{job_id}/files/{name}",
        response_class=FileResponse,
        responses=ERRORS[404] | file_answer("application/octet-stream"),
    )
    async def file(job_id: str, name: str) -> FileResponse:
        """Fetch a result file; parts of it can be asked for (Range)."""
        view = await jobs.view(job_id)
        # Names are looked up among the results, never joined to a folder.
        path = next((path for path in view.files.values() if path.name == name and path.is_file()), None)
        if path is None:
            raise ApiError(404, "This job has no file of that name.", field="name")
        return FileResponse(path, media_type=media_type(path), filename=path.name)

    return router


async def _shown(jobs: Jobs, job_id: str) -> JobModel:
    return await run_in_threadpool(job_model, await jobs.view(job_id))


async def watch(jobs: Jobs, first: JobView, request: Request) -> AsyncIterator[str]:
    """The events of a job as text: changes at once, a comment now and then, an end when the job has ended."""
    view, told, silent = first, "", 0.0
    while True:
        model = await run_in_threadpool(job_model, view)
        state = model.model_dump_json(exclude={"seconds", "seconds_left"})
        if state != told:
            told, silent = state, 0.0
            yield f"event: job\ndata: {model.model_dump_json()}\n\n"
        elif silent > KEEP_ALIVE_SECONDS:
            silent = 0.0
            yield ": still here\n\n"
        if view.state.final or await request.is_disconnected():
            return
        await asyncio.sleep(EVENT_SECONDS)
        silent += EVENT_SECONDS
        try:
            view = await jobs.view(view.id)
        except UnknownJobError:  # deleted meanwhile
            yield "event: deleted\ndata: {}\n\n"
            return


async def read_submission(
    request: Request, jobs: Jobs, settings: ApiSettings
) -> tuple[GenerationRequest, list[Image.Image]]:
    """The checked request and pictures of a submission; raises ApiError naming the field."""
    contents: list[tuple[str, bytes | str]]
    if is_json(request):
        values = await read_json(request, settings.max_upload_bytes)
        contents = list(_texts(values.pop("pictures", None)))
    elif is_form(request):
        form = await read_form(request, settings.max_upload_bytes)
        try:
            files = await file_field(form, "pictures")
            contents = [(f"pictures[{index}]", data) for index, data in enumerate(files)]
            values = form_values(form)
        finally:
            await form.close()
    else:
        raise ApiError(415, "Send JSON (application/json) or a form with files (multipart/form-data).")
    if not 1 <= len(contents) <= MAX_PICTURES:
        raise FieldError("pictures", f"pictures must hold between 1 and {MAX_PICTURES} pictures.")
    checked = checked_request(values)

    def read() -> list[Image.Image]:
        plain = [(name, decode_base64(name, data) if isinstance(data, str) else data) for name, data in contents]
        return read_pictures(plain, max_pixels=settings.max_picture_pixels)

    return checked, await jobs.read(read)


def _texts(value: object) -> list[tuple[str, str]]:
    if not isinstance(value, list):
        raise FieldError("pictures", "pictures must be a list of base64 texts.")
    for index, item in enumerate(value):
        if not isinstance(item, str) or not item:
            raise FieldError(f"pictures[{index}]", f"pictures[{index}] must be a base64 text.")
    return [(f"pictures[{index}]", item) for index, item in enumerate(value)]


def checked_request(values: Mapping[str, Any]) -> GenerationRequest:
    """A request of plain values; raises FieldError naming the option that is unknown or out of its range."""
    known = options()
    for name, value in values.items():
        if name not in known:
            raise FieldError(name, f"Unknown option {name[:80]!r}; known: {', '.join(known)}.")
        try:
            known[name].parse(name, value)
        except InvalidInputError as error:
            raise FieldError(name, str(error)) from error
    return GenerationRequest.from_dict(values)


def form_values(form: FormData) -> dict[str, Any]:
    """The options that a form's text fields state, in their own types; raises FieldError."""
    values = {}
    for name in dict.fromkeys(name for name in form if name != "pictures"):
        texts = [value for value in form.getlist(name) if isinstance(value, str)]
        if len(texts) < len(form.getlist(name)):
            raise FieldError(name, f"{name[:80]!r} must be text, not a file.")
        option = options().get(name)
        values[name] = texts[-1] if option is None else _from_texts(name, option, texts)
    return values


def _from_texts(name: str, option: Option, texts: list[str]) -> Any:
    text = texts[-1].strip()
    if option.optional and text in ("", "null"):
        return None
    if isinstance(option.domain, Range):
        return parse_number(name, text)
    if isinstance(option.domain, Choice):
        return next((value for value in option.domain.values if str(value) == text), text)
    if isinstance(option.domain, Switch):
        return {"true": True, "false": False}.get(text.lower(), text)
    assert isinstance(option.domain, Subset)
    return [part.strip() for item in texts for part in item.split(",")]
