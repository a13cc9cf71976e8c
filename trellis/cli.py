"""The command line: `python -m trellis generate PICTURE... --output DIR`, `batch`, `serve`, `models`, `doctor`."""

import argparse
import logging
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trellis import __version__
from trellis.app.command_parser import STARTER, CommandParser
from trellis.app.generation import file_name
from trellis.app.jobs import JobOutcome
from trellis.app.likeness import ADVICE, UNLIKE, is_unlike
from trellis.app.machine_options import MachineOptions, add_machine_options, open_pipeline
from trellis.app.model_choices import check_takes
from trellis.app.models_command import add_models_options, fetch_models, models_lines
from trellis.app.output_folder import check_writable
from trellis.app.request import GenerationRequest, SetupOptions
from trellis.app.server_options import add_server_options
from trellis.errors import InvalidInputError, TrellisError
from trellis.families.family import PICTURES, TEXT
from trellis.options import MESH, SHAPE, Option, Options
from trellis.progress import CancelToken, Progress, StepInfo
from trellis.runtime import ModelFiles, Runtime, check_machine_options

SOME_FAILED = 3  # exit status of `batch`


def _split(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


CONVERTERS: dict[str, Callable[[str], Any]] = {"integer": int, "number": float, "string": str, "array": _split}


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
    add("--one-object", action="store_true", help="the pictures show one object: make one asset")
    add_machine_options(generate)
    generate.set_defaults(run=run_generate)

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
    batch.set_defaults(run=run_batch)

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
    groups = add_options(parser, GenerationRequest, without=SetupOptions)  # `add_machine_options` has those
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


def add_options(
    parser: argparse.ArgumentParser, model: type[Options], *, without: type[Options]
) -> dict[str, argparse._ArgumentGroup]:
    """Add a flag for every option of `model` that `without` has not, in its group; the groups by name.

    The values are checked by the model itself.
    """
    groups: dict[str, argparse._ArgumentGroup] = {}
    for name, option in model.options().items():
        if name in without.options():
            continue
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        flag = "--" + name.replace("_", "-")
        terms: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS, "help": _help(option)}
        if option.kind == "boolean":
            groups[option.group].add_argument(flag, action=argparse.BooleanOptionalAction, **terms)
            continue
        metavar = f"{{{','.join(map(str, option.values))}}}" if option.values else option.unit
        groups[option.group].add_argument(flag, type=CONVERTERS[option.kind], metavar=metavar, **terms)
    return groups


def _help(option: Option) -> str:
    default = option.null if option.default is None else option.default
    if isinstance(default, list):
        default = ",".join(default)
    elif isinstance(default, bool):
        default = "yes" if default else "no"
    elif isinstance(default, float):
        default = f"{default:g}"
    several = "several with commas between; " if option.kind == "array" else ""
    bounds = f"{option.minimum:g} to {option.maximum:.10g}; " if option.kind in ("integer", "number") else ""
    return f"{option.help} ({several}{'' if option.values else bounds}default: {default})".replace("%", "%%")


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
            outcome = generate_files(
                pipeline, source, request=request, folder=parsed.output, name=name, progress=progress
            )
        print_summary(name, outcome, seconds=time.perf_counter() - started)
    print(peak_memory_line(pipeline.runtime))
    return 0


def check_start(parsed: argparse.Namespace, given: str) -> None:
    """Find out before anything is loaded what would fail in the end; raises InvalidInputError, CheckpointError."""
    check_machine_options(parsed.device, parsed.precision)
    check_takes(parsed.model, given, ModelFiles.locate(offline=parsed.offline))
    check_writable(parsed.output)


def peak_memory_line(runtime: Runtime) -> str:
    """The most memory that was needed: that of tensors on an accelerator, if there is one, and RAM of this process."""
    from trellis.memory import GIB, peak_memory_bytes
    from trellis.runtime import device_name, free_bytes, peak_allocated_bytes, used_bytes

    device, ram = runtime.device, f"{peak_memory_bytes() / GIB:.2f} GiB"
    if free_bytes(device) is None:
        return f"Peak memory {ram}."
    allocated, used = peak_allocated_bytes(device) / GIB, used_bytes(device) / GIB
    return (
        f"Peak memory {allocated:.2f} GiB allocated on {device_name(device)}, "
        f"of which all programs now use {used:.2f} GiB; RAM {ram}."
    )


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
    from trellis.app.worker_process import PipelineSource, WorkerProcess

    request = request_from(parsed)
    items = find_pictures(parsed.sources, parsed.output, recursive=parsed.recursive)
    check_start(parsed, PICTURES)
    process = WorkerProcess(PipelineSource(options=asdict(MachineOptions.from_arguments(parsed))))
    try:
        batch = Batch(items, parsed.output, request=request, model=parsed.model, tool=process)
        remaining = batch.remaining()
        print(f"{len(items)} pictures, {len(items) - len(remaining)} of them done already.")
        if remaining:
            process.open(CancelToken())  # what is wrong with the model is told once
        for index, item in enumerate(remaining):
            print(f"[{index + 1}/{len(remaining)}] {item.picture}")
            with ProgressBars() as progress:
                entry = batch.carry_out(item, on_step=progress.tell)
            print(f"  {entry.state}, {entry.seconds:.1f} s {entry.message}".rstrip())
            print_likeness(entry.likeness)
    finally:
        process.close()
    failed = [entry for entry in batch.entries if entry.state == FAILED]
    batch.tidy()
    for entry in failed:
        print(f"failed: {entry.picture}: {entry.message}", file=sys.stderr)
    print(f"{len(items) - len(failed)} assets are there, {len(failed)} failed; see {batch.manifest}")
    return SOME_FAILED if failed else 0


def request_from(parsed: argparse.Namespace) -> GenerationRequest:
    """The request that the command line states; raises InvalidInputError naming the option."""
    values = {name: getattr(parsed, name) for name in GenerationRequest.options() if hasattr(parsed, name)}
    if parsed.steps is not None:
        values = {"structure_steps": parsed.steps, "latent_steps": parsed.steps} | values
    return GenerationRequest(**values)


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


class ProgressBars:
    """A `Progress` that draws one bar a stage with its time on the terminal."""

    def __enter__(self) -> Progress:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        self._bars = Bars(TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._tasks: dict[str, Any] = {}
        return Progress(self._show)

    def _show(self, info: StepInfo) -> None:
        if not self._tasks:
            self._bars.start()
        if info.label not in self._tasks:
            self._tasks[info.label] = self._bars.add_task(info.label, total=info.total)
        self._bars.update(self._tasks[info.label], completed=info.step, total=info.total)

    def __exit__(self, *exception: object) -> None:
        if self._tasks:
            self._bars.stop()


def print_summary(name: str, outcome: JobOutcome, *, seconds: float) -> None:
    """One line a file with its size, the time taken, and what the user should know."""
    print(f"{name}: {seconds:.1f} s")
    for path in outcome.files.values():
        print(f"  {path}  {path.stat().st_size / 1e6:.2f} MB")
    for note in outcome.notes:
        print(f"  note: {note}")
    print_likeness(outcome.likeness)


def print_likeness(likeness: float | None) -> None:
    """How much an asset looks like its picture, where it has one, and what to do where that is too little."""
    if likeness is not None:
        print(f"  likeness to the picture: {likeness:.0%}")
    if is_unlike(likeness):
        print(f"  {UNLIKE}. {ADVICE}")
