"""The commands that start from what is there: variant, edit, view, retexture, encode, decode."""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from trellis.app.command_options import add_options, check_start, request_from
from trellis.app.job_sources import check_start as check_sources
from trellis.app.job_sources import is_steered
from trellis.app.machine_options import MachineOptions, add_machine_options, open_pipeline
from trellis.app.output_folder import check_writable
from trellis.app.request import (
    EditRequest,
    EncodeRequest,
    JobRequest,
    RetextureRequest,
    SetupOptions,
    VariantRequest,
)
from trellis.app.terminal import ProgressBars, peak_memory_line, print_summary
from trellis.atomic import write_bytes, written_aside
from trellis.encoding.options import MESH_FORMATS, MeshOptions
from trellis.errors import STARTER, InvalidInputError
from trellis.families.family import PICTURES, TEXT

if TYPE_CHECKING:
    from trellis.opening import EditingPipeline

STORED = ".safetensors"  # the ending of a stored asset
MESH_OR_ASSET = f"a mesh file, or an asset that encode or --store has kept ({STORED})"


def add_edit_commands(commands: Any) -> None:
    """Add the parsers of the commands to those of the program."""
    for operation, meaning in (
        (VariantRequest, "the same shape with the surface and the colours of a picture or a text"),
        (EditRequest, "make parts of an object anew, or remove them; the rest stays"),
    ):
        add = _add_command(commands, operation, "SOURCE", MESH_OR_ASSET, meaning)
        add("--store", action="store_true", help=f"keep the asset itself too, as NAME{STORED}")
        if operation is EditRequest:
            add("--view", type=Path, metavar="FILE", help="what `view` wrote beside the picture (default: none)")
    _add_command(
        commands, RetextureRequest, "MESH", "a mesh file", "the same mesh file with the colours of a picture or a text"
    )
    view = commands.add_parser(
        "view", help="a picture of an object to paint over, for edit", usage=f"{STARTER} view SOURCE [OPTION...]"
    )
    view.add_argument("source", type=Path, metavar="SOURCE", help=MESH_OR_ASSET)
    add = view.add_argument_group("Picture").add_argument
    add("--output", type=Path, default=Path("view.png"), metavar="FILE",
        help="PNG file; what edit needs to know of it is beside it, as .json")  # fmt: skip
    add("--yaw", type=float, default=0.0, metavar="DEGREES", help="from the front, to the object's left (default: 0)")
    add("--pitch", type=float, default=20.0, metavar="DEGREES", help="from above; -90 to 90 (default: 20)")
    add("--size", type=int, default=1024, metavar="PIXELS", help="64 to 1024 (default: 1024)")
    add_options(view, MeshOptions, without=[])
    add_machine_options(view)
    view.set_defaults(run=run_view)
    encode = commands.add_parser(
        "encode", help="a mesh file as an asset of the model", usage=f"{STARTER} encode MESH [OPTION...]"
    )
    _add_input(encode, "MESH", "a mesh file")
    add_options(encode, MeshOptions, without=[])
    add_machine_options(encode)
    encode.set_defaults(run=run_encode)
    decode = commands.add_parser("decode", help="files of a stored asset", usage=f"{STARTER} decode FILE [OPTION...]")
    _add_input(decode, "FILE", f"an asset that encode or --store has kept ({STORED})")
    add_options(decode, EncodeRequest, without=[SetupOptions, MeshOptions])
    add_machine_options(decode)
    decode.set_defaults(run=run_decode, operation=EncodeRequest)


def _add_command(commands: Any, operation: type[JobRequest], metavar: str, source: str, meaning: str) -> Any:
    name = operation.model_fields["operation"].default
    made_of = "--picture FILE|--prompt TEXT"
    if operation is EditRequest:
        made_of = f"--box X,Y,Z,X,Y,Z {made_of}|--remove"
    usage = f"{STARTER} {name} {metavar} {made_of} [OPTION...]"
    parser = commands.add_parser(name, help=meaning, usage=usage)
    add = _add_input(parser, metavar, source)
    add("--picture", dest="pictures", type=Path, action="append", default=[], metavar="FILE",
        help="what it is made of; repeated, pictures of one object (default: none)")  # fmt: skip
    add("--prompt", metavar="TEXT", help="a text in place of pictures; needs a text model, --model (default: none)")
    add_options(parser, operation, without=[SetupOptions])
    add_machine_options(parser)
    parser.set_defaults(run=run_operation, operation=operation, store=False, view=None)
    return add


def _add_input(parser: argparse.ArgumentParser, metavar: str, meaning: str) -> Any:
    add = parser.add_argument_group("Input and results").add_argument
    parser.add_argument("source", type=Path, metavar=metavar, help=meaning)
    add("--output", type=Path, default=Path("out"), metavar="DIR", help="folder of the results")
    return add


def run_operation(parsed: argparse.Namespace) -> int:
    """Carry a variant, an edit or a new texture out and print a summary."""
    request = request_from(parsed)
    if parsed.view is not None:
        request = type(request)(**request.stated | {"view": _read_view(parsed.view)})
    stored = _is_stored(parsed.source)
    if stored and isinstance(request, RetextureRequest):
        raise InvalidInputError(f"{parsed.source} is no mesh file: `decode` makes one of it.")
    check_sources(request, source=stored, mesh=not stored)
    source = _condition(parsed, request)
    if isinstance(request, EditRequest) and request.view is not None and isinstance(source, list):
        from trellis.conditioning.pictures import check_frame, load_picture

        check_frame(load_picture(source[0])[0].size, request.view.size)
    check_start(parsed, None if source is None else TEXT if isinstance(source, str) else PICTURES)
    return _carried_out(parsed, request, source or (), store=parsed.store)


