"""Which model works, and which others may."""

from collections.abc import Sequence

import gradio as gr

from trellis.app.machine_options import DEMO_MODEL
from trellis.app.model_choices import ModelChoice
from trellis.app.ui.sections.jobs import Jobs
from trellis.app.ui.studio import QUIET

DEMO_NOTE = "Embedded demo model: simple objects only. For production quality use the real model."
OFFLINE_DEMO_NOTE = "Embedded demo model: simple objects only. No other model is here, and none is fetched offline."


class DemoNote:
    """Says what the embedded model can, and offers a better one; not there where another model works."""

    def __init__(self, models: Sequence[ModelChoice]) -> None:
        self._better = None
        if models[0].name == DEMO_MODEL:
            self._better = _better_model(models)
            with gr.Row(elem_id="demo-note"):
                gr.HTML(f"<p>{DEMO_NOTE if self._better else OFFLINE_DEMO_NOTE}</p>", apply_default_css=False)
                if self._better:
                    self._use = gr.Button(f"Use {self._better.label}", size="sm", min_width=220, elem_id="better-model")

    def connect(self, chooser: gr.Dropdown, jobs: Jobs) -> None:
        """One click chooses the better model and generates."""
        if self._better is not None:
            name = self._better.name
            chosen = self._use.click(lambda: name, outputs=chooser, **QUIET)
            chosen.then(jobs.generate, jobs.picture_inputs, **jobs.long)


def _better_model(models: Sequence[ModelChoice]) -> ModelChoice | None:
    """The model to choose in place of the demo: one that is here, else what is fetched soonest."""
    return next((model for model in models if model.name != DEMO_MODEL and not model.takes_text), None)
