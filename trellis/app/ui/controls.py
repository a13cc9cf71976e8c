"""Controls made from the options of a request, so that no default or range is stated twice."""

import gradio as gr
from gradio.components import Component

from trellis.app.request import Choice, GenerationRequest, Range, Subset, Switch, default_of, options

# What the page offers, row by row; the other options keep their defaults.
QUALITY_ROWS = (("quality",),)
SETUP_ROWS = (("preset", "precision"),)
SAMPLING_ROWS = (
    ("structure_steps", "structure_guidance"),
    ("latent_steps", "latent_guidance"),
    ("multi_image",),
    ("speed",),
)
FILE_ROWS = (
    ("simplify",),
    ("faces", "stl_size"),
    ("texture_size",),
    ("texture_mode", "texture_format"),
    ("blend_picture",),
    ("normal_map", "double_sided"),
    ("formats",),
    ("preview_content",),
    ("preview_frames",),
    ("preview_size",),
)
SHOWN = tuple(name for rows in (QUALITY_ROWS, SETUP_ROWS, SAMPLING_ROWS, FILE_ROWS) for row in rows for name in row)
SHOWN_FILES = ("quality", *(name for row in FILE_ROWS for name in row))
# What follows a choice of quality or memory preset: controls that then show what the choice sets.
FOLLOWING = (
    "structure_steps",
    "latent_steps",
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
    option, default = options()[name], default_of(name)
    label, info, elem_id = option.label, option.help, f"option-{name}"
    match option.domain:
        case Range() as domain if option.optional or _steps(domain) > MOST_SLIDER_STEPS:
            # The range is left to the request's own check, whose message names the field. An empty field must be
            # emptied on load: Gradio shows a value of None as 0 at first.
            return gr.Number(
                (lambda: None) if default is None else default,
                label=label,
                info=info,
                placeholder=option.unset,
                precision=0 if domain.integer else None,
                step=domain.step,
                elem_id=elem_id,
            )
        case Range() as domain:
            return gr.Slider(
                domain.minimum, domain.maximum, default, step=domain.step, label=label, info=info, elem_id=elem_id
            )
        case Choice() as domain if option.unset is not None:
            choices = [(option.unset, ""), *((str(value), value) for value in domain.values)]
            return gr.Dropdown(choices, value="", label=label, info=info, filterable=False, elem_id=elem_id)
        case Choice() as domain:
            return gr.Radio(list(domain.values), value=default, label=label, info=info, elem_id=elem_id)
        case Switch():
            return gr.Checkbox(default, label=label, info=info, elem_id=elem_id)
        case Subset() as domain:
            return gr.CheckboxGroup(
                list(domain.values), value=list(default or ()), label=label, info=info, elem_id=elem_id
            )


def stated_values(names: tuple[str, ...], values: list[object]) -> dict[str, object]:
    """The controls' values as a request takes them; nothing chosen means None where that has a meaning."""
    known = options()
    return {
        name: None if value == "" or (value == [] and known[name].optional) else value
        for name, value in zip(names, values, strict=True)
    }


def following_values(quality: str, preset: str) -> list[object]:
    """What the controls of FOLLOWING show after a choice of quality and memory preset."""
    request = GenerationRequest.from_dict({"quality": quality or None, "preset": preset or None})
    return [getattr(request, name) for name in FOLLOWING]


def _steps(domain: Range) -> float:
    return (domain.maximum - domain.minimum) / domain.step
