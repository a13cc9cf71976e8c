"""The line above everything: the program's name, where the work is done, light or dark."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import gradio as gr

from trellis.app.ui import fragments
from trellis.app.ui.studio import POLL_SECONDS, QUIET, Studio, Updates

STATIC = Path(__file__).parents[1] / "static"
SCRIPTS = tuple(STATIC / f"{name}.js" for name in ("paste", "names", "lists", "phone"))
THEME_SCRIPT = STATIC / "theme.js"
THEME_BUTTON = (
    '<button type="button" aria-label="Dark colours" title="Dark colours"><svg viewBox="0 0 24 24" aria-hidden="true">'
    '<circle cx="12" cy="12" r="8.5" fill="none" stroke="currentColor" stroke-width="2"/>'
    '<path d="M12 3.5a8.5 8.5 0 0 1 0 17z" fill="currentColor"/></svg></button>'
)
TITLE = "TRELLIS"
SUBTITLE = "A picture in, a textured 3D model out."
GIB = 1 << 30


class Header:
    """`machine` is a line on where the work is done until the engine knows."""

    def __init__(self, studio: Studio, machine: str) -> None:
        self._studio, self._given = studio, machine
        with gr.Row(elem_id="top"):
            header = f"<h1>{TITLE}</h1><p>{SUBTITLE}</p>"
            scripts = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
            gr.HTML(header, js_on_load=scripts, apply_default_css=False, elem_id="header")
            line = gr.HTML(fragments.machine_line([machine]), apply_default_css=False, elem_id="machine")
            self.machine = studio.changes(line)
            theme = THEME_SCRIPT.read_text(encoding="utf-8")
            gr.HTML(THEME_BUTTON, js_on_load=theme, apply_default_css=False, elem_id="theme")

    def connect(self, page: gr.Blocks) -> None:
        """Say the machine as soon as the engine knows it."""
        page.load(self.open, outputs=self.machine, **QUIET)

    async def open(self) -> AsyncIterator[Updates]:
        """What a page shows first."""
        yield self.machine_update()
        if self._studio.engine.executor.opening:
            while self._studio.engine.executor.opening:
                await asyncio.sleep(POLL_SECONDS)
            yield self.machine_update()

    def machine_update(self) -> Updates:
        """The machine as the engine knows it by now."""
        plan = self._studio.engine.executor.plan
        if not plan:
            return {self.machine: fragments.machine_line([self._given])}
        known = (plan["model"], plan["device_name"], plan["precision"], plan["attention"])
        parts = [
            " · ".join(part for part in known if part),
            f"Memory: {plan['preset']}" if plan["preset"] else "",
            f"{plan['free_memory'] / GIB:.1f} GB free",
        ]
        ram = f"{plan['peak_memory'] / GIB:.1f} GB used at most"
        if plan["peak_device_memory"] is None:  # what is free is RAM too
            parts.append(ram)
        else:
            parts += [f"{plan['peak_device_memory'] / GIB:.1f} GB used at most", f"RAM: {ram}"]
        return {self.machine: fragments.machine_line(parts)}
