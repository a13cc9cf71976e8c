"""How fast a configuration trains: steps and objects a second, peak memory, and the share of time spent on waiting.

    python benchmarks/training.py --config configs/generation/ss_flow_img_dit_L_16l8_fp16.json --steps 30

Data are random, in a folder of their own, with `--voxels` voxels an object; the encoder of pictures or texts is one
with random weights of the published size, unless `--encoder` names another (of pictures). Several cards: run it
under torch's launcher.
"""

import argparse
import hashlib
import io
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel

from trellis.dataset.layout import CONDITIONED, LATENT, STRUCTURE, VOXELIZED, DataFolder, write_arrays, write_voxels
from trellis.dataset.records import CAPTIONS, COUNT, KEY, build_metadata
from trellis.runtime import Runtime, peak_allocated_bytes, synchronize
from trellis.training.networks import build_image_encoder, save_network
from trellis.training.processes import Processes, joined
from trellis.training.released_config import (
    LatentArgs,
    PictureArgs,
    ReleasedConfig,
    StructureLatentArgs,
    parse_released,
)
from trellis.training.run import half_precision
from trellis.training.settings import released_settings
from trellis.training.stages.released import Surroundings, create_released
from trellis.training.trainer import Trainer

WARM_UP = 8  # steps that are not counted: kernels are chosen, memory is measured
DINO_LARGE = {
    "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "mlp_ratio": 4, "image_size": 518,
    "patch_size": 14, "num_register_tokens": 4, "num_channels": 3,
}  # fmt: skip
CLIP_LARGE = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "max_position_embeddings": 77,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="a configuration in the published form")
    parser.add_argument("--steps", type=int, default=30, help="steps that are timed")
    parser.add_argument("--objects", type=int, default=64, help="objects of random data")
    parser.add_argument("--voxels", type=int, nargs=2, default=[2000, 30000], help="fewest and most of an object")
    parser.add_argument("--batch", type=int, help="objects a step of all processes, instead of the configuration's")
    parser.add_argument("--split", type=int, help="parts of a step, instead of the configuration's")
    parser.add_argument("--recompute", action="store_true", help="all blocks compute their activations again")
    parser.add_argument("--encoder", type=Path, help="folder of a picture encoder instead of one with random weights")
    parser.add_argument("--device", default="auto", help="where it computes")
    options = parser.parse_args()
    runtime = Runtime.detect(device=options.device)
    with joined(runtime.device) as (processes, device), tempfile.TemporaryDirectory() as own:
        report = measure(options, Path(agreed(own, processes)), processes, device)
        agreed(None, processes)  # the first one's folder stays until all have ended
        if processes.leads:
            print(json.dumps(report, indent=2))


def measure(
    options: argparse.Namespace, folder: Path, processes: Processes, device: torch.device
) -> dict[str, float | str]:
    """Train on random data and return what it took."""
    values = json.loads(options.config.read_text(encoding="utf-8"))
    args, model = values["trainer"]["args"], values["models"].get("denoiser")
    args |= {"i_save": 10**9, "i_sample": 10**9, "i_log": 10**9, "prefetch_data": True}
    args |= {"batch_size": options.batch} if options.batch else {}
    args |= {"batch_split": options.split} if options.split else {}
    if options.recompute:
        args.pop("elastic", None)
        for network in values["models"].values():
            network["args"]["use_checkpoint"] = True
    encoder = options.encoder or folder / "encoder"
    if options.encoder is None and processes.leads:
        write_encoder(encoder, pictures="image_cond_model" in args)
    agreed(None, processes)
    if "image_cond_model" in args:
        args["image_cond_model"] = picture_encoder(encoder)
    elif "text_cond_model" in args:
        args["text_cond_model"] = str(encoder)
    config = parse_released(values)
    if processes.leads:
        random_data(folder / "data", config, {} if model is None else model["args"], options.objects, options.voxels)
    agreed(None, processes)
    half = half_precision("auto", config.trainer.fp16_mode, device)
    around = Surroundings(device, processes, half, Runtime(device=device, offline=True), [folder / "data"])
    stage = create_released(config, around)
    trainer = Trainer(stage, released_settings(config, device, half=half), folder, device=device, processes=processes)
    for number in range(WARM_UP + options.steps):
        if number == WARM_UP:
            synchronize(device)
            began, waited, peak = time.perf_counter(), stage.loader.waited, 0
        numbers = trainer._step()
        peak = max(peak, peak_allocated_bytes(device)) if number >= WARM_UP else 0
        trainer.position.step += 1
    synchronize(device)
    seconds = time.perf_counter() - began
    return {
        "config": options.config.stem,
        "processes": processes.count,
        "precision": str(half or torch.float32),
        "objects_a_step": stage.batch_size,
        "steps_a_second": options.steps / seconds,
        "objects_a_second": options.steps * stage.batch_size / seconds,
        "waiting_share": (stage.loader.waited - waited) / seconds,
        "peak_gib": peak / 2**30,
        "last_loss": processes.mean(numbers["loss"].detach().float()).item(),
    }


