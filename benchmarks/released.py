"""Networks of the released shapes with random weights, and an object of the published size for them to work on."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trellis.conditioning import ImageEncoder
from trellis.conditioning.dinov2 import Dinov2, Dinov2Config, LayerScale
from trellis.conditions import ENCODER_ROLE, PictureReader
from trellis.memory import MemoryPlan, ModelHost
from trellis.models import Network, PipelineConfig, SamplerConfig, create_model
from trellis.nn.norm import HeadRMSNorm, LayerNorm, SegmentGroupNorm
from trellis.pipeline import ImageTo3D
from trellis.runtime import Runtime

MANIFEST = Path(__file__).resolve().parent.parent / "tests" / "parity" / "data" / "manifest.json"
NETWORKS = {
    "sparse_structure_flow_model": "ss_flow_img_dit_L_16l8_fp16",
    "sparse_structure_decoder": "ss_dec_conv3d_16l8_fp16",
    "slat_flow_model": "slat_flow_img_dit_L_64l8p2_fp16",
    "slat_decoder_gs": "slat_dec_gs_swin8_B_64l8gs32_fp16",
    "slat_decoder_rf": "slat_dec_rf_swin8_B_64l8r16_fp16",
    "slat_decoder_mesh": "slat_dec_mesh_swin8_B_64l8m256c_fp16",
    "sparse_structure_encoder": "ss_enc_conv3d_16l8_fp16",
}
VOXELS = 20_232  # of the object that the published figures were measured with
TOKENS = 1374  # of DINOv2 with registers on 518 pixels
SAMPLER = SamplerConfig(steps=25, cfg_strength=5.0, cfg_interval=(0.5, 1.0), rescale_t=3.0)
# Smaller networks of the same kinds, to try the benchmark itself without a GPU.
TINY: Mapping[str, Any] = {
    "sparse_structure_flow_model": {"model_channels": 64, "num_blocks": 2, "num_heads": 2, "cond_channels": 32},
    "sparse_structure_decoder": {"channels": [32, 16, 8], "num_res_blocks": 1},
    "slat_flow_model": {
        "model_channels": 64, "num_blocks": 2, "num_heads": 2, "cond_channels": 32, "io_block_channels": [32],
    },
    "slat_decoder_gs": {"model_channels": 64, "num_blocks": 2, "num_heads": 2},
    "slat_decoder_rf": {"model_channels": 64, "num_blocks": 2, "num_heads": 2},
    "slat_decoder_mesh": {"model_channels": 256, "num_blocks": 1, "num_heads": 4},
    "sparse_structure_encoder": {"channels": [8, 16, 32], "num_res_blocks": 1},
}  # fmt: skip
ENCODER_SIZES = {"released": (1024, 24, 16), "tiny": (32, 1, 2)}  # width, layers, heads
SCALES = tuple(ENCODER_SIZES)


@dataclass(frozen=True)
class Scene:
    """An object on the latent grid: voxels int32 [N, 4], tokens [1, L, C], and the fine grid's corner distances.

    distances [64 N, 8]: of the corners of the fine voxels (in the order of `subdivide` twice) from the surface.
    """

    voxels: Tensor
    condition: Tensor
    distances: Tensor


def random_network(
    role: str, *, scale: str, dtype: torch.dtype, device: torch.device, runtime: Runtime | None = None
) -> Network[Any]:
    """A released network (or its tiny sibling) with the same random weights at every call, its torso in `dtype`.

    They are drawn on `device`, which is fast on a GPU, and end on the CPU, as those of a file.
    """
    entry = json.loads(MANIFEST.read_text(encoding="utf-8"))[NETWORKS[role]]
    with torch.device("meta"):
        model = create_model(entry["class"], entry["args"] | (TINY[role] if scale == "tiny" else {}))
    model.set_precision(dtype)
    if runtime is not None:
        model.set_attention(runtime.attention)
        model.set_sparse_conv(runtime.sparse_conv, algorithm=runtime.spconv_algo)
    model.to_empty(device=device)
    model.load_state_dict(_buffers(entry, scale, role), strict=False)
    fill(model, torch.Generator(device).manual_seed(list(NETWORKS).index(role)))
    return model.eval().to("cpu")


def _buffers(entry: Mapping[str, Any], scale: str, role: str) -> dict[str, Tensor]:
    """Position tables and the like, which are not weights: computed, not drawn."""
    changes = {"num_blocks": 1} if "num_blocks" in entry["args"] else {}
    model = create_model(entry["class"], entry["args"] | (TINY[role] if scale == "tiny" else {}) | changes)
    return dict(model.named_buffers())


@torch.no_grad()
def fill(module: nn.Module, generator: torch.Generator) -> None:
    """Weights of variance 1 / inputs, gains 1, offsets 0: activations stay of order one through all blocks."""
    norms = (LayerNorm, HeadRMSNorm, SegmentGroupNorm, nn.LayerNorm, LayerScale)
    gains = {id(p) for m in module.modules() if isinstance(m, norms) for n, p in m.named_parameters() if n != "bias"}
    for name, parameter in module.named_parameters():
        if id(parameter) in gains:
            parameter.fill_(1)
        elif name.endswith("bias") or parameter.ndim < 2:
            parameter.zero_()
        else:
            inputs = parameter[0].numel()
            values = torch.randn(parameter.shape, generator=generator, device=parameter.device)
            parameter.copy_(values * inputs**-0.5)


def random_encoder(scale: str, *, device: torch.device) -> ImageEncoder:
    """DINOv2 with registers of the released (or a tiny) shape."""
    config = Dinov2Config(*ENCODER_SIZES[scale], image_size=518, num_register_tokens=4)
    with torch.device(device):
        encoder = ImageEncoder(Dinov2(config).eval())
    fill(encoder, torch.Generator(device).manual_seed(0))
    return encoder.to("cpu")


def random_pipeline(
    runtime: Runtime,
    *,
    scale: str,
    plan: MemoryPlan | None = None,
    steps: int | None = None,
    kind: type[ImageTo3D] = ImageTo3D,
) -> ImageTo3D:
    """The image pipeline of random networks, drawn on the device and given as if read from files."""
    sampler = SAMPLER if steps is None else replace(SAMPLER, steps=steps)
    config = PipelineConfig(
        models={role: role for role in NETWORKS},
        structure_sampler=sampler,
        latent_sampler=sampler,
        latent_statistics=((0.0,) * 8, (1.0,) * 8),
        image_cond_model="dinov2_vitl14_reg",
    )
    loaders: dict[str, Any] = {
        role: partial(
            random_network,
            role,
            scale=scale,
            dtype=runtime.dtype,
            device=runtime.device,
            runtime=runtime,
        )
        for role in NETWORKS
    }
    loaders[ENCODER_ROLE] = partial(random_encoder, scale, device=runtime.device)
    host = ModelHost(loaders, device=runtime.device, plan=plan)
    reader = PictureReader("dinov2_vitl14_reg", Path(), runtime)
    return kind("random weights", config, reader=reader, host=host, runtime=runtime)


def signed_distance(points: Tensor) -> Tensor:
    """Roughly the distance [...] of points [..., 3] of the unit cube from a bumpy ball with a bar through it."""
    x, y, z = points.unbind(-1)
    ball = points.norm(dim=-1) - 0.33 + 0.03 * torch.sin(14 * x) * torch.sin(11 * y + 1) * torch.cos(9 * z)
    inside = torch.stack([x.abs() - 0.47, y.abs() - 0.09, z.abs() - 0.09], -1)
    bar = inside.clamp(min=0).norm(dim=-1) + inside.amax(-1).clamp(max=0)
    return torch.minimum(ball, bar)


def corner_distances(fine: Tensor) -> Tensor:
    """Distances [n, 8] from the scene's surface of the corners of voxels int [n, 3] of a 256^3 grid."""
    side = torch.arange(8, device=fine.device)
    corner = torch.stack([side % 2, side // 2 % 2, side // 4], -1)
    # Four surfaces, one inside the other: about as many faces as the published measurement reports.
    return (signed_distance((fine[:, None] + corner) / 256 - 0.5).abs() - 0.008).abs() - 0.004


def make_scene(*, scale: str, device: torch.device) -> Scene:
    """The voxels nearest to the surface: as many as in the published measurement (tiny: 300 of a 64^3 grid)."""
    count, tokens, width = (VOXELS, TOKENS, 1024) if scale == "released" else (300, 5, 32)
    side = torch.arange(64)
    grid = torch.stack(torch.meshgrid(side, side, side, indexing="ij"), -1).reshape(-1, 3)
    nearest = signed_distance((grid + 0.5) / 64 - 0.5).abs().argsort(stable=True)[:count].sort().values
    coords = grid[nearest]
    condition = torch.randn(1, tokens, width, generator=torch.Generator().manual_seed(0))
    child = torch.stack([side[:8] // 4, side[:8] // 2 % 2, side[:8] % 2], -1)
    fine = (2 * (2 * coords[:, None] + child)[:, :, None] + child).reshape(-1, 3)
    distances = corner_distances(fine)
    voxels = torch.cat([torch.zeros(count, 1, dtype=torch.int64), coords], 1).int()
    return Scene(voxels.to(device), condition.to(device), distances.to(device))
