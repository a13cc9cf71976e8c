"""The page: a picture on the left, the finished asset on the right."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from trellis.app.engine import Engine
from trellis.app.jobs import JobState, JobView
from trellis.app.request import GenerationRequest, draw_seed
from trellis.app.ui import fragments
from trellis.app.ui.controls import FILE_ROWS, SAMPLING_ROWS, SHOWN_FILES, SHOWN_SAMPLING, create_control
from trellis.errors import InvalidInputError, TrellisError

PASTE_SCRIPT = Path(__file__).parent / "static" / "paste.js"
POLL_SECONDS = 0.25
VIEWER_KINDS = ("glb", "ply")
DEMO_NOTE = (
    "Embedded demo model: simple objects only. For production quality install TRELLIS-image-large "
    "and start with <code>--model microsoft/TRELLIS-image-large</code>."
)
AGAIN_NOTE = "Applies the settings above to the model that is shown; it is not generated anew."
# `watch` runs after the value changed; the template has no value in it, so the canvas stays in place.
VIEWER_SCRIPT = """
const viewer = TrellisViewer.mount(element.querySelector(".viewer"));
const show = () => viewer.show(props.value);
watch("value", show);
show();
"""


def create_page(
    engine: Engine, *, examples: Sequence[Path] = (), machine: str = "", demo_model: bool = False
) -> gr.Blocks:
    """Lay out the page for an engine.

    `examples` are pictures to start from, `machine` a line on where the work is done, `demo_model` whether to say that
    the model is the embedded one.
    """
    with gr.Blocks(title="TRELLIS", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.HTML(
            _header(machine),
            js_on_load=PASTE_SCRIPT.read_text(encoding="utf-8"),
            apply_default_css=False,
            elem_id="header",
        )
        with gr.Row(elem_id="columns"):
            with gr.Column(scale=2, min_width=320):
                picture, generate, cancel, progress = _create_input(examples, demo_model)
                seed, random_seed, sampling = _create_settings()
                files, again = _create_file_settings()
            with gr.Column(scale=3, min_width=320):
                viewer = gr.HTML(
                    None,
                    html_template='<div class="viewer"></div>',
                    head=f'<script src="{fragments.VIEWER_ROUTE}"></script>',  # loaded before the next line runs
                    js_on_load=VIEWER_SCRIPT,
                    apply_default_css=False,
                    elem_id="viewer",
                )
                results = gr.HTML("", apply_default_css=False, elem_id="results")
        handlers = Handlers(engine)
        shown = [progress, generate, cancel, again, seed, viewer, results]
        generate.click(
            handlers.generate,
            inputs=[picture, random_seed, seed, *sampling, *files],
            outputs=shown,
            show_progress="hidden",
            concurrency_limit=None,  # the engine has its own queue
            api_visibility="private",
        )
        again.click(
            handlers.extract,
            inputs=files,
            outputs=shown,
            show_progress="hidden",
            concurrency_limit=None,
            api_visibility="private",
        )
        cancel.click(handlers.cancel, queue=False, show_progress="hidden", api_visibility="private")
        page.unload(handlers.close)
    return page


def _create_input(examples: Sequence[Path], demo_model: bool) -> tuple[gr.Image, gr.Button, gr.Button, gr.HTML]:
    picture = gr.Image(
        label="Picture",
        type="filepath",
        image_mode=None,
        sources=["upload", "clipboard"],
        buttons=[],
        height=280,
        placeholder="Drop a picture of one object here, paste it,\nor click to choose a file",
        elem_id="picture",
    )
    # The uploaded file itself is handed over: reading pictures, and explaining why one cannot be read, is the library's
    # work. (A subclass would do, but Gradio writes a stub file beside the source of every subclass.)
    picture.preprocess = lambda payload: None if payload is None else payload.path  # type: ignore[method-assign]
    if examples:
        gr.Examples(
            [[str(path)] for path in examples],
            picture,
            label="Or try one of these",
            examples_per_page=24,
            elem_id="examples",
        )
    with gr.Row(elem_id="actions"):
        generate = gr.Button("Generate", variant="primary", scale=3, min_width=160, elem_id="generate")
        cancel = gr.Button("Cancel", interactive=False, scale=1, min_width=96, elem_id="cancel")
    progress = gr.HTML("", apply_default_css=False, elem_id="progress")
    if demo_model:
        gr.HTML(f"<p>{DEMO_NOTE}</p>", apply_default_css=False, elem_id="demo-note")
    return picture, generate, cancel, progress


def _create_settings() -> tuple[Component, Component, list[Component]]:
    """The seed, whether to draw it, and the controls of `SHOWN_SAMPLING` in that order."""
    with gr.Accordion("Settings", open=False, elem_id="settings"):
        with gr.Row(equal_height=True):
            seed = create_control("seed")
            random_seed = gr.Checkbox(
                True, label="Random seed", info="Draw a new seed for every model.", elem_id="random-seed"
            )
        controls = _create_rows(SAMPLING_ROWS)
    return seed, random_seed, controls


def _create_file_settings() -> tuple[list[Component], gr.Button]:
    """The controls of `SHOWN_FILES` in that order, and the button that makes files again with them."""
    with gr.Accordion("Mesh, texture and files", open=False, elem_id="file-settings"):
        controls = _create_rows(FILE_ROWS)
        again = gr.Button("Make the files again", interactive=False, elem_id="again")
        gr.HTML(f"<p>{AGAIN_NOTE}</p>", apply_default_css=False, elem_id="again-note")
    return controls, again


def _create_rows(rows: Sequence[Sequence[str]]) -> list[Component]:
    controls = []
    for row in rows:
        with gr.Row(equal_height=True):
            controls += [create_control(name) for name in row]
    return controls


def _header(machine: str) -> str:
    return f'<h1>TRELLIS</h1><p>A picture in, a textured 3D model out.</p><p class="machine">{escape(machine)}</p>'


class Handlers:
    """What the buttons do, and which job each open page waits for and has got."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._jobs: dict[str, str] = {}
        self._finished: dict[str, tuple[str, str]] = {}  # the last job that kept its asset, and the name of its files
        self._results: dict[str, str] = {}  # the last panel of files

    async def generate(
        self, browser: gr.Request, picture: str | None, random_seed: bool, seed: float | None, *settings: Any
    ) -> AsyncIterator[list[Any]]:
        """Submit a job and show its steps until it ends; yields the outputs in the order that the page lists them."""
        try:
            if picture is None:
                raise InvalidInputError("Choose a picture first: drop one in the field above or click an example.")
            values = _values(SHOWN_SAMPLING + SHOWN_FILES, settings)
            request = GenerationRequest.from_dict(values | {"seed": draw_seed() if random_seed else seed})
            job_id = await asyncio.to_thread(self._engine.submit, request, [picture])
        except TrellisError as error:
            yield _outputs(progress=fragments.message_panel(_without_folder(str(error), picture)))
            return
        async for outputs in self._follow(browser, job_id, Path(picture).stem, seed=request.seed):
            yield outputs

    async def extract(self, browser: gr.Request, *settings: Any) -> AsyncIterator[list[Any]]:
        """Make other files of the model that this page shows, without sampling it again."""
        try:
            if browser.session_hash not in self._finished:
                raise InvalidInputError("There is no model yet: generate one first.")
            source, name = self._finished[browser.session_hash]
            job_id = await asyncio.to_thread(self._engine.extract, source, _values(SHOWN_FILES, settings))
        except TrellisError as error:
            yield _outputs(progress=fragments.message_panel(str(error)))
            return
        async for outputs in self._follow(browser, job_id, name):
            yield outputs

    async def _follow(
        self, browser: gr.Request, job_id: str, name: str, *, seed: int | None = None
    ) -> AsyncIterator[list[Any]]:
        """Show the steps of a job until it ends, then its files as `name`."""
        session = browser.session_hash or ""
        self._jobs[session] = job_id
        yield _outputs(fragments.job_panel(self._engine.view(job_id)), running=True, seed=seed)
        drafted = False
        while not (view := self._engine.view(job_id)).state.final:
            outputs = _outputs(fragments.job_panel(view))
            if view.draft is not None and not drafted:
                outputs[-1], drafted = fragments.draft_panel(view), True
            yield outputs
            await asyncio.sleep(POLL_SECONDS)
        self._jobs.pop(session, None)
        if view.kept:
            self._finished[session] = (job_id, name)
        if view.state is JobState.DONE:
            self._results[session] = fragments.results_panel(view, name)
        yield _finished(view, self._results.get(session, ""), again=session in self._finished)

    def cancel(self, browser: gr.Request) -> None:
        """Stop the job that this page waits for: its button was pressed or the page was closed."""
        job_id = self._jobs.get(browser.session_hash or "")
        if job_id is not None:
            self._engine.cancel(job_id)

    def close(self, browser: gr.Request) -> None:
        """Forget a page that was closed, and stop its job."""
        self.cancel(browser)
        self._finished.pop(browser.session_hash or "", None)
        self._results.pop(browser.session_hash or "", None)


