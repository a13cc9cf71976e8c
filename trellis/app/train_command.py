"""`train`: one network of the family on data folders, fine-tuning of a model, or a stage of the embedded model."""

import argparse
import logging
import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trellis.app.command_parser import CommandParser
from trellis.app.output_folder import check_writable
from trellis.app.storage import storing
from trellis.errors import STARTER, InvalidInputError, TrellisError
from trellis.runtime import DEVICES, Runtime

if TYPE_CHECKING:  # the networks' libraries take seconds to import, which --help does without
    import torch

    from trellis.training.config import TrainConfig
    from trellis.training.trainer import Trainer

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
UNFINISHED = 3  # exit status
_RUN = ("load_dir", "ckpt", "precision", "tryrun", "profile")  # options that `RunOptions` has too

logger = logging.getLogger("train")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The line of the command."""
    parser = CommandParser(
        prog=f"{STARTER} train",
        description="Train a network on data of one's own, fine-tune a model, or train a stage of the embedded model.",
        usage=f"{STARTER} train --config FILE --output_dir DIR --data_dir DIR[,DIR] [OPTION...]\n"
        f"       {STARTER} train --finetune MODEL --output_dir DIR --data_dir DIR[,DIR] [OPTION...]\n"
        f"       {STARTER} train --status DIR",
    )
    add = parser.add_argument_group("What is trained").add_argument
    add("--config", type=Path, metavar="FILE", help="JSON of a run, such as those in configs/ (default: none)")
    add("--finetune", metavar="MODEL", help="both flows of a model: nano, a folder, or a repository (default: none)")
    add("--data_dir", metavar="DIR[,DIR]", help="data folders, see the command dataset; for a stage of the embedded "
        "model, where generated data is kept (default: none)")  # fmt: skip
    add("--output_dir", type=Path, metavar="DIR", help="folder of the run, or of the stages' runs (default: none)")
    add("--steps", type=int, metavar="N", help="steps of each flow with --finetune (default: by the number of objects)")
    add("--lora", type=int, metavar="RANK", help="with --finetune, train updates of this rank alone (default: none)")
    add("--status", type=Path, metavar="DIR", help="only tell how far the runs in a folder are (default: no)")
    add = parser.add_argument_group("Going on").add_argument
    add("--load_dir", type=Path, metavar="DIR", help="the run whose state is gone on from (default: --output_dir)")
    add("--ckpt", default="latest", metavar="STEP", help="latest, none to begin anew, or a step")
    add("--auto_retry", type=int, default=3, metavar="N", help="how often a run that breaks off is begun again")
    add("--tryrun", action="store_true", help="read everything and build the networks, then end")
    add("--profile", action="store_true", help="write a profile of five steps to profile.json, then end")
    add("--max-seconds", type=float, metavar="S", help="save and stop after this long, start-up included (default: "
        "never)")  # fmt: skip
    add = parser.add_argument_group("Machine").add_argument
    add(
        "--device",
        default="auto",
        metavar=f"{{{','.join(DEVICES)}}}",
        help="where it computes; cuda:1 is the second card",
    )
    add("--precision", default="auto", choices=PRECISIONS, help="of products, unless the configuration says float32; "
        "auto is bfloat16 where a GPU has it, else float16 there and float32 on the CPU")  # fmt: skip
    add("--threads", type=int, help="processor threads, where several such processes share a machine (default: all)")
    add("--num_nodes", type=int, default=1, metavar="N", help="machines that train together")
    add("--node_rank", type=int, default=0, metavar="N", help="which of them this is")
    add("--num_gpus", type=int, default=-1, metavar="N", help="processes here, a GPU each; -1: one for every GPU")
    add("--master_addr", default="localhost", metavar="HOST", help="the first machine")
    add("--master_port", type=int, default=12345, metavar="PORT", help="a free port there")
    add = parser.add_argument_group("Stages of the embedded model").add_argument
    add("--start-from", type=Path, metavar="MODEL", help="model folder of the first weights (default: none)")
    add("--make-data", metavar="PART/PARTS", help="only fill --data_dir with a share of flows' data (default: train)")
    add("--within", type=float, metavar="S", help="shorten the plan to this long, start-up included (default: as "
        "planned)")  # fmt: skip
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0: the plan is done; 3: time is up or it was stopped, run the same again; 1: an error."""
    began, line = time.monotonic(), sys.argv[1:] if arguments is None else arguments
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    options = parse_arguments(arguments)
    try:
        if options.status is not None:
            return _tell_status(options.status)
        if options.output_dir is None or (options.config is None) == (options.finetune is None):
            raise InvalidInputError(
                f"Give --config or --finetune, and --output_dir; {STARTER} train --help tells more."
            )
        values = _read_values(options.config)
        check_writable(options.output_dir)
        with storing(options.output_dir):
            return _train(options, values, line, began)
    except TrellisError as error:
        logger.error("error: %s", error)
        return 1
    except KeyboardInterrupt:
        logger.error("interrupted")
        return 130


