"""Answers of the StableProjectorz routes."""

from typing import Literal

from pydantic import BaseModel

from trellis.app.api.stableprojectorz.single_generation import SlotState


class Ping(BaseModel):
    """The server is there."""

    status: Literal["running"] = "running"
    message: str = "Trellis API is operational"
    busy: bool


class Status(BaseModel):
    """The generation of clients without job ids."""

    status: SlotState
    progress: int
    message: str
    busy: bool


class PreviewUrls(BaseModel):
    """Where the preview is; one video shows both."""

    gaussian: str
    mesh: str
    radiance: str | None = None


class Generation(BaseModel):
    """How a generation ended."""

    status: SlotState
    progress: int
    message: str
    preview_urls: PreviewUrls | None = None
    model_url: str | None = None


class Textures(BaseModel):
    """The textures of the last retextured mesh: base64 of a PNG for each UDIM tile, in ascending order.

    The client lays every list whose name holds `tex_list` on as colour.
    """

    albedo_tex_list: list[str]


class Interrupt(BaseModel):
    """Whether there was something to interrupt."""

    status: Literal["no_generation_in_progress", "interrupt_requested"]
