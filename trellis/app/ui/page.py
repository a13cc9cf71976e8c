"""The page: inputs on the left over a bar that stays, the 3D pane on the right over the files and the history."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from trellis.app.engine import Engine
from trellis.app.model_choices import ModelChoice
from trellis.app.ui.sections.actions import Actions
from trellis.app.ui.sections.again import Again
from trellis.app.ui.sections.editing import Editing
from trellis.app.ui.sections.examples import Examples
from trellis.app.ui.sections.header import TITLE, Header
from trellis.app.ui.sections.history import History
from trellis.app.ui.sections.jobs import Jobs
from trellis.app.ui.sections.models import Models
from trellis.app.ui.sections.pictures import Pictures
from trellis.app.ui.sections.progress import Progress
from trellis.app.ui.sections.prompt import Prompt
from trellis.app.ui.sections.question import Question
from trellis.app.ui.sections.result import Result
from trellis.app.ui.sections.settings import Settings
from trellis.app.ui.sections.settings_file import SettingsFile
from trellis.app.ui.sections.variants import Variants
from trellis.app.ui.studio import Studio
from trellis.runtime import ModelFiles, name_upload_folder


@dataclass(frozen=True)
class Offer:
    """What a page offers: pictures that one click makes a model of, a GLB to turn before there is a result, a line on
    where the work is done until the engine knows, and the models that may be chosen."""

    examples: Sequence[Path]
    example_model: Path | None
    machine: str
    models: Sequence[ModelChoice]


@dataclass(frozen=True)
class Sections:
    """The parts of one page."""

    studio: Studio
    header: Header
    pictures: Pictures
    prompt: Prompt | None
    samples: Examples
    settings: Settings
    settings_file: SettingsFile
    again: Again
    models: Models
    actions: Actions
    result: Result
    progress: Progress
    history: History
    editing: Editing
    jobs: Jobs


def create_page(
    engine: Engine,
    *,
    examples: Sequence[Path] = (),
    example_model: Path | None = None,
    machine: str = "",
    models: Sequence[ModelChoice] = (),
    files: ModelFiles | None = None,
) -> gr.Blocks:
    """Lay out the page for an engine; see `Offer`.

    `models` are the engine's own where none are given; `files` say whether models may be fetched, and where they are.
    """
    name_upload_folder(engine.pictures.folder)
    models = models or [ModelChoice(name, name) for name in engine.models.names]
    studio = Studio(engine, files or ModelFiles())
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        sections = lay_out(studio, Offer(examples, example_model, machine, models))
        connect(page, sections)
    return page


def lay_out(studio: Studio, offer: Offer) -> Sections:
    """Create all sections where they belong; call it inside a page."""
    header = Header(studio, offer.machine)
    with gr.Row(elem_id="studio"):
        with gr.Column(elem_id="side", min_width=0):
            with gr.Column(elem_id="inputs", min_width=0):
                pictures, prompt = _create_sources(studio, offer.models)
                samples = Examples(studio, offer.examples)
                settings = Settings(studio)
                settings.create_groups()
                with gr.Accordion("Mesh, texture and files", open=False, elem_id="file-settings"):
                    settings.create_file_rows()
                settings_file = SettingsFile(studio)
            with gr.Column(elem_id="bar", min_width=0):
                models = Models(studio, offer.models)
                settings.create_seed()
                actions = Actions(studio, texts=prompt is not None)
        with gr.Column(elem_id="work", min_width=0):
            with gr.Column(elem_id="stage", min_width=0):
                result = Result(studio, offer.example_model)
                editing = Editing(studio, texts=any(model.takes_text for model in offer.models))
                variants = Variants(studio)
                progress = Progress(studio)
            with gr.Column(elem_id="shelf", min_width=0):
                result.create_files()
                again = Again(studio)
                history = History(studio)
    question = Question(studio, pictures=pictures, prompt=prompt, settings=settings, models=models)
    history.place(progress, question, result, variants)
    settings_file.place(progress, question, settings, models)
    jobs = Jobs(
        studio,
        header=header,
        pictures=pictures,
        prompt=prompt,
        settings=settings,
        models=models,
        actions=actions,
        progress=progress,
        again=again,
        result=result,
        history=history,
        question=question,
    )
    return Sections(
        studio=studio,
        header=header,
        pictures=pictures,
        prompt=prompt,
        samples=samples,
        settings=settings,
        settings_file=settings_file,
        again=again,
        models=models,
        actions=actions,
        result=result,
        progress=progress,
        history=history,
        editing=editing,
        jobs=jobs,
    )


def connect(page: gr.Blocks, parts: Sections) -> None:
    """Say what happens when something is used."""
    parts.header.connect(page)
    parts.pictures.connect()
    filled = [parts.settings.connect(page, parts.models), parts.settings_file.connect(parts.models)]
    parts.again.connect(parts.settings, filled)
    parts.models.connect(page)
    parts.actions.connect()
    parts.jobs.connect(page)
    parts.editing.connect(parts.jobs, parts.progress, parts.result)
    parts.samples.connect(parts.pictures, parts.jobs)


def _create_sources(studio: Studio, models: Sequence[ModelChoice]) -> tuple[Pictures, Prompt | None]:
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
