"""The settings as a file: saved from the controls, read from a file or from the record of a result."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from trellis.app.request import JobRequest, operation_of
from trellis.app.ui.sections.models import Models
from trellis.app.ui.sections.progress import Progress
from trellis.app.ui.sections.question import Question
from trellis.app.ui.sections.settings import Settings, stated_request
from trellis.app.ui.studio import QUIET, Studio, Updates
from trellis.app.ui.uploads import uploaded_file
from trellis.errors import InvalidInputError, TrellisError

MOST_BYTES = 100_000
WRONG_FILE = "This file has no settings: choose one that was saved here, or the request.json of a result."
# The browser keeps the text as a file: nothing of it stays on the server.
SAVE_SCRIPT = """(text) => {
  if (!text) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = "settings.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}"""


class SettingsFile:
    """Two buttons."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        with gr.Row(elem_id="settings-file"):
            self._save = gr.Button("Save settings", size="sm", min_width=120, elem_id="save-settings")
            self._read = gr.UploadButton(
                "Read settings", file_types=[".json"], size="sm", min_width=120, elem_id="read-settings"
            )
        self._text = gr.Textbox(visible=False)

    def place(self, progress: Progress, question: Question, settings: Settings, models: Models) -> None:
        """Name the sections that have the settings and the models, and that which says what is wrong."""
        self._progress, self._question, self._settings, self._models = progress, question, settings, models

    def connect(self, models: Models) -> Any:
        """Save and read; returns the event of that."""
        panel, inputs = self._progress.panel, [models.chosen, *self._settings.inputs]
        saved = self._save.click(self.save, inputs, [self._text, panel], concurrency_limit=None, **QUIET)
        saved.then(None, self._text, js=SAVE_SCRIPT, **QUIET)
        outputs = [panel, *self._question.outputs]
        return self._read.upload(self.read, self._read, outputs, concurrency_limit=None, **QUIET)

    def save(self, browser: gr.Request, model: str, *settings: Any) -> Updates:
        """The file's text, in the words of a job's record."""
        try:
            request = stated_request(self._models.choice(model), *settings)
        except TrellisError as error:
            return {self._text: ""} | self._progress.tell(self._studio.session(browser), str(error))
        return {self._text: json.dumps({"model": model, "options": request.stated}, indent=2) + "\n"}

    def read(self, browser: gr.Request, named: str | None) -> Updates:
        """The controls as a file says; a file without settings is refused in words."""
        try:
            path = uploaded_file(str(named), self._studio.engine.pictures.folder)
            model, request = read_settings(path)
        except TrellisError as error:
            return self._progress.tell(self._studio.session(browser), str(error))
        return self._settings.put(request, keep_seed=True) | self._question.choose(model)


def read_settings(path: Path) -> tuple[str, JobRequest]:
    """Model and request of a file of settings or of a job's record; raises InvalidInputError."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InvalidInputError(WRONG_FILE)
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInputError(WRONG_FILE) from error
    options = record.get("options") if isinstance(record, dict) else None
    if not isinstance(options, Mapping):
        raise InvalidInputError(WRONG_FILE)
    return str(record.get("model")), operation_of(options)(**options)
