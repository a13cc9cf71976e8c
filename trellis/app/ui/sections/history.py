"""Earlier models of the same person: shown again, or deleted."""

import asyncio

import gradio as gr
from PIL import Image

from trellis.app.engine import UnknownJobError
from trellis.app.jobs import Job
from trellis.app.ui.sections.progress import Progress
from trellis.app.ui.sections.result import Result
from trellis.app.ui.sections.settings import Settings
from trellis.app.ui.studio import QUIET, Session, Studio, Updates, page_owner

HISTORY_SHOWN = 24


class History:
    """A strip of pictures, the newest first."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        gallery = gr.Gallery(
            label="Your models",
            columns=6,
            fit_columns=False,
            height="auto",
            object_fit="cover",
            interactive=False,
            allow_preview=False,
            visible=False,
            buttons=[],
            elem_id="history",
        )
        self.gallery = studio.changes(gallery)
        remove = gr.Button("Delete this model", interactive=False, size="sm", elem_id="remove")
        self.remove_button = studio.changes(remove)
        studio.usable.append(self._usable)

    def connect(self, page: gr.Blocks, progress: Progress, settings: Settings, result: Result) -> None:
        """Show past results when the page opens; and what is chosen or deleted."""
        self._progress, self._settings, self._result = progress, settings, result
        page.load(self.open, outputs=self.gallery, **QUIET)
        self.gallery.select(self.choose, outputs=self._studio.changing, **QUIET)
        self.remove_button.click(self.remove, outputs=self._studio.changing, **QUIET)

    async def open(self, browser: gr.Request) -> Updates:
        """The past results of this browser."""
        return await asyncio.to_thread(self.update, browser)

    def update(self, browser: gr.Request) -> Updates:
        """The past results as they are now."""
        views = self._studio.engine.history(page_owner(browser))
        views = [view for view in views if view.draft is not None][:HISTORY_SHOWN]
        self._studio.session(browser).history = [view.id for view in views]
        return {self.gallery: gr.Gallery([_entry(view) for view in views], visible=bool(views))}

    def choose(self, browser: gr.Request, choice: gr.SelectData) -> Updates:
        """Show a past result."""
        session = self._studio.session(browser)
        try:
            known = isinstance(choice.index, int) and 0 <= choice.index < len(session.history)
            if session.job is not None or not known:
                return {self._progress.panel: gr.skip()}
            view = self._studio.engine.view(session.history[choice.index])
        except UnknownJobError as error:
            return self._progress.say(str(error)) | self.update(browser)
        updates = self._progress.show(view) | {self._settings.seed: view.request.seed}
        return updates | self._result.show(session, view, _name(view)) | self._studio.buttons(session)

    def remove(self, browser: gr.Request) -> Updates:
        """Delete the result that is shown, with its files."""
        session = self._studio.session(browser)
        emptied = self._progress.clear()
        if session.finished is not None and session.job is None:
            job_id, _ = session.finished
            emptied |= self._result.clear(session)
            try:
                self._studio.engine.remove(job_id)
            except UnknownJobError:
                return self.update(browser) | self._studio.buttons(session)
        return emptied | self.update(browser) | self._studio.buttons(session)

    def _usable(self, session: Session, running: bool) -> Updates:
        return {self.remove_button: gr.Button(interactive=session.finished is not None and not running)}


def _name(view: Job) -> str:
    return view.name or "asset"


def _entry(view: Job) -> tuple[Image.Image, str]:
    """The picture and the caption of a past result."""
    assert view.draft is not None
    with Image.open(view.draft) as draft:
        picture = draft.convert("RGB")
    side = min(picture.size)  # the first view of several that stand side by side
    return picture.crop((0, 0, side, side)), _name(view)
