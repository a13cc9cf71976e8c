"""Pictures that one click makes a model of."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

import gradio as gr

from trellis.app.ui.sections.jobs import Jobs
from trellis.app.ui.sections.pictures import Pictures
from trellis.app.ui.studio import QUIET, Studio

FILE_ROUTE = "/gradio_api/file="  # Gradio's own, for the folders that the page allows
CLICK_SCRIPT = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-index]");
  if (button) trigger("select", { example: Number(button.dataset.index) });
});
"""


class Examples:
    """`pictures` are those that are offered, by the names of their files; without any the section is not there."""

    def __init__(self, studio: Studio, pictures: Sequence[Path]) -> None:
        self._paths = [str(path) for path in pictures]
        if pictures:
            heading = '<h2 id="examples-title">Or try one of these</h2>'
            items = "".join(_button(index, path) for index, path in enumerate(pictures))
            group = f'{heading}<div class="examples" role="group" aria-labelledby="examples-title">{items}</div>'
            self.buttons = gr.HTML(group, js_on_load=CLICK_SCRIPT, apply_default_css=False, elem_id="examples")

    def connect(self, pictures: Pictures, jobs: Jobs) -> None:
        """A click puts the picture into the field, cuts it out and generates."""
        if self._paths:
            chosen = self.buttons.select(self.choose, outputs=pictures.gallery, concurrency_limit=None, **QUIET)
            chosen.then(pictures.cut_out, **pictures.cutting).then(jobs.generate, jobs.picture_inputs, **jobs.long)

    def choose(self, event: gr.EventData) -> list[str]:
        """The picture of the button that was pressed; nothing for one that the page does not have."""
        index = event._data.get("example") if isinstance(event._data, dict) else None
        return [self._paths[index]] if isinstance(index, int) and 0 <= index < len(self._paths) else []


def _button(index: int, path: Path) -> str:
    name = escape(path.stem.replace("_", " ").capitalize())
    source = escape(FILE_ROUTE + quote(str(path)), quote=True)
    return f'<button type="button" data-index="{index}"><img src="{source}" alt=""><span>{name}</span></button>'
