"""The command line: `python -m trellis generate PICTURE... --output DIR`, `variant`, `edit`, `serve` and the others."""

import argparse
import logging
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from trellis import __version__
from trellis.app.cluster.options import ClusterOptions, add_cluster_options
from trellis.app.command_options import add_options, check_start, request_from
from trellis.app.command_parser import CommandParser
from trellis.app.dataset_command import add_dataset_command
from trellis.app.edit_commands import STORED, add_edit_commands
from trellis.app.generation import file_name
from trellis.app.machine_options import MachineOptions, add_machine_options, open_pipeline
from trellis.app.models_command import add_models_options, fetch_models, models_lines
from trellis.app.request import GenerationRequest, SetupOptions
from trellis.app.server_options import add_server_options
from trellis.app.terminal import ProgressBars, peak_memory_line, print_likeness, print_summary
from trellis.errors import STARTER, InvalidInputError, TrellisError
from trellis.families.family import PICTURES, TEXT
from trellis.options import MESH, SHAPE
from trellis.progress import CancelToken
from trellis.runtime import ModelFiles

if TYPE_CHECKING:
    from trellis.app.batch import Batch, BatchItem

SOME_FAILED = 3  # exit status of `batch`
MOST_AT_ONCE = 1024  # assets of a batch


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 1 on a deliberate error (one sentence on stderr), 130 when interrupted.

    `serve` that cannot start ends with 2, as the page's own program does.
    """
    parser = build_parser()
    parsed = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO if parsed.verbose else logging.WARNING, format="%(name)s: %(message)s")
    try:
        return int(parsed.run(parsed))
    except TrellisError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if parsed.run is run_serve else 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def build_parser() -> CommandParser:
    """The parser of all commands; the options of `generate` come from `trellis.app.request`."""
    parser = CommandParser(prog=STARTER, description="A picture in, a textured 3D asset out.")
    parser.add_argument("--version", action="version", version=f"trellis {__version__}")
    parser.add_argument("--verbose", action="store_true", help="tell what happens inside")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    usage = f"{STARTER} generate PICTURE... [OPTION...]"
    generate = commands.add_parser("generate", help="make 3D assets from pictures", usage=usage)
    generate.add_argument("pictures", nargs="*", type=Path, metavar="PICTURE", help="one asset is made of each")
    add = add_result_options(generate).add_argument
    add("--prompt", metavar="TEXT", help="make one asset of a text; needs a text model, --model (default: none)")
    add("--store", action="store_true", help="keep the asset itself too, as NAME.safetensors")
    add("--one-object", action="store_true", help="the pictures show one object: make one asset")
    add_machine_options(generate)
    generate.set_defaults(run=run_generate, operation=GenerationRequest)

    add_edit_commands(commands)
    add_dataset_command(commands)

    batch = commands.add_parser(
        "batch",
        help="make an asset of every picture of folders and lists; goes on where it was",
        usage=f"{STARTER} batch PICTURE|FOLDER... [OPTION...]",
    )
    batch.add_argument(
        "sources", nargs="+", type=Path, metavar="PICTURE|FOLDER", help="one asset is made of each picture"
    )
    add = add_result_options(batch).add_argument
    add("--recursive", action="store_true", help="pictures of folders in the folders too")
    add_machine_options(batch)
    add_cluster_options(batch)
    batch.set_defaults(run=run_batch, operation=GenerationRequest)

    server = commands.add_parser(
        "serve",
        help="page and interface for programs on one port, without opening a browser",
        usage=f"{STARTER} serve [OPTION...]",
    )
    add_server_options(server)
    server.set_defaults(run=run_serve)

    doctor = commands.add_parser("doctor", help="what this machine has, which back ends work on it, and the plan")
    add_machine_options(doctor)
    doctor.set_defaults(run=run_doctor)

    models = commands.add_parser("models", help="which models are here; models get NAME fetches one")
    add_models_options(models)
    models.set_defaults(run=run_models)
    return parser


def add_result_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options that say what is made and where it goes, some also under the names of older scripts.

    Returns the group of what comes in and where it goes.
    """
    first = parser.add_argument_group("Input and results")
    folder = ("--output", "--output-dir")
    first.add_argument(*folder, type=Path, default=Path("out"), metavar="DIR", help="folder of the results")
    groups = add_options(parser, GenerationRequest, without=[SetupOptions])  # `add_machine_options` has those
    groups[SHAPE].add_argument(
        "--steps", type=int, metavar="N", help="steps of both stages (default: as the options of each say)"
    )
    groups[MESH].add_argument(
        "--decimation",
        dest="faces",
        type=int,
        default=argparse.SUPPRESS,
        metavar="N",
        help="another name of --faces (default: as there)",
    )
    return first


def run_generate(parsed: argparse.Namespace) -> int:
    """Generate an asset of each picture (or one of all, or of the text) and print a summary."""
    request = request_from(parsed)
    sources = sources_from(parsed)
    check_start(parsed, PICTURES if parsed.prompt is None else TEXT)

    from trellis.app.generation import generate_files  # the networks' libraries take seconds to import

    with ProgressBars() as progress:  # of a model that has to be fetched
        pipeline = open_pipeline(**asdict(MachineOptions.from_arguments(parsed)), progress=progress)
    if pipeline.is_demo:
        print("Using the embedded demo model (simple objects); --model microsoft/TRELLIS-image-large is the real one.")
    for name, source in sources.items():
        started = time.perf_counter()
        with ProgressBars() as progress:
            store = parsed.output / f"{name}{STORED}" if parsed.store else None
            outcome = generate_files(
                pipeline, source, request=request, folder=parsed.output, name=name, store=store, progress=progress
            )
        print_summary(name, outcome, seconds=time.perf_counter() - started)
    print(peak_memory_line(pipeline.runtime))
    return 0


