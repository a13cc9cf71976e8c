"""The routes that the StableProjectorz desktop client calls, and the downloads it shares with the form routes."""

import logging
from collections.abc import Awaitable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, PlainTextResponse

from trellis.app.api.bodies import read_json, received
from trellis.app.api.errors import ApiError, FieldError
from trellis.app.api.hunyuan.options import is_of_hunyuan
from trellis.app.api.hunyuan.routes import ANSWERS, hunyuan_schema
from trellis.app.api.hunyuan.server import HunyuanServer
from trellis.app.api.jobs import Jobs, Source
from trellis.app.api.openapi import ERRORS, file_answer
from trellis.app.api.pictures import read_pictures
from trellis.app.api.settings import ApiSettings
from trellis.app.api.stableprojectorz.answers import Generation, Interrupt, Ping, Status, Textures
from trellis.app.api.stableprojectorz.openapi import desktop_body
from trellis.app.api.stableprojectorz.options import desktop_request, retexture_request
from trellis.app.api.stableprojectorz.panel import panel_text
from trellis.app.api.stableprojectorz.single_generation import (
    RETEXTURED_MESSAGE,
    OtherClientError,
    Slot,
    SlotState,
    Work,
)
from trellis.app.api.stableprojectorz.tiles import LONGEST, PaintedTiles
from trellis.app.api.submissions import Submission
from trellis.app.job_sources import MAX_PICTURES
from trellis.app.long_texts import LongText
from trellis.app.mesh_reader import mesh_ending
from trellis.app.picture_reader import Content
from trellis.app.result_file import ResultFile, ResultTexts
from trellis.errors import TrellisError

MAKE, RETEXTURE = "make_meshes_and_tex", ("retexture", "retexture_via_masks")
FBX = "Import the model as GLB or OBJ, then retexture."
PICTURES_KEY = "single_multi_img_input"
KEYS = (PICTURES_KEY, "generate_what", "mesh_3d", "prompt")  # no other client sends one of these
MODEL_URL, TEXTURE_URL = "/download/model", "/download/texture"

_log = logging.getLogger(__name__)


def desktop_routes(jobs: Jobs, slot: Slot, settings: ApiSettings, hunyuan: HunyuanServer) -> APIRouter:
    """The routes of the desktop client; POST /generate is that of the clients of `hunyuan` too."""
    router = APIRouter(tags=["StableProjectorz client"])

    @router.get("/ping")
    async def ping() -> Ping:
        """Answer at once, whatever else goes on."""
        return Ping(busy=jobs.busy or slot.busy)

    @router.get("/status")
    async def status() -> Status:
        """Tell how far the generation of clients without job ids is."""
        now = await slot.status()
        return Status(status=now.state, progress=now.progress, message=now.message, busy=jobs.busy or slot.busy)

    _add_generate(router, jobs, slot, settings, hunyuan)

    @router.get("/info/supported_operations")
    async def supported_operations() -> list[str]:
        """List what `generate_what` may be, with the model that the program was started with."""
        return operations(jobs)

    @router.get("/download/spz-ui-layout/generation-3d-panel", response_class=PlainTextResponse)
    async def panel() -> PlainTextResponse:
        """Describe the client's panel; the text never changes while the program runs."""
        return PlainTextResponse(panel_text(of_texts=jobs.models.default in jobs.models.of_texts))

    @router.post("/interrupt")
    async def interrupt() -> Interrupt:
        """Stop the generation of clients without job ids at its next step."""
        found = await slot.interrupt()
        return Interrupt(status="interrupt_requested" if found else "no_generation_in_progress")

    _add_downloads(router, jobs, slot)
    return router


def _add_generate(router: APIRouter, jobs: Jobs, slot: Slot, settings: ApiSettings, hunyuan: HunyuanServer) -> None:
    @router.post(
        "/generate",
        response_model=Generation,
        responses=ANSWERS,
        openapi_extra=desktop_body(jobs.models, hunyuan_schema()),
    )
    async def generate(request: Request) -> Generation | ResultFile:
        """Generate a model and answer when it is finished; every problem is a 200 with FAILED and a message.

        The desktop client shows nothing of an answer with another status code. A client of Hunyuan3D's server, told by
        its keys, gets the GLB itself, or the status of the problem.
        """
        try:
            outcome = await slot.generate(partial(_prepared, request, jobs, hunyuan, settings))
        except OtherClientError as other:
            if isinstance(other.submission, TrellisError):
                raise other.submission from None
            return await hunyuan.generate(other.submission, request)
        except TrellisError as error:
            _log.info("/generate: %s", error)
            return Generation(status=SlotState.FAILED, progress=0, message=str(error))
        url = None if outcome.message == RETEXTURED_MESSAGE else MODEL_URL
        return Generation(status=SlotState.COMPLETE, progress=100, message=outcome.message, model_url=url)


async def outcome_of(work: Awaitable[Submission]) -> Submission | TrellisError:
    """What comes of reading a request: that, or what it raises."""
    try:
        return await work
    except TrellisError as error:
        return error


