"""What a job was asked for, put back into the controls."""

from pathlib import Path
from typing import Any

import gradio as gr

from trellis.app.jobs import Job
from trellis.app.ui.entries import job_name
from trellis.app.ui.sections.models import Models
from trellis.app.ui.sections.pictures import Pictures
from trellis.app.ui.sections.prompt import Prompt
from trellis.app.ui.sections.settings import Settings
from trellis.app.ui.studio import Studio, Updates
from trellis.app.ui.uploads import keep

OWN_BACKGROUND = "auto"  # a job has what was cut out, whose transparency this way keeps


class Question:
    """Pictures or text, model and options."""

    def __init__(
        self,
        studio: Studio,
        *,
        pictures: Pictures,
        prompt: Prompt | None,
        settings: Settings,
        models: Models,
    ) -> None:
        self._studio, self._pictures, self._prompt, self._settings = studio, pictures, prompt, settings
        self._models = models

    @property
    def outputs(self) -> list[Any]:
        """What `put` may set."""
        prompt = [] if self._prompt is None else [self._prompt.tabs, self._prompt.text, self._prompt.model]
        return [*self._pictures.inputs, *prompt, *self._models.shown, *self._settings.inputs]

    def put(self, job: Job, *, keep_seed: bool = True) -> Updates:
        """The controls as they were for a job; `keep_seed` is whether the next one has its seed too."""
        updates: Updates = self._settings.put(job.request, keep_seed=keep_seed) | self.choose(job.model)
        if job.prompt is None:
            updates |= {self._pictures.gallery: self._uploads(job), self._pictures.way: OWN_BACKGROUND}
        elif self._prompt is not None:
            updates[self._prompt.text] = job.prompt
        if self._prompt is not None:
            updates[self._prompt.tabs] = gr.Tabs(selected="pictures" if job.prompt is None else "text")
        return updates

    def follow(self, event: Any) -> None:
        """Cut out what an event put into the field of pictures: a change of its value by the page tells nobody."""
        event.then(self._pictures.cut_out_again, **self._pictures.cutting)

    def choose(self, model: str) -> Updates:
        """A model, if the page offers it."""
        if self._prompt is not None and model in self._prompt.models:
            return {self._prompt.model: model}
        return self._models.take(model)

    def _uploads(self, job: Job) -> list[str]:
        """A job's pictures as if they had been uploaded once more: a page may name nothing else."""
        paths = []
        for index, path in enumerate(job.pictures, start=1):
            name = f"{job_name(job)}{f'_{index}' if index > 1 else ''}{path.suffix}"
            try:
                with path.open("rb") as content:
                    paths.append(str(keep(self._studio.engine.pictures.folder, content, Path(name).name)))
            except FileNotFoundError:  # deleted by hand
                continue
        return paths