def _tell_status(folder: Path) -> int:
    from trellis.training.log import status

    lines = status(folder)
    if not lines:
        raise InvalidInputError(f"{folder} holds no run.")
    for line in lines:
        logger.info("%s", line)
    return 0


def _read_values(config: Path | None) -> dict[str, Any]:
    from trellis.training.config import read_json

    return {} if config is None else read_json(config)


def _train(options: argparse.Namespace, values: Mapping[str, Any], line: Sequence[str], began: float) -> int:
    import torch

    from trellis.training.launch import Machines, is_one_of_several, with_retries

    if options.threads:
        torch.set_num_threads(options.threads)
    runtime, is_stage = Runtime.detect(device=options.device), "stage" in values
    if not is_stage and options.data_dir is None:
        raise InvalidInputError("Give --data_dir, a folder that the command dataset has made.")
    machines = Machines(
        options.num_nodes, options.node_rank, options.num_gpus, options.master_addr, options.master_port
    )
    alone = options.make_data or (is_stage and runtime.device.index is not None)
    count = 0 if alone else machines.processes_here(runtime.device)
    if options.start_from is not None and is_stage and not is_one_of_several():
        from trellis.training.start import adopt_model

        adopt_model(options.start_from, options.output_dir)
    if count:
        return 0 if machines.launch(line, count, retries=0 if is_stage else options.auto_retry) else UNFINISHED
    if is_stage:
        return _train_stage(options, values, runtime, began)
    from trellis.training.processes import joined
    from trellis.training.run import RunOptions, train_released

    roots, output = [Path(part) for part in options.data_dir.split(",")], options.output_dir
    begun = output / "command.txt"
    run = RunOptions(
        **{name: getattr(options, name) for name in _RUN}, **_limits(options, began), ready=_stop_on_signals
    )

    def work(attempt: int) -> bool:
        if attempt == 0:
            begun.write_text(shlex.join(["train.py", *line]) + "\n", encoding="utf-8")
        with joined(runtime.device) as (processes, device):
            here = replace(runtime, device=device)
            now = replace(run, again=begun.stat().st_mtime if attempt else None)
            if options.finetune is None:
                return train_released(values, output, roots, here, now, processes)
            from trellis.training.finetune import finetune

            wishes = {"steps": options.steps, "lora_rank": options.lora}
            return finetune(options.finetune, output, roots, here, now, processes, **wishes)

    finished = with_retries(work, options.auto_retry)
    return 0 if finished or is_one_of_several() else UNFINISHED


def _limits(options: argparse.Namespace, began: float) -> dict[str, Any]:
    limit = options.max_seconds if options.within is None else options.within
    return {"deadline": None if limit is None else began + limit, "fit": options.within is not None}


def _stop_on_signals(trainer: "Trainer") -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: trainer.stop())


def _train_stage(options: argparse.Namespace, values: Mapping[str, Any], runtime: Runtime, began: float) -> int:
    """A stage of the embedded model, on shapes that are made while it is trained."""
    import torch

    from trellis.training.config import parse_config
    from trellis.training.processes import joined
    from trellis.training.run import RunOptions, carry_out
    from trellis.training.settings import stage_settings
    from trellis.training.stages import create_stage
    from trellis.training.start import started
    from trellis.training.trainer import Trainer

    config, device = parse_config(values), runtime.device
    if options.start_from is not None:
        config = started(config)
    name = f"data {options.make_data}" if options.make_data else config.stage
    line = logging.Formatter(f"%(asctime)s {name}: %(message)s", datefmt="%H:%M:%S")
    for handler in logging.getLogger().handlers:
        handler.setFormatter(line)
    if device.type != "cpu":
        torch.set_float32_matmul_precision("high")
    if config.compile:
        # What cannot be compiled runs as it is written.
        torch._dynamo.config.suppress_errors = True
    cache = None if options.data_dir is None else Path(options.data_dir)
    if options.make_data:
        _make_data(options.make_data, config, cache, device)
        return 0
    run = RunOptions(
        **{name: getattr(options, name) for name in _RUN}, **_limits(options, began), ready=_stop_on_signals
    )
    with joined(device) as (processes, own):
        stage = create_stage(config, options.output_dir, device=own, cache=cache, processes=processes)
        settings, folder = stage_settings(config, own), options.output_dir / config.stage
        trainer = Trainer(stage, settings, folder, device=own, processes=processes)
        finished = carry_out(trainer, run)
    return 0 if finished or processes.count > 1 else UNFINISHED


def _make_data(share: str, config: "TrainConfig", cache: Path | None, device: "torch.device") -> None:
    """Fill the data folder with one share of the flows' data."""
    from trellis.training.stages.flow_data import make_source_chunks

    part, _, parts = share.partition("/")
    if config.stage not in ("structure_flow", "flows") or cache is None or not (part.isdigit() and parts.isdigit()):
        raise InvalidInputError("--make-data takes PART/PARTS such as 0/4, needs --data_dir and a stage of flows.")
    make_source_chunks(config, cache, part=int(part), parts=int(parts), device=device)
