"""A data folder in the published layout with a few made-up objects, and configurations of tiny networks for it."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from trellis.dataset.latent_statistics import write_statistics
from trellis.dataset.layout import CONDITIONED, LATENT, STRUCTURE, VOXELIZED, DataFolder, write_arrays, write_voxels
from trellis.dataset.records import CAPTIONS, COUNT, KEY, SCORE, build_metadata
from trellis.models import PipelineConfig, SamplerConfig, create_model, initialize_for_training, save_model
from trellis.training.networks import build_image_encoder, save_network

SIDE, LATENT_SIDE, CHANNELS, WIDTH, PICTURE = 8, 2, 8, 32, 32
STRUCTURE_MODEL, LATENT_MODEL = "tiny_ss", "tiny_slat"
_TRANSFORMER = {"model_channels": 32, "num_blocks": 2, "num_heads": 2, "mlp_ratio": 2, "qk_rms_norm": True}
_FLOW = {**_TRANSFORMER, "in_channels": CHANNELS, "out_channels": CHANNELS, "cond_channels": WIDTH}
_STRUCTURE_FLOW = {**_FLOW, "resolution": LATENT_SIDE, "patch_size": 1}
_LATENT_FLOW = {**_FLOW, "resolution": SIDE, "patch_size": 2, "num_io_res_blocks": 2, "io_block_channels": [16]}
STRUCTURE_FLOW, LATENT_FLOW = "sparse_structure_flow_model", "slat_flow_model"
_GAUSSIANS = {
    "lr": {"_xyz": 1.0, "_features_dc": 1.0, "_opacity": 1.0, "_scaling": 1.0, "_rotation": 0.1},
    "perturb_offset": True, "voxel_size": 1.5, "num_gaussians": 2, "2d_filter_kernel_size": 0.1,
    "3d_filter_kernel_size": 0.0009, "scaling_bias": 0.004, "opacity_bias": 0.1, "scaling_activation": "softplus",
}  # fmt: skip
EYES = ((0.0, 2.0, 0.5), (-1.0, -1.6, 0.7), (0.0, -0.1, 2.0))  # of the pictures: behind, before, above


def camera_at(eye: Sequence[float]) -> list[list[float]]:
    """A transform_matrix of transforms.json with its camera in a place; it looks nowhere in particular."""
    matrix = np.eye(4)
    matrix[:3, 3] = eye
    return matrix.tolist()


def make_data(
    root: Path, numbers: Sequence[int], *, latent: str = LATENT_MODEL, structure: str = STRUCTURE_MODEL
) -> Path:
    """Objects of different sizes with all that any training needs, as their numbers say; the last one has no score.

    latent, structure: names of the encoders that their latents are said to be of.
    """
    folder, rows = DataFolder(root), {}
    for number in numbers:
        sha = hashlib.sha256(str(number).encode()).hexdigest()
        random = np.random.default_rng(number)
        coords = np.argwhere(random.random((SIDE,) * 3) < 0.05 + 0.04 * (number % 7))
        write_voxels(folder.path(VOXELIZED, sha), coords, SIDE)
        feats = random.normal(1.0, 2.0, (len(coords), CHANNELS)).astype(np.float32)
        write_arrays(folder.path(LATENT + latent, sha), feats=feats, coords=coords.astype(np.uint8))
        mean = random.normal(size=(CHANNELS, *[LATENT_SIDE] * 3)).astype(np.float32)
        write_arrays(folder.path(STRUCTURE + structure, sha), mean=mean)
        pictures = folder.path(CONDITIONED, sha)
        pictures.mkdir(parents=True)
        for view in range(3):
            pixels = np.zeros((64, 64, 4), np.uint8)
            pixels[10 + view : 50, 20:40] = [*random.integers(0, 255, 3), 255]
            Image.fromarray(pixels).save(pictures / f"{view:03d}.png")
        frames = [{"file_path": f"{view:03d}.png", "transform_matrix": camera_at(eye)} for view, eye in enumerate(EYES)]
        (pictures / "transforms.json").write_text(json.dumps({"frames": frames}))
        score = "" if number == numbers[-1] else str(3 + number)
        rows[sha] = {KEY: sha, SCORE: score, CAPTIONS: '["a thing"]', COUNT: str(len(coords))}
    write_statistics(folder, LATENT + latent)
    build_metadata(folder, rows)
    return root


def make_encoder(folder: Path) -> dict[str, Any]:
    """A tiny image encoder on disk, as a configuration names it."""
    args = {
        "hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2, "mlp_ratio": 2, "image_size": PICTURE,
        "patch_size": 8, "num_register_tokens": 1, "num_channels": 3, "layerscale_value": 1.0,
    }  # fmt: skip
    save_network(build_image_encoder(args), folder, "image_encoder")
    return {"path": str(folder / "image_encoder"), "image_size": PICTURE}


def make_model(folder: Path) -> Path:
    """A model with fresh weights whose flows and latents are of the sizes of `make_data`."""
    voxels = {**_TRANSFORMER, "qk_rms_norm": False, "resolution": SIDE, "latent_channels": CHANNELS}
    vae = {"latent_channels": CHANNELS, "num_res_blocks": 1, "num_res_blocks_middle": 1}
    networks: dict[str, tuple[str, dict[str, Any]]] = {
        f"ckpts/{STRUCTURE_FLOW}": ("SparseStructureFlowModel", _STRUCTURE_FLOW),
        f"ckpts/{LATENT_FLOW}": ("SLatFlowModel", _LATENT_FLOW),
        "ckpts/sparse_structure_decoder": ("SparseStructureDecoder", {**vae, "out_channels": 1, "channels": [8, 8, 4]}),
        "ckpts/slat_decoder_gs": ("SLatGaussianDecoder", {**voxels, "representation_config": _GAUSSIANS}),
        "encoders/sparse_structure_encoder": (
            "SparseStructureEncoder", {**vae, "in_channels": 1, "channels": [4, 8, 8]},
        ),
        "encoders/slat_encoder": ("SLatEncoder", {**voxels, "in_channels": 91}),
    }  # fmt: skip
    torch.manual_seed(0)
    for name, (kind, args) in networks.items():
        network = create_model(kind, args)
        initialize_for_training(network)
        for parameter in network.parameters():  # heads of zeros would keep gradients from what lies below them
            torch.nn.init.normal_(parameter, std=0.1)
        save_model(network, folder / name)
    make_encoder(folder)
    sampler = SamplerConfig(steps=2, cfg_strength=2.0, cfg_interval=(0.0, 1.0), rescale_t=1.0)
    PipelineConfig(
        models={Path(name).name: name for name in networks if name.startswith("ckpts")},
        structure_sampler=sampler,
        latent_sampler=sampler,
        latent_statistics=((1.0,) * CHANNELS, (2.0,) * CHANNELS),
        image_cond_model={"path": "image_encoder", "image_size": PICTURE},
    ).write(folder / "pipeline.json")
    return folder


def structure_flow(encoder: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A configuration of a structure flow; `changes` are arguments of its trainer."""
    network = {"name": "SparseStructureFlowModel", "args": {**_STRUCTURE_FLOW}}
    data = {"latent_model": STRUCTURE_MODEL, "image_size": PICTURE, "min_aesthetic_score": 0}
    trainer = {"image_cond_model": encoder, **_trainer(), **changes}
    return {
        "models": {"denoiser": network},
        "dataset": {"name": "ImageConditionedSparseStructureLatent", "args": data},
        "trainer": {"name": "ImageConditionedFlowMatchingCFGTrainer", "args": trainer},
    }


