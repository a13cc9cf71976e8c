"""Every stage of nano, small enough for seconds on one CPU core: narrow networks, coarse grids, four objects."""

import json
from pathlib import Path
from typing import Any

import torch

from trellis.models import load_model, save_model
from trellis.sparse import SparseTensor
from trellis.training.assemble import assemble
from trellis.training.config import TrainConfig, parse_config
from trellis.training.settings import stage_settings
from trellis.training.stages import create_stage
from trellis.training.trainer import Trainer

CPU = torch.device("cpu")
CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "nano"
SIDE = 8
_SHARE = 0.06  # of voxels that the structure decoder of `tiny_model` lets through
_SMALL = {"model_channels": 32, "num_blocks": 1, "num_heads": 2}
_ARGS: dict[str, dict[str, Any]] = {
    "sparse_structure_encoder": {"channels": [4, 8, 8]},
    "sparse_structure_decoder": {"channels": [8, 8, 4]},
    "slat_encoder": _SMALL | {"resolution": SIDE},
    "slat_decoder_mesh": {"num_blocks": 1, "resolution": SIDE},  # its width is a multiple of 256
    "slat_decoder_gs": _SMALL | {"resolution": SIDE},
    "slat_decoder_rf": _SMALL | {"resolution": SIDE},
    "image_encoder": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32},
    "sparse_structure_flow_model": _SMALL | {"cond_channels": 32, "resolution": SIDE // 4},
    "slat_flow_model": _SMALL | {"cond_channels": 32, "resolution": SIDE, "io_block_channels": [16]},
}


def tiny_config(stage: str, *, steps: int = 4, **changes: Any) -> TrainConfig:
    """The stage's configuration with small networks, from fresh weights; `changes` are keys of its data."""
    values = json.loads((CONFIGS / f"{stage}.json").read_text(encoding="utf-8"))
    data = {"objects": 4, "chunk": 2, "held_out_objects": 2, "refresh_every": 2, "resolution": SIDE}
    values["data"].update(data | ({"picture_size": 32, "seed": 1 << 20} if "flow" in stage else {}) | changes)
    values["optimizer"].update(steps=steps, seconds=0, warmup=1)
    values.update(batch_size=2, precision="float32", compile=False, log_every=1, evaluate_every=0, save_every=2)
    if stage == "latent_vae":
        values["options"]["mesh_objects"] = 1
    values.update(init={}, export_seconds=0)
    if stage == "flows":
        values["options"].update(latent_objects=2, sampled_objects=1, colored_objects=1)
    for role, model in values["models"].items():
        model["args"].update(_ARGS[role])
    return parse_config(values)


def tiny_trainer(config: TrainConfig, runs: Path, *, inputs: Path | None = None) -> Trainer:
    """A run in `runs`; the stages it builds on are in `inputs`, if they are elsewhere."""
    stage = create_stage(config, inputs or runs, device=CPU)
    return Trainer(stage, stage_settings(config, CPU), runs / config.stage, device=CPU)


class Interrupt:
    """A progress that stops the run after `step` steps, as a killed process would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def report(self, stage: str, step: int, total: int) -> None:
        if step == self.step:
            raise KeyboardInterrupt


def weights(run: Trainer) -> dict[str, torch.Tensor]:
    live = {f"live.{key}": value.clone() for key, value in run.stage.modules.state_dict().items()}
    return live | {f"ema.{key}": value.clone() for key, value in run.ema.state().items()}


def tiny_runs(folder: Path) -> Path:
    """All stages trained for a few steps in `folder`."""
    for stage in ("structure_vae", "latent_vae", "structure_flow", "flows"):
        assert tiny_trainer(tiny_config(stage), folder).run()
    return folder


def tiny_model(runs: Path, folder: Path) -> Path:
    """An assembled model whose decoders find voxels and a surface, as they do not after a few steps of training."""
    assemble(runs, folder)
    structure, mesh = (folder / "ckpts" / role for role in ("sparse_structure_decoder", "slat_decoder_mesh"))
    decoder, mesh_decoder = load_model(structure), load_model(mesh)
    latents = torch.randn(4, 8, *[SIDE // 4] * 3, generator=torch.Generator())
    coords = torch.cat([torch.zeros(SIDE**3, 1), torch.ones(SIDE, SIDE, SIDE).nonzero()], 1).int()
    voxels = SparseTensor.create(torch.zeros(SIDE**3, 8), coords, resolution=SIDE)
    with torch.no_grad():
        decoder.get_submodule("out_layer.2").bias -= decoder(latents).flatten().quantile(1 - _SHARE)
        mesh_decoder.get_submodule("out_layer").bias[:8] -= mesh_decoder(voxels).feats[:, :8].float().median()
    save_model(decoder, structure)
    save_model(mesh_decoder, mesh)
    return folder
