"""The jobs of the same person: shown again with all that was asked, tried again, renamed, compared, deleted."""

import asyncio
from typing import Any

import gradio as gr

from trellis.app.engine import UnknownJobError
from trellis.app.jobs import Job, JobState
from trellis.app.ui import entries
from trellis.app.ui.sections.progress import Progress
from trellis.app.ui.sections.question import Question
from trellis.app.ui.sections.result import Result
from trellis.app.ui.sections.variants import SCRIPT, Variants, open_drafts
from trellis.app.ui.studio import QUIET, Session, Studio, Updates, page_owner
from trellis.errors import TrellisError

HISTORY_SHOWN = 24


class History:
    """A strip of jobs, the newest first, and what is known of the one that was chosen."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        script = SCRIPT.read_text(encoding="utf-8")
        strip = gr.HTML("", js_on_load=script, apply_default_css=False, elem_id="history")
        details = gr.HTML("", js_on_load=script, apply_default_css=False, elem_id="entry")
        self.strip, self.details = studio.changes(strip), studio.changes(details)
        self._acts = {
            "open": self._open,
            "cancel": self._cancel,
            "retry": self._retry,
            "rename": self._rename,
            "delete": self._delete,
            "undo": self._undo,
            "compare": self._compare,
            "stop": self._stop,
            "finish": self._finish,
            "later": self._later,
        }

    def place(self, progress: Progress, question: Question, result: Result, variants: Variants) -> None:
        """Name the sections that show what is chosen, and what there is to choose from."""
        self._progress, self._question, self._result, self.variants = progress, question, result, variants

    @property
    def acting(self) -> dict[str, Any]:
        """How the events of `act` are connected."""
        outputs = [*self._studio.changing, *self._question.outputs]
        return {"outputs": list(dict.fromkeys(outputs)), "concurrency_limit": None, **QUIET}

    async def open(self, browser: gr.Request) -> Updates:
        """The jobs of a page that opens."""
        return await asyncio.to_thread(self.update, browser)

    async def act(self, browser: gr.Request, event: gr.EventData) -> Updates:
        """Do what a button of the history says, with a job of the same person."""
        session = self._studio.session(browser)
        data = event._data if isinstance(event._data, dict) else {}
        act = self._acts.get(str(data.get("act")))
        job_id, name = str(data.get("job")), str(data.get("name") or "")
        if act is None:
            return self.update(browser)
        try:
            if job_id != session.discarded and self._studio.engine.view(job_id).owner != page_owner(browser):
                raise UnknownJobError("This job is not known; it may have been deleted.")
            updates = await asyncio.to_thread(act, session, job_id, name)
        except TrellisError as error:
            updates = self._progress.tell(session, str(error))
        return updates | self.update(browser)

    def update(self, browser: gr.Request) -> Updates:
        """The jobs as they are now."""
        jobs, session = self._studio.engine.history(page_owner(browser))[:HISTORY_SHOWN], self._studio.session(browser)
        return {self.strip: entries.strip_panel(jobs, session.chosen)} | self.variants.update(session, jobs)

    def show(self, session: Session, job: Job) -> Updates:
        """What is known of a job; it is the chosen one from now on."""
        session.chosen, session.compared = job.id, None
        return {self.details: entries.details_panel(job, self._studio.engine.history(job.owner))}

    def choose(self, session: Session, job_id: str) -> Updates:
        """Bring a whole question back: pictures or text, model and options, and the result or what became of it."""
        job = self._studio.engine.view(job_id)
        updates = self._question.put(job) | self.show(session, job)
        session.files_asked = None
        if session.job is None:
            updates |= self._progress.show(job)
        if job.state is JobState.DONE:
            updates |= self._result.show(session, job, entries.job_name(job))
        elif job.state.final:
            updates |= self._result.clear(session)
        return updates | self._studio.buttons(session)

    def _open(self, session: Session, job_id: str, _: str) -> Updates:
        if session.compared is None or session.compared == job_id:
            return self.choose(session, job_id)
        first, second = self._studio.engine.view(session.compared), self._studio.engine.view(job_id)
        session.compared = None
        return {self.details: entries.comparison_panel(first, second)}

    def _stop(self, session: Session, job_id: str, _: str) -> Updates:
        return self.show(session, self._studio.engine.view(job_id))

    def _compare(self, session: Session, job_id: str, _: str) -> Updates:
        session.compared = job_id
        return {self.details: entries.asking_panel(job_id)}

    def _cancel(self, session: Session, job_id: str, _: str) -> Updates:
        self._studio.engine.cancel(job_id)
        chosen = session.chosen == job_id
        return self.show(session, self._studio.engine.view(job_id)) if chosen else {self.details: gr.skip()}

    def _retry(self, session: Session, job_id: str, _: str) -> Updates:
        session.asked = self._studio.engine.repeat(job_id)
        return self.choose(session, session.asked)

    def _finish(self, session: Session, job_id: str, _: str) -> Updates:
        """Make the files of a draft, as they were asked for; those that it was to be chosen from go."""
        engine = self._studio.engine
        job = engine.view(job_id)
        drafts = [draft.id for draft in open_drafts(engine.history(job.owner))]
        session.asked = engine.extract(job_id, job.asset_request.stated_files)
        for other in drafts if job_id in drafts else []:
            if other != job_id:
                engine.remove(other)
        return self.choose(session, session.asked)

    def _later(self, session: Session, job_id: str, _: str) -> Updates:
        session.put_off = job_id
        return {}

    def _rename(self, session: Session, job_id: str, name: str) -> Updates:
        self._studio.engine.rename(job_id, name)
        job = self._studio.engine.view(job_id)
        updates = self.show(session, job)
        shown = session.finished is not None and session.finished[0] == job_id
        return updates | (self._result.show(session, job, job.name) if shown else {})

    def _delete(self, session: Session, job_id: str, _: str) -> Updates:
        self._studio.engine.discard(job_id)
        session.discarded, session.chosen = job_id, None
        updates: Updates = {self.details: entries.deleted_panel(job_id)}
        if session.finished is not None and session.finished[0] == job_id:
            updates |= self._result.clear(session)
        if session.job is None:
            updates |= self._progress.clear()
        return updates | self._studio.buttons(session)

    def _undo(self, session: Session, job_id: str, _: str) -> Updates:
        self._studio.engine.bring_back(job_id)
        session.discarded = None
        return self.choose(session, job_id)
