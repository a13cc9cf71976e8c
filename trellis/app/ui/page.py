"""The page: pictures (or a text) on the left, the finished asset on the right."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from trellis.app.engine import Engine
from trellis.app.machine_options import DEMO_MODEL
from trellis.app.model_choices import ModelChoice
from trellis.app.ui import fragments
from trellis.app.ui.controls import (
    FILE_ROWS,
    FOLLOWING,
    SAMPLING_ROWS,
    SETUP_ROWS,
    SHOWN,
    SHOWN_FILES,
    create_control,
    following_values,
)
from trellis.app.ui.cutouts import offered_ways
from trellis.app.ui.handlers import Handlers, Shown
from trellis.runtime import ModelFiles, name_upload_folder

Part = Any  # a component: which events it has depends on its kind
STATIC = Path(__file__).parent / "static"
PASTE_SCRIPT = STATIC / "paste.js"
THEME_SCRIPT = STATIC / "theme.js"
THEME_BUTTON = (
    '<button type="button" aria-label="Dark colours" title="Dark colours"><svg viewBox="0 0 24 24" aria-hidden="true">'
    '<circle cx="12" cy="12" r="8.5" fill="none" stroke="currentColor" stroke-width="2"/>'
    '<path d="M12 3.5a8.5 8.5 0 0 1 0 17z" fill="currentColor"/></svg></button>'
)
TITLE = "TRELLIS"
SUBTITLE = "A picture in, a textured 3D model out."
DEMO_NOTE = "Embedded demo model: simple objects only. For production quality use the real model."
OFFLINE_DEMO_NOTE = "Embedded demo model: simple objects only. No other model is here, and none is fetched offline."
AGAIN_NOTE = "Applies the settings above to the model that is shown; it is not generated anew."
WAY_NOTE = "What is cut out is shown above and used as it is; another way does it again."
# `watch` runs after the value changed; the template has no value in it, so the canvas stays in place.
VIEWER_SCRIPT = """
const viewer = TrellisViewer.mount(element.querySelector(".viewer"));
const show = () => viewer.show(props.value);
watch("value", show);
show();
"""
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


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
    models, files = models or [ModelChoice(name, name) for name in engine.models.names], files or ModelFiles()
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        with gr.Row(elem_id="top"):
            header = f"<h1>{TITLE}</h1><p>{SUBTITLE}</p>"
            paste = PASTE_SCRIPT.read_text(encoding="utf-8")
            gr.HTML(header, js_on_load=paste, apply_default_css=False, elem_id="header")
            machine_line = gr.HTML(fragments.machine_line([machine]), apply_default_css=False, elem_id="machine")
            theme = THEME_SCRIPT.read_text(encoding="utf-8")
            gr.HTML(THEME_BUTTON, js_on_load=theme, apply_default_css=False, elem_id="theme")
        with gr.Row(elem_id="columns"):
            with gr.Column(scale=2, min_width=320):
                inputs = _create_inputs(models, files)
                controls = {"quality": create_control("quality")}
                inputs |= _create_actions(models)
                inputs |= _create_examples(examples)
                inputs |= _create_settings(models, controls)
                again = _create_file_settings(controls)
            with gr.Column(scale=3, min_width=320):
                viewer, results, history, remove = _create_results()
        shown = Shown(
            progress=inputs["progress"],
            generate=inputs["generate"],
            generate_text=inputs.get("generate_text"),
            cancel=inputs["cancel"],
            again=again,
            remove=remove,
            seed=inputs["seed"],
            viewer=viewer,
            results=results,
            history=history,
            machine=machine_line,
        )
        handlers = Handlers(engine, shown, files, machine=machine)
        _connect(page, handlers, shown, inputs, controls, examples)
    return page


def _create_inputs(models: Sequence[ModelChoice], files: ModelFiles) -> dict[str, Part]:
    """Pictures and their cut-outs; and a text, where a model takes one."""
    if not any(model.takes_text for model in models):
        return _create_picture_input(files)
    with gr.Tabs(elem_id="sources"):
        with gr.Tab("Pictures"):
            inputs = _create_picture_input(files)
        with gr.Tab("Text", elem_id="text-tab"):
            inputs |= _create_text_input([model for model in models if model.takes_text])
    return inputs


def _create_picture_input(files: ModelFiles) -> dict[str, Part]:
    inputs: dict[str, Part] = {}
    inputs["pictures"] = gr.Gallery(
        label="Pictures of one object",
        type="filepath",
        format="png",
        sources=["upload", "clipboard"],
        interactive=True,
        columns=4,
        fit_columns=False,
        file_types=["image"],
        height=210,
        object_fit="contain",
        allow_preview=False,
        buttons=[],
        elem_id="pictures",
    )
    inputs["cutouts"] = gr.HTML("", apply_default_css=False, elem_id="cutouts")
    inputs["way"] = gr.Radio(
        offered_ways(files), value="auto", label="Background removal", info=WAY_NOTE, elem_id="background"
    )
    return inputs


def _create_examples(examples: Sequence[Path]) -> dict[str, Part]:
    if not examples:
        return {}
    samples = gr.Dataset(
        components=[gr.Image(visible=False, type="filepath")],
        samples=[[str(path)] for path in examples],
        type="index",
        label="Or try one of these",
        samples_per_page=24,
        layout="gallery",
        elem_id="examples",
    )
    return {"examples": samples}


def _create_text_input(models: Sequence[ModelChoice]) -> dict[str, Part]:
    prompt = gr.Textbox(
        label="Text", info="What the object is, in English.", lines=3, max_length=1000, elem_id="prompt"
    )
    choices = [(model.label, model.name) for model in models]
    model = gr.Dropdown(choices, value=models[0].name, label="Model", filterable=False, elem_id="text-model")
    button = gr.Button("Generate from text", variant="primary", elem_id="generate-text")
    return {"prompt": prompt, "text_model": model, "generate_text": button}


def _create_actions(models: Sequence[ModelChoice]) -> dict[str, Part]:
    with gr.Row(elem_id="actions"):
        generate = gr.Button("Generate", variant="primary", scale=3, min_width=160, elem_id="generate")
        cancel = gr.Button("Cancel", interactive=False, scale=1, min_width=96, elem_id="cancel")
    progress = gr.HTML("", apply_default_css=False, elem_id="progress")
    parts = {"generate": generate, "cancel": cancel, "progress": progress}
    if models[0].name == DEMO_MODEL:
        better = _better_model(models)
        with gr.Row(elem_id="demo-note"):
            gr.HTML(f"<p>{DEMO_NOTE if better else OFFLINE_DEMO_NOTE}</p>", apply_default_css=False)
            if better:
                parts["better"] = gr.Button(f"Use {better.label}", size="sm", min_width=220, elem_id="better-model")
                parts["better_name"] = gr.State(better.name)
    return parts


def _better_model(models: Sequence[ModelChoice]) -> ModelChoice | None:
    """The model to choose in place of the demo: one that is here, else what is fetched soonest."""
    return next((model for model in models if model.name != DEMO_MODEL and not model.takes_text), None)


def _create_settings(models: Sequence[ModelChoice], controls: dict[str, Part]) -> dict[str, Part]:
    """Model, memory and sampling; the controls of options are added to `controls`."""
    choices = [(model.label, model.name) for model in models if not model.takes_text]
    with gr.Accordion("Model and memory", open=False, elem_id="setup"):
        model = gr.Dropdown(
            choices or [(models[0].label, models[0].name)],
            value=choices[0][1] if choices else models[0].name,
            label="Model",
            info="Another model is opened with the next job; one that is not here yet is fetched then.",
            filterable=False,
            elem_id="model",
        )
        controls |= _create_rows(SETUP_ROWS)
    with gr.Accordion("Sampling", open=False, elem_id="settings"):
        with gr.Row(equal_height=True):
            seed = create_control("seed")
            random_seed = gr.Checkbox(
                True, label="Random seed", info="Draw a new seed for every model.", elem_id="random-seed"
            )
        controls |= _create_rows(SAMPLING_ROWS)
    return {"model": model, "seed": seed, "random_seed": random_seed}


def _create_file_settings(controls: dict[str, Part]) -> gr.Button:
    """What the files are made of, and the button that makes them again."""
    with gr.Accordion("Mesh, texture and files", open=False, elem_id="file-settings"):
        controls |= _create_rows(FILE_ROWS)
        again = gr.Button("Make the files again", interactive=False, elem_id="again")
        gr.HTML(f"<p>{AGAIN_NOTE}</p>", apply_default_css=False, elem_id="again-note")
    return again


def _create_results() -> tuple[gr.HTML, gr.HTML, gr.Gallery, gr.Button]:
    viewer = gr.HTML(
        None,
        html_template='<div class="viewer"></div>',
        head=f'<script src="{fragments.VIEWER_ROUTE}"></script>',  # loaded before the next line runs
        js_on_load=VIEWER_SCRIPT,
        apply_default_css=False,
        elem_id="viewer",
    )
    results = gr.HTML("", apply_default_css=False, elem_id="results")
    history = gr.Gallery(
        label="Your models",
        columns=6,
        fit_columns=False,
        height="auto",
        object_fit="cover",
        interactive=False,
        allow_preview=False,
        visible=False,
        buttons=[],
        elem_id="history",
    )
    remove = gr.Button("Delete this model", interactive=False, size="sm", elem_id="remove")
    return viewer, results, history, remove


def _create_rows(rows: Sequence[Sequence[str]]) -> dict[str, Part]:
    controls: dict[str, Part] = {}
    for row in rows:
        with gr.Row(equal_height=True):
            controls |= {name: create_control(name) for name in row}
    return controls


def _connect(
    page: gr.Blocks,
    handlers: Handlers,
    shown: Shown,
    inputs: dict[str, Part],
    controls: dict[str, Part],
    examples: Sequence[Path],
) -> None:
    """Say what happens when something is used; the engine has its own queue, so none of it is limited here."""
    settings = [controls[name] for name in SHOWN]
    seeds = [inputs["random_seed"], inputs["seed"]]
    long: dict[str, Any] = {"outputs": shown.components, "concurrency_limit": None, **QUIET}
    pictures = [inputs["pictures"], inputs["way"]]
    generate: dict[str, Any] = {"inputs": [*pictures, inputs["model"], *seeds, *settings], **long}
    cut_out: dict[str, Any] = {"inputs": pictures, "outputs": inputs["cutouts"], "concurrency_limit": None, **QUIET}

    page.load(handlers.open, outputs=shown.components, **QUIET)
    changes = [inputs["pictures"].change, inputs["way"].change]
    gr.on(changes, handlers.cut_out, trigger_mode="always_last", **cut_out)
    inputs["generate"].click(handlers.generate, **generate)
    if "better" in inputs:
        name, chooser = inputs["better_name"], inputs["model"]
        inputs["better"].click(lambda name: name, name, chooser, **QUIET).then(handlers.generate, **generate)
    if "examples" in inputs:
        paths = [str(path) for path in examples]
        chosen = inputs["examples"].click(
            lambda index: [paths[index]], inputs["examples"], inputs["pictures"], concurrency_limit=None, **QUIET
        )
        chosen.then(handlers.cut_out, **cut_out).then(handlers.generate, **generate)
    if "generate_text" in inputs:
        texts = [inputs["prompt"], inputs["text_model"], *seeds, *settings]
        gr.on([inputs["generate_text"].click, inputs["prompt"].submit], handlers.generate_text, inputs=texts, **long)
    inputs["cancel"].click(handlers.cancel, concurrency_limit=None, **QUIET)
    following = [controls[name] for name in FOLLOWING]
    choosers = [controls["quality"], controls["preset"]]
    gr.on([item.input for item in choosers], following_values, choosers, following, concurrency_limit=None, **QUIET)
    shown.again.click(handlers.extract, inputs=[controls[name] for name in SHOWN_FILES], **long)
    shown.history.select(handlers.choose, outputs=shown.components, **QUIET)
    shown.remove.click(handlers.remove, outputs=shown.components, **QUIET)
    page.unload(handlers.close)
