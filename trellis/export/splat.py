"""`.splat` files: Gaussians in 32 bytes each, most visible first, as web viewers stream them."""

from pathlib import Path

import numpy as np
import torch

from trellis.atomic import write_bytes
from trellis.export.ply import to_viewer_cloud
from trellis.representations import GaussianCloud

# Unsigned bytes hold a colour as 0..255 and a quaternion's number q as 128 q + 128.
RECORD = np.dtype([("position", "<f4", (3,)), ("scale", "<f4", (3,)), ("rgba", "u1", (4,)), ("rotation", "u1", (4,))])


def write_splat(gaussians: GaussianCloud, path: str | Path) -> Path:
    """Write a cloud as a .splat file in the viewers' y-down frame and return its path."""
    return write_bytes(path, splat_bytes(gaussians))


def splat_bytes(gaussians: GaussianCloud) -> bytes:
    """The .splat file of a cloud. Places and sizes are exact; colours, opacity and rotation have 8 bits a number."""
    cloud = to_viewer_cloud(gaussians)
    visible = (cloud.scales.double().prod(dim=1) * cloud.opacities[:, 0].double()).numpy()
    order = np.argsort(-visible, kind="stable")
    records = np.zeros(len(order), dtype=RECORD)
    records["position"] = cloud.positions.numpy()[order]
    records["scale"] = cloud.scales.numpy()[order]
    rgba = torch.cat([cloud.colors, cloud.opacities], dim=1).clamp(0, 1)
    records["rgba"] = (rgba * 255).round().byte().numpy()[order]
    records["rotation"] = (cloud.rotations * 128 + 128).round().clamp(0, 255).byte().numpy()[order]
    return records.tobytes()
