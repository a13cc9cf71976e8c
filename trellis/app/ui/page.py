"""The page: pictures (or a text) on the left, the finished asset on the right."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from trellis.app.engine import Engine
from trellis.app.model_choices import ModelChoice
from trellis.app.ui.sections.actions import Actions
from trellis.app.ui.sections.again import Again
from trellis.app.ui.sections.examples import Examples
from trellis.app.ui.sections.header import TITLE, Header
from trellis.app.ui.sections.history import History
from trellis.app.ui.sections.jobs import Jobs
from trellis.app.ui.sections.models import DemoNote
from trellis.app.ui.sections.pictures import Pictures
from trellis.app.ui.sections.prompt import Prompt
from trellis.app.ui.sections.question import Question
from trellis.app.ui.sections.result import Result
from trellis.app.ui.sections.settings import Settings
from trellis.app.ui.sections.settings_file import SettingsFile
from trellis.app.ui.studio import Studio
from trellis.runtime import ModelFiles, name_upload_folder


@dataclass(frozen=True)
class Sections:
    """The parts of one page."""

    studio: Studio
    header: Header
    actions: Actions
    again: Again
    settings: Settings
    result: Result
    history: History
    jobs: Jobs


def create_page(
    engine: Engine,
    *,
    examples: Sequence[Path] = (),
    machine: str = "",
    models: Sequence[ModelChoice] = (),
    files: ModelFiles | None = None,
) -> gr.Blocks:
    """Lay out the page for an engine.

    `examples` are pictures that one click makes a model of, `machine` a line on where the work is done until the engine
    knows, `models` what may be chosen (default: the engine's own), `files` whether the network that cuts pictures out
    may be fetched.
    """
    name_upload_folder(engine.pictures.folder)
    models = models or [ModelChoice(name, name) for name in engine.models.names]
    studio = Studio(engine, files or ModelFiles())
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        create_sections(page, studio, examples, machine, models)
    return page


def create_sections(
    page: gr.Blocks, studio: Studio, examples: Sequence[Path], machine: str, models: Sequence[ModelChoice]
) -> Sections:
    """Lay the sections out and connect them."""
    header = Header(studio, machine)
    with gr.Row(elem_id="columns"):
        with gr.Column(scale=2, min_width=320):
            pictures, prompt = _create_inputs(studio, models)
            settings = Settings(studio)
            actions = Actions(studio)
            note = DemoNote(models)
            samples = Examples(studio, examples)
            settings.create_groups(models)
            with gr.Accordion("Mesh, texture and files", open=False, elem_id="file-settings"):
                settings.create_file_rows()
                again = Again(studio)
            file = SettingsFile(studio)
        with gr.Column(scale=3, min_width=320):
            result = Result(studio)
            history = History(studio)
    question = Question(studio, models, pictures=pictures, prompt=prompt, settings=settings)
    file.connect(actions, question, settings)
    history.place(actions, question, result)
    jobs = Jobs(
        studio,
        header=header,
        pictures=pictures,
        prompt=prompt,
        settings=settings,
        actions=actions,
        again=again,
        result=result,
        history=history,
        question=question,
    )
    header.connect(page)
    pictures.connect()
    settings.connect()
    actions.connect()
    jobs.connect(page)
    note.connect(settings.model, jobs)
    samples.connect(pictures, jobs)
    return Sections(studio, header, actions, again, settings, result, history, jobs)


def _create_inputs(studio: Studio, models: Sequence[ModelChoice]) -> tuple[Pictures, Prompt | None]:
    """Pictures and their cut-outs; and a text, where a model takes one."""
    texts = [model for model in models if model.takes_text]
    if not texts:
        return Pictures(studio), None
    with gr.Tabs(elem_id="sources") as tabs:
        with gr.Tab("Pictures", id="pictures"):
            pictures = Pictures(studio)
        with gr.Tab("Text", id="text", elem_id="text-tab"):
            prompt = Prompt(tabs, texts)
    return pictures, prompt
