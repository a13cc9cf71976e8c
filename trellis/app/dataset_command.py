"""`dataset`: a folder of mesh files as training data, its check, and the published steps one by one."""

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trellis.app.cluster.options import ClusterOptions, add_cluster_options
from trellis.app.command_parser import CommandParser
from trellis.app.machine_options import MachineOptions, add_machine_options, open_pipeline
from trellis.app.output_folder import check_writable
from trellis.app.storage import storing
from trellis.app.terminal import ProgressBars
from trellis.errors import STARTER, InvalidInputError, TrellisError
from trellis.runtime import share_of_job

if TYPE_CHECKING:
    from trellis.dataset.prepare import Count
    from trellis.dataset.records import Row

SUBSETS = ("ObjaverseXL", "ABO", "3D-FUTURE", "HSSD", "Toys4k", "Local")
SOME_FAILED = 3  # exit status, as of `batch`
TOLD_EVERY = 10.0  # seconds
MOST_THREADS = 8
SHOWN = 20  # faults that the check tells one by one
VIEWS = {"render": 150, "render_cond": 24}  # published numbers of pictures an object, by step
WHOLE = "dataset"  # the step that makes everything that flows are trained on


def add_dataset_command(commands: Any) -> None:
    """Add the parser of the command to those of the program."""
    parser = commands.add_parser(
        "dataset",
        help="a folder of mesh files as training data; goes on where it was",
        usage=f"{STARTER} dataset FOLDER --output_dir DIR [OPTION...]\n       {STARTER} dataset --check DIR",
    )
    parser.add_argument("source", nargs="?", type=Path, metavar="FOLDER", help="the mesh files, also in folders in it")
    add = parser.add_argument_group("Data").add_argument
    add("--check", type=Path, metavar="DIR", help="only tell whether a data folder can be trained on (default: no)")
    add("--captions", type=Path, metavar="CSV", help="a table of file_identifier (or sha256) and captions, a JSON list "
        "each (default: none)")  # fmt: skip
    _add_picture_options(parser, VIEWS["render_cond"])
    add_step_options(parser, output_required=False)
    add_machine_options(parser)
    add_cluster_options(parser)
    parser.set_defaults(run=run_dataset)


def _add_picture_options(parser: argparse.ArgumentParser, views: int) -> None:
    add = parser.add_argument_group("Pictures").add_argument
    add("--num_views", type=int, default=views, metavar="N", help="pictures an object")
    add("--blender", metavar="PROGRAM", help="Blender, or a Python with its module bpy, draws them (default: this "
        "program's own renderer)")  # fmt: skip


def add_step_options(parser: argparse.ArgumentParser, *, output_required: bool) -> None:
    """Add the options that all steps have."""
    add = parser.add_argument_group("Work").add_argument
    add("--output_dir", type=Path, required=output_required, metavar="DIR", help="the data folder (default: none)")
    add("--rank", type=int, metavar="N", help="which share of the objects is done here, from 0 (default: that of "
        "torchrun or Slurm, else 0)")  # fmt: skip
    add("--world_size", type=int, metavar="N", help="shares in all (default: those of torchrun or Slurm, else 1)")
    add("--max_workers", type=int, default=min(os.cpu_count() or 1, MOST_THREADS), metavar="N",
        help="processor threads, for computing and for writing pictures (default: one a core, at most 8)")  # fmt: skip
    add("--instances", metavar="LIST", help="only these objects: sha256 with commas between, or a file of one a line "
        "(default: all)")  # fmt: skip
    add("--filter_low_aesthetic_score", type=float, metavar="X", help="leave out objects below this score; those "
        "without any pass (default: none)")  # fmt: skip
    add("--retry", action="store_true", help="try again what failed before")


