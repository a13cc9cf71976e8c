"""The options of a request, in groups."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from trellis.app.model_choices import ModelChoice
from trellis.app.request import NO_TEXTURE, GenerationRequest, JobRequest, draw_seed, without_untouched
from trellis.app.texture_models import texture_models
from trellis.app.ui.controls import (
    FILE_ROWS,
    FOLLOWING,
    SAMPLING_ROWS,
    SETUP_ROWS,
    SHAPE_ROWS,
    SHAPE_SHOWN,
    SHOWN,
    SHOWN_FILES,
    control_value,
    create_control,
    following_values,
    stated_values,
)
from trellis.app.ui.preset_table import preset_table
from trellis.app.ui.sections.models import Models
from trellis.app.ui.studio import QUIET, Part, Studio, Updates


class Settings:
    """Quality first; the groups follow where `create_groups` is called."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._controls: dict[str, Part] = {"quality": create_control("quality")}

    def create_seed(self) -> None:
        """The seed of the next model, and whether it is kept."""
        with gr.Row(elem_id="seed"):
            seed = create_control("seed")
            seed.info = None  # the bar has no room for it
            self.seed = self._studio.changes(seed)
            self.keep_seed = gr.Checkbox(False, label="Keep the seed", elem_id="keep-seed", min_width=60)

    def create_groups(self) -> None:
        """Memory, and sampling."""
        with gr.Accordion("Memory", open=False, elem_id="setup"):
            self._create_rows(SETUP_ROWS)
            self._presets = gr.HTML("", apply_default_css=False, elem_id="presets")
        with gr.Accordion("Sampling", open=False, elem_id="settings"):
            self._create_rows(SAMPLING_ROWS)
            with gr.Column(visible=False, elem_id="shape-settings") as self._shape:
                self._create_rows(SHAPE_ROWS)

    def create_file_rows(self) -> None:
        """What the files are made of."""
        self._create_rows(FILE_ROWS)

    @property
    def inputs(self) -> list[Any]:
        """What a request is made of; see `stated_request`."""
        return [self.keep_seed, self.seed, *(self._controls[name] for name in SHOWN)]

    @property
    def file_inputs(self) -> list[Any]:
        """What the files of an asset are made by; see SHOWN_FILES."""
        return [self._controls[name] for name in SHOWN_FILES]

    def by_name(self, names: Sequence[str]) -> dict[str, Part]:
        """The controls of these options."""
        return {name: self._controls[name] for name in names}

    def put(self, request: JobRequest, *, keep_seed: bool) -> Updates:
        """The controls as a request states them."""
        values = request.to_dict()
        updates = {
            control: control_value(control, values[name]) for name, control in self._controls.items() if name in values
        }
        return updates | {self.seed: request.seed, self.keep_seed: keep_seed}

    def connect(self, page: gr.Blocks, models: Models) -> Any:
        """Show what a choice of quality or memory preset sets, and what the chosen model takes.

        Returns the event of such a choice.
        """
        following = [self._controls[name] for name in FOLLOWING]
        choosers = [self._controls["quality"], self._controls["preset"]]

        def follow(quality: str, preset: str, model: str) -> list[object]:
            return following_values(quality, preset, models.choice(model).presets)

        def fit(quality: str, preset: str, model: str) -> Updates:
            return self._fitted(models.choice(model), quality, preset)

        given = [*choosers, models.chosen]
        chosen = gr.on([item.input for item in choosers], follow, given, following, concurrency_limit=None, **QUIET)
        shape = [self._controls[name] for name in SHAPE_SHOWN if name not in FOLLOWING]
        fitted = [self._presets, self._shape, *shape, *following]
        gr.on([page.load, models.chosen.change], fit, given, fitted, concurrency_limit=None, **QUIET)
        return chosen

    def _fitted(self, model: ModelChoice, quality: str, preset: str) -> Updates:
        """What the chosen model shows of the options that few models take, and of the presets."""
        updates: Updates = {
            self._presets: preset_table(model.presets),
            self._shape: gr.Column(visible=bool(model.options)),
            self._controls["views"]: gr.CheckboxGroup(visible="views" in model.options),
        }
        if "texture_model" in model.options:
            null = GenerationRequest.options()["texture_model"].null or ""
            names = [*texture_models(self._studio.files), NO_TEXTURE]
            choices = [(null, ""), *((name, name) for name in names)]
            updates[self._controls["texture_model"]] = gr.Dropdown(choices=choices)
        if preset:
            values = following_values(quality, preset, model.presets)
            updates |= {self._controls[name]: value for name, value in zip(FOLLOWING, values, strict=True)}
        return updates

    def _create_rows(self, rows: Sequence[Sequence[str]]) -> None:
        for row in rows:
            with gr.Row(equal_height=True):
                self._controls |= {name: create_control(name) for name in row}


def stated_request(model: ModelChoice, keep_seed: bool, seed: float | None, *settings: Any) -> GenerationRequest:
    """The request for a model that the values of `Settings.inputs` state; raises InvalidInputError."""
    values: dict[str, Any] = stated_values(SHOWN, list(settings))
    values = without_untouched(values, preset=values["preset"], table=model.presets)
    values = {name: value for name, value in values.items() if name in model.options or name not in SHAPE_SHOWN}
    return GenerationRequest(**values | {"seed": seed if keep_seed else draw_seed()})