def _values(names: Sequence[str], settings: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(names, settings, strict=True))


def _without_folder(message: str, picture: str | None) -> str:
    """The message with the uploaded file called by its name, not by where the server keeps it."""
    return message if picture is None else message.replace(picture, Path(picture).name)


def _finished(view: JobView, results: str, *, again: bool) -> list[Any]:
    """The outputs at the end of a job, with the panel of files that is there now: its own, or the one before."""
    outputs = _outputs(fragments.job_panel(view), running=False, again=again)
    outputs[-1] = results
    if view.state is JobState.DONE:
        outputs[-2] = {
            kind: fragments.result_address(view.id, view.files[kind]) for kind in VIEWER_KINDS if kind in view.files
        }
    return outputs


def _outputs(progress: str, *, running: bool | None = None, again: bool = False, seed: int | None = None) -> list[Any]:
    """Updates of progress, the three buttons, seed, viewer and results; what is not given stays as it is."""
    keep = gr.skip()
    buttons: list[Any] = [keep, keep, keep]
    if running is not None:
        label = "Generating…" if running else "Generate"
        buttons = [gr.Button(label, interactive=not running), gr.Button(interactive=running)]
        buttons.append(gr.Button(interactive=again and not running))
    return [progress, *buttons, keep if seed is None else seed, keep, keep]
