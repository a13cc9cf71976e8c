"""Train one stage of a model: `python train.py --config configs/nano/structure_vae.json --output_dir runs`."""

import argparse
import logging
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from trellis.app.command_parser import STARTER, CommandParser
from trellis.errors import InvalidInputError, TrellisError
from trellis.runtime import DEVICES, Runtime

if TYPE_CHECKING:  # the networks' libraries take seconds to import, which --help does without
    import torch

    from trellis.training.config import TrainConfig

logger = logging.getLogger("train")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = CommandParser(
        prog=f"{STARTER} train", description="Train one stage of a model.", usage=f"{STARTER} train [OPTION...]"
    )
    parser.add_argument("--config", type=Path, required=True, help="JSON of the stage, such as configs/nano/flows.json")
    parser.add_argument(
        "--output_dir", type=Path, required=True, help="folder of all stages; this one gets its own inside"
    )
    parser.add_argument("--data_dir", type=Path, help="folder that keeps generated data between runs (default: none)")
    parser.add_argument("--resume", action="store_true", help="continue from the stage's checkpoint if there is one")
    parser.add_argument(
        "--start-from", type=Path, metavar="MODEL", help="model folder of the first weights (default: none)"
    )
    parser.add_argument(
        "--make-data", metavar="PART/PARTS", help="only fill --data_dir with a share of flows' data (default: train)"
    )
    parser.add_argument(
        "--max-seconds", type=float, help="save and stop after this long, start-up included (default: never)"
    )
    parser.add_argument(
        "--within", type=float, help="shorten the plan to this long, start-up included (default: as planned)"
    )
    parser.add_argument(
        "--threads", type=int, help="processor threads, where several such processes share a machine (default: all)"
    )
    parser.add_argument("--device", default="auto", help=f"one of {', '.join(DEVICES)}")
    return parser.parse_args(arguments)


def make_data(options: argparse.Namespace, config: "TrainConfig", device: "torch.device") -> None:
    """Fill the data folder with one share of the flows' data."""
    from trellis.training.stages.flow_data import make_source_chunks

    part, _, parts = options.make_data.partition("/")
    if (
        config.stage not in ("structure_flow", "flows")
        or options.data_dir is None
        or not (part.isdigit() and parts.isdigit())
    ):
        raise InvalidInputError("--make-data takes PART/PARTS such as 0/4, needs --data_dir and a stage of flows.")
    make_source_chunks(config, options.data_dir, part=int(part), parts=int(parts), device=device)


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0: the plan is done; 3: time is up, run again with --resume; 1: an error."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl+C before there is anything to keep leaves no traceback
    began = time.monotonic()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    options = parse_arguments(arguments)

    import torch

    from trellis.training.config import read_config
    from trellis.training.stages import create_stage
    from trellis.training.start import adopt_model, started
    from trellis.training.trainer import Trainer

    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        config = read_config(options.config)
        if options.start_from is not None:
            adopt_model(options.start_from, options.output_dir)
            config = started(config)
        name = f"data {options.make_data}" if options.make_data else config.stage
        line = logging.Formatter(f"%(asctime)s {name}: %(message)s", datefmt="%H:%M:%S")
        for handler in logging.getLogger().handlers:
            handler.setFormatter(line)
        device = Runtime.detect(device=options.device).device
        if device.type != "cpu":
            torch.set_float32_matmul_precision("high")
        if device.index is not None:
            torch.get_device_module(device).set_device(device)  # where kernels of our own are launched
        if config.compile:
            # What cannot be compiled runs as it is written.
            torch._dynamo.config.suppress_errors = True
        if options.make_data:
            make_data(options, config, device)
            return 0
        stage = create_stage(config, options.output_dir, device=device, cache=options.data_dir)
        trainer = Trainer(stage, config, options.output_dir / config.stage, device=device)
        if options.resume and trainer.has_checkpoint:
            trainer.resume()
        logger.info("on %s: %s", device, trainer.summary())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: trainer.stop())
        limit = options.max_seconds if options.within is None else options.within
        deadline = None if limit is None else began + limit
        finished = trainer.run(deadline=deadline, fit=options.within is not None)
    except TrellisError as error:
        logger.error("%s", error)
        return 1
    return 0 if finished else 3


if __name__ == "__main__":
    sys.exit(main())