def run_decode(parsed: argparse.Namespace) -> int:
    """Write files of a stored asset."""
    if not _is_stored(parsed.source):
        raise InvalidInputError(f"{parsed.source} is no stored asset ({STORED}): `encode` makes one of a mesh file.")
    request = request_from(parsed)
    check_start(parsed, None)
    return _carried_out(parsed, request, ())


def run_encode(parsed: argparse.Namespace) -> int:
    """Encode a mesh file and store the asset."""
    options = MeshOptions(**{name: getattr(parsed, name) for name in MeshOptions.options() if hasattr(parsed, name)})
    if _is_stored(parsed.source):
        raise InvalidInputError(f"{parsed.source} is an asset already: `decode` makes files of it.")
    check_start(parsed, None)
    pipeline = cast("EditingPipeline", _opened(parsed))
    if "encode" not in pipeline.operations:
        raise InvalidInputError(f"{pipeline.name} cannot encode: choose another model.")
    with ProgressBars() as progress:
        asset = pipeline.load_mesh(parsed.source, picture=None, progress=progress, **options.to_dict())
    parsed.output.mkdir(parents=True, exist_ok=True)
    path = asset.store(parsed.output / f"{parsed.source.stem}{STORED}")
    print(f"  {path}  {path.stat().st_size / 1e6:.2f} MB, {len(asset.coords):,} voxels")
    for note in asset.notes:
        print(f"  note: {note}")
    return 0


def run_view(parsed: argparse.Namespace) -> int:
    """Write a picture of an object and its frame."""
    if parsed.output.suffix.lower() != ".png":
        raise InvalidInputError(f"The picture is written as PNG: give a name that ends in .png, not {parsed.output}.")
    options = MeshOptions(**{name: getattr(parsed, name) for name in MeshOptions.options() if hasattr(parsed, name)})
    stored = _is_stored(parsed.source)
    check_writable(parsed.output.parent)
    from trellis.editing.view import view_picture  # the networks' libraries take seconds to import

    pipeline = cast("EditingPipeline", _opened(parsed))
    with ProgressBars() as progress:
        if stored:
            asset = pipeline.load_asset(parsed.source)
        else:
            asset = pipeline.load_mesh(parsed.source, picture=None, progress=progress, **options.to_dict())
        asset = pipeline.represented(asset, ("gaussians",), progress=progress)
    picture, view = view_picture(asset, yaw=parsed.yaw, pitch=parsed.pitch, size=parsed.size)
    frame = parsed.output.with_suffix(".json")
    write_bytes(frame, json.dumps(view.to_dict()).encode())
    with written_aside(parsed.output) as aside:
        picture.save(aside, format="PNG")
    print(f"  {parsed.output}\n  {frame}")
    return 0


def _carried_out(
    parsed: argparse.Namespace, request: JobRequest, source: Sequence[Path] | str, *, store: bool = False
) -> int:
    from trellis.app.generation import generate_files  # the networks' libraries take seconds to import

    started, stored = time.perf_counter(), _is_stored(parsed.source)
    # Beside the source, and never over it.
    name = (
        parsed.source.stem + ("_decoded" if stored else "")
        if request.operation == "encode"
        else f"{parsed.source.stem}_{request.operation}"
    )
    pipeline = _opened(parsed)
    with ProgressBars() as progress:
        outcome = generate_files(
            pipeline,
            source,
            request=request,
            folder=parsed.output,
            name=name,
            store=parsed.output / f"{name}{STORED}" if store else None,
            asset=parsed.source if stored else None,
            mesh=None if stored else parsed.source,
            progress=progress,
        )
    print_summary(name, outcome, seconds=time.perf_counter() - started, operation=request.operation)
    print(peak_memory_line(pipeline.runtime))
    return 0


def _opened(parsed: argparse.Namespace) -> Any:
    with ProgressBars() as progress:  # of a model that has to be fetched
        return open_pipeline(**asdict(MachineOptions.from_arguments(parsed)), progress=progress)


def _is_stored(path: Path) -> bool:
    """Whether a source is a stored asset, else a mesh file; raises InvalidInputError where it is neither."""
    if not path.is_file():
        found = "is a folder: give a mesh file in it" if path.is_dir() else "is not there: give a mesh file"
        raise InvalidInputError(f"{path} {found}, or a stored asset ({STORED}).")
    if path.suffix.lower() not in (STORED, *MESH_FORMATS):
        known = ", ".join(MESH_FORMATS)
        raise InvalidInputError(f"{path} is no mesh file, which end in {known}, and no stored asset ({STORED}).")
    return path.suffix.lower() == STORED


def _condition(parsed: argparse.Namespace, request: JobRequest) -> Sequence[Path] | str | None:
    """Pictures or text of a command, None for what needs none; raises InvalidInputError where they do not fit."""
    given = len(parsed.pictures) + (parsed.prompt is not None)
    if not is_steered(request):
        if given:
            raise InvalidInputError("--remove takes neither --picture nor --prompt.")
        return None
    if given == 0 or (parsed.prompt is not None and parsed.pictures):
        what = ["--picture", "--prompt", *(["--remove"] if isinstance(request, EditRequest) else [])]
        raise InvalidInputError(f"Give {', '.join(what[:-1])} or {what[-1]}: one of them.")
    for path in parsed.pictures:
        if path.is_dir():
            raise InvalidInputError(f"{path} is a folder: give one picture in it; --picture can be repeated.")
        if not path.is_file():
            raise InvalidInputError(f"There is no picture file {path}.")
    return list(parsed.pictures) if parsed.prompt is None else str(parsed.prompt)


def _read_view(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{path} cannot be read as a view: {error}.", field="view") from error
