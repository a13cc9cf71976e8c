"""What the page does when something on it is used, and what each open page waits for and shows."""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from trellis.app.engine import Engine, UnknownJobError
from trellis.app.generation import file_name
from trellis.app.jobs import Job, JobState
from trellis.app.request import GenerationRequest, draw_seed, without_untouched
from trellis.app.ui import fragments
from trellis.app.ui.controls import SHOWN, SHOWN_FILES, stated_values
from trellis.app.ui.cutouts import CutoutTable, cutouts_panel, must_fetch
from trellis.app.ui.owners import COOKIE, PAGE_OWNER, owner_of
from trellis.errors import InvalidInputError, TrellisError
from trellis.runtime import ModelFiles

POLL_SECONDS = 0.25
VIEWER_KINDS = ("glb", "ply")
HISTORY_SHOWN = 24
MOST_SESSIONS = 256  # open pages that are remembered; a page that is forgotten keeps what it shows
GIB = 1 << 30

Updates = dict[Any, Any]  # new values by component


@dataclass(frozen=True)
class Shown:
    """The components of the page that change while something happens; which events they have depends on their kind."""

    progress: Any
    generate: Any
    generate_text: Any
    cancel: Any
    again: Any
    remove: Any
    seed: Any
    viewer: Any
    results: Any
    history: Any
    machine: Any

    @property
    def components(self) -> list[Any]:
        """All of them."""
        values = [getattr(self, field.name) for field in fields(self)]
        return [value for value in values if value is not None]


@dataclass
class Session:
    """What belongs to one open page: the job that it waits for, the job that it shows and the name of its files, the
    last panel of files, and past jobs in the order of their pictures."""

    job: str | None = None
    finished: tuple[str, str] | None = None
    results: str = ""
    history: list[str] = field(default_factory=list)


