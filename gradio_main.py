"""Starts the page: arguments -> runtime -> engine -> page, on one port of this computer."""

import argparse
import ipaddress
import logging
import sys
import threading
import webbrowser
from pathlib import Path

import uvicorn

from trellis.app.engine import Engine
from trellis.app.ui.page import create_page
from trellis.app.ui.web import create_app
from trellis.errors import InvalidInputError, TrellisError
from trellis.pipeline import ImageTo3D
from trellis.runtime import DEVICES, PRECISIONS, Runtime

ROOT = Path(__file__).resolve().parent
EXAMPLES = ROOT / "assets" / "example_image"
DEMO_MODEL = "nano"
LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Open the page that turns a picture into a textured 3D model.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this computer only)")
    parser.add_argument("--port", type=int, default=7960, help="port of the page (default: 7960)")
    parser.add_argument("--model", default=DEMO_MODEL, help="nano, a folder, or a repository (default: nano)")
    parser.add_argument("--precision", choices=PRECISIONS, help="precision of the networks (default: fits the device)")
    parser.add_argument("--device", default="auto", help=f"{', '.join(DEVICES)} (default: auto)")
    parser.add_argument("--output", type=Path, default=ROOT / "outputs", help="folder of the results")
    parser.add_argument("--no-browser", action="store_true", help="do not open the browser")
    parser.add_argument("--trust-lan", action="store_true", help="allow a --host that other computers can reach")
    return parser.parse_args(argv)


def allowed_hosts(host: str, *, trust_lan: bool) -> tuple[str, ...]:
    """The names that requests may address; raises InvalidInputError for a reachable host without --trust-lan."""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if local:
        return LOCAL_NAMES
    if not trust_lan:
        raise InvalidInputError(f"--host {host} lets other computers use this page; add --trust-lan if you want that.")
    return ("*",)


def main() -> int:
    arguments = parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        hosts = allowed_hosts(arguments.host, trust_lan=arguments.trust_lan)
        runtime = Runtime.detect(device=arguments.device, precision=arguments.precision)
    except TrellisError as error:
        logging.error("%s", error)
        return 2
    engine = Engine(
        lambda: ImageTo3D.from_pretrained(arguments.model, runtime=runtime), arguments.output, model=arguments.model
    )
    page = create_page(
        engine,
        examples=sorted(EXAMPLES.glob("*.png")),
        machine=f"{arguments.model} · {runtime.device.type.upper()} · {str(runtime.dtype).removeprefix('torch.')}",
        demo_model=arguments.model == DEMO_MODEL,
    )
    app = create_app(engine, page, hosts=hosts)
    server = uvicorn.Server(
        uvicorn.Config(app, host=arguments.host, port=arguments.port, log_level="warning", timeout_graceful_shutdown=2)
    )
    address = f"http://{arguments.host}:{arguments.port}"
    logging.info("The page is at %s (Ctrl+C ends the program)", address)
    if not arguments.no_browser:
        threading.Timer(1.0, webbrowser.open, args=(address,)).start()
    try:
        server.run()
    finally:
        engine.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
