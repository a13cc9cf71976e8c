"""A text in place of pictures, for the models that take one."""

from collections.abc import Sequence

import gradio as gr

from trellis.app.model_choices import ModelChoice


class Prompt:
    """`models` are those that take a text; `tabs` has the tab of the text and that of the pictures."""

    def __init__(self, tabs: gr.Tabs, models: Sequence[ModelChoice]) -> None:
        self.tabs = tabs
        self.text = gr.Textbox(
            label="Text", info="What the object is, in English.", lines=3, max_length=1000, elem_id="prompt"
        )
        self.models = [model.name for model in models]
        choices = [(model.label, model.name) for model in models]
        self.model = gr.Dropdown(choices, value=models[0].name, label="Model", filterable=False, elem_id="text-model")