def run_dataset(parsed: argparse.Namespace) -> int:
    """Prepare a folder, or check one; 0, 1 where the check finds faults, SOME_FAILED where objects failed."""
    if parsed.check is not None:
        if parsed.source is not None:
            raise InvalidInputError("--check works on a data folder alone: leave FOLDER out.")
        return run_check(parsed.check)
    cluster = ClusterOptions.from_arguments(parsed)
    if parsed.source is None or parsed.output_dir is None:
        raise InvalidInputError(f"Give the folder of the mesh files: {STARTER} dataset FOLDER --output_dir DIR")
    if cluster is not None:
        if parsed.rank is not None or parsed.world_size is not None:
            raise InvalidInputError("A cluster makes the ranks itself: leave rank and world_size out.")
        from trellis.app.cluster.shares import run_shares

        print(f"{len(run_shares(cluster, partial(_run_rank, parsed), device=parsed.device)):,} ranks have ended.")
    from trellis.dataset.layout import CONDITIONED, LATENT, STRUCTURE, VOXELIZED

    given = _local_rows(parsed.source, parsed.output_dir, parsed.captions)
    return _carried_out(parsed, WHOLE, (VOXELIZED, LATENT, STRUCTURE, CONDITIONED), given)


def _run_rank(parsed: argparse.Namespace, rank: int, count: int) -> int:
    return run_dataset(argparse.Namespace(**vars(parsed) | {"rank": rank, "world_size": count, "cluster": None}))


def _local_rows(source: Path, output: Path, captions: Path | None) -> dict[str, "Row"]:
    """The rows of the mesh files in a folder, with captions by file or sha."""
    from trellis.dataset.layout import DataFolder
    from trellis.dataset.local import local_rows, read_captions
    from trellis.dataset.records import CAPTIONS, NAME

    known = {} if captions is None else read_captions(captions)
    rows, notes = local_rows(source, DataFolder(output))
    for sha, row in rows.items():
        row[CAPTIONS] = known.get(sha, known.get(row[NAME], row[CAPTIONS]))
    print(f"{len(rows):,} objects in {source}.")
    for note in notes:
        print(f"  note: {note}")
    return rows


def _carried_out(parsed: argparse.Namespace, name: str, columns: tuple[str, ...], given: dict[str, "Row"]) -> int:
    """Carry a step out on what metadata.csv and `given` name, and bring the tables up to date."""
    import torch

    from trellis.dataset.blender import Blender
    from trellis.dataset.latent_statistics import write_statistics
    from trellis.dataset.layout import LATENT, DataFolder
    from trellis.dataset.prepare import ModelStep, Share, carry_out, encoding_model, settle
    from trellis.dataset.records import build_metadata

    views, threads, program = getattr(parsed, "num_views", 1), parsed.max_workers, getattr(parsed, "blender", None)
    if views < 1 or threads < 1:
        raise InvalidInputError(f"num_views and max_workers must be at least 1, not {views} and {threads}.")
    share = Share(*share_of_job(parsed.rank, parsed.world_size))
    check_writable(parsed.output_dir)
    blender = None if program is None else Blender.find(program)
    folder = DataFolder(parsed.output_dir)
    with ProgressBars() as progress:  # of a model that has to be fetched
        pipeline = open_pipeline(**asdict(MachineOptions.from_arguments(parsed)), progress=progress)
    torch.set_num_threads(min(threads, torch.get_num_threads()))  # ranks on one machine share its cores
    model = encoding_model(pipeline)
    step = ModelStep(name, columns, folder=folder, model=model, views=views, threads=threads, blender=blender)
    with storing(parsed.output_dir):
        rows = _chosen(parsed, build_metadata(folder, given, merge=False))
        count = carry_out(step, rows, folder, share=share, retry=parsed.retry, tell=_teller())
        if share.count == 1:
            settle(step, folder)
            for column in step.columns:
                if name == WHOLE and column.startswith(LATENT):
                    write_statistics(folder, column)
            build_metadata(folder, {})
    print(f"{count.there:,} objects are there, {count.failed:,} failed; {count.seconds:.0f} s.")
    if count.failed:
        print(f"  The reasons are in {parsed.output_dir}/failed_{name}_*.csv; --retry tries them again.")
    if share.count > 1:
        print("  When all ranks have ended, run the same without them once: it brings the tables together.")
    return SOME_FAILED if count.failed else 0


