"""The pictures of the object, and what is cut out of them before anything is generated."""

from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from trellis.app.ui import fragments
from trellis.app.ui.cutouts import PictureError, cutouts_panel, must_fetch, offered_ways, refusal_panel
from trellis.app.ui.sections.cutout_editor import CutoutEditor
from trellis.app.ui.studio import QUIET, Studio
from trellis.errors import TrellisError

WAY_NOTE = "What is cut out is shown above and used as it is; another way does it again."
UNLIMITED: dict[str, Any] = {"concurrency_limit": None, **QUIET}


class Pictures:
    """Taking pictures, and cutting the object out."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self.gallery = gr.Gallery(
            label="Pictures of one object",
            type="filepath",
            format="png",
            sources=["upload", "clipboard"],
            interactive=True,
            columns=4,
            fit_columns=False,
            file_types=["image", ".heic", ".heif"],
            height=180,
            object_fit="contain",
            allow_preview=False,
            buttons=[],
            elem_id="pictures",
        )
        self.cutouts = gr.HTML("", apply_default_css=False, elem_id="cutouts")
        self.way = gr.Radio(
            offered_ways(studio.files), value="auto", label="Background removal", info=WAY_NOTE, elem_id="background"
        )
        self.editor = CutoutEditor(studio)

    @property
    def inputs(self) -> list[Any]:
        """What a job takes of this section."""
        return [self.gallery, self.way]

    @property
    def cutting(self) -> dict[str, Any]:
        """How an event is connected that cuts out."""
        return {"inputs": self.inputs, "outputs": self.cutouts, **UNLIMITED}

    def connect(self) -> None:
        """Cut out whenever the pictures or the way change."""
        gr.on([self.gallery.change, self.way.change], self.cut_out, trigger_mode="always_last", **self.cutting)
        self.gallery.upload(self.show, self.gallery, self.gallery, **UNLIMITED)
        drawing = [self.gallery, self.way, self.editor.dialog]
        self.editor.dialog.submit(
            self.edit, drawing, [self.editor.dialog, self.gallery], trigger_mode="always_last", **UNLIMITED
        )

    async def cut_out_again(self, pictures: list[Any] | None, way: str) -> str:
        """What is cut out of pictures that were put into the field, once it is."""
        return [panel async for panel in self.cut_out(pictures, way)][-1]

    async def cut_out(self, pictures: list[Any] | None, way: str) -> AsyncIterator[str]:
        """Show what is cut out of the pictures; nothing is generated yet."""
        paths = picture_paths(pictures)
        if not paths:
            yield ""
            return
        busy = "Fetching u2net, then cutting out…" if must_fetch(way) else "Cutting out…"
        yield f'<div class="cutouts" data-state="busy" role="status"><p>{busy}</p></div>'
        try:
            cutouts = await self._studio.cutouts.cut_out(paths, way)
        except PictureError as error:
            yield refusal_panel(str(error), error.index, self._studio.files)
            return
        except TrellisError as error:
            yield f'<div class="cutouts" data-state="failed">{fragments.message_panel(str(error))}</div>'
            return
        yield cutouts_panel(cutouts)

    async def show(self, pictures: list[Any] | None) -> Any:
        """Have the field of pictures show what the browser cannot; what is wrong with one is said by `cut_out`."""
        paths = picture_paths(pictures)
        try:
            shown = await self._studio.cutouts.shown(paths)
        except TrellisError:
            return gr.skip()
        return gr.skip() if shown == paths else shown

    async def edit(self, pictures: list[Any] | None, way: str, message: Any) -> tuple[dict[str, Any], Any]:
        """Answer the dialog; what was cut out by hand takes the place of its picture."""
        answer, changed = await self.editor.answer(picture_paths(pictures), way, message)
        return answer, gr.skip() if changed is None else changed


def picture_paths(pictures: list[Any] | None) -> list[str]:
    """The files of what the field of pictures holds."""
    return [str(picture[0] if isinstance(picture, (list, tuple)) else picture) for picture in pictures or []]
