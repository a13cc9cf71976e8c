"""The one generation that clients without job ids see: their POST blocks, their status has no id.

Jobs of the page and of /jobs are in the same queue, but not in this slot.
"""

import asyncio
import dataclasses
import enum
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trellis.app.api.errors import ApiError
from trellis.app.api.jobs import Jobs, Source
from trellis.app.api.stableprojectorz.tiles import NOT_PAINTED, PaintedTiles, TileTextures
from trellis.app.api.submissions import Submission
from trellis.app.engine import QueueFullError, UnknownJobError
from trellis.app.jobs import Job, JobState
from trellis.app.request import AssetRequest, JobRequest, RetextureRequest
from trellis.errors import InvalidInputError, TrellisError

_log = logging.getLogger(__name__)

CANCELLED_MESSAGE = "Generation cancelled by user"
BUSY_MESSAGE = "Server is busy with another generation"
RETEXTURED_MESSAGE = "Texture complete"


class SlotState(enum.StrEnum):
    """The four states that the clients know, spelt as they want them."""

    PROCESSING = "PROCESSING"
    PREVIEW_READY = "PREVIEW_READY"
    COMPLETE = "COMPLETE"
    FAILED = "FAILED"


READY = (SlotState.PREVIEW_READY, SlotState.COMPLETE)


@dataclass(frozen=True)
class SlotStatus:
    """What /status answers: a state, progress from 0 to 100, a sentence."""

    state: SlotState
    progress: int
    message: str


# Neither COMPLETE nor FAILED: a client whose first look overtakes its own POST would take them for its own end.
IDLE = SlotStatus(SlotState.PROCESSING, 0, "Nothing to do")
FAILED_SECONDS = 10.0


@dataclass(frozen=True)
class Work:
    """A checked request with its pictures or prompt; `preview` says that only the preview was asked for.

    `asset_of` is a job whose asset is the one that the request asks for; `painted` goes with a mesh to be retextured.
    """

    request: JobRequest
    source: Source
    preview: bool = False
    asset_of: str | None = None
    painted: PaintedTiles = NOT_PAINTED


class OtherClientError(Exception):
    """A request that is not the desktop client's: its submission, or what is wrong with it."""

    def __init__(self, submission: Submission | TrellisError) -> None:
        super().__init__("a client of another server")
        self.submission = submission


@dataclass
class Visit:
    """A POST from its arrival to its answer."""

    deadline: float
    job_id: str | None = None
    interrupted: bool = False


