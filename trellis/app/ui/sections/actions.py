"""Generate, variants and Cancel: the bar that never scrolls away."""

import gradio as gr

from trellis.app.ui.sections.variants import VARIANTS
from trellis.app.ui.studio import QUIET, Session, Studio, Updates

VARY = f"{VARIANTS} variants"


class Actions:
    """The buttons that every job starts and ends with; `texts` says whether a text can be made a model of."""

    def __init__(self, studio: Studio, *, texts: bool) -> None:
        self._studio = studio
        self.generate_text = self.vary_text = None
        with gr.Row(elem_id="actions"):
            generate = gr.Button("Generate", variant="primary", scale=3, min_width=120, elem_id="generate")
            self.vary = gr.Button(VARY, scale=2, min_width=92, elem_id="vary")
            if texts:
                button = gr.Button("Generate", variant="primary", scale=3, min_width=120, elem_id="generate-text")
                self.generate_text = button
                self.vary_text = gr.Button(VARY, scale=2, min_width=92, elem_id="vary-text")
            cancel = gr.Button("Cancel", interactive=False, scale=1, min_width=88, elem_id="cancel")
        self.generate, self.cancel = generate, studio.changes(cancel)
        studio.usable.append(self._usable)

    def connect(self) -> None:
        """Cancel; what Generate does is the jobs' own."""
        self.cancel.click(self._studio.cancel, concurrency_limit=None, **QUIET)

    def _usable(self, session: Session, running: bool) -> Updates:
        return {self.cancel: gr.Button(interactive=running)}
