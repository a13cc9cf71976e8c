"""How far the job is, told over the 3D pane."""

from typing import Any

import gradio as gr

from trellis.app.jobs import Job
from trellis.app.ui import fragments
from trellis.app.ui.studio import QUIET, Session, Studio, Updates


class Progress:
    """One panel: the job's state, or a sentence about what went wrong."""

    def __init__(self, studio: Studio) -> None:
        self.panel = studio.changes(gr.HTML("", apply_default_css=False, elem_id="progress"))

    def show(self, view: Job) -> Updates:
        """Tell a job's state."""
        return {self.panel: fragments.job_panel(view)}

    def say(self, message: str) -> Updates:
        """Tell what went wrong."""
        return {self.panel: fragments.message_panel(message)}

    def tell(self, session: Session, message: str) -> Updates:
        """Tell what went wrong, beside the progress of a job that goes on."""
        if session.job is None:
            return self.say(message)
        gr.Warning(message)
        return {self.panel: gr.skip()}

    def forget_on(self, *events: Any) -> None:
        """Take what went wrong away at these events: the question is another then."""
        gr.on(list(events), self.forget, self.panel, self.panel, trigger_mode="always_last", **QUIET)

    def forget(self, shown: object) -> Any:
        """Nothing in place of what went wrong; whatever else is shown stays."""
        return "" if 'data-state="failed"' in str(shown) else gr.skip()

    def clear(self) -> Updates:
        """Tell nothing."""
        return {self.panel: ""}
