"""Page and interface on one port of one process, the work in another: arguments -> settings -> engine -> server."""

import argparse
import asyncio
import logging
import os
import signal
import socket
import threading
import webbrowser
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from types import FrameType
from typing import Any, ClassVar

import psutil
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from trellis.app.api.application import create_api
from trellis.app.api.late_page import LatePage
from trellis.app.api.settings import ApiSettings
from trellis.app.cluster.crew import cluster_executor
from trellis.app.cluster.options import ClusterOptions
from trellis.app.engine import Engine
from trellis.app.executor import Executor
from trellis.app.job_sources import Models
from trellis.app.logs import configure_logging
from trellis.app.machine_options import MachineOptions
from trellis.app.model_choices import ModelChoice, offered_models
from trellis.app.output_folder import claimed
from trellis.app.server_options import ROOT, history_limits, settings_from
from trellis.app.ui.quick_import import without_editor_stubs
from trellis.app.worker_process import PipelineSource, WorkerProcess
from trellis.app.writers import writing_processes
from trellis.errors import InvalidInputError
from trellis.families.catalogue import model_licence, model_refusal, resolve_model
from trellis.families.licences import require_licence
from trellis.runtime import ModelFiles, check_machine_options

EXAMPLES = ROOT / "assets" / "example_image"
EXAMPLE_MODEL = ROOT / "assets" / "example_model" / "mug.glb"
END_SECONDS = 8.0  # after which the program ends although something hangs
HEAD_SECONDS = 30.0  # in which the head of a request must come

_log = logging.getLogger(__name__)


def serve(arguments: argparse.Namespace, *, open_browser: bool = False) -> int:
    """Serve until the process is told to end; 0 then.

    Raises InvalidInputError for arguments that cannot be used, CheckpointError for a name of no model, LicenceError for
    one whose licence nobody has accepted, ClusterError for a cluster that cannot be joined. `arguments` are those of
    `add_server_options`. The address is taken before anything else, so that a second start says at once that the port
    is in use; then the folder of the results, which one server uses at a time. This process imports nothing that takes
    long (torch, say) before it answers, and only the page's libraries at all: its work is done in worker processes.
    """
    configure_logging(logging.DEBUG if arguments.verbose else logging.INFO)
    settings = settings_from(arguments)
    check_machine_options(arguments.device, arguments.precision)
    files = ModelFiles.locate(offline=arguments.offline)
    resolve_model(arguments.model, runtime=files)  # raises for a name that no model can have
    require_licence(model_licence(arguments.model, files), files, model=arguments.model)
    models = offered_models(arguments.model, files)
    cluster = ClusterOptions.from_arguments(arguments)
    with listen(settings.host, settings.port) as listener, claimed(arguments.output), ExitStack() as stack:
        source, idle = pipeline_source(arguments), 60 * arguments.idle
        writers = Executor([], idle_seconds=idle, further_tools=partial(writing_processes, source))
        if cluster is None:
            further = partial(further_tools, arguments, writers)
            executor = Executor([WorkerProcess(source)], idle_seconds=idle, further_tools=further)
        else:
            executor = stack.enter_context(cluster_executor(cluster, source, idle_seconds=idle, keep=True))
        names = Models(
            tuple(dict.fromkeys((arguments.model, *(choice.name for choice in models)))),
            of_texts=frozenset(choice.name for choice in models if choice.takes_text),
            to_fetch=frozenset(choice.name for choice in models if choice.fetch_bytes),
            operations={choice.name: choice.operations for choice in models if choice.operations},
            options={choice.name: choice.options for choice in models if choice.options},
            refusal=partial(model_refusal, runtime=files),
        )
        engine = Engine(executor, arguments.output, models=names, writers=writers, history=history_limits(arguments))
        try:
            if cluster is None and not arguments.no_preload:
                executor.open()
            page = None if arguments.no_page else LatePage(partial(_page, engine, models, files))
            app = create_api(engine, settings, page=page)
            address = _say_addresses(settings, listener, page is not None)
            if open_browser and page is not None:
                timer = threading.Timer(0.5, webbrowser.open, args=(address,))
                timer.daemon = True
                timer.start()
            run_until_told(app, engine, listener)
        finally:
            engine.close()
    return 0