class Slot:
    """Carries out one generation after the other for clients without job ids.

    All methods are called from the event loop. Nobody may take the end of one generation for the end of the next: from
    a POST's arrival to its answer the state is PROCESSING, COMPLETE ends when the model is fetched, FAILED when it has
    been told. A request that becomes no job leaves what is ready as it is. A client that hangs up cancels nothing.
    """

    def __init__(self, jobs: Jobs, *, busy_seconds: float) -> None:
        self.model: Path | None = None
        self.preview: Path | None = None
        self.textures: TileTextures | None = None
        self._jobs = jobs
        self._busy_seconds = busy_seconds
        self._turn = asyncio.Lock()
        self._visits: list[Visit] = []  # in the order of arrival
        self._holder: Visit | None = None  # whose turn it is
        self._last = SlotStatus(
            SlotState.PROCESSING, 0, "No generation yet"
        )  # FAILED would end a client's first wait at once
        self._previewed: Work | None = None

    @property
    def busy(self) -> bool:
        """A POST is being carried out or waits."""
        return bool(self._visits)

    async def status(self) -> SlotStatus:
        """The state now."""
        if not self._visits:
            return self._end()
        job_id = self._holder.job_id if self._holder is not None else None
        if job_id is None:
            return SlotStatus(SlotState.PROCESSING, 0, "Waiting")
        try:
            view = await self._jobs.view(job_id)
        except UnknownJobError:  # deleted by its id, which the POST is about to tell
            return SlotStatus(SlotState.PROCESSING, 0, "Ending")
        if view.state is JobState.QUEUED:
            waiting = f"Waiting: {view.ahead} before this one" if view.ahead else "The model is being opened"
            return SlotStatus(SlotState.PROCESSING, 0, waiting)
        message = view.stages[-1].stage.caption if view.stages else "Starting"
        return SlotStatus(SlotState.PROCESSING, min(99, int(100 * view.progress)), message)

    def fetched(self) -> None:
        """The result was fetched: its end has been heard."""
        if self._last.state is SlotState.COMPLETE:
            self._last = IDLE

    async def interrupt(self) -> bool:
        """Cancel the generation that is being carried out; False where there is none."""
        visit = self._holder or next(iter(self._visits), None)
        if visit is None:
            return False
        visit.interrupted = True
        if visit.job_id is not None:
            with suppress(UnknownJobError):  # deleted by its id
                await self._jobs.cancel(visit.job_id)
        return True

    async def generate(self, prepare: Callable[[], Awaitable[Work]]) -> SlotStatus:
        """Read a request with `prepare`, wait for a turn, carry it out: COMPLETE or PREVIEW_READY.

        Raises what `prepare` raises, ApiError 503 when no turn came in time, 499 when it was cancelled, 507 or 503 when
        it cannot be written, and 500 with the reason when the generation failed.
        """
        visit = Visit(time.monotonic() + self._busy_seconds)
        self._visits.append(visit)
        outcome = SlotStatus(SlotState.FAILED, 0, CANCELLED_MESSAGE)
        try:
            work = await prepare()
            async with asyncio.timeout(visit.deadline - time.monotonic()):
                await self._turn.acquire()
            try:
                self._holder = visit
                outcome = await self._carry_out(visit, work)
            finally:
                self._holder = None
                self._turn.release()
        except TimeoutError as error:
            outcome = SlotStatus(SlotState.FAILED, 0, BUSY_MESSAGE)
            raise ApiError(503, BUSY_MESSAGE) from error
        except OtherClientError:
            outcome = self._last  # nothing of the slot's own happened
            raise
        except UnknownJobError as error:  # somebody who knows its id deleted it
            raise ApiError(499, CANCELLED_MESSAGE) from error
        except TrellisError as error:
            outcome = SlotStatus(SlotState.FAILED, 0, str(error))
            raise
        finally:
            self._visits.remove(visit)
            if visit.job_id is not None or self._last.state not in READY:
                self._last = outcome
                self._lapses = time.monotonic() + FAILED_SECONDS if outcome.state is SlotState.FAILED else None
        return outcome

    async def resume(self, options: dict[str, Any], unstated: frozenset[str]) -> SlotStatus:
        """Write the model of the generation whose preview is ready, with other `options`; as `generate`.

        Raises ApiError 409 where no preview is ready.
        """
        previewed = self._previewed
        if previewed is None or self._last.state is not SlotState.PREVIEW_READY or self._visits:
            raise ApiError(409, "Current generation must be in preview_ready state to resume")
        request = type(previewed.request)(**dict(previewed.request) | options)
        request = request.leaving_open(previewed.request.unstated - frozenset(options) | unstated)
        work = Work(request, previewed.source, asset_of=previewed.asset_of)

        async def prepare() -> Work:
            return work

        return await self.generate(prepare)

    def _end(self) -> SlotStatus:
        """How the last generation ended; a failure is told once and not for long."""
        last = self._last
        if last.state is SlotState.FAILED:
            self._last = IDLE
            if self._lapses is not None and time.monotonic() > self._lapses:
                return IDLE
        return last

    async def _carry_out(self, visit: Visit, work: Work) -> SlotStatus:
        if visit.interrupted:
            raise ApiError(499, CANCELLED_MESSAGE)
        try:
            visit.job_id = await self._submit(work)
        except QueueFullError as error:
            raise ApiError(503, f"{BUSY_MESSAGE}: {error}") from error
        self._previewed = None
        if visit.interrupted:  # meanwhile
            await self._jobs.cancel(visit.job_id)
        # A job that is next waits for the model to be opened: that is not being busy.
        view = await self._jobs.wait(
            visit.job_id,
            lambda view: view.state is not JobState.QUEUED or (view.ahead > 0 and time.monotonic() > visit.deadline),
        )
        if view.state is JobState.QUEUED:
            await self._jobs.cancel(visit.job_id)
            view = await self._jobs.wait(visit.job_id, lambda view: view.state.final)
            if view.state is JobState.CANCELLED:
                raise ApiError(
                    499 if visit.interrupted else 503, CANCELLED_MESSAGE if visit.interrupted else BUSY_MESSAGE
                )
        view = await self._jobs.wait(visit.job_id, lambda view: view.state.final)
        return self._outcome(view, work)

    async def _submit(self, work: Work) -> str:
        if work.asset_of is not None:
            try:
                request = work.request
                assert isinstance(request, AssetRequest)  # nothing else has a preview
                others = request.decisive_options() | request.unstated
                files = {name: value for name, value in request.files.items() if name not in others}
                return await self._jobs.extract(work.asset_of, files)
            except (InvalidInputError, UnknownJobError) as error:
                _log.info("The previewed asset is made again: %s", error)
        return await self._jobs.submit(work.request, work.source)

    def _outcome(self, view: Job, work: Work) -> SlotStatus:
        if view.state is JobState.CANCELLED:
            raise ApiError(499, CANCELLED_MESSAGE)
        if view.state is JobState.FAILED:
            raise ApiError(500, view.message)
        if work.preview:
            self.preview = view.files["mp4"]
            self._previewed = dataclasses.replace(work, asset_of=view.id)
            return SlotStatus(SlotState.PREVIEW_READY, 100, "Preview generation complete")
        if isinstance(work.request, RetextureRequest):
            self.textures = TileTextures.of(view.files, work.painted)
            return SlotStatus(SlotState.COMPLETE, 100, RETEXTURED_MESSAGE)
        self.model = view.files["glb"]
        return SlotStatus(SlotState.COMPLETE, 100, "Generation complete")
