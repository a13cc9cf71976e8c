"""Asking the engine for a model or for other files, and showing how far it is until it ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from trellis.app.engine import UnknownJobError
from trellis.app.generation import file_name
from trellis.app.jobs import JobState
from trellis.app.ui.entries import job_name
from trellis.app.ui.sections.actions import Actions
from trellis.app.ui.sections.again import Again
from trellis.app.ui.sections.header import Header
from trellis.app.ui.sections.history import History
from trellis.app.ui.sections.models import Models
from trellis.app.ui.sections.pictures import Pictures, picture_paths
from trellis.app.ui.sections.progress import Progress
from trellis.app.ui.sections.prompt import Prompt
from trellis.app.ui.sections.question import Question
from trellis.app.ui.sections.result import Result
from trellis.app.ui.sections.settings import Settings, stated_request
from trellis.app.ui.sections.variants import VARIANTS
from trellis.app.ui.studio import POLL_SECONDS, QUIET, Studio, Updates, page_owner
from trellis.errors import InvalidInputError, TrellisError


class Jobs:
    """What every button that starts a job has in common."""

    def __init__(
        self,
        studio: Studio,
        *,
        header: Header,
        pictures: Pictures,
        prompt: Prompt | None,
        settings: Settings,
        models: Models,
        actions: Actions,
        progress: Progress,
        again: Again,
        result: Result,
        history: History,
        question: Question,
    ) -> None:
        self._studio, self._header, self._actions, self._again = studio, header, actions, again
        self._question, self._progress, self._models = question, progress, models
        self._pictures = pictures
        self._result, self._history, self._settings, self._prompt = result, history, settings, prompt
        self.long = studio.long
        self.picture_inputs = [*pictures.inputs, models.chosen, *settings.inputs]

    def connect(self, page: gr.Blocks) -> None:
        """The buttons that generate, the one that makes the files again, those of the history, and a page's opening."""
        self._actions.generate.click(self.generate, self.picture_inputs, **self.long)
        self._actions.vary.click(self.vary, self.picture_inputs, **self.long)
        prompt, button, vary = self._prompt, self._actions.generate_text, self._actions.vary_text
        if prompt is not None and button is not None and vary is not None:
            texts = [prompt.text, prompt.model, *self._settings.inputs]
            gr.on([button.click, prompt.text.submit], self.generate_text, inputs=texts, **self.long)
            vary.click(self.vary_text, texts, **self.long)
            self._progress.forget_on(prompt.text.input)
        self._progress.forget_on(self._pictures.gallery.change, self._pictures.way.input)
        self._again.button.click(self.extract, self._settings.file_inputs, **self.long)
        history = self._history
        choosers = [history.strip, history.details, history.variants.panel]
        acted = gr.on([part.select for part in choosers], history.act, **history.acting)
        # In a second step, when fields that are empty at first have been emptied.
        opened = page.load(history.open, outputs=[history.strip, history.variants.panel], **QUIET)
        for event in (acted, opened.then(self.resume, **history.acting)):
            event.then(self.watch, **self.long)
            self._question.follow(event)

    async def generate(
        self, browser: gr.Request, pictures: list[Any] | None, way: str, model: str, *settings: Any
    ) -> AsyncIterator[Updates]:
        """Submit a job for the pictures and show its steps until it ends; `settings` are those of `Settings.inputs`."""
        async for updates in self._generate(browser, self._of_pictures(pictures, way, model), settings):
            yield updates

    async def generate_text(
        self, browser: gr.Request, prompt: str, model: str, *settings: Any
    ) -> AsyncIterator[Updates]:
        """Submit a job for a text and show its steps until it ends."""
        async for updates in self._generate(browser, self._of_text(prompt, model), settings):
            yield updates

    async def vary(
        self, browser: gr.Request, pictures: list[Any] | None, way: str, model: str, *settings: Any
    ) -> AsyncIterator[Updates]:
        """The same for drafts of several seeds."""
        async for updates in self._generate(browser, self._of_pictures(pictures, way, model), settings, VARIANTS):
            yield updates

    async def vary_text(self, browser: gr.Request, prompt: str, model: str, *settings: Any) -> AsyncIterator[Updates]:
        """The same for drafts of several seeds."""
        async for updates in self._generate(browser, self._of_text(prompt, model), settings, VARIANTS):
            yield updates

    async def _generate(
        self, browser: gr.Request, finding: Awaitable[dict[str, Any]], settings: Sequence[Any], drafts: int = 0
    ) -> AsyncIterator[Updates]:
        """Submit a job, or so many drafts, for what is found and show the steps until all have ended."""
        session, engine, handed_in = self._studio.session(browser), self._studio.engine, list[str]()
        try:
            source = await finding | {"owner": page_owner(browser)}
            request = stated_request(self._models.choice(source["model"]), *settings)
            for wanted in request.drafts(drafts) if drafts else [request]:
                handed_in.append(await asyncio.to_thread(engine.submit, wanted, **source))
        except TrellisError as error:
            for job_id in handed_in:  # some of the drafts are nothing to choose from
                engine.remove(job_id)
            yield self._progress.tell(session, str(error))
            return
        session.asked = handed_in[0]
        yield {self._settings.seed: request.seed}
        async for updates in self.watch(browser):
            yield updates

    async def _of_pictures(self, pictures: list[Any] | None, way: str, model: str) -> dict[str, Any]:
        """What a job is made of, as `Engine.submit` takes it: pictures and their name."""
        paths = picture_paths(pictures)
        if not paths:
            raise InvalidInputError("Choose a picture first: drop one in the field above or click an example.")
        cutouts = await self._studio.cutouts.cut_out(paths, way)
        return {"pictures": [cutout.path for cutout in cutouts], "model": model, "name": Path(paths[0]).stem}

    async def _of_text(self, prompt: str, model: str) -> dict[str, Any]:
        """The same for a text."""
        return {"prompt": prompt, "model": model, "name": file_name(prompt)}

    async def extract(self, browser: gr.Request, *settings: Any) -> AsyncIterator[Updates]:
        """Make other files of the asset that this page shows, without sampling it again."""
        session = self._studio.session(browser)
        try:
            job, request = self._again.request(session, settings)
            session.asked = await asyncio.to_thread(self._studio.engine.extract, job.id, request.stated_files)
        except TrellisError as error:
            yield self._progress.tell(session, str(error))
            return
        async for updates in self.watch(browser):
            yield updates

    async def resume(self, browser: gr.Request) -> Updates:
        """What a page that opens shows of the person's last job, if that goes on or was interrupted."""
        jobs = await asyncio.to_thread(self._studio.engine.history, page_owner(browser))
        session = self._studio.session(browser)
        updates: Updates = {}
        if jobs and jobs[0].interrupted:
            updates = await asyncio.to_thread(self._history.choose, session, jobs[0].id)
        elif jobs and not jobs[0].state.final:
            updates = await asyncio.to_thread(self._question.put, jobs[0], keep_seed=False)
        return updates | await asyncio.to_thread(self._history.update, browser)

    async def watch(self, browser: gr.Request) -> AsyncIterator[Updates]:
        """Show the steps of the person's jobs, one after the other, until all have ended.

        Of a page the last that began watches: what became of those before, or of their connection, does not matter.
        """
        studio, session, owner = self._studio, self._studio.session(browser), page_owner(browser)
        mine = session.watch = object()
        while session.watch is mine:
            if session.job is None:
                waiting = [job.id for job in studio.engine.history(owner) if not job.state.final]
                session.job = waiting[-1] if waiting else session.asked
            yield await asyncio.to_thread(self._history.update, browser) | studio.buttons(session)
            if session.job is None:
                return
            async for updates in self.follow(browser, session.job):
                if session.watch is not mine:
                    return
                yield updates
            if session.asked == session.job:
                session.asked = None
            session.job = None

    async def follow(self, browser: gr.Request, job_id: str) -> AsyncIterator[Updates]:
        """Show the steps of a job until it ends, then its files."""
        engine, progress, session = self._studio.engine, self._progress, self._studio.session(browser)
        owner = page_owner(browser)
        draft: Updates = {}
        states: dict[str, JobState] = {}
        try:
            while not (view := engine.view(job_id)).state.final:
                last, draft = draft, {} if view.is_draft else self._result.show_draft(view)
                updates = progress.show(view) | (draft if draft != last else {})
                before, states = states, {job.id: job.state for job in engine.history(owner)}
                if states != before or view.is_draft:
                    updates |= await asyncio.to_thread(self._history.update, browser)
                yield updates
                await asyncio.sleep(POLL_SECONDS)
        except UnknownJobError as error:  # somebody deleted it
            yield progress.say(str(error)) | self._result.show_last(session)
            return
        if view.state is JobState.DONE and not view.is_draft:
            updates = self._result.show(session, view, job_name(view)) | self._history.show(session, view)
        else:
            updates = self._result.show_last(session)
            if session.chosen == job_id:
                updates |= self._history.show(session, view)
        yield progress.show(view) | updates | self._header.machine_update()
