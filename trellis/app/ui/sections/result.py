"""The finished model: the 3D pane and its files."""

import gradio as gr

from trellis.app.jobs import Job
from trellis.app.ui import fragments
from trellis.app.ui.studio import Session, Studio, Updates

VIEWER_KINDS = ("glb", "ply")
# `watch` runs after the value changed; the template has no value in it, so the canvas stays in place.
VIEWER_SCRIPT = """
const viewer = TrellisViewer.mount(element.querySelector(".viewer"));
const show = () => viewer.show(props.value);
watch("value", show);
show();
"""


class Result:
    """What a page shows of a job that is done."""

    def __init__(self, studio: Studio) -> None:
        viewer = gr.HTML(
            None,
            html_template='<div class="viewer"></div>',
            head=f'<script src="{fragments.VIEWER_ROUTE}"></script>',  # loaded before the next line runs
            js_on_load=VIEWER_SCRIPT,
            apply_default_css=False,
            elem_id="viewer",
        )
        self.viewer = studio.changes(viewer)
        self.files = studio.changes(gr.HTML("", apply_default_css=False, elem_id="results"))

    def show(self, session: Session, view: Job, name: str) -> Updates:
        """Show a job that is done; its files are offered as `name`."""
        session.finished = (view.id, name)
        session.results = fragments.results_panel(view, name)
        return {self.files: session.results, self.viewer: _viewer_files(view, name)}

    def show_draft(self, view: Job) -> Updates:
        """Show the first picture of a model whose files are still being made."""
        return {self.files: fragments.draft_panel(view)}

    def show_last(self, session: Session) -> Updates:
        """Show again what was there before a job that brought nothing."""
        return {self.files: session.results}

    def clear(self, session: Session) -> Updates:
        """Show nothing any more."""
        session.finished, session.results = None, ""
        return {self.files: "", self.viewer: None}


def _viewer_files(view: Job, name: str) -> dict[str, str] | None:
    """What the viewer shows of a job: addresses of its models and its picture, and its name."""
    files = {kind: view.files[kind] for kind in VIEWER_KINDS if kind in view.files}
    if not files:
        return None
    pictures = {} if view.framed is None else {"picture": view.framed}
    return {kind: fragments.result_address(view.id, path) for kind, path in (files | pictures).items()} | {"name": name}