def agreed(value: Any, processes: Processes) -> Any:
    """The first process's value, when all have come here."""
    values = [value]
    if processes.count > 1:
        dist.broadcast_object_list(values)
        dist.barrier()
    return values[0]


def write_encoder(folder: Path, *, pictures: bool) -> None:
    """An encoder of pictures or texts of the published size with random weights; its tokens are single letters."""
    torch.manual_seed(0)
    if pictures:
        save_network(build_image_encoder(DINO_LARGE), folder.parent, folder.name)
        return
    letters = [*ascii_lowercase, *(f"{letter}</w>" for letter in ascii_lowercase)]
    ends = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
    tokens = {token: number for number, token in enumerate([*letters, *ends.values()])}
    numbers = {"bos_token_id": len(letters), "eos_token_id": len(letters) + 1, "pad_token_id": len(letters) + 1}
    CLIPTextModel(CLIPTextConfig(**CLIP_LARGE, **numbers, vocab_size=len(tokens))).save_pretrained(folder)
    rest = {"unk_token": ends["eos_token"], "pad_token": ends["eos_token"], "tokenizer_class": "CLIPTokenizer"}
    length = {"model_max_length": CLIP_LARGE["max_position_embeddings"]}
    (folder / "vocab.json").write_text(json.dumps(tokens))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(ends | rest | length))


def picture_encoder(folder: Path) -> dict[str, Any]:
    """A picture encoder on disk, as a configuration names it."""
    sizes = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return {"path": str(folder), "image_size": sizes["image_size"]}


def random_data(
    root: Path, config: ReleasedConfig, sizes: Mapping[str, Any], count: int, voxels: tuple[int, int]
) -> None:
    """A data folder of random objects for a configuration and its network's sizes."""
    folder, data, random = DataFolder(root), config.data, np.random.default_rng(0)
    rows: dict[str, dict[str, str]] = {}
    side, channels = sizes.get("resolution") or data.resolution, sizes.get("in_channels", 8)
    picture = io.BytesIO()
    shaded_ball(1024).save(picture, format="WEBP", lossless=True, method=2)
    for number in range(count):
        sha = hashlib.sha256(str(number).encode()).hexdigest()
        rows[sha] = {KEY: sha, CAPTIONS: '["a chair of oak with a woven seat"]'}
        if not isinstance(data, StructureLatentArgs):
            coords = sheet(side, min(int(random.integers(*voxels)), side**3 // 2), random)
            rows[sha][COUNT] = str(len(coords))
            write_voxels(folder.path(VOXELIZED, sha), coords, side)
            if isinstance(data, LatentArgs):
                feats = random.normal(size=(len(coords), channels)).astype(np.float32)
                write_arrays(folder.path(LATENT + data.latent_model, sha), feats=feats, coords=coords.astype(np.uint8))
        else:
            mean = random.normal(size=(channels, *[side] * 3)).astype(np.float32)
            write_arrays(folder.path(STRUCTURE + data.latent_model, sha), mean=mean)
        if isinstance(data, PictureArgs):
            pictures = folder.path(CONDITIONED, sha)
            pictures.mkdir(parents=True)
            (pictures / "000.webp").write_bytes(picture.getvalue())
            (pictures / "transforms.json").write_text('{"frames": [{"file_path": "000.webp"}]}', encoding="utf-8")
    statistics = {"mean": [0.0] * channels, "std": [1.0] * channels}
    for column in folder.columns():
        if column.startswith(LATENT):
            (folder.folder(column) / "stats.json").write_text(json.dumps(statistics), encoding="utf-8")
    build_metadata(folder, rows)


def sheet(side: int, count: int, random: np.random.Generator) -> np.ndarray:
    """`count` voxels [count, 3] of a grid along a winding surface (a gyroid), as dense as those of real objects.

    The more there are, the more windings: a surface touches about 1.5 voxels for each unit of its area.
    """
    period = 1.5 * 3.09 * side**3 / count
    x, y, z = np.indices((side,) * 3) * (2 * np.pi / period) + random.uniform(0, 2 * np.pi, 3)[:, None, None, None]
    height = np.sin(x) * np.cos(y) + np.sin(y) * np.cos(z) + np.sin(z) * np.cos(x)
    return np.stack(np.unravel_index(np.sort(np.abs(height).ravel().argsort()[:count]), (side,) * 3), 1)


def shaded_ball(side: int) -> Image.Image:
    """A cut-out object, about as costly to decode as a rendered one."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    height = np.sqrt(np.clip(0.7 - x**2 - y**2, 0, None))
    pixels = np.stack([0.5 + 0.5 * x, height, 0.5 + 0.5 * np.sin(40 * y), height > 0], 2)
    return Image.fromarray((pixels * 255).astype(np.uint8))


if __name__ == "__main__":
    main()