class Handlers:
    """What the buttons do."""

    def __init__(self, engine: Engine, shown: Shown, files: ModelFiles, *, machine: str) -> None:
        self._engine = engine
        self._shown = shown
        self._machine = machine
        self._cutouts = CutoutTable(engine.pictures, files)
        self._sessions: OrderedDict[tuple[str, str], Session] = OrderedDict()  # the longest unused first
        self._lock = threading.Lock()

    async def open(self, browser: gr.Request) -> AsyncIterator[Updates]:
        """What a page shows first: past results of this browser; and the machine, as soon as the engine knows it."""
        yield await asyncio.to_thread(self._history_update, browser) | self._machine_update()
        if self._engine.executor.opening:
            while self._engine.executor.opening:
                await asyncio.sleep(POLL_SECONDS)
            yield self._machine_update()

    async def cut_out(self, pictures: list[Any] | None, way: str) -> AsyncIterator[str]:
        """Show what is cut out of the pictures; nothing is generated yet."""
        paths = _paths(pictures)
        if not paths:
            yield ""
            return
        busy = "Fetching u2net, then cutting out…" if must_fetch(way) else "Cutting out…"
        yield f'<div class="cutouts" data-state="busy" role="status"><p>{busy}</p></div>'
        try:
            cutouts = await self._cutouts.cut_out(paths, way)
        except TrellisError as error:
            yield f'<div class="cutouts" data-state="failed">{fragments.message_panel(str(error))}</div>'
            return
        yield cutouts_panel(cutouts)

    async def generate(
        self,
        browser: gr.Request,
        pictures: list[Any] | None,
        way: str,
        model: str,
        random_seed: bool,
        seed: float | None,
        *settings: Any,
    ) -> AsyncIterator[Updates]:
        """Submit a job for the pictures and show its steps until it ends."""
        paths = _paths(pictures)
        try:
            if not paths:
                raise InvalidInputError("Choose a picture first: drop one in the field above or click an example.")
            request = _request(settings, random_seed, seed)
            cutouts = await self._cutouts.cut_out(paths, way)
            files, name = [cutout.path for cutout in cutouts], Path(paths[0]).stem
            job_id = await asyncio.to_thread(
                self._engine.submit, request, files, model=model, owner=_owner(browser), name=name
            )
        except TrellisError as error:
            yield {self._shown.progress: fragments.message_panel(str(error))}
            return
        async for updates in self._follow(browser, job_id, name, seed=request.seed):
            yield updates

    async def generate_text(
        self, browser: gr.Request, prompt: str, model: str, random_seed: bool, seed: float | None, *settings: Any
    ) -> AsyncIterator[Updates]:
        """Submit a job for a text and show its steps until it ends."""
        try:
            request, name = _request(settings, random_seed, seed), file_name(prompt)
            job_id = await asyncio.to_thread(
                self._engine.submit, request, prompt=prompt, model=model, owner=_owner(browser), name=name
            )
        except TrellisError as error:
            yield {self._shown.progress: fragments.message_panel(str(error))}
            return
        async for updates in self._follow(browser, job_id, name, seed=request.seed):
            yield updates

    async def extract(self, browser: gr.Request, *settings: Any) -> AsyncIterator[Updates]:
        """Make other files of the asset that this page shows, without sampling it again."""
        try:
            finished = self._session(browser).finished
            if finished is None:
                raise InvalidInputError("There is no model yet: generate one first.")
            source, name = finished
            request = self._engine.view(source).request
            values = stated_values(SHOWN_FILES, list(settings))
            values = without_untouched(values, preset=request.preset)
            job_id = await asyncio.to_thread(self._engine.extract, source, values)
        except TrellisError as error:
            yield {self._shown.progress: fragments.message_panel(str(error))}
            return
        async for updates in self._follow(browser, job_id, name):
            yield updates

    async def _follow(
        self, browser: gr.Request, job_id: str, name: str, *, seed: int | None = None
    ) -> AsyncIterator[Updates]:
        """Show the steps of a job until it ends, then its files as `name`."""
        session, shown = self._session(browser), self._shown
        session.job = job_id
        seed_update = {} if seed is None else {shown.seed: seed}
        drafted = False
        try:
            view = self._engine.view(job_id)
            yield {shown.progress: fragments.job_panel(view)} | self._buttons(session, running=True) | seed_update
            while not (view := self._engine.view(job_id)).state.final:
                updates: Updates = {shown.progress: fragments.job_panel(view)}
                if view.draft is not None and not drafted:
                    updates[shown.results], drafted = fragments.draft_panel(view), True
                yield updates
                await asyncio.sleep(POLL_SECONDS)
        except UnknownJobError as error:  # somebody who knows its id deleted it
            session.job = None
            told = {shown.progress: fragments.message_panel(str(error)), shown.results: session.results}
            yield told | self._buttons(session)
            return
        session.job = None
        if view.state is JobState.DONE:
            history = await asyncio.to_thread(self._history_update, browser)
            updates = self._result_update(session, view, name) | history
        else:
            updates = {shown.results: session.results}
        yield {shown.progress: fragments.job_panel(view)} | updates | self._machine_update() | self._buttons(session)

    def choose(self, browser: gr.Request, choice: gr.SelectData) -> Updates:
        """Show a past result."""
        session = self._session(browser)
        try:
            known = isinstance(choice.index, int) and 0 <= choice.index < len(session.history)
            if session.job is not None or not known:
                return {self._shown.progress: gr.skip()}
            view = self._engine.view(session.history[choice.index])
        except UnknownJobError as error:
            return {self._shown.progress: fragments.message_panel(str(error))} | self._history_update(browser)
        updates = {self._shown.progress: fragments.job_panel(view), self._shown.seed: view.request.seed}
        return updates | self._result_update(session, view, _name(view)) | self._buttons(session)

    def remove(self, browser: gr.Request) -> Updates:
        """Delete the result that is shown, with its files."""
        session = self._session(browser)
        if session.finished is not None and session.job is None:
            job_id, _ = session.finished
            session.finished, session.results = None, ""
            try:
                self._engine.remove(job_id)
            except UnknownJobError:
                return self._history_update(browser) | self._buttons(session)
        emptied = {self._shown.progress: "", self._shown.results: "", self._shown.viewer: None}
        return emptied | self._history_update(browser) | self._buttons(session)

    def cancel(self, browser: gr.Request) -> None:
        """Stop the job that this page waits for: its button was pressed or the page was closed."""
        session = self._sessions.get(_key(browser))
        if session is not None and session.job is not None:
            self._engine.cancel(session.job)

    def close(self, browser: gr.Request) -> None:
        """Forget a page that was closed, and stop its job."""
        self.cancel(browser)
        with self._lock:
            self._sessions.pop(_key(browser), None)

    def _is_kept(self, session: Session) -> bool:
        """Whether other files can be made of what a page shows; somebody may have deleted it."""
        try:
            return session.finished is not None and self._engine.view(session.finished[0]).kept
        except UnknownJobError:
            return False

    def _session(self, browser: gr.Request) -> Session:
        """What belongs to a page; of more pages than are remembered, the longest unused one without a job goes."""
        key = _key(browser)
        with self._lock:
            session = self._sessions.setdefault(key, Session())
            self._sessions.move_to_end(key)
            for other in list(self._sessions)[: max(0, len(self._sessions) - MOST_SESSIONS)]:
                if other != key and not self._is_waiting(self._sessions[other]):
                    del self._sessions[other]
        return session

    def _is_waiting(self, session: Session) -> bool:
        """Whether the job that a page waits for has not ended."""
        try:
            return session.job is not None and not self._engine.view(session.job).state.final
        except UnknownJobError:
            return False

    def _result_update(self, session: Session, view: Job, name: str) -> Updates:
        session.finished = (view.id, name)
        session.results = fragments.results_panel(view, name)
        addresses = {
            kind: fragments.result_address(view.id, view.files[kind]) for kind in VIEWER_KINDS if kind in view.files
        }
        return {self._shown.results: session.results, self._shown.viewer: addresses or None}

    def _history_update(self, browser: gr.Request) -> Updates:
        views = [view for view in self._engine.history(_owner(browser)) if view.draft is not None][:HISTORY_SHOWN]
        self._session(browser).history = [view.id for view in views]
        return {self._shown.history: gr.Gallery([_entry(view) for view in views], visible=bool(views))}

    def _machine_update(self) -> Updates:
        plan = self._engine.executor.plan
        if not plan:
            return {self._shown.machine: fragments.machine_line([self._machine])}
        known = (plan["model"], plan["device_name"], plan["precision"], plan["attention"])
        parts = [
            " · ".join(part for part in known if part),
            f"Memory: {plan['preset']}" if plan["preset"] else "",
            f"{plan['free_memory'] / GIB:.1f} GB free",
        ]
        ram = f"{plan['peak_memory'] / GIB:.1f} GB used at most"
        if plan["peak_device_memory"] is None:  # what is free is RAM too
            parts.append(ram)
        else:
            parts += [f"{plan['peak_device_memory'] / GIB:.1f} GB used at most", f"RAM: {ram}"]
        return {self._shown.machine: fragments.machine_line(parts)}

    def _buttons(self, session: Session, *, running: bool = False) -> Updates:
        shown = self._shown
        has_result = session.finished is not None and not running
        kept = has_result and self._is_kept(session)
        updates: Updates = {
            shown.generate: gr.Button("Generating…" if running else "Generate", interactive=not running),
            shown.cancel: gr.Button(interactive=running),
            shown.again: gr.Button(interactive=kept),
            shown.remove: gr.Button(interactive=has_result),
        }
        if shown.generate_text is not None:
            updates[shown.generate_text] = gr.Button(interactive=not running)
        return updates