def _add_downloads(router: APIRouter, jobs: Jobs, slot: Slot) -> None:
    @router.get(MODEL_URL, response_class=FileResponse, responses=ERRORS[404] | file_answer("model/gltf-binary"))
    async def model() -> FileResponse:
        """Fetch the model of the last finished generation (GLB)."""
        if slot.model is None or not slot.model.is_file():
            raise ApiError(404, "Mesh not found")
        slot.fetched()
        return download(slot.model, "model/gltf-binary", "model.glb")

    @router.get(TEXTURE_URL, response_model=Textures, responses=ERRORS[404])
    async def textures() -> ResultTexts:
        """Fetch the textures of the last retextured mesh."""
        found = slot.textures
        if found is None or not all(path.is_file() for path in found.files):
            raise ApiError(404, "Texture not found")
        slot.fetched()
        return ResultTexts(await found.paths(jobs.pictures), before=b'{"albedo_tex_list":[', after=b"]}")

    @router.get(
        "/download/preview/{kind}",
        response_class=FileResponse,
        responses=ERRORS[404] | ERRORS[422] | file_answer("video/mp4"),
    )
    async def preview(kind: Literal["gaussian", "mesh"]) -> FileResponse:
        """Fetch the preview video; it shows the Gaussians beside the mesh's surface directions."""
        if slot.preview is None or not slot.preview.is_file():
            raise ApiError(404, "Preview not found")
        return download(slot.preview, "video/mp4", f"preview_{kind}.mp4")


def download(path: Path, media_type: str, name: str) -> FileResponse:
    """A file as the answer, not kept by caches: the next one has the same address."""
    return ResultFile(path, media_type=media_type, filename=name, headers={"Cache-Control": "no-store"})


async def _prepared(request: Request, jobs: Jobs, hunyuan: HunyuanServer, settings: ApiSettings) -> Work:
    async with received(request, settings.max_upload_bytes) as body:
        async with jobs.reading:
            values = await read_json(body)
            if is_of_hunyuan(values, others=KEYS):
                raise OtherClientError(await outcome_of(hunyuan.read(values)))
            work = await read_work(values, jobs, settings)
        await jobs.check_mesh(work.source)
    return work


async def read_work(values: Mapping[str, object], jobs: Jobs, settings: ApiSettings) -> Work:
    """The checked request of a client's flat object; raises FieldError naming the key."""
    operation, known = values.get("generate_what") or MAKE, operations(jobs)
    if operation not in known:
        raise FieldError("generate_what", f"generate_what must be one of {', '.join(known)}.")
    request = desktop_request(values) if operation == MAKE else retexture_request(values)
    ending = None if operation == MAKE else mesh_extension(values)
    model, prompt = _text(values, "model") or None, _text(values, "prompt")
    if not prompt and PICTURES_KEY in values:
        prompt = None
    texts = _picture_texts(values.get(PICTURES_KEY)) if prompt is None else []
    jobs.models.choose(model, prompt=prompt, pictures=len(texts), request=request)

    pictures = await read_pictures(jobs.pictures, texts, max_pixels=settings.max_picture_pixels)
    if ending is None:
        return Work(request, Source(pictures, prompt, model))
    tiles = [
        await read_pictures(jobs.pictures, texts, max_pixels=settings.max_picture_pixels, longest=LONGEST)
        for texts in (_tile_texts(values, "albedo_textures_udims"), _tile_texts(values, "painted_mask_udims"))
    ]
    mesh = await jobs.keep_mesh(_base64(values, "mesh_3d") or "", ending)
    return Work(request, Source(pictures, prompt, model, mesh=mesh), painted=PaintedTiles(*tiles))


def operations(jobs: Jobs) -> list[str]:
    """What the model that the program was started with can do, in the client's words."""
    able = jobs.models.operations.get(jobs.models.default, ("retexture",))
    return [MAKE, *(RETEXTURE if "retexture" in able else ())]


def mesh_extension(values: Mapping[str, object]) -> str:
    """The name of the mesh to be retextured, by its ending; raises FieldError, InvalidInputError."""
    ending = (_text(values, "mesh_extension") or "").strip().lstrip(".").lower()
    if ending == "fbx":
        raise FieldError("mesh_extension", FBX)
    if not values.get("mesh_3d"):
        raise FieldError("mesh_3d", "mesh_3d must be the base64 text of a mesh file.")
    return f"mesh{mesh_ending(f'mesh.{ending}')}"


def _tile_texts(values: Mapping[str, object], key: str) -> list[tuple[str, Content]]:
    """(field, base64) of every tile's picture."""
    given = values.get(key) or []
    if not isinstance(given, list) or not all(isinstance(item, str | LongText) for item in given):
        raise FieldError(key, f"{key} must be a list of base64 pictures.")
    if len(given) > MAX_PICTURES:
        raise FieldError(key, f"{key} must hold at most {MAX_PICTURES} pictures.")
    return [(f"{key}[{index}]", item) for index, item in enumerate(given)]


def _text(values: Mapping[str, object], key: str) -> str | None:
    """The text of an element; None where there is none."""
    value = values.get(key)
    if value is not None and not isinstance(value, str):
        raise FieldError(key, f"{key} must be a text.")
    return value


def _base64(values: Mapping[str, object], key: str) -> str | LongText | None:
    """The base64 text of an element; None where there is none."""
    value = values.get(key)
    return value if isinstance(value, LongText) else _text(values, key)


def _picture_texts(value: object) -> list[tuple[str, Content]]:
    """(field, base64) of every filled slot of the picture element."""
    if isinstance(value, str | LongText):
        value = [value]
    if not isinstance(value, list):
        raise FieldError(PICTURES_KEY, f"{PICTURES_KEY} must be a list of base64 pictures.")
    texts: list[tuple[str, Content]] = []
    for index, item in enumerate(value):
        field = f"{PICTURES_KEY}[{index}]"
        if not isinstance(item, str | LongText | None):
            raise FieldError(field, f"{field} must be a base64 text.")
        if item:
            texts.append((field, item))
    if not 1 <= len(texts) <= MAX_PICTURES:
        raise FieldError(PICTURES_KEY, f"{PICTURES_KEY} must hold between 1 and {MAX_PICTURES} pictures.")
    return texts
