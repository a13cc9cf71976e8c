"""The dialog in which a person cuts an object out by hand: its markup, and the answers to what the page asks."""

from pathlib import Path
from typing import Any, Literal

import gradio as gr
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trellis.app.picture_reader import Drawn, Shares
from trellis.app.ui.studio import Studio
from trellis.errors import InvalidInputError, TrellisError

STATIC = Path(__file__).parents[1] / "static"
MOST_STROKES = 500_000  # characters: a picture of strokes takes some ten thousand
FILE_ADDRESS = "/gradio_api/file="


class Edit(BaseModel):
    """What the dialog sends: open a picture, try what was drawn on it, or use that in place of the picture."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    number: int = Field(ge=0, lt=2**31)  # of the message; the answer has it too
    order: Literal["open", "try", "use"]
    index: int = Field(ge=0)
    whole: bool = False
    crop: Shares | None = None
    box: Shares | None = None
    strokes: str = Field(default="", max_length=MOST_STROKES)


class CutoutEditor:
    """The dialog. Its value is what it asks, then what it is answered."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self.dialog = gr.HTML(
            None,
            html_template=(STATIC / "cutout.html").read_text(encoding="utf-8"),
            css_template=(STATIC / "cutout.css").read_text(encoding="utf-8"),
            js_on_load=(STATIC / "cutout.js").read_text(encoding="utf-8"),
            apply_default_css=False,
            elem_id="cutout-editor",
        )

    async def answer(self, paths: list[str], way: str, message: Any) -> tuple[dict[str, Any], list[str] | None]:
        """The dialog's answer, and the pictures after it, where one is replaced."""
        number = message.get("number") if isinstance(message, dict) else None
        try:
            edit = Edit.model_validate(message)
            if edit.index >= len(paths):
                raise InvalidInputError("This picture is not here (any more): choose it again.")
            return await self._carry_out(edit, paths, way)
        except ValidationError:
            error = "The page sent a drawing that cannot be read; load the page again."
        except TrellisError as refusal:
            error = str(refusal)
        return {"answer": number, "error": error}, None

    async def _carry_out(self, edit: Edit, paths: list[str], way: str) -> tuple[dict[str, Any], list[str] | None]:
        cutouts, path = self._studio.cutouts, paths[edit.index]
        answer: dict[str, Any] = {"answer": edit.number}
        if edit.order == "open":
            picture, made = await cutouts.opened(path)
            if made is not None:
                used, drawn = made
                answer |= {"crop": drawn.crop, "box": drawn.box, "strokes": drawn.strokes, "whole": used == "whole"}
            return answer | {"picture": FILE_ADDRESS + str(picture.path)}, None
        used, drawn = "whole" if edit.whole else way, Drawn(edit.crop, edit.box, edit.strokes)
        if edit.order == "try":
            return answer | {"mask": (await cutouts.draw(path, used, drawn)).mask}, None
        replaced = await cutouts.replace(path, used, drawn)
        return answer, [*paths[: edit.index], replaced, *paths[edit.index + 1 :]]
