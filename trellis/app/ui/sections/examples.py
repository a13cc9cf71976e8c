"""Pictures that one click makes a model of."""

from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from trellis.app.ui.sections.jobs import Jobs
from trellis.app.ui.sections.pictures import Pictures
from trellis.app.ui.studio import QUIET, Studio


class Examples:
    """`pictures` are those that are offered; without any the section is not there."""

    def __init__(self, studio: Studio, pictures: Sequence[Path]) -> None:
        self._long, self._paths = studio.long, [str(path) for path in pictures]
        if not pictures:
            return
        self.samples = gr.Dataset(
            components=[gr.Image(visible=False, type="filepath")],
            samples=[[path] for path in self._paths],
            type="index",
            label="Or try one of these",
            samples_per_page=24,
            layout="gallery",
            elem_id="examples",
        )

    def connect(self, pictures: Pictures, jobs: Jobs) -> None:
        """A click puts the picture into the field, cuts it out and generates."""
        if self._paths:
            chosen = self.samples.click(
                lambda index: [self._paths[index]],
                self.samples,
                pictures.gallery,
                concurrency_limit=None,
                **QUIET,
            )
            chosen.then(pictures.cut_out, **pictures.cutting).then(jobs.generate, jobs.picture_inputs, **jobs.long)
