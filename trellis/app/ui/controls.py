"""Controls made from the options of a request, so that no default or range is stated twice."""

from typing import Any

import gradio as gr
from gradio.components import Component

from trellis.app.request import GenerationRequest, form_request

# What the page offers, row by row; the other options keep their defaults.
QUALITY_ROWS = (("quality",),)
SETUP_ROWS = (("preset", "precision"),)
SAMPLING_ROWS = (
    ("structure_steps", "structure_guidance"),
    ("latent_steps", "latent_guidance"),
    ("multi_image",),
    ("speed",),
)
SHAPE_ROWS = (("surface_resolution", "texture_model"), ("views",))  # shown where the model takes them
FILE_ROWS = (
    ("simplify",),
    ("faces", "stl_size"),
    ("pivot", "real_size"),
    ("texture_size",),
    ("texture_mode", "texture_format"),
    ("blend_picture",),
    ("normal_map", "double_sided"),
    ("formats",),
    ("preview_content",),
    ("preview_frames",),
    ("preview_size",),
)
SHAPE_SHOWN = tuple(name for row in SHAPE_ROWS for name in row)
ROWS = (QUALITY_ROWS, SETUP_ROWS, SAMPLING_ROWS, SHAPE_ROWS, FILE_ROWS)
SHOWN = tuple(name for rows in ROWS for row in rows for name in row)
SHOWN_FILES = ("quality", *(name for row in FILE_ROWS for name in row))
# What follows a choice of quality or memory preset: controls that then show what the choice sets.
FOLLOWING = (
    "structure_steps",
    "latent_steps",
    "surface_resolution",
    "simplify",
    "faces",
    "texture_size",
    "texture_mode",
    "preview_frames",
    "preview_size",
)
MOST_SLIDER_STEPS = 1000  # finer ranges get a field to type in


def create_control(name: str) -> Component:
    """The control of the option called `name`: a field for a number, a slider, a switch or choices."""
    option = GenerationRequest.options()[name]
    default = option.default
    shared: dict[str, Any] = {"label": option.label, "info": option.help, "elem_id": f"option-{name}"}
    if option.kind == "boolean":
        return gr.Checkbox(default, **shared)
    if option.kind == "array":
        return gr.CheckboxGroup(list(option.values), value=default or [], **shared)
    if option.kind == "string" and not option.values:
        return gr.Dropdown([(option.null or "", "")], value="", filterable=False, **shared)
    if option.values and option.null is not None:
        choices = [(option.null, ""), *((str(value), value) for value in option.values)]
        return gr.Dropdown(choices, value="", filterable=False, **shared)
    if option.values:
        return gr.Radio(list(option.values), value=default, **shared)
    if option.null is not None or (option.maximum - option.minimum) / option.step > MOST_SLIDER_STEPS:
        # The range is left to the request's own check, whose message names the field.
        # An empty text, since Gradio shows None as 0 until an event has emptied the field.
        value: Any = "" if default is None else default
        return gr.Number(value, placeholder=option.null, step=option.step, **shared)
    return gr.Slider(option.minimum, option.maximum, default, step=option.step, **shared)


def control_value(control: Component, value: Any) -> Any:
    """What a control shows for an option's value; `stated_values` is the way back."""
    if isinstance(control, gr.CheckboxGroup):
        return list(value or ())
    return "" if value is None and isinstance(control, gr.Dropdown) else value


def stated_values(names: tuple[str, ...], values: list[object]) -> dict[str, object]:
    """The controls' values as a request takes them; nothing chosen means None where that has a meaning.

    Boxes that are ticked count in the order in which they stand.
    """
    known = GenerationRequest.options()
    given = {
        name: None if value == "" or (value == [] and known[name].null is not None) else value
        for name, value in zip(names, values, strict=True)
    }
    return {
        name: sorted(value, key=known[name].values.index)
        if isinstance(value, list) and set(value) <= set(known[name].values)
        else value
        for name, value in given.items()
    }


def following_values(quality: str, preset: str, table: str = "trellis") -> list[object]:
    """What the controls of FOLLOWING show after a choice of quality and memory preset for a model of a table."""
    request = form_request(quality or None, preset or None, table)
    return [getattr(request, name) for name in FOLLOWING]
