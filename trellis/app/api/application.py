"""The web application: routes for programs, the documentation, and the page behind them on the same port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from trellis import __version__
from trellis.app.api.access_log import AccessLog
from trellis.app.api.docs_page import docs_page
from trellis.app.api.errors import add_error_handlers
from trellis.app.api.guards import HostGuard, OriginGuard, PatienceGuard, SafeHeaders, TokenGuard
from trellis.app.api.hunyuan.routes import hunyuan_routes
from trellis.app.api.hunyuan.server import HunyuanServer
from trellis.app.api.job_routes import job_routes
from trellis.app.api.jobs import Jobs
from trellis.app.api.late_page import LatePage
from trellis.app.api.metrics import metrics_route
from trellis.app.api.model_routes import model_routes
from trellis.app.api.openapi import ERRORS
from trellis.app.api.settings import ApiSettings
from trellis.app.api.stableprojectorz.client_routes import desktop_routes
from trellis.app.api.stableprojectorz.form_routes import legacy_routes
from trellis.app.api.stableprojectorz.single_generation import Slot
from trellis.app.engine import Engine

DESCRIPTION = (
    "Pictures in, textured 3D assets out. /jobs is the interface for programs: submit, watch, fetch. The other routes "
    "are those of the StableProjectorz servers, for its desktop client and for existing scripts, which see one "
    "generation at a time and know no job ids, and those of Hunyuan3D's server for its clients."
)


def create_api(engine: Engine, settings: ApiSettings, *, page: LatePage | None = None) -> FastAPI:
    """The application for an engine; `page` answers what has no route here.

    Every request passes the guards first: host name, origin, token. Routes read their bodies themselves, up to the
    limits of `settings`.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if page is None:
            yield
            return
        async with page.running():
            yield

    app = FastAPI(
        title="Trellis API",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        middleware=_middleware(settings),
        responses=ERRORS[401] if settings.token else {},
        redirect_slashes=False,
    )
    add_error_handlers(app)
    jobs = Jobs(engine)
    slot = Slot(jobs, busy_seconds=settings.busy_seconds)
    hunyuan = HunyuanServer(jobs, settings)
    for router in (
        job_routes(jobs, settings),
        model_routes(jobs.models),
        desktop_routes(jobs, slot, settings, hunyuan),
        hunyuan_routes(hunyuan),
        legacy_routes(jobs, slot, settings),
    ):
        app.include_router(router)
    if settings.local or settings.metrics:
        app.include_router(metrics_route(engine))
    _add_documentation(app)
    if page is not None:
        app.mount("/", page)
    return app


def _middleware(settings: ApiSettings) -> list[Middleware]:
    """From the outermost to the innermost."""
    layers = [
        Middleware(AccessLog, tokens=settings.tokens),
        Middleware(SafeHeaders),
        Middleware(HostGuard, settings=settings),
    ]
    if settings.origins:
        layers.append(
            Middleware(
                CORSMiddleware,
                allow_origins=list(settings.origins),
                allow_methods=["GET", "POST", "DELETE"],
                allow_headers=["Authorization", "Content-Type", "X-Trellis-Token"],
                allow_credentials=False,
            )
        )
    layers.append(Middleware(OriginGuard, settings=settings))
    if settings.tokens:
        layers.append(Middleware(TokenGuard, token=settings.token, operator_token=settings.operator_token))
    layers.append(Middleware(PatienceGuard, seconds=settings.body_seconds))
    return layers


def _add_documentation(app: FastAPI) -> None:
    @cache
    def html() -> str:
        document: dict[str, Any] = app.openapi()
        return docs_page(document)

    @app.get("/docs", include_in_schema=False)
    @app.get("/redoc", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(html())
