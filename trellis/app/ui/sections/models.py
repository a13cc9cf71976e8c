"""Which model works, what it can do, and the others: chosen, or fetched first."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from html import escape

import gradio as gr

from trellis.app.machine_options import DEMO_MODEL
from trellis.app.model_choices import ModelChoice, described
from trellis.app.model_fetch import ModelFetches
from trellis.app.ui.fragments import message_panel
from trellis.app.ui.studio import POLL_SECONDS, QUIET, Part, Studio, Updates
from trellis.errors import InvalidInputError
from trellis.families.catalogue import model_licence
from trellis.families.family import Licence
from trellis.families.licences import accept_licence, accepted_on

OFFLINE_NOTE = "No other model is here, and none is fetched offline."
FAILED_NOTE = "The model before goes on working."
TOGGLE_SCRIPT = """() => {
  const side = document.querySelector("#side"), chip = document.querySelector("#model-chip");
  chip.setAttribute("aria-expanded", side.classList.toggle("models-open"));
}"""
LIST_SCRIPT = """
const findChip = () => document.querySelector("#model-chip");
const describeChip = () => {
  const chip = findChip();
  if (!chip) return requestAnimationFrame(describeChip); // it is made after this
  chip.setAttribute("aria-expanded", "false");
  chip.setAttribute("aria-controls", "model-panel");
};
describeChip();
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-model]");
  if (!button) return;
  const tick = button.closest("li").querySelector("input[type=checkbox]");
  trigger("select", { model: button.dataset.model, accepted: tick ? tick.checked : false });
});
element.addEventListener("change", (event) => {
  if (!event.target.matches("input[type=checkbox]")) return;
  event.target.closest("li").querySelector("button[data-model]").disabled = !event.target.checked;
});
document.addEventListener("keydown", (event) => {
  const side = document.querySelector("#side");
  if (event.key !== "Escape" || !event.isTrusted || !side.classList.contains("models-open")) return;
  side.classList.remove("models-open");
  findChip().setAttribute("aria-expanded", "false");
  findChip().focus();
});
"""


class Models:
    """The models of pictures, first the one that the program is started with."""

    def __init__(self, studio: Studio, models: Sequence[ModelChoice]) -> None:
        pictures = [model for model in models if not model.takes_text]
        self._models = {model.name: model for model in pictures or models}
        self._files = studio.files
        self._fetches = ModelFetches(studio.files)
        self._terms = {model.name: model_licence(model.name, studio.files) for model in models}
        first = next(iter(self._models))
        self.chosen = gr.State(first)
        self._chip = gr.Button(self._summary(first), size="sm", elem_id="model-chip")
        with gr.Column(elem_id="model-panel"):
            self._list = gr.HTML(
                self._entries(first), js_on_load=LIST_SCRIPT, apply_default_css=False, elem_id="models"
            )
            self._bar = gr.HTML("", apply_default_css=False, elem_id="model-fetch")
            self._cancel = gr.Button("Cancel fetching", size="sm", elem_id="cancel-fetch")

    def connect(self, page: gr.Blocks) -> None:
        """Open the list, choose, fetch, cancel; a page that is opened while something is fetched shows it."""
        shown = self.shown
        self._chip.click(None, js=TOGGLE_SCRIPT, **QUIET)
        self._list.select(self.choose, self.chosen, shown, concurrency_limit=None, **QUIET)
        self._cancel.click(self.cancel, concurrency_limit=None, **QUIET)
        page.load(self.open, self.chosen, shown, concurrency_limit=None, **QUIET)

    async def open(self, chosen: str) -> AsyncIterator[Updates]:
        """Show what is being fetched."""
        async for updates in self._follow(chosen):
            yield updates

    async def choose(self, chosen: str, event: gr.EventData) -> AsyncIterator[Updates]:
        """Take another model; one that is not here is fetched first, and taken when it is."""
        wanted = event._data.get("model") if isinstance(event._data, dict) else None
        if not isinstance(wanted, str) or wanted not in self._models:
            return
        terms = self._asked(wanted)
        if terms is not None:
            if event._data.get("accepted") is not True:
                return
            try:
                await asyncio.to_thread(accept_licence, terms.name, self._files)
            except InvalidInputError as error:
                yield {self._bar: message_panel(str(error))}
                return
        if not self._models[wanted].fetch_bytes:
            yield self._shown(wanted)
            return
        await asyncio.to_thread(self._fetches.start, wanted)
        async for updates in self._follow(chosen, wanted):
            yield updates

    @property
    def shown(self) -> list[Part]:
        """What another model changes."""
        return [self.chosen, self._chip, self._list, self._bar]

    def choice(self, name: str) -> ModelChoice:
        """What is known of a model."""
        return self._models.get(name) or ModelChoice(name, name)

    def take(self, name: str) -> Updates:
        """The updates that choose a model that is here and may be used; none for another."""
        model = self._models.get(name)
        return {} if model is None or model.fetch_bytes or self._asked(name) else self._shown(name)

    def _asked(self, name: str) -> Licence | None:
        """The licence that must be accepted before a model is fetched or used; None for none, or once it was."""
        terms = self._terms.get(name)
        return terms if terms is not None and accepted_on(terms, self._files) is None else None

    def cancel(self) -> None:
        """Stop what is being fetched."""
        for name in self._models:
            self._fetches.cancel(name)

    async def _follow(self, chosen: str, wanted: str = "") -> AsyncIterator[Updates]:
        """Show how far fetches are until they ended; then take the model that is `wanted`, if it is here now."""
        yield self._shown(chosen)
        while any(self._fetches.active(name) for name in self._models):
            yield {self._bar: self._progress()}
            await asyncio.sleep(POLL_SECONDS)
        for name, model in self._models.items():
            fetch = self._fetches.state(name)
            if fetch is not None and not fetch.message:
                label = model.label.split(" · ")[0]
                self._models[name] = described(replace(model, fetch_bytes=0, label=label), self._files)
        if wanted in self._models and not self._models[wanted].fetch_bytes:
            chosen = wanted
        yield self._shown(chosen)

    def _shown(self, chosen: str) -> Updates:
        return {
            self.chosen: chosen,
            self._chip: gr.Button(self._summary(chosen)),
            self._list: self._entries(chosen),
            self._bar: self._progress(),
        }

    def _summary(self, name: str) -> str:
        model = self._models[name]
        return f"Demo model: {len(model.kinds)} kinds of simple objects" if model.kinds else f"Model: {model.label}"

    def _entries(self, chosen: str) -> str:
        items = "".join(self._entry(model, model.name == chosen) for model in self._models.values())
        alone = f"<p>{OFFLINE_NOTE}</p>" if list(self._models) == [DEMO_MODEL] else ""
        return f'<ul class="models">{items}</ul>{alone}'

    def _entry(self, model: ModelChoice, chosen: bool) -> str:
        facts = [f"{model.fetch_bytes / 1e9:.1f} GB to fetch" if model.fetch_bytes else "on this computer"]
        facts += [f"Licence: {model.licence}"] if model.licence else []
        fetch = self._fetches.state(model.name)
        failed = bool(fetch and not fetch.active and fetch.message)
        busy = self._fetches.active(model.name)
        label = "In use" if chosen else "Fetching…" if busy else "Try again" if failed else "Fetch"
        label = "Use" if not (chosen or model.fetch_bytes) else label
        name = escape(model.label.split(" · ")[0])
        told = "".join(f"<i>{escape(fact)}</i>" for fact in facts)
        parts = [
            f"<strong>{name}</strong>",
            f"<small>{told}</small>",
        ]
        if model.kinds:
            kinds = "".join(f"<li>{escape(kind)}</li>" for kind in model.kinds)
            count = f"{len(model.kinds)} kinds of simple objects"
            parts.append(f'<details><summary>{count}</summary><ul class="kinds">{kinds}</ul></details>')
        if failed and fetch is not None:
            parts.append(f'<p role="alert"><span>{escape(fetch.message)}</span> <span>{FAILED_NOTE}</span></p>')
        terms = self._asked(model.name)
        button = (
            f'<button type="button" data-model="{escape(model.name, quote=True)}" '
            f'aria-label="{label} {name}"{" disabled" * bool(chosen or busy or terms)}>{label}</button>'
        )
        tick = "" if terms is None else _tick(terms)
        return f'<li data-chosen="{str(chosen).lower()}"><div>{"".join(parts)}</div>{button}{tick}</li>'

    def _progress(self) -> str:
        """The bar of the fetches that go on."""
        bars = []
        for name, model in self._models.items():
            fetch = self._fetches.state(name)
            if fetch is None or not fetch.active:
                continue
            line = f"Fetching {model.label.split(' · ')[0]}"
            share = round(100 * fetch.step / fetch.total) if fetch.total else 0
            bars.append(
                f'<div class="fetch" role="status"><span>{escape(line)}</span>'
                f"<span>{fetch.step:,} of {fetch.total:,} MB</span>"
                f'<div class="job-bar" role="progressbar" aria-label="{escape(line, quote=True)}" '
                f'aria-valuenow="{share}" aria-valuemin="0" aria-valuemax="100">'
                f'<b style="width:{share}%"></b></div></div>'
            )
        return "".join(bars)


def _tick(terms: Licence) -> str:
    """What a licence asks for, and the tick that accepts it."""
    sentences = "".join(f"<li>{escape(sentence)}</li>" for sentence in terms.terms)
    return (
        f'<div class="terms"><ul>{sentences}</ul><label><input type="checkbox"> '
        f"<span>{escape(f'I accept the {terms.title}')}</span></label></div>"
    )
