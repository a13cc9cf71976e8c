"""Edits of the model that is shown, or of a mesh of one's own: other colours, variants, parts made anew or removed."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr

from trellis.app.generation import file_name
from trellis.app.json_limits import has_too_many_values
from trellis.app.mesh_reader import ReadMesh, keep_mesh, mesh_ending
from trellis.app.request import AssetRequest, JobRequest, draw_seed, read_request
from trellis.app.ui.sections.jobs import Jobs
from trellis.app.ui.sections.pictures import picture_paths
from trellis.app.ui.sections.progress import Progress
from trellis.app.ui.sections.result import Result
from trellis.app.ui.studio import QUIET, Part, Session, Studio, Updates, page_owner
from trellis.app.ui.uploads import uploaded_file
from trellis.encoding.options import MESH_FORMATS
from trellis.errors import InvalidInputError, TrellisError

SCRIPT = Path(__file__).parents[1] / "static" / "editing.js"
WAYS = {"Change colours": "retexture", "Variant": "variant", "Change a part": "part", "Remove a part": "remove"}
PARTS = ("part", "remove")  # of these ways, those that have a region
TOGGLE_SCRIPT = """() => {
  const open = document.querySelector("#stage").classList.toggle("editing");
  document.querySelector("#edit-toggle").setAttribute("aria-expanded", open);
  if (open) document.querySelector("#edit-panel").scrollIntoView({ block: "nearest", behavior: "smooth" });
}"""
DRAWN_SCRIPT = "(...values) => [...values.slice(0, -1), JSON.stringify(document.querySelector('#edit-region').drawn())]"
WRONG_REGION = "The page sent a region that cannot be read; load the page again."
NO_TEXT_MODEL = "No model that takes a text is here yet: Generate under Text fetches one. Or choose a picture."
NO_SOURCE = "There is no model to edit: generate one first, or choose a mesh of your own."
HINT = (
    "Drag the handles, type numbers, or click the model: once for a piece, again for a ball, which the wheel sizes; "
    "with Shift one more."
)
REGION = f"""<div class="edit-region" hidden><p>{HINT}</p>
<div class="edit-axes" aria-hidden="true"><span>x</span><span>y</span><span>z</span></div><ul class="edit-boxes"></ul>
<div class="edit-row"><button type="button" data-part="move" aria-pressed="true">Move</button>
<button type="button" data-part="size" aria-pressed="false">Resize</button>
<button type="button" data-part="add">Add a box</button>
<button type="button" data-part="remove">Remove the box</button></div>
</div><div class="edit-row"><button type="button" data-part="edit-view">Edit this view</button>
<span data-part="view" hidden role="status"><span>Paint over view.png, then choose it as the picture.</span>
<button type="button" data-part="forget">Forget the view</button></span></div>"""


class Editing:
    """A drawer of the 3D pane; `texts` says whether a model takes a text in place of a picture."""

    def __init__(self, studio: Studio, *, texts: bool) -> None:
        self._studio = studio
        self._toggle = gr.Button("Edit", size="sm", min_width=60, elem_id="edit-toggle")
        with gr.Column(elem_id="edit-panel", min_width=0):
            way = gr.Radio(list(WAYS.items()), value="retexture", label="Edit", elem_id="edit-operation")
            script = SCRIPT.read_text(encoding="utf-8")
            gr.HTML(REGION, js_on_load=script, apply_default_css=False, elem_id="edit-region")
            pictures = gr.Gallery(
                label="Picture of it",
                type="filepath",
                format="png",
                interactive=True,
                columns=3,
                fit_columns=False,
                file_types=["image", ".heic", ".heif"],
                height=110,
                object_fit="contain",
                allow_preview=False,
                buttons=[],
                elem_id="edit-pictures",
            )
            text = gr.Textbox(label="Text", max_length=1000, visible=texts, elem_id="edit-text")
            strength = gr.Slider(0.05, 1, 1.0, step=0.05, label="Strength", elem_id="edit-strength")
            with gr.Accordion("A mesh of your own", open=False, elem_id="edit-own"):
                mesh = gr.File(label="Mesh", file_types=list(MESH_FORMATS), height=130, elem_id="edit-mesh")
                merged = gr.Checkbox(label="As one mesh, not grafted onto yours", elem_id="edit-merged")
            self._make = gr.Button("Make the edit", variant="primary", elem_id="edit-make")
        self._mesh = studio.changes(mesh)
        self._inputs: list[Part] = [way, pictures, text, strength, mesh, merged, gr.Textbox(visible=False)]

    def connect(self, jobs: Jobs, progress: Progress, result: Result) -> None:
        """Open and close the drawer, show a mesh that is chosen, and edit."""
        self._jobs, self._progress, self._result = jobs, progress, result
        self._toggle.click(None, js=TOGGLE_SCRIPT, **QUIET)
        way, pictures, text, *_ = self._inputs
        progress.forget_on(way.input, pictures.change, text.input, self._mesh.clear)
        self._mesh.upload(self.show, self._mesh, **jobs.long)
        self._mesh.clear(self.show, self._mesh, **jobs.long)
        self._make.click(self.make, self._inputs, js=DRAWN_SCRIPT, **jobs.long)

    async def make(
        self,
        browser: gr.Request,
        way: str,
        pictures: list[Any] | None,
        text: str | None,
        strength: float,
        mesh: str | None,
        merged: bool,
        drawn: str,
    ) -> AsyncIterator[Updates]:
        """Submit the edit and show its steps until it ends."""
        session, engine = self._studio.session(browser), self._studio.engine
        try:
            source, held = await self._source(session, mesh)
            files = self._files(session, source) | ({"keep": "merge"} if way in PARTS and mesh and merged else {})
            request = edit_request(way, strength, read_region(drawn), files)
            condition = {} if way == "remove" else await self._condition(pictures, text)
            asked = session.asked = await asyncio.to_thread(
                engine.submit, request, owner=page_owner(browser), **source | condition
            )
            del held  # the job has the mesh file now
        except TrellisError as error:
            yield self._progress.tell(session, str(error))
            return
        async for updates in self._jobs.watch(browser):
            yield updates
        if mesh and session.finished is not None and session.finished[0] == asked:
            yield {self._mesh: None}  # what is shown now is what the next edit starts from

    async def show(self, browser: gr.Request, mesh: str | None) -> Updates:
        """Show the chosen mesh file, in whose frame boxes are then; without one what was there before."""
        session = self._studio.session(browser)
        try:
            if not mesh:
                return self._result.show_again(session)
            path = uploaded_file(str(mesh), self._studio.engine.pictures.folder)
            return self._result.show_mesh(await self._shown(session, path), path.stem)
        except TrellisError as error:
            return self._progress.tell(session, str(error))

    async def _shown(self, session: Session, path: Path) -> Path:
        """A GLB file of a mesh file, which is one itself, or whose shape is written as one."""
        kept = await asyncio.to_thread(self._kept, path)
        if mesh_ending(path.name) == ".glb":
            await self._check(kept, path.name)
            return path
        shape = kept.path.with_name("shape.glb")
        await self._check(kept, path.name, shape)
        session.own = kept
        return shape

    async def _source(self, session: Session, mesh: str | None) -> tuple[dict[str, Any], ReadMesh | None]:
        """What is edited, as `Engine.submit` takes it, and its name; and the mesh file that must be held till then."""
        if mesh:
            engine = self._studio.engine
            path = uploaded_file(str(mesh), engine.pictures.folder)
            mesh_ending(path.name)
            kept = await asyncio.to_thread(self._kept, path)
            await self._check(kept, path.name)
            return {"mesh": kept.path, "name": path.stem}, kept
        if session.finished is None:
            raise InvalidInputError(NO_SOURCE)
        return {"source": session.finished[0], "name": session.finished[1]}, None

    async def _check(self, kept: ReadMesh, name: str, shape: Path | None = None) -> None:
        """Try a mesh file, which people know by `name`; raises InvalidInputError that says so."""
        try:
            await asyncio.wrap_future(self._studio.engine.meshes.check(kept, shape=shape))
        except InvalidInputError as error:
            said = str(error).removeprefix("mesh: ").replace(kept.path.name, name)
            raise InvalidInputError(said, field="mesh") from error

    def _kept(self, path: Path) -> ReadMesh:
        """A mesh file of the upload folder."""
        with path.open("rb") as file:
            return keep_mesh(file, path.name, self._studio.engine.uploads)

    def _files(self, session: Session, source: dict[str, Any]) -> dict[str, Any]:
        """The files are those of the source, where it says which."""
        if "source" not in source:
            return {}
        request = self._studio.engine.view(source["source"]).request
        return request.stated_files if isinstance(request, AssetRequest) else {}

    async def _condition(self, pictures: list[Any] | None, text: str | None) -> dict[str, Any]:
        """Pictures, or a text in place of them."""
        paths = picture_paths(pictures)
        if paths:
            return {"pictures": [cutout.path for cutout in await self._studio.cutouts.cut_out(paths, "auto")]}
        if text is None or not text.strip():
            raise InvalidInputError("Choose a picture of what it is to look like.")
        if self._studio.engine.models.default_of(prompts=True) is None:
            raise InvalidInputError(NO_TEXT_MODEL)
        return {"prompt": text, "name": file_name(text)}


def read_region(drawn: str) -> dict[str, Any]:
    """The boxes and the view that the page sent; raises InvalidInputError."""
    try:
        region = {} if has_too_many_values(drawn.encode()) else json.loads(drawn)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(WRONG_REGION) from error
    if not isinstance(region, dict) or not {"box", "view"} <= set(region):
        raise InvalidInputError(WRONG_REGION)
    return region


def edit_request(way: str, strength: float, region: dict[str, Any], files: dict[str, Any]) -> JobRequest:
    """The request of one of WAYS; raises InvalidInputError."""
    values: dict[str, Any] = {"seed": draw_seed()}
    match way:
        case "part":
            values |= files | {"operation": "edit", "box": region["box"] or None, "view": region["view"]}
        case "remove":
            values |= files | {"operation": "edit", "box": region["box"] or None, "remove": True}
        case "variant":
            values |= files | {"operation": "variant", "strength": float(strength)}
        case _:
            values |= {"operation": "retexture"}
    return read_request(values)