def sources_from(parsed: argparse.Namespace) -> dict[str, list[Path] | str]:
    """What each asset is made of, by the name of its files; raises InvalidInputError for what cannot be used."""
    if bool(parsed.pictures) == (parsed.prompt is not None):
        raise InvalidInputError(f"Give pictures or --prompt, one of the two: {STARTER} generate PICTURE...")
    if parsed.prompt is not None:
        return {file_name(parsed.prompt): parsed.prompt}
    for path in parsed.pictures:
        if path.is_dir():
            raise InvalidInputError(
                f"{path} is a folder: `{STARTER} batch {path}` makes an asset of every picture in it."
            )
        if not path.is_file():
            raise InvalidInputError(f"There is no picture file {path}.")
    groups = [parsed.pictures] if parsed.one_object else [[path] for path in parsed.pictures]
    names = [group[0].stem for group in groups]
    if len(set(names)) != len(names):
        raise InvalidInputError("Two pictures have the same name; their results would overwrite each other.")
    return dict(zip(names, groups, strict=True))


def run_batch(parsed: argparse.Namespace) -> int:
    """Make the assets that are not there yet; 0 when all are there, SOME_FAILED when some could not be made."""
    from trellis.app.batch import FAILED, Batch, find_pictures
    from trellis.app.cluster.crew import cluster_executor
    from trellis.app.executor import Executor
    from trellis.app.worker_process import PipelineSource, WorkerProcess
    from trellis.app.writers import writing_processes

    request = request_from(parsed)
    items = find_pictures(parsed.sources, parsed.output, recursive=parsed.recursive)
    check_start(parsed, PICTURES)
    cluster = ClusterOptions.from_arguments(parsed)
    source = PipelineSource(options=asdict(MachineOptions.from_arguments(parsed)))
    with ExitStack() as stack:
        if cluster is None:
            executor = Executor([WorkerProcess(source)])
        else:
            executor = stack.enter_context(cluster_executor(cluster, source, keep=False))
        writers = Executor([], further_tools=None if cluster else partial(writing_processes, source))
        for one in (writers, executor):
            stack.callback(one.close)
        batch = Batch(items, parsed.output, request=request, model=parsed.model, executor=executor, writers=writers)
        remaining = batch.remaining()
        print(f"{len(items)} pictures, {len(items) - len(remaining)} of them done already.")
        if remaining:
            # What is wrong with the model is told once.
            writers.learn(executor.carry_out(lambda process: process.open(CancelToken())))
        make_all(batch, remaining, room=lambda: executor.room + 2 * len(writers.tools))
    failed = [entry for entry in batch.entries if entry.state == FAILED]
    batch.tidy()
    for entry in failed:
        print(f"failed: {entry.picture}: {entry.message}", file=sys.stderr)
    print(f"{len(items) - len(failed)} assets are there, {len(failed)} failed; see {batch.manifest}")
    return SOME_FAILED if failed else 0


def make_all(batch: "Batch", items: "Sequence[BatchItem]", *, room: Callable[[], int]) -> None:
    """Make the assets of a batch, as many at once as there is `room` for, and print what came of each."""
    cancel = CancelToken()

    def make(index: int, item: "BatchItem") -> None:
        print(f"[{index + 1}/{len(items)}] {item.picture}")
        with ProgressBars() as progress:
            entry = batch.carry_out(item, on_step=progress.tell if room() == 1 else None, cancel=cancel)
        print(f"  {item.name}: {entry.state}, {entry.seconds:.1f} s {entry.message}".rstrip())
        print_likeness(entry.likeness)

    threads, made = ThreadPoolExecutor(MOST_AT_ONCE), set[Future[None]]()
    waiting = deque(enumerate(items))
    try:
        while waiting or made:
            while waiting and len(made) < max(1, room()):
                made.add(threads.submit(make, *waiting.popleft()))
            done, made = wait(made, timeout=0.5, return_when=FIRST_COMPLETED)  # on Windows Ctrl+C is heard in between
            for one in done:
                one.result()
    finally:
        cancel.cancel()
        threads.shutdown()


def run_serve(parsed: argparse.Namespace) -> int:
    """Serve until the process is told to end."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # what Ctrl+C does until the server hears of it: there is no work yet
    from trellis.app.serve import serve

    return serve(parsed)


def run_doctor(parsed: argparse.Namespace) -> int:
    """Print what works on this machine and what would be used."""
    from trellis.app.doctor import diagnose

    for line in diagnose(MachineOptions.from_arguments(parsed).detect(), preset=parsed.preset).lines():
        print(line)
    return 0


def run_models(parsed: argparse.Namespace) -> int:
    """Print which models are here, or fetch some."""
    files = ModelFiles.locate()
    lines = fetch_models(parsed, files, progress=ProgressBars) if parsed.action == "get" else models_lines(files)
    print("\n".join(lines))
    return 0
