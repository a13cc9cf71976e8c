"""What the interface does with the engine, off the event loop: nothing here makes another request wait."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool

from trellis.app.engine import Engine
from trellis.app.job_sources import Models
from trellis.app.jobs import Job
from trellis.app.mesh_reader import ReadMesh, keep_mesh
from trellis.app.picture_reader import Content, PictureReader, ReadPicture
from trellis.app.request import JobRequest
from trellis.app.views import asset_view

POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Source:
    """What a job is made of: pictures or a prompt, the model if one is stated, and the job or mesh it starts from."""

    pictures: list[ReadPicture] = field(default_factory=list)
    prompt: str | None = None
    model: str | None = None
    start: str | None = None
    mesh: ReadMesh | None = None


class Jobs:
    """The engine as coroutines."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.reading = asyncio.Lock()  # whoever takes a request's body apart holds it
        self._drawing = asyncio.Semaphore(1)
        self._submitting = asyncio.Semaphore(2)  # the rest of the threads stays free for short work

    @property
    def busy(self) -> bool:
        return self.engine.busy

    @property
    def pictures(self) -> PictureReader:
        return self.engine.pictures

    @property
    def models(self) -> Models:
        return self.engine.models

    async def submit(self, request: JobRequest, source: Source, *, owner: str = "") -> str:
        """Queue a job and return its id; raises QueueFullError, InvalidInputError, StorageError."""
        async with self._submitting:
            pictures = [picture.path for picture in source.pictures]
            return await run_in_threadpool(
                self.engine.submit,
                request,
                pictures,
                prompt=source.prompt,
                model=source.model,
                owner=owner,
                source=source.start,
                mesh=None if source.mesh is None else source.mesh.path,
            )

    async def check(self, request: JobRequest, model: str | None, **given: Any) -> None:
        """Raise what `submit` would raise for such a job; see `Engine.choose_model`."""
        await run_in_threadpool(self.engine.choose_model, request, model, **given)

    async def keep_mesh(self, content: Content, name: str) -> ReadMesh:
        """A mesh that a client sent; see `trellis.app.mesh_reader.keep_mesh`."""
        return await run_in_threadpool(keep_mesh, content, name, self.engine.uploads)

    async def check_mesh(self, source: Source, *, up: str = "auto") -> None:
        """Try the mesh of a source, if it has one; see `trellis.app.mesh_reader.check_mesh`."""
        if source.mesh is not None:
            await asyncio.wrap_future(self.engine.meshes.check(source.mesh, up=up))

    async def picture(self, asset: Path, **side: Any) -> tuple[bytes, dict[str, Any]]:
        """A view of a kept asset; see `trellis.app.views.asset_view`."""
        async with self._drawing:
            return await run_in_threadpool(partial(asset_view, asset, **side))

    async def extract(self, job_id: str, values: Mapping[str, Any], *, owner: str | None = None) -> str:
        """Queue a job for other files of a job's asset; see `Engine.extract`."""
        async with self._submitting:
            return await run_in_threadpool(self.engine.extract, job_id, values, owner=owner)

    async def view(self, job_id: str) -> Job:
        """The job now; raises UnknownJobError."""
        return await run_in_threadpool(self.engine.view, job_id)

    async def views(self) -> list[Job]:
        return await run_in_threadpool(self.engine.views)

    async def cancel(self, job_id: str) -> None:
        await run_in_threadpool(self.engine.cancel, job_id)

    async def remove(self, job_id: str) -> None:
        await run_in_threadpool(self.engine.remove, job_id)

    async def wait(self, job_id: str, until: Callable[[Job], bool]) -> Job:
        """The first view of a job for which `until` holds."""
        while not until(view := await self.view(job_id)):
            await asyncio.sleep(POLL_SECONDS)
        return view