def _request(settings: Sequence[Any], random_seed: bool, seed: float | None) -> GenerationRequest:
    values: dict[str, Any] = stated_values(SHOWN, list(settings))
    values = without_untouched(values, preset=values["preset"])
    return GenerationRequest(**values | {"seed": draw_seed() if random_seed else seed})


def _paths(pictures: list[Any] | None) -> list[str]:
    return [str(picture[0] if isinstance(picture, (list, tuple)) else picture) for picture in pictures or []]


def _owner(browser: gr.Request) -> str:
    """Whose page it is; where the browser keeps no cookies, the page owns itself."""
    cookies = getattr(browser, "cookies", None) or {}
    return owner_of(cookies.get(COOKIE)) or f"{PAGE_OWNER}{browser.session_hash}"


def _key(browser: gr.Request) -> tuple[str, str]:
    """Tells open pages apart; nobody reaches another's by its session alone."""
    return _owner(browser), browser.session_hash or ""


def _name(view: Job) -> str:
    return view.name or "asset"


def _entry(view: Job) -> tuple[Image.Image, str]:
    """The picture and the caption of a past result."""
    assert view.draft is not None
    with Image.open(view.draft) as draft:
        picture = draft.convert("RGB")
    side = min(picture.size)  # the first view of several that stand side by side
    return picture.crop((0, 0, side, side)), _name(view)
