"""The web application of the page: our own routes for results and the viewer, then Gradio, on one port."""

import asyncio
import hashlib
import logging
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

import gradio
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.staticfiles import NotModifiedResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trellis.app.bundles import bundle_file
from trellis.app.engine import Engine, UnknownJobError
from trellis.app.jobs import CLIENT_OWNER, Job
from trellis.app.result_file import ResultFile
from trellis.app.storage import StorageError
from trellis.app.ui.fragments import EXAMPLE_ROUTE, VIEWER_ROUTE
from trellis.app.ui.guard import PageGuard
from trellis.app.ui.languages import LANGUAGE_ROUTE, language_script
from trellis.app.ui.look import STYLE_SHEET, create_theme
from trellis.app.ui.owners import PAGE_OWNER, OwnerCookie, owner_of_headers
from trellis.app.ui.uploads import add_upload_route
from trellis.encoding.options import LARGEST_FILE
from trellis.errors import InvalidInputError

STATIC = Path(__file__).parent / "static"
PACKAGE = Path(__file__).parents[2]
MOST_UPLOAD = LARGEST_FILE  # bytes of one upload; several photographs that are dropped together need less
MOST_SESSIONS = 256  # whose values Gradio keeps, about 0.2 MB each
_log = logging.getLogger(__name__)
MEDIA_TYPES = {
    ".glb": "model/gltf-binary",
    ".mp4": "video/mp4",
    ".mtl": "text/plain",
    ".obj": "model/obj",
    ".ply": "application/octet-stream",
    ".png": "image/png",
    ".splat": "application/octet-stream",
    ".stl": "model/stl",
    ".usdz": "model/vnd.usdz+zip",
    ".zip": "application/zip",
}

# Nothing outside this server may be fetched, whatever a library on the page tries. Gradio compiles templates at run
# time (unsafe-eval), the splat renderer starts workers from blobs and decodes data addresses.
CONTENT_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "frame-ancestors 'none'",
    )
)


