"""The finished model: the 3D pane and its files."""

from pathlib import Path

import gradio as gr

from trellis.app.jobs import Job
from trellis.app.ui import fragments
from trellis.app.ui.studio import Session, Studio, Updates

VIEWER_KINDS = ("glb", "ply")
EXAMPLE_NOTE = "An example, made by the demo model: drag to turn it."
# `watch` runs after the value changed; the template has no value in it, so the canvas stays in place. What the viewer
# shows first must not scroll a phone away from the inputs.
VIEWER_SCRIPT = """
const pane = element.querySelector(".viewer");
const scrollIntoView = pane.scrollIntoView.bind(pane);
pane.scrollIntoView = () => {};
const viewer = (pane.viewer = TrellisViewer.mount(pane));
const show = () => viewer.show(props.value);
show();
watch("value", () => {
  pane.scrollIntoView = scrollIntoView;
  show();
});
"""


class Result:
    """What a page shows of a job; `example` is a GLB that is shown before there is one."""

    def __init__(self, studio: Studio, example: Path | None) -> None:
        self._studio = studio
        self._example = None if example is None else {"glb": fragments.EXAMPLE_ROUTE}
        viewer = gr.HTML(
            self._example,
            html_template='<div class="viewer"></div>',
            head=f'<script src="{fragments.VIEWER_ROUTE}"></script>',  # loaded before the next line runs
            js_on_load=VIEWER_SCRIPT,
            apply_default_css=False,
            elem_id="viewer",
        )
        note = "" if example is None else f"<p>{EXAMPLE_NOTE}</p>"
        self.viewer = studio.changes(viewer)
        self.draft = studio.changes(gr.HTML("", apply_default_css=False, elem_id="draft"))
        self.caption = studio.changes(gr.HTML(note, apply_default_css=False, elem_id="caption"))

    def create_files(self) -> None:
        """The row of files."""
        self.files = self._studio.changes(gr.HTML("", apply_default_css=False, elem_id="results"))

    def show(self, session: Session, view: Job, name: str) -> Updates:
        """Show a job that is done; its files are offered as `name`. A draft has none."""
        if view.is_draft:
            return self.clear(session) | self.show_draft(view)
        session.finished = (view.id, name)
        session.results = fragments.results_panel(view, name)
        told: Updates = {self.files: session.results, self.viewer: self._viewer_files(view, name)}
        return told | {self.draft: "", self.caption: ""}

    def show_draft(self, view: Job) -> Updates:
        """Show the last picture of a model whose files are still being made, if there is one."""
        return {} if view.draft is None else {self.draft: fragments.draft_panel(view), self.caption: ""}

    def show_last(self, session: Session) -> Updates:
        """Show again what was there before a job that brought nothing."""
        return {self.files: session.results, self.draft: ""}

    def show_mesh(self, path: Path, name: str) -> Updates:
        """Show a GLB file of the upload folder in place of the result, which stays what it is."""
        return {self.viewer: {"glb": fragments.upload_address(path), "name": name}, self.caption: ""}

    def show_again(self, session: Session) -> Updates:
        """Show the result again after that, else the example."""
        if session.finished is None:
            return {self.viewer: self._example}
        return {self.viewer: self._viewer_files(self._studio.engine.view(session.finished[0]), session.finished[1])}

    def clear(self, session: Session) -> Updates:
        """Show nothing any more."""
        session.finished, session.results = None, ""
        return {self.files: "", self.viewer: None, self.draft: "", self.caption: ""}

    def _viewer_files(self, view: Job, name: str) -> dict[str, str] | None:
        """What the viewer shows of a job: addresses of its models, its picture and what it was made from; its name."""
        files = {kind: view.files[kind] for kind in VIEWER_KINDS if kind in view.files}
        if not files:
            return None
        pictures = {} if view.framed is None else {"picture": view.framed}
        shown = {kind: fragments.result_address(view.id, path) for kind, path in (files | pictures).items()}
        before = self._studio.parent(view)
        if before is not None and "glb" in before.files:
            shown["before"] = fragments.result_address(before.id, before.files["glb"])
        return shown | {"name": name}
