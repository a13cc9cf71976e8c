"""The pictures of the object, and what is cut out of them before anything is generated."""

from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from trellis.app.ui import fragments
from trellis.app.ui.cutouts import cutouts_panel, must_fetch, offered_ways
from trellis.app.ui.studio import QUIET, Studio
from trellis.errors import TrellisError

WAY_NOTE = "What is cut out is shown above and used as it is; another way does it again."


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
            file_types=["image"],
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

    @property
    def inputs(self) -> list[Any]:
        """What a job takes of this section."""
        return [self.gallery, self.way]

    @property
    def cutting(self) -> dict[str, Any]:
        """How an event is connected that cuts out."""
        return {"inputs": self.inputs, "outputs": self.cutouts, "concurrency_limit": None, **QUIET}

    def connect(self) -> None:
        """Cut out whenever the pictures or the way change."""
        gr.on([self.gallery.change, self.way.change], self.cut_out, trigger_mode="always_last", **self.cutting)

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
        except TrellisError as error:
            yield f'<div class="cutouts" data-state="failed">{fragments.message_panel(str(error))}</div>'
            return
        yield cutouts_panel(cutouts)


def picture_paths(pictures: list[Any] | None) -> list[str]:
    """The files of what the field of pictures holds."""
    return [str(picture[0] if isinstance(picture, (list, tuple)) else picture) for picture in pictures or []]