class SameOriginOnly:
    """Refuses requests that a page of another site sends, and pins the page to this server."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            await PlainTextResponse("This address answers only its own page.", status_code=403)(scope, receive, send)
            return

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer["Content-Security-Policy"] = CONTENT_POLICY
                answer["X-Content-Type-Options"] = "nosniff"
                answer["Referrer-Policy"] = "no-referrer"
            await send(message)

        await self.app(scope, receive, send_with_policy)


def create_app(
    engine: Engine, page: gradio.Blocks, *, examples: Sequence[Path] = (), example_model: Path | None = None
) -> FastAPI:
    """The application: results of jobs for their owner, the page's scripts, and the page at "/".

    Results of jobs without an owner are for whoever knows the unguessable id. `examples` and `example_model` are
    those of the page. Host names and tokens are checked before, by the guards of `trellis.app.api`.
    """
    app = FastAPI(title="TRELLIS", docs_url=None, redoc_url=None, openapi_url=None)
    uploads, shown = engine.pictures.folder, sorted({path.resolve().parent for path in examples})
    inputs = {number: len(event.inputs) for number, event in page.fns.items()}
    app.add_middleware(PageGuard, uploads=uploads, shown=shown, inputs=inputs)
    app.add_middleware(OwnerCookie)
    app.add_middleware(SameOriginOnly)

    _add_own_files(app, example_model)

    @app.get("/results/{job_id}/{name}")
    def result_file(job_id: str, name: str, request: Request) -> FileResponse:
        view = _own_job(engine, job_id, request)
        return _answer(None if view is None else _result_path(view, name, owner_of_headers(request.headers)))

    bundling = asyncio.Lock()  # whoever makes an archive holds it: the same one is not made twice, nor many at once

    @app.get("/results/{job_id}/bundle/{bundle}.zip")
    async def result_bundle(job_id: str, bundle: str, request: Request) -> FileResponse:
        view = _own_job(engine, job_id, request)
        try:
            async with bundling:
                return _answer(None if view is None else await run_in_threadpool(bundle_file, view, bundle))
        except InvalidInputError:
            return _answer(None)
        except StorageError as error:
            raise HTTPException(error.status, str(error)) from error

    add_upload_route(app, uploads, MOST_UPLOAD)
    # A page that is mounted is not launched, and Gradio opens any file that a client names before it is.
    page.has_launched = True
    page.state_session_capacity = MOST_SESSIONS
    gradio.queueing.traceback = cast(Any, SimpleNamespace(print_exc=tell_failure))
    gradio.utils.diff = whole_changes
    page._queue.ANAYLTICS_CACHE_FREQUENCY = sys.maxsize  # else a table of all events so far is made after each
    gradio.mount_gradio_app(
        app,
        page,
        path="/",
        head=f'<script src="{LANGUAGE_ROUTE}"></script>',
        allowed_paths=[str(folder) for folder in shown],
        footer_links=[],
        run_history=False,
        max_file_size=MOST_UPLOAD,
        theme=create_theme(),
        css=STYLE_SHEET.read_text(encoding="utf-8"),
        favicon_path=str(STATIC / "favicon.png"),
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        enable_monitoring=False,
        show_error=True,
    )
    # A stream that every page would keep open: browsers have six connections for all pages of a server.
    page.config["connect_heartbeat"] = False
    return app


def whole_changes(old: object, new: object) -> list[list[Any]]:
    """The edits that turn a value of the page into the next: none, or all of it at once.

    Gradio's own edits reach into the value before: a busy page, which has not shown that yet, never shows it.
    """
    return [] if old == new else [["replace", [], new]]


def tell_failure() -> None:
    """Log what an event came to: with the way there, unless only Gradio saw it, which refuses what no page sends."""
    error = sys.exception()
    assert error is not None
    frames = traceback.extract_tb(error.__traceback__)
    own = any(Path(frame.filename).is_relative_to(PACKAGE) for frame in frames)
    _log.error("An event of the page failed (%s)", type(error).__name__, exc_info=own)


def _add_own_files(app: FastAPI, example_model: Path | None) -> None:
    """The routes of the page's own scripts, and of the model that it shows first."""

    @app.get(VIEWER_ROUTE)
    def viewer_script(request: Request) -> Response:
        path = STATIC / "viewer.js"
        return _script(request, FileResponse(path, stat_result=path.stat()))

    @app.get(EXAMPLE_ROUTE)
    def example() -> FileResponse:
        return _answer(example_model)

    @app.get(LANGUAGE_ROUTE)
    def languages(request: Request) -> Response:
        script = language_script().encode()
        return _script(request, Response(script, headers={"ETag": f'"{hashlib.md5(script).hexdigest()}"'}))


def _script(request: Request, answer: Response) -> Response:
    """A script that browsers keep and ask for by its tag: sent, and compiled there, only after it has changed."""
    answer.headers.update({"Content-Type": "text/javascript; charset=utf-8", "Cache-Control": "no-cache"})
    known = request.headers.get("if-none-match") == answer.headers["ETag"]
    return NotModifiedResponse(answer.headers) if known else answer


def _answer(path: Path | None) -> FileResponse:
    if path is None:
        raise HTTPException(status_code=404, detail="This result does not exist any more.")
    kind = MEDIA_TYPES.get(path.suffix, "application/octet-stream")
    return ResultFile(path, media_type=kind, headers={"Cache-Control": "private, max-age=3600"})


def _own_job(engine: Engine, job_id: str, request: Request) -> Job | None:
    """The job if it is the browser's own or nobody's, None else: other people's jobs look like jobs that are not."""
    try:
        view = engine.view(job_id)
    except UnknownJobError:
        return None
    owner = view.owner
    # A browser without cookies owns its jobs by the page alone, a program by its address: both reach them by their id.
    own = owner in ("", owner_of_headers(request.headers)) or owner.startswith((PAGE_OWNER, CLIENT_OWNER))
    return view if own else None


def _result_path(view: Job, name: str, owner: str) -> Path | None:
    """The file only if it is one of the job's results, or for its owner one of its pictures.

    Names are looked up, never joined to a folder.
    """
    pictures = view.pictures if owner and owner == view.owner else ()
    offered = [*view.files.values(), view.draft, view.framed, *pictures]
    return next((path for path in offered if path is not None and path.name == name and path.is_file()), None)