def _chosen(parsed: argparse.Namespace, rows: dict[str, "Row"]) -> dict[str, "Row"]:
    """The rows that have a file, are among the instances asked for, and have no low score."""
    from trellis.dataset.records import PLACE, SCORE

    rows = {sha: row for sha, row in rows.items() if row.get(PLACE)}
    if parsed.instances:
        place = Path(parsed.instances)
        words = place.read_text().split() if place.is_file() else parsed.instances.split(",")
        rows = {sha: rows[sha] for sha in words if sha in rows}
    least = parsed.filter_low_aesthetic_score
    if least is not None:
        unknown = sum(not row.get(SCORE) for row in rows.values())
        try:
            rows = {sha: row for sha, row in rows.items() if not row.get(SCORE) or float(row[SCORE]) >= least}
        except ValueError as error:
            raise InvalidInputError(f"metadata.csv has an {SCORE} that is no number: {error}.") from error
        if unknown:
            print(f"  note: {unknown:,} objects have no aesthetic_score; they are taken.")
    return rows


def _teller() -> Callable[["Count"], None]:
    """What prints how far the work is, with the time left, every ten seconds."""
    told = time.monotonic() - TOLD_EVERY + 1

    def tell(count: "Count") -> None:
        nonlocal told
        if time.monotonic() - told < TOLD_EVERY and count.left:
            return
        told, pace = time.monotonic(), count.made / max(count.seconds, 1e-9)
        hours, seconds = divmod(int(count.left / pace), 3600)
        left = f"{hours} h {seconds // 60} min" if hours else f"{seconds // 60} min {seconds % 60} s"
        total = count.there + count.failed + count.left
        print(
            f"  {total - count.left:,} of {total:,} objects, {count.failed:,} failed, {60 * pace:.1f} a minute, "
            f"{left} left",
            flush=True,
        )

    return tell


def run_check(root: Path) -> int:
    """Print what of a data folder cannot be trained on, and what can; 1 where there is a fault."""
    from trellis.dataset.check import check_folder

    report = check_folder(root)
    for line in report.counts:
        print(line)
    for fault in report.faults[:SHOWN]:
        print(f"fault: {fault}", file=sys.stderr)
    if len(report.faults) > SHOWN:
        print(f"... and {len(report.faults) - SHOWN:,} more", file=sys.stderr)
    print("Trainers can read this folder." if not report.faults else f"{len(report.faults):,} faults.")
    return 1 if report.faults else 0


def run_step(name: str) -> int:
    """Run one published step with the arguments of this process, and return its exit status."""
    parser = CommandParser(prog=f"dataset_toolkits/{name}.py", description=f"The step {name} of a data folder.")
    parser.add_argument("subset", choices=SUBSETS, metavar="SUBSET", help=f"one of {', '.join(SUBSETS)}")
    add_step_options(parser, output_required=True)
    if name == "build_metadata":
        parser.add_argument("--source", type=Path, metavar="FOLDER", help="mesh files of Local (default: DIR/raw)")
        parser.add_argument("--captions", type=Path, metavar="CSV", help="as of `dataset` (default: none)")
    elif name == "stat_latent":
        parser.add_argument("--num_samples", type=int, default=50_000, metavar="N", help="objects that are counted")
    elif name in VIEWS:
        _add_picture_options(parser, VIEWS[name])
    add_machine_options(parser)
    parsed = parser.parse_args()
    try:
        with storing(parsed.output_dir):
            return _one_step(name, parsed)
    except TrellisError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _one_step(name: str, parsed: argparse.Namespace) -> int:
    from trellis.dataset.latent_statistics import write_statistics
    from trellis.dataset.layout import CONDITIONED, FEATURE, LATENT, RENDERED, STRUCTURE, VOXELIZED, DataFolder
    from trellis.dataset.records import build_metadata

    folder = DataFolder(parsed.output_dir)
    if name == "build_metadata":
        source = parsed.source or folder.root / "raw"
        given = _local_rows(source, folder.root, parsed.captions) if parsed.subset == "Local" else {}
        print(f"{len(build_metadata(folder, given)):,} objects are in the metadata.")
        return 0
    if name == "stat_latent":
        for column in folder.columns():
            if column.startswith(LATENT):
                print(f"{column}: {write_statistics(folder, column, samples=parsed.num_samples):,} objects")
        return 0
    columns = {
        "voxelize": VOXELIZED,
        "extract_feature": FEATURE,
        "encode_latent": LATENT,
        "encode_ss_latent": STRUCTURE,
        "render_cond": CONDITIONED,
        "render": RENDERED,
    }
    return _carried_out(parsed, name, (columns[name],), {})
