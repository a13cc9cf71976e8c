"""Other files of the model that is shown, without sampling it again: offered beside it, with what they cost."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from trellis.app.engine import UnknownJobError
from trellis.app.estimate import Estimate, estimate_files
from trellis.app.jobs import Job
from trellis.app.request import AssetRequest, without_untouched
from trellis.app.ui import fragments
from trellis.app.ui.controls import SHOWN_FILES, control_value, stated_values
from trellis.app.ui.sections.settings import Settings
from trellis.app.ui.studio import QUIET, Session, Studio, Updates
from trellis.errors import InvalidInputError, TrellisError
from trellis.export.options import FORMATS, TEXTURE_SIZES

FACES = (5_000, 20_000, 100_000, 500_000)
FORMATS_OFFERED = ("obj", "usdz", "stl")
TEXTURE_WORDS = {512: "512", 1024: "1K", 2048: "2K", 4096: "4K"}
SCRIPT = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-option]");
  if (button) trigger("select", { option: button.dataset.option, value: button.dataset.value });
});
"""


class Again:
    """Shortcuts to the controls of the files, and a button once these differ from the files that are shown.

    What the button does is the jobs' own.
    """

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        with gr.Row(elem_id="offer"):
            chips = gr.HTML("", js_on_load=SCRIPT, apply_default_css=False, elem_id="new-files")
            button = gr.Button("Same shape, new files", size="sm", min_width=150, visible=False, elem_id="again")
        self.chips, self.button = studio.changes(chips), studio.changes(button)
        studio.usable.append(self._usable)

    def connect(self, settings: Settings, filled: Sequence[Any]) -> None:
        """Offer other files whenever somebody changes the controls of the files, and change these by the shortcuts.

        `filled` are events that fill the controls. That is told once they have: changes of many controls at once come
        in pieces and in no order.
        """
        self._settings = settings
        shared: dict[str, Any] = {"concurrency_limit": None, **QUIET}
        inputs = settings.file_inputs
        shown = [self.chips, self.button]
        offered = {"fn": self.offer, "inputs": inputs, "outputs": shown, "trigger_mode": "always_last", **shared}
        changed = [part.release if isinstance(part, gr.Slider) else part.input for part in inputs]
        gr.on(changed, **offered)
        controls = list(settings.by_name(SHOWN_FILES).values())
        chosen = self.chips.select(self.choose, inputs, controls, trigger_mode="multiple", **shared)
        for event in (chosen, *filled):
            event.then(**offered)

    def offer(self, browser: gr.Request, *settings: Any) -> Updates:
        """What files the controls ask for, in place of those that are shown."""
        session = self._studio.session(browser)
        session.files_asked = settings
        return self._usable(session, False)

    def choose(self, event: gr.EventData, *settings: Any) -> Updates:
        """Set a control as a shortcut says."""
        data = event._data if isinstance(event._data, dict) else {}
        option, value = str(data.get("option")), str(data.get("value"))
        values: dict[str, Any] = {}
        if option == "texture_size" and value in map(str, TEXTURE_SIZES):
            values = {"texture_size": int(value)}
        elif option == "faces" and value in map(str, FACES):
            values = {"faces": int(value), "simplify": AssetRequest.options()["simplify"].default}
        elif option == "formats" and value in FORMATS_OFFERED:
            chosen = set(settings[SHOWN_FILES.index("formats")]) ^ {value}
            values = {"formats": [name for name in FORMATS if name in chosen]}
        controls = self._settings.by_name(tuple(values))
        return {controls[name]: control_value(controls[name], value) for name, value in values.items()}

    def request(self, session: Session, settings: tuple[Any, ...] | None) -> tuple[Job, AssetRequest]:
        """The shown job, and what the controls ask for of it where any was changed; raises TrellisError."""
        if session.finished is None:
            raise InvalidInputError("There is no model yet: generate one first.")
        job = self._studio.engine.view(session.finished[0])
        if settings is None:
            return job, job.asset_request
        values = stated_values(SHOWN_FILES, list(settings))
        return job, job.asset_request.with_files(without_untouched(values, preset=job.asset_request.preset))

    def _usable(self, session: Session, running: bool) -> Updates:
        nothing = {self.chips: "", self.button: gr.Button(visible=False)}
        if not self._studio.is_kept(session):
            return nothing
        try:
            job, request = self.request(session, session.files_asked)
        except UnknownJobError:
            return nothing
        except TrellisError as error:
            return {self.chips: fragments.message_panel(str(error)), self.button: gr.Button(visible=False)}
        request = request.under(job.plan.get("preset"), job.plan.get("presets", "trellis"))
        changed = request.files != job.asset_request.files
        estimate: Estimate | None = None
        if changed:
            estimate = estimate_files(job, request, self._studio.engine.views()[::-1])
        return {self.chips: offer_panel(request, estimate), self.button: gr.Button(visible=changed)}


def offer_panel(request: AssetRequest, estimate: Estimate | None) -> str:
    """Shortcuts to what people change most, and what the files will cost."""
    groups: dict[str, tuple[str, list[tuple[Any, str, bool]]]] = {
        "texture_size": (
            "Texture",
            [(size, TEXTURE_WORDS[size], size == request.texture_size) for size in TEXTURE_SIZES],
        ),
        "faces": ("Faces", [(n, f"{n // 1000}k", n == request.faces) for n in FACES]),
        "formats": ("Files", [(name, name.upper(), name in request.formats) for name in FORMATS_OFFERED]),
    }
    told = "".join(
        f'<span class="chips" role="group" aria-label="{label}"><i>{label}</i>'
        + "".join(
            f'<button type="button" data-option="{option}" data-value="{value}" aria-pressed="{str(on).lower()}">'
            f"{text}</button>"
            for value, text, on in chips
        )
        + "</span>"
        for option, (label, chips) in groups.items()
    )
    cost = [] if estimate is None else [fragments.size_text(estimate.bytes)]
    cost += [f"about {fragments.clock(estimate.seconds)}"] if estimate is not None and estimate.seconds else []
    costs = "".join(f"<i>{part}</i>" for part in cost)
    return f'<div class="offer">{told}<span class="cost">{costs}</span></div>'
