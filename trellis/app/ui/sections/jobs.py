"""Asking the engine for a model or for other files, and showing how far it is until it ends."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr

from trellis.app.engine import UnknownJobError
from trellis.app.generation import file_name
from trellis.app.jobs import JobState
from trellis.app.request import without_untouched
from trellis.app.ui.controls import SHOWN_FILES, stated_values
from trellis.app.ui.sections.actions import Actions
from trellis.app.ui.sections.again import Again
from trellis.app.ui.sections.header import Header
from trellis.app.ui.sections.history import History
from trellis.app.ui.sections.models import Models
from trellis.app.ui.sections.pictures import Pictures, picture_paths
from trellis.app.ui.sections.progress import Progress
from trellis.app.ui.sections.prompt import Prompt
from trellis.app.ui.sections.result import Result
from trellis.app.ui.sections.settings import Settings, stated_request
from trellis.app.ui.studio import POLL_SECONDS, Studio, Updates, page_owner
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
    ) -> None:
        self._studio, self._header, self._actions, self._again = studio, header, actions, again
        self._result, self._history, self._settings, self._prompt = result, history, settings, prompt
        self._progress = progress
        self.long = studio.long
        self.picture_inputs = [*pictures.inputs, models.chosen, *settings.inputs]

    def connect(self) -> None:
        """The buttons that generate, and the one that makes the files again."""
        self._actions.generate.click(self.generate, self.picture_inputs, **self.long)
        prompt, button = self._prompt, self._actions.generate_text
        if prompt is not None and button is not None:
            texts = [prompt.text, prompt.model, *self._settings.inputs]
            gr.on([button.click, prompt.text.submit], self.generate_text, inputs=texts, **self.long)
        self._again.button.click(self.extract, self._settings.file_inputs, **self.long)

    async def generate(
        self, browser: gr.Request, pictures: list[Any] | None, way: str, model: str, *settings: Any
    ) -> AsyncIterator[Updates]:
        """Submit a job for the pictures and show its steps until it ends; `settings` are those of `Settings.inputs`."""
        paths = picture_paths(pictures)
        try:
            if not paths:
                raise InvalidInputError("Choose a picture first: drop one in the field above or click an example.")
            request = stated_request(*settings)
            cutouts = await self._studio.cutouts.cut_out(paths, way)
            files, name = [cutout.path for cutout in cutouts], Path(paths[0]).stem
            job_id = await asyncio.to_thread(
                self._studio.engine.submit, request, files, model=model, owner=page_owner(browser), name=name
            )
        except TrellisError as error:
            yield self._progress.say(str(error))
            return
        async for updates in self.follow(browser, job_id, name, seed=request.seed):
            yield updates

    async def generate_text(
        self, browser: gr.Request, prompt: str, model: str, *settings: Any
    ) -> AsyncIterator[Updates]:
        """Submit a job for a text and show its steps until it ends."""
        try:
            request, name = stated_request(*settings), file_name(prompt)
            job_id = await asyncio.to_thread(
                self._studio.engine.submit, request, prompt=prompt, model=model, owner=page_owner(browser), name=name
            )
        except TrellisError as error:
            yield self._progress.say(str(error))
            return
        async for updates in self.follow(browser, job_id, name, seed=request.seed):
            yield updates

    async def extract(self, browser: gr.Request, *settings: Any) -> AsyncIterator[Updates]:
        """Make other files of the asset that this page shows, without sampling it again."""
        try:
            finished = self._studio.session(browser).finished
            if finished is None:
                raise InvalidInputError("There is no model yet: generate one first.")
            source, name = finished
            request = self._studio.engine.view(source).request
            values = stated_values(SHOWN_FILES, list(settings))
            values = without_untouched(values, preset=request.preset)
            job_id = await asyncio.to_thread(self._studio.engine.extract, source, values)
        except TrellisError as error:
            yield self._progress.say(str(error))
            return
        async for updates in self.follow(browser, job_id, name):
            yield updates

    async def follow(
        self, browser: gr.Request, job_id: str, name: str, *, seed: int | None = None
    ) -> AsyncIterator[Updates]:
        """Show the steps of a job until it ends, then its files as `name`."""
        studio, progress = self._studio, self._progress
        session = studio.session(browser)
        session.job = job_id
        seed_update = {} if seed is None else {self._settings.seed: seed}
        draft: Updates = {}
        try:
            view = studio.engine.view(job_id)
            yield progress.show(view) | studio.buttons(session, running=True) | seed_update
            while not (view := studio.engine.view(job_id)).state.final:
                before, draft = draft, self._result.show_draft(view)
                yield progress.show(view) | (draft if draft != before else {})
                await asyncio.sleep(POLL_SECONDS)
        except UnknownJobError as error:  # somebody who knows its id deleted it
            session.job = None
            told = progress.say(str(error)) | self._result.show_last(session)
            yield told | studio.buttons(session)
            return
        session.job = None
        if view.state is JobState.DONE:
            history = await asyncio.to_thread(self._history.update, browser)
            updates = self._result.show(session, view, name) | history
        else:
            updates = self._result.show_last(session)
        yield progress.show(view) | updates | self._header.machine_update() | studio.buttons(session)
