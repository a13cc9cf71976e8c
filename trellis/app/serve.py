"""Page and interface on one port of one process, the work in another: arguments -> settings -> engine -> server."""

import argparse
import logging
import signal
import socket
import threading
import webbrowser
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from trellis.app.api.application import create_api
from trellis.app.api.late_page import LatePage
from trellis.app.api.settings import ApiSettings
from trellis.app.logs import configure_logging
from trellis.app.machine_options import MachineOptions
from trellis.app.offers import ModelChoice, offered_models
from trellis.app.output_folder import claimed
from trellis.app.server_options import ROOT, history_limits, settings_from
from trellis.app.ui.quick_import import without_editor_stubs
from trellis.app.worker_engine import WorkerEngine
from trellis.app.worker_process import PipelineSource
from trellis.errors import InvalidInputError
from trellis.runtime import ModelFiles, check_machine_options

EXAMPLES = ROOT / "assets" / "example_image"

_log = logging.getLogger(__name__)


def serve(arguments: argparse.Namespace, *, open_browser: bool = False) -> int:
    """Serve until the process is told to end; 0 then. Raises InvalidInputError for arguments that cannot be used.

    `arguments` are those of `add_server_options`. The address is taken before anything else, so that a second start
    says at once that the port is in use; then the folder of the results, which one server uses at a time. This process
    imports nothing that takes long (torch, say) before it answers, and only the page's libraries at all: its work is
    done in worker processes.
    """
    configure_logging(logging.DEBUG if arguments.verbose else logging.INFO)
    settings = settings_from(arguments)
    check_machine_options(arguments.device, arguments.precision)
    files = ModelFiles.locate(offline=arguments.offline)
    models = offered_models(arguments.model, files)
    with listen(settings.host, settings.port) as listener, claimed(arguments.output):
        engine = WorkerEngine(
            pipeline_source(arguments),
            arguments.output,
            model=arguments.model,
            models=[choice.name for choice in models],
            text_models=[choice.name for choice in models if choice.takes_text],
            models_to_fetch=[choice.name for choice in models if choice.fetch_bytes],
            history=history_limits(arguments),
            idle_seconds=60 * arguments.idle,
            further_sources=partial(further_sources, arguments),
        )
        try:
            if not arguments.no_preload:
                engine.preload()
            page = None if arguments.no_page else LatePage(partial(_page, engine, models, files))
            app = create_api(engine, settings, page=page)
            address = _say_addresses(settings, listener, page is not None)
            if open_browser and page is not None:
                timer = threading.Timer(0.5, webbrowser.open, args=(address,))
                timer.daemon = True
                timer.start()
            _Server(app, engine).run(sockets=[listener])
        finally:
            engine.close()
    return 0


def pipeline_source(arguments: argparse.Namespace, **others: Any) -> PipelineSource:
    """Where a worker process opens its pipeline."""
    return PipelineSource(options=asdict(MachineOptions.from_arguments(arguments)) | others)


def further_sources(arguments: argparse.Namespace, plan: Mapping[str, Any]) -> list[PipelineSource]:
    """One for every accelerator after the first, which the first pipeline was opened on; see `resolved_plan`."""
    count = plan.get("devices", 1)
    if arguments.workers > 0:
        count = min(count, arguments.workers)
    return [pipeline_source(arguments, index=index) for index in range(1, count)]


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; raises InvalidInputError saying why it cannot."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InvalidInputError(f"host {host} is no address of this computer: {error}.") from error
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows: else another program could take the same port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise InvalidInputError(
            f"Port {port} of {host} cannot be used ({error.strerror}). Is the program running already? "
            "--port takes another one."
        ) from error
    return listener


def _page(engine: WorkerEngine, models: Sequence[ModelChoice], files: ModelFiles) -> FastAPI:
    with without_editor_stubs():
        from trellis.app.ui.page import create_page  # Gradio takes seconds to import
        from trellis.app.ui.web import create_app

    examples = sorted(EXAMPLES.glob("*.png"))
    page = create_page(engine, examples=examples, models=models, files=files)
    # Names are checked by the interface, which is in front.
    return create_app(engine, page, hosts=("*",), examples=examples)


def _say_addresses(settings: ApiSettings, listener: socket.socket, has_page: bool) -> str:
    """Log where the server is and return the address for a browser here."""
    port = listener.getsockname()[1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    if settings.host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    address = f"http://{host}:{port}/" + (f"?token={settings.token}" if settings.token else "")
    _log.info("%s at %s (Ctrl+C ends the program)", "Page and interface" if has_page else "Interface", address)
    _log.info("Documentation of the interface at http://%s:%d/docs", host, port)
    if settings.token:
        _log.info("Clients that cannot send headers use http://%s:%d/%s", host, port, settings.token)
    return address


class _Server(uvicorn.Server):
    """Ends its jobs as soon as it is told to end: clients that wait for one get their answer."""

    def __init__(self, app: FastAPI, engine: WorkerEngine) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                log_level=logging.WARNING,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=4,
            )
        )
        self._engine = engine

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Not handed on to uvicorn, which would raise the signal again when everything has ended well.
        if self.should_exit:
            self.force_exit = True
            return
        _log.info("Ending (%s)", signal.Signals(sig).name)
        self.should_exit = True
        threading.Thread(target=self._engine.close, name="close engine").start()
