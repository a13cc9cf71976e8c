"""Make a pipeline in the published format out of the finished stages.

`python -m trellis.training.assemble --runs runs --output assets/models/trellis-nano`
"""

import argparse
import json
import logging
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from trellis.errors import CheckpointError
from trellis.models import PipelineConfig, create_model, load_model, save_model
from trellis.training.config import STAGES, config_values, parse_config, read_config
from trellis.training.data import training_families
from trellis.training.few_steps import LATENTS, STRUCTURES
from trellis.training.program import program
from trellis.training.stages.flows import read_normalization
from trellis.training.start import (
    NORMALIZATION_FILE,
    SETTINGS_FILE,
    START_FOLDER,
    adopted_settings,
    finished,
)
from trellis.training.trainer import CONFIG_FILE, write_json

DECODERS = {
    "sparse_structure_decoder": "structure_vae",
    "slat_decoder_mesh": "latent_vae",
    "slat_decoder_gs": "latent_vae",
    "slat_decoder_rf": "latent_vae",
    "sparse_structure_flow_model": "flows",
    "slat_flow_model": "flows",
}
ENCODERS = {"sparse_structure_encoder": "structure_vae", "slat_encoder": "latent_vae"}
IMAGE_ENCODER = "image_encoder"
FILE_LIMIT = 16 * 10**6
TOTAL_LIMIT = 48 * 10**6

logger = logging.getLogger(__name__)


def assemble(runs: Path, output: Path) -> dict[str, int]:
    """Write `output` (built aside, then renamed) from the stages in `runs`; returns the size in bytes of every file.

    What no stage has trained comes from the model that training started from, if there is one.
    Weights are the averages, torsos float16. Encoders go into `output/encoders`. Raises CheckpointError for a stage
    that is missing or files over the limits.
    """
    _check_latents(runs)
    aside = output.with_name(output.name + ".part")
    shutil.rmtree(aside, ignore_errors=True)
    for folder, roles in (("ckpts", DECODERS), ("encoders", ENCODERS)):
        (aside / folder).mkdir(parents=True)
        for role, stage in roles.items():
            _convert(finished(runs, stage, role), aside / folder / role)
    source = finished(runs, "flows", IMAGE_ENCODER)
    if not (source / "config.json").is_file():
        raise CheckpointError(f"{source} is missing: train the stage flows first.")
    shutil.copytree(source, aside / IMAGE_ENCODER)
    image_size = json.loads((source / "config.json").read_text(encoding="utf-8"))["image_size"]
    pipeline = _pipeline(runs, int(image_size))
    pipeline.write(aside / "pipeline.json")
    write_json(aside / SETTINGS_FILE, _settings(runs))
    sizes = {str(path.relative_to(aside)): path.stat().st_size for path in sorted(aside.rglob("*")) if path.is_file()}
    _check_sizes(sizes)
    _replace(aside, output)
    return sizes


def _convert(source: Path, target: Path) -> None:
    """Rewrite one network with a float16 torso."""
    stem = source.with_suffix(".json")
    if not stem.is_file():
        raise CheckpointError(f"{source} is missing: train that stage first.")
    description = json.loads(stem.read_text(encoding="utf-8"))
    network = create_model(description["name"], {**description["args"], "use_fp16": True})
    network.load_state_dict(load_model(source).state_dict())
    save_model(network, target)


def _pipeline(runs: Path, image_size: int) -> PipelineConfig:
    learned = parse_config(_settings(runs)["flows"]).options.get("learned_strength", 0.0)
    mean, std = read_normalization(finished(runs, "latent_vae", NORMALIZATION_FILE).parent)
    return PipelineConfig(
        models={role: f"ckpts/{role}" for role in DECODERS},
        structure_sampler=replace(STRUCTURES, learned_strength=learned),
        latent_sampler=LATENTS,
        latent_statistics=(tuple(mean.tolist()), tuple(std.tolist())),
        image_cond_model={"path": IMAGE_ENCODER, "image_size": image_size},
        texture_source="mesh",
    )


def _settings(runs: Path) -> dict[str, Any]:
    """The configuration of every stage, as it was trained last, with all families that it saw by name."""
    own = {}
    for stage in STAGES:
        path = runs / stage / CONFIG_FILE
        if path.is_file():
            config = read_config(path)
            data = replace(config.data, families=tuple(training_families(config.data)))
            own[stage] = config_values(replace(config, data=data))
    return adopted_settings(runs) | own


def _check_latents(runs: Path) -> None:
    """Raise CheckpointError where a flow of the adopted model would meet latents that have changed since."""
    flow, encoder = finished(runs, "flows", "slat_flow_model"), finished(runs, "latent_vae", "slat_encoder")
    if flow.parent.name == START_FOLDER != encoder.parent.name:
        raise CheckpointError(f"{runs / 'flows'} is missing: the latents have changed, so train the stage flows.")


def _check_sizes(sizes: dict[str, int]) -> None:
    large = {name: size for name, size in sizes.items() if size >= FILE_LIMIT}
    if large:
        raise CheckpointError(f"These files exceed {FILE_LIMIT} bytes: {large}.")
    needed = sum(size for name, size in sizes.items() if not name.startswith("encoders"))
    if needed > TOTAL_LIMIT:
        raise CheckpointError(f"The model takes {needed} bytes without encoders; at most {TOTAL_LIMIT} are allowed.")


def _replace(aside: Path, output: Path) -> None:
    old = output.with_name(output.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if output.exists():
        output.replace(old)
    aside.replace(output)
    shutil.rmtree(old, ignore_errors=True)


@program
def main(arguments: list[str] | None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="folder with the stages' folders")
    parser.add_argument("--output", type=Path, required=True, help="model folder to write")
    options = parser.parse_args(arguments)
    sizes = assemble(options.runs, options.output)
    for name, size in sizes.items():
        logger.info("%10d  %s", size, name)
    logger.info("%10d  in all", sum(sizes.values()))


if __name__ == "__main__":
    sys.exit(main())
