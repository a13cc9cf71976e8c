"""A tiny Hunyuan3D-2 shape model with random weights, written in the published layout."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn

from trellis.conditioning.shape_encoder import ShapeEncoder
from trellis.conditioning.shape_picture import EncoderSizes
from trellis.families.hunyuan_config import CONFIG_FILE
from trellis.models.vecset_decoder import VecsetDecoder
from trellis.models.vecset_files import DECODER, ENCODER, FLOW
from trellis.models.vecset_flow import VecsetFlow
from trellis.models.vecset_sizes import WEIGHTS_FILE, DecoderSizes, FlowSizes

FLOW_PARAMS = {
    "in_channels": 8, "context_in_dim": 48, "hidden_size": 64, "num_heads": 2, "depth": 1, "depth_single_blocks": 1,
    "mlp_ratio": 4.0, "qkv_bias": True, "guidance_embed": True,
}  # fmt: skip
DECODER_PARAMS = {
    "num_latents": 24, "embed_dim": 8, "width": 64, "heads": 4, "num_decoder_layers": 1, "num_freqs": 8,
    "include_pi": False, "qkv_bias": False, "qk_norm": True, "scale_factor": 0.75,
}  # fmt: skip
TURBO_PARAMS = {"geo_decoder_downsample_ratio": 2, "geo_decoder_mlp_expand_ratio": 1, "geo_decoder_ln_post": False}
DINO = {"hidden_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4, "mlp_ratio": 4, "image_size": 42}
UNUSED = {"vae.encoder.input_proj.weight": torch.zeros(2, 2), "vae.pre_kl.weight": torch.zeros(2, 2)}


def description(*, kind: str = "turbo", several: bool = False) -> dict[str, Any]:
    """The content of a `config.yaml`: "plain", "fast" or "turbo", of one picture or of several sides."""
    consistency = kind == "turbo"
    scheduler = "ConsistencyFlowMatchEulerDiscreteScheduler" if consistency else "FlowMatchEulerDiscreteScheduler"
    encoder = {"type": "DinoImageEncoderMV" if several else "DinoImageEncoder"}
    dino = DINO | {"patch_size": 14, "use_swiglu_ffn": True, "layer_norm_eps": 1e-6}
    return {
        "model": {"target": "a.Hunyuan3DDiT", "params": FLOW_PARAMS | {"guidance_embed": kind != "plain"}},
        "vae": {"target": "a.ShapeVAE", "params": DECODER_PARAMS},
        "conditioner": {
            "target": "a.SingleImageEncoder",
            "params": {"main_image_encoder": encoder | {"kwargs": {"config": dino, "image_size": 42}}},
        },
        "scheduler": {
            "target": f"a.{scheduler}",
            "params": {"num_train_timesteps": 1000} | ({"pcm_timesteps": 100} if consistency else {}),
        },
        "image_processor": {"target": "a.ImageProcessorV2", "params": {"size": 512, "border_ratio": 0.15}},
    }


def sizes_of(kind: type[Any], params: Mapping[str, Any]) -> Any:
    return kind(**{name: params[name] for name in kind.__dataclass_fields__ if name in params})


def networks(content: Mapping[str, Any], *, seed: int = 0) -> dict[str, nn.Module]:
    """The networks of a description with random weights, by the prefix of their keys."""
    torch.manual_seed(seed)
    made = {
        FLOW: VecsetFlow(sizes_of(FlowSizes, content["model"]["params"])),
        DECODER: ball_decoder(content["vae"]["params"]),
        ENCODER: ShapeEncoder(sizes_of(EncoderSizes, DINO)),
    }
    return {prefix: model.eval().requires_grad_(False) for prefix, model in made.items()}


def ball_decoder(params: Mapping[str, Any], *, seed: int = 0) -> VecsetDecoder:
    """A decoder whose surface is about a ball's: its last layer reads the cosines of a point."""
    torch.manual_seed(seed)
    decoder = VecsetDecoder(sizes_of(DecoderSizes, params)).eval().requires_grad_(False)
    points = decoder.geo_decoder
    for layer in (points.cross_attn_decoder.attn.c_proj, points.cross_attn_decoder.mlp.c_proj):
        layer.weight.mul_(0.05)
    points.query_proj.weight.zero_()
    points.query_proj.bias.zero_()
    points.query_proj.bias[6], points.query_proj.bias[7] = 5.0, -5.0  # what a last norm mostly sees
    for axis in range(3):
        cosine = 3 + 3 * 8 + axis * 8  # of the coordinate itself
        points.query_proj.weight[axis, cosine], points.query_proj.weight[3 + axis, cosine] = 1.0, -1.0
    points.output_proj.weight.zero_()
    points.output_proj.weight[0, :3], points.output_proj.weight[0, 3:6] = 4.0, -4.0
    points.output_proj.bias.fill_(-8 * 2.6)
    return decoder


def write_model(folder: Path, content: Mapping[str, Any], made: Mapping[str, nn.Module]) -> Path:
    """Write both files of a model; returns the folder."""
    tensors = dict(UNUSED)
    for prefix, model in made.items():
        weights = model.backbone.state_dict() if prefix == ENCODER else model.state_dict()
        tensors |= {prefix + key: value for key, value in weights.items()}
    return write_files(folder, content, tensors)


def write_turbo_decoder(folder: Path) -> Path:
    """Write a turbo decoder as it is published, alone and without a prefix."""
    params = DECODER_PARAMS | TURBO_PARAMS
    return write_files(folder, {"target": "a.ShapeVAE", "params": params}, ball_decoder(params).state_dict())


def write_files(folder: Path, content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(yaml.safe_dump(dict(content)), encoding="utf-8")
    save_file({key: value.half().contiguous() for key, value in tensors.items()}, folder / WEIGHTS_FILE)
    return folder
