"""What the page tells of the machine, and what it asks the engine for."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from trellis.app.model_choices import ModelChoice
from trellis.app.request import GenerationRequest, read_request
from trellis.app.ui.controls import FOLLOWING, SHOWN, SHOWN_FILES, following_values
from trellis.app.ui.page import Offer, Sections, lay_out
from trellis.app.ui.studio import Studio
from trellis.errors import InvalidInputError, TrellisError
from trellis.memory import GIB
from trellis.runtime import ModelFiles

PLAN = {
    "model": "nano",
    "device_name": "Card",
    "precision": "float16",
    "attention": None,
    "preset": "balanced",
    "free_memory": 12 * GIB,
    "peak_memory": 2 * GIB,
    "peak_device_memory": 3 * GIB,
}
BROWSER: Any = SimpleNamespace(session_hash="page", cookies={})


class AskedEngine:
    """Keeps what it is asked for, and takes nothing."""

    def __init__(self, *, plan: dict[str, Any] | None = None, source: GenerationRequest | None = None) -> None:
        self.executor = SimpleNamespace(plan=plan or {}, opening=False)
        self.pictures = None
        self.asked: Any = None
        self.models: Any = None
        self._source = source

    def history(self, owner: str) -> list[Any]:
        return []

    def submit(self, request: GenerationRequest, **source: Any) -> str:
        self.asked = request
        raise TrellisError("No.")

    def view(self, job_id: str) -> Any:
        return SimpleNamespace(id=job_id, request=self._source, asset_request=self._source)

    def extract(self, job_id: str, values: dict[str, Any]) -> str:
        assert self._source is not None
        self.asked = self._source.with_files(values)
        raise TrellisError("No.")


def sections_of(engine: AskedEngine) -> Sections:
    """A page over the engine, whose model takes texts."""
    with gr.Blocks():
        studio = Studio(engine, ModelFiles())  # type: ignore[arg-type]
        return lay_out(studio, Offer([], None, "where", [ModelChoice("words", "words", takes_text=True)]))


def last(updates: AsyncIterator[Any]) -> Any:
    async def run() -> Any:
        return [update async for update in updates][-1]

    with ThreadPoolExecutor(1) as thread:  # the browser tests' loop may run in this one
        return thread.submit(asyncio.run, run()).result()


def settings(names: tuple[str, ...], *, quality: str = "", preset: str = "", **changed: Any) -> list[Any]:
    """The controls' values after a choice of quality and preset, and some changed by hand."""
    following = dict(zip(FOLLOWING, following_values(quality, preset), strict=True))
    values = GenerationRequest().to_dict() | {"quality": quality, "preset": preset} | following | changed
    return [values[name] for name in names]


def asked(**chosen: Any) -> GenerationRequest:
    """The request of a text for controls of these values."""
    engine = AskedEngine()
    last(sections_of(engine).jobs.generate_text(BROWSER, "a mug", "words", True, 5, *settings(SHOWN, **chosen)))
    assert isinstance(engine.asked, GenerationRequest)
    return engine.asked


def machine_line(plan: dict[str, Any]) -> Any:
    """What the page says of the machine when it opens."""
    header = sections_of(AskedEngine(plan=plan)).header
    return last(header.open())[header.machine]


def test_an_edit_with_a_text_says_how_a_model_of_texts_comes_here() -> None:
    engine = AskedEngine()
    engine.models = SimpleNamespace(default_of=lambda *, prompts: None)
    editing = sections_of(engine).editing
    with ThreadPoolExecutor(1) as thread, pytest.raises(InvalidInputError, match="Generate under Text fetches one"):
        thread.submit(asyncio.run, editing._condition(None, "a red mug")).result()


def test_on_a_card_its_memory_and_ram_are_told_apart() -> None:
    line = machine_line(PLAN)
    told = [
        "nano · Card · float16",
        "Memory: balanced",
        "12.0 GB free",
        "3.0 GB used at most",
        "RAM: 2.0 GB used at most",
    ]
    assert line == '<p class="machine">' + "".join(f"<span>{text}</span>" for text in told) + "</p>"


def test_without_a_card_there_is_one_figure() -> None:
    line = machine_line(PLAN | {"peak_device_memory": None})
    assert line.count("used at most") == 1 and "2.0 GB used at most" in line and "RAM" not in line


def test_controls_that_nobody_touched_are_left_to_the_preset_of_the_start() -> None:
    plain = asked()
    assert (plain.seed, plain.texture_size, plain.under("prototype").texture_size) == (5, 1024, 512)
    assert plain.under("prototype").structure_steps == 8 and plain.under(None) == GenerationRequest(seed=5)
    changed = asked(texture_size=2048, latent_steps=20).under("prototype")
    assert (changed.texture_size, changed.latent_steps, changed.structure_steps) == (2048, 20, 8)
    assert asked(quality="high").under("prototype").texture_size == 4096
    assert asked(quality="high", texture_size=1024).under("prototype").texture_size == 1024


@pytest.mark.parametrize(("texture", "expected"), [(512, 512), (1024, 1024)])
def test_with_a_preset_chosen_on_the_page_what_is_shown_is_made(texture: int, expected: int) -> None:
    request = asked(preset="prototype", texture_size=texture).under("prototype")
    assert (request.texture_size, request.structure_steps) == (expected, 8)
    assert asked(preset="prototype", structure_steps=None).under("prototype").structure_steps is None


@pytest.mark.parametrize(
    ("source", "texture", "expected"),
    [(None, 1024, 512), (None, 2048, 2048), ("prototype", 512, 512), ("prototype", 1024, 1024)],
)
def test_files_made_again_follow_the_same_rule(source: str | None, texture: int, expected: int) -> None:
    """A result that was made with `source` chosen, on a program that was started with prototype."""
    engine = AskedEngine(source=read_request({"preset": source}).under("prototype"))
    sections = sections_of(engine)
    sections.studio.session(BROWSER).finished = ("job", "mug")
    last(sections.jobs.extract(BROWSER, *settings(SHOWN_FILES, texture_size=texture)))
    assert engine.asked.under("prototype").texture_size == expected
