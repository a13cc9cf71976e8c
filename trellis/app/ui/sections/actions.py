"""Generate, Cancel, and how far the job is."""

import gradio as gr

from trellis.app.ui import fragments
from trellis.app.ui.studio import QUIET, Session, Studio, Updates


class Actions:
    """The bar of buttons that every job starts and ends with."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        with gr.Row(elem_id="actions"):
            generate = gr.Button("Generate", variant="primary", scale=3, min_width=160, elem_id="generate")
            cancel = gr.Button("Cancel", interactive=False, scale=1, min_width=96, elem_id="cancel")
        self.generate, self.cancel = studio.changes(generate), studio.changes(cancel)
        self.progress = studio.changes(gr.HTML("", apply_default_css=False, elem_id="progress"))
        studio.usable.append(self._usable)

    def connect(self) -> None:
        """Cancel; what Generate does is the jobs' own."""
        self.cancel.click(self._studio.cancel, concurrency_limit=None, **QUIET)

    def tell(self, session: Session, message: str) -> Updates:
        """Say what went wrong, beside the progress of a job that goes on."""
        if session.job is None:
            return {self.progress: fragments.message_panel(message)}
        gr.Warning(message)
        return {self.progress: gr.skip()}

    def _usable(self, session: Session, running: bool) -> Updates:
        return {self.cancel: gr.Button(interactive=running)}
