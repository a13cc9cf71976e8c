"""The job interface: submit, watch, cancel, fetch. A job is for whoever knows its unguessable id."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from trellis.app.api.bodies import is_json, read_json, received
from trellis.app.api.errors import ApiError
from trellis.app.api.guards import is_operator
from trellis.app.api.job_models import JobList, JobModel, ResultModel, job_model, media_type
from trellis.app.api.jobs import Jobs
from trellis.app.api.openapi import ERRORS, file_answer, files_body, job_body, job_links
from trellis.app.api.settings import ApiSettings
from trellis.app.api.submissions import read_submission
from trellis.app.engine import UnknownJobError
from trellis.app.jobs import CLIENT_OWNER, Job, JobState
from trellis.app.result_file import ResultFile

EVENT_SECONDS = 0.2
KEEP_ALIVE_SECONDS = 15.0
SUBMITTED = (
    job_links() | ERRORS[400] | ERRORS[403] | ERRORS[413] | ERRORS[415] | ERRORS[422] | ERRORS[503] | ERRORS[507]
)
EVENT_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Events until the job ends."}
}
VIEW_HEADER = "X-Trellis-View"
VIEW = ERRORS[404] | ERRORS[409] | ERRORS[422] | file_answer("image/png")
VIEW[200]["headers"] = {VIEW_HEADER: {"description": "The frame of the picture, JSON.", "schema": {"type": "string"}}}


def job_routes(jobs: Jobs, settings: ApiSettings) -> APIRouter:
    """The routes under /jobs."""
    router = APIRouter(prefix="/jobs", tags=["Jobs"])
    _add_submissions(router, jobs, settings)
    _add_views(router, jobs)
    _add_results(router, jobs)
    return router


def _add_submissions(router: APIRouter, jobs: Jobs, settings: ApiSettings) -> None:
    @router.post("", status_code=202, responses=SUBMITTED, openapi_extra=job_body(jobs.models))
    async def submit(request: Request, response: Response) -> JobModel:
        """Queue a job for pictures of one object, sent as files of a form or as base64 in JSON, or for a prompt."""
        submission = await read_submission(request, jobs, settings)
        job_id = await jobs.submit(submission.request, submission.source, owner=owner_of(request))
        response.headers["Location"] = f"/jobs/{job_id}"
        return await _shown(jobs, job_id)

    @router.post("/{job_id}/files", status_code=202, responses=SUBMITTED | ERRORS[404], openapi_extra=files_body())
    async def extract(job_id: str, request: Request, response: Response) -> JobModel:
        """Queue a job for other files of a finished job's asset, which is not sampled again."""
        await jobs.view(job_id)
        if not is_json(request):
            raise ApiError(415, "Send JSON (application/json).")
        async with received(request, settings.max_upload_bytes) as body, jobs.reading:
            values = await read_json(body)
        new_id = await jobs.extract(job_id, values, owner=owner_of(request))
        response.headers["Location"] = f"/jobs/{new_id}"
        return await _shown(jobs, new_id)


def _add_views(router: APIRouter, jobs: Jobs) -> None:
    @router.get("")
    async def list_jobs(request: Request) -> JobList:
        """List the jobs that were submitted to /jobs from the address of this request; all jobs for an operator."""
        owner, everything = owner_of(request), is_operator(request)
        views = [view for view in await jobs.views() if everything or view.owner == owner]
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
        return Response(status_code=204)


def _add_results(router: APIRouter, jobs: Jobs) -> None:
    @router.get("/{job_id}/result", responses=ERRORS[404] | ERRORS[409])
    async def result(job_id: str) -> ResultModel:
        """List the files of a finished job."""
        view = await jobs.view(job_id)
        if view.state is not JobState.DONE:
            raise ApiError(409, f"The job is {view.state.value}" + (f": {view.message}" if view.message else "."))
        return await run_in_threadpool(ResultModel.model_validate, view)

    @router.get("/{job_id}/draft", response_class=FileResponse, responses=ERRORS[404] | file_answer("image/png"))
    async def draft(job_id: str) -> FileResponse:
        """Fetch a first look at the asset (PNG); it is there before the files."""
        path = (await jobs.view(job_id)).draft
        if path is None:
            raise ApiError(404, "This job has no first look (yet).")
        return ResultFile(path, media_type="image/png", headers={"Cache-Control": "no-store"})

    @router.get("/{job_id}/view", response_class=Response, responses=VIEW)
    async def view(
        job_id: str,
        yaw: Annotated[float, Query(ge=-360, le=360, description="Degrees from the front, to the object's left.")] = 0,
        pitch: Annotated[float, Query(ge=-90, le=90, description="Degrees from above.")] = 20,
        size: Annotated[int, Query(ge=64, le=1024, description="Pixels of a side.")] = 1024,
    ) -> Response:
        """Draw the kept asset from one side, to paint over (PNG); its `view` for an edit is in a header."""
        job = await jobs.view(job_id)
        if not job.kept:
            raise ApiError(409, "This job has no asset that can be drawn (any more).")
        picture, frame = await jobs.picture(job.kept_file, yaw=yaw, pitch=pitch, size=size)
        headers = {VIEW_HEADER: json.dumps(frame), "Cache-Control": "no-store"}
        return Response(picture, media_type="image/png", headers=headers)

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
        return ResultFile(path, media_type=media_type(path), filename=path.name)


def owner_of(request: Request) -> str:
    """The owner of what a request submits: the address that it comes from."""
    return CLIENT_OWNER + (request.client.host if request.client is not None else "")


async def _shown(jobs: Jobs, job_id: str) -> JobModel:
    return await run_in_threadpool(job_model, await jobs.view(job_id))


async def watch(jobs: Jobs, first: Job, request: Request) -> AsyncIterator[str]:
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