def pipeline_source(arguments: argparse.Namespace, **others: Any) -> PipelineSource:
    """Where a worker process opens its pipeline."""
    return PipelineSource(options=asdict(MachineOptions.from_arguments(arguments)) | others)


def further_tools(arguments: argparse.Namespace, writers: Executor, plan: Mapping[str, Any]) -> list[WorkerProcess]:
    """One for every accelerator after the first, which the first pipeline was opened on; see `resolved_plan`."""
    writers.learn(plan)
    count = plan.get("devices", 1)
    if arguments.workers > 0:
        count = min(count, arguments.workers)
    return [WorkerProcess(pipeline_source(arguments, index=index)) for index in range(1, count)]


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


def _page(engine: Engine, models: Sequence[ModelChoice], files: ModelFiles) -> FastAPI:
    with without_editor_stubs():
        from trellis.app.ui.page import create_page  # Gradio takes seconds to import
        from trellis.app.ui.web import create_app

    examples = sorted(EXAMPLES.glob("*.png"))
    page = create_page(engine, examples=examples, models=models, files=files, example_model=EXAMPLE_MODEL)
    # Names are checked by the interface, which is in front.
    return create_app(engine, page, examples=examples, example_model=EXAMPLE_MODEL)


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


class PatientProtocol(H11Protocol):
    """Closes connections that do not bring the head of a request in time, and those beyond what one client may have."""

    head_seconds = HEAD_SECONDS
    most = 256  # connections of one client; `run_until_told` sets what the system has room for
    open: ClassVar[Counter[str]] = Counter()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._host = (transport.get_extra_info("peername") or ("",))[0]
        PatientProtocol.open[self._host] += 1
        if PatientProtocol.open[self._host] > self.most:
            transport.abort()
            return
        self._look_later(before=self)  # no request can be that

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        PatientProtocol.open[self._host] -= 1
        if not PatientProtocol.open[self._host]:
            del PatientProtocol.open[self._host]

    def _look_later(self, before: object) -> None:
        self.loop.call_later(self.head_seconds, self._look, before)

    def _look(self, before: object) -> None:
        """Close the connection if it is without a request, and `before` says that it was so at the last look."""
        if self.transport.is_closing():
            return
        idle = self.cycle is None or self.cycle.response_complete
        if idle and before in (self, self.cycle):
            self.transport.close()
        else:
            self._look_later(before=self.cycle if idle else None)


def run_until_told(app: FastAPI, engine: Engine, listener: socket.socket) -> None:
    """Serve until a signal says to end; then end the engine's jobs at once, so that clients that wait are answered.

    The server has a thread of its own: signals come to the main thread, which hears them whatever hangs. What has not
    ended END_SECONDS later is given up, with all processes that were started.
    """
    PatientProtocol.most = _room_for_connections() // 2
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # what a client says of its address is not believed
        timeout_graceful_shutdown=4,
    )
    server = uvicorn.Server(config)

    def end(number: int, frame: FrameType | None) -> None:
        if server.should_exit:
            server.force_exit = True
            return
        _log.info("Ending (%s)", signal.Signals(number).name)
        server.should_exit = True
        threading.Thread(target=engine.close, name="close engine", daemon=True).start()
        patience = threading.Timer(END_SECONDS, _give_up)
        patience.daemon = True
        patience.start()

    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), end)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="server", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.5)  # on Windows a wait without end hears no Ctrl+C


def _room_for_connections() -> int:
    """How many connections may be open at once: each is an open file, of which Linux gives 1,024 unasked."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return 4096
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(8192, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(64, wanted - 256)


def _give_up() -> None:
    _log.error("Something hangs: the program ends without waiting for it")
    for child in psutil.Process().children(recursive=True):
        child.kill()
    os._exit(1)