def latent_flow(encoder: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A configuration of a latent flow; `changes` are arguments of its trainer."""
    data = {"latent_model": LATENT_MODEL, "image_size": PICTURE, "min_aesthetic_score": 0}
    trainer = {"image_cond_model": encoder, **_trainer(), **changes}
    return {
        "models": {"denoiser": {"name": "ElasticSLatFlowModel", "args": {**_LATENT_FLOW}}},
        "dataset": {"name": "ImageConditionedSLat", "args": data},
        "trainer": {"name": "ImageConditionedSparseFlowMatchingCFGTrainer", "args": trainer},
    }


def structure_vae(**changes: Any) -> dict[str, Any]:
    """A configuration of a structure VAE; `changes` are arguments of its trainer."""
    sizes = {"latent_channels": CHANNELS, "num_res_blocks": 1, "num_res_blocks_middle": 1}
    encoder = {"in_channels": 1, "channels": [4, 8, 8], **sizes}
    decoder = {"out_channels": 1, "channels": [8, 8, 4], **sizes}
    return {
        "models": {
            "encoder": {"name": "SparseStructureEncoder", "args": encoder},
            "decoder": {"name": "SparseStructureDecoder", "args": decoder},
        },
        "dataset": {"name": "SparseStructure", "args": {"resolution": SIDE, "min_aesthetic_score": 0}},
        "trainer": {"name": "SparseStructureVaeTrainer", "args": {**_trainer(), **changes}},
    }


def _trainer() -> dict[str, Any]:
    return {"max_steps": 4, "batch_size": 4, "i_log": 1, "i_save": 2, "fp16_mode": None, "ema_rate": [0.9, 0.99],
            "optimizer": {"name": "AdamW", "args": {"lr": 1e-3, "weight_decay": 0.0}}}  # fmt: skip
