"""What the sections of the page share: the engine, the open pages, and the components that change while it works."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from trellis.app.engine import Engine, UnknownJobError
from trellis.app.jobs import Job
from trellis.app.mesh_reader import ReadMesh
from trellis.app.ui.cutouts import CutoutTable
from trellis.app.ui.owners import COOKIE, PAGE_OWNER, owner_of
from trellis.runtime import ModelFiles

POLL_SECONDS = 0.25
MOST_SESSIONS = 256  # open pages that are remembered; a page that is forgotten keeps what it shows
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

Part = Any  # a component: which events it has depends on its kind
Updates = dict[Any, Any]  # new values by component


@dataclass
class Session:
    """What belongs to one open page.

    `job` is the job whose progress it shows, `watch` who shows it, `asked` the last that it asked for; `finished` the
    result that is shown and the name of its files, `results` their panel; `chosen` the job chosen in the history,
    `compared` the one that waits for another to be compared with, `discarded` the one that was deleted last; `variants`
    the panel of drafts, `put_off` the last of those whose panel was closed; `own` holds what is shown of a mesh file of
    the person's; `files_asked` are the values of the controls of the files, once one was changed.
    """

    job: str | None = None
    watch: object = None
    asked: str | None = None
    finished: tuple[str, str] | None = None
    results: str = ""
    chosen: str | None = None
    compared: str | None = None
    discarded: str | None = None
    variants: str = ""
    put_off: str | None = None
    own: ReadMesh | None = None
    files_asked: tuple[Any, ...] | None = None


class Studio:
    """One page as all its visitors share it."""

    def __init__(self, engine: Engine, files: ModelFiles) -> None:
        self.engine = engine
        self.files = files
        self.cutouts = CutoutTable(engine.pictures, files)
        self.changing: list[Part] = []  # what the handlers of long work may set
        self.usable: list[Callable[[Session, bool], Updates]] = []  # what each section lets be used, while it works?
        self.sessions: OrderedDict[tuple[str, str], Session] = OrderedDict()  # the longest unused first
        self._lock = threading.Lock()

    def changes(self, component: Part) -> Part:
        """Note that a component changes while something happens, and return it."""
        self.changing.append(component)
        return component

    @property
    def long(self) -> dict[str, Any]:
        """How an event is connected whose handler sets `changing`; the engine has its own queue, so none is limited."""
        return {"outputs": self.changing, "concurrency_limit": None, "trigger_mode": "multiple", **QUIET}

    def buttons(self, session: Session) -> Updates:
        """What may be used now on a page."""
        updates: Updates = {}
        for usable in self.usable:
            updates |= usable(session, session.job is not None)
        return updates

    def session(self, browser: gr.Request) -> Session:
        """What belongs to a page; of more pages than are remembered, the longest unused one without a job goes."""
        key = page_key(browser)
        with self._lock:
            session = self.sessions.setdefault(key, Session())
            self.sessions.move_to_end(key)
            for other in list(self.sessions)[: max(0, len(self.sessions) - MOST_SESSIONS)]:
                if other != key and not self._is_waiting(self.sessions[other]):
                    del self.sessions[other]
        return session

    def cancel(self, browser: gr.Request) -> None:
        """Stop the job whose progress a page shows, and with one draft all; nothing else but a delete stops one."""
        session = self.sessions.get(page_key(browser))
        if session is None or session.job is None:
            return
        drafts = [job.id for job in self.engine.history(page_owner(browser)) if job.is_draft and not job.state.final]
        for job_id in drafts if session.job in drafts else [session.job]:
            self.engine.cancel(job_id)

    def is_kept(self, session: Session) -> bool:
        """Whether other files can be made of what a page shows; somebody may have deleted it."""
        try:
            return session.finished is not None and self.engine.view(session.finished[0]).kept
        except UnknownJobError:
            return False

    def parent(self, job: Job) -> Job | None:
        """The job that another started from, if it is there."""
        try:
            return None if job.source is None else self.engine.view(job.source)
        except UnknownJobError:
            return None

    def _is_waiting(self, session: Session) -> bool:
        """Whether the job that a page waits for has not ended."""
        try:
            return session.job is not None and not self.engine.view(session.job).state.final
        except UnknownJobError:
            return False


def page_owner(browser: gr.Request) -> str:
    """Whose page it is; where the browser keeps no cookies, the page owns itself."""
    cookies = getattr(browser, "cookies", None) or {}
    return owner_of(cookies.get(COOKIE)) or f"{PAGE_OWNER}{browser.session_hash}"


def page_key(browser: gr.Request) -> tuple[str, str]:
    """Tells open pages apart; nobody reaches another's by its session alone."""
    return page_owner(browser), browser.session_hash or ""
