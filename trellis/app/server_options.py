"""The options of `serve`, for every program that offers them; nothing here takes time to import."""

import argparse
import secrets
from pathlib import Path

from trellis.app.api.settings import DEFAULT_HOST, DEFAULT_PORT, MAX_UPLOAD_BYTES, ApiSettings
from trellis.app.cluster.options import add_cluster_options
from trellis.app.history import HistoryLimits
from trellis.app.machine_options import add_machine_options
from trellis.app.worker_process import IDLE_SECONDS
from trellis.errors import InvalidInputError

ROOT = Path(__file__).resolve().parents[2]
NEW_TOKEN = "new"


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `serve`."""
    add = parser.add_argument_group("Address and access").add_argument
    host = f"address to listen on (default: {DEFAULT_HOST}, this computer only)"
    add("--host", "--ip", metavar="ADDRESS", default=DEFAULT_HOST, help=host)
    add("--port", type=int, default=DEFAULT_PORT, metavar="N", help="port of page and interface")
    token = f"require this token of every request; {NEW_TOKEN!r} makes one and says it (default: none)"
    add("--token", help=token)
    add("--token-file", type=Path, metavar="FILE", help="read the token from a file (default: none)")
    operator = "another token, which shows everybody's jobs in GET /jobs (default: none)"
    add("--operator-token", metavar="TOKEN", help=operator)
    add("--trust-lan", action="store_true", help="allow a --host that other computers can reach, without a token")
    add("--allow-name", action="append", default=[], metavar="NAME", help="another host name that requests may address")
    add("--allow-origin", action="append", default=[], metavar="URL", help="a site whose pages may call the interface")
    add("--max-upload", type=int, default=MAX_UPLOAD_BYTES >> 20, metavar="MB", help="limit of one request")
    metrics = "GET /metrics, for Prometheus, although other computers are served (default: on this computer alone)"
    add("--metrics", action="store_true", help=metrics)
    add("--no-page", action="store_true", help="only the interface for programs")

    add = parser.add_argument_group("Results").add_argument
    limits = HistoryLimits()
    add("--output", type=Path, default=ROOT / "outputs", metavar="DIR", help="folder of the results")
    days = f"results older than this are deleted (default: {limits.days:g}; 0: never)"
    add("--keep-days", type=float, default=limits.days, metavar="DAYS", help=days)
    jobs = f"beyond this number the oldest results are deleted (default: {limits.jobs}; 0: never)"
    add("--keep-jobs", type=int, default=limits.jobs, metavar="N", help=jobs)
    size = f"beyond this size the oldest results are deleted (default: {limits.gigabytes:g}; 0: never)"
    add("--keep-gb", type=float, default=limits.gigabytes, metavar="GB", help=size)

    add_machine_options(parser)
    add_cluster_options(parser)
    add = parser.add_argument_group("Program").add_argument
    minutes = IDLE_SECONDS / 60
    idle = f"after so long without a job, weights leave memory (default: {minutes:g}; 0: never)"
    add("--idle", type=float, default=minutes, metavar="MINUTES", help=idle)
    add("--no-preload", action="store_true", help="open the model with the first job, not at the start")
    add("--verbose", action="store_true", help="tell what happens inside, every request included")


def history_limits(arguments: argparse.Namespace) -> HistoryLimits:
    """Which results the arguments let stay; raises InvalidInputError for a limit below 0."""
    return HistoryLimits(days=arguments.keep_days, jobs=arguments.keep_jobs, gigabytes=arguments.keep_gb)


def settings_from(arguments: argparse.Namespace) -> ApiSettings:
    """The settings that the arguments state; raises InvalidInputError for what would open the server unasked."""
    token = arguments.token
    if arguments.token_file is not None:
        try:
            token = arguments.token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInputError(f"The token file cannot be read: {error}") from error
    if token == NEW_TOKEN:
        token = secrets.token_urlsafe(18)
    if arguments.max_upload < 1:
        raise InvalidInputError(f"max-upload must be at least 1 MB, not {arguments.max_upload}.")
    return ApiSettings(
        host=arguments.host,
        port=arguments.port,
        token=token,
        operator_token=arguments.operator_token,
        trust_lan=arguments.trust_lan,
        names=tuple(arguments.allow_name),
        origins=tuple(arguments.allow_origin),
        max_upload_bytes=arguments.max_upload << 20,
        metrics=arguments.metrics,
    )
