"""PLY files: Gaussian clouds for splat viewers, and plain meshes."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trellis.atomic import write_bytes
from trellis.export.ply_file import ply_bytes
from trellis.geometry.axes import VIEWER_QUATERNION, to_viewer_frame
from trellis.geometry.rotations import quaternion_multiply
from trellis.representations import GaussianCloud, Mesh

GAUSSIAN_FIELDS = (
    *("x", "y", "z", "nx", "ny", "nz"),
    *("f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)
# Opacities nearer to 0 or 1 have no finite logit in float32.
OPACITY_MARGIN = 1e-7


def write_gaussian_ply(gaussians: GaussianCloud, path: str | Path) -> Path:
    """Write a Gaussian cloud as the PLY that splat viewers expect and return its path."""
    return write_bytes(path, gaussian_ply_bytes(gaussians))


def gaussian_ply_bytes(gaussians: GaussianCloud) -> bytes:
    """The PLY file of a cloud: little-endian float32 columns GAUSSIAN_FIELDS, turned to the viewers' y-down frame.

    Opacity is stored as logit, scale as logarithm (source: docs/developer/model-facts.md, section 17).
    """
    columns = np.ascontiguousarray(gaussian_columns(gaussians).numpy())
    return ply_bytes({"vertex": columns.view([(name, np.float32) for name in GAUSSIAN_FIELDS]).reshape(-1)})


def gaussian_columns(gaussians: GaussianCloud) -> Tensor:
    """The columns [n, 17] of GAUSSIAN_FIELDS, float32 on the CPU."""
    cloud = to_viewer_cloud(gaussians)
    return torch.cat(
        [
            cloud.positions,
            torch.zeros_like(cloud.positions),
            cloud.features_dc,
            torch.logit(cloud.opacities.double(), eps=OPACITY_MARGIN).float(),
            cloud.scales.log(),
            cloud.rotations,
        ],
        dim=1,
    )


def to_viewer_cloud(gaussians: GaussianCloud) -> GaussianCloud:
    """The cloud, float32 on the CPU with unit rotations, turned to the y-down frame of splat viewers."""
    positions, features, scales, rotations, opacities = (
        getattr(gaussians, name).detach().float().cpu()
        for name in ("positions", "features_dc", "scales", "rotations", "opacities")
    )
    rotations = torch.nn.functional.normalize(rotations, dim=-1)
    turn = torch.tensor(VIEWER_QUATERNION).expand_as(rotations)
    turned = quaternion_multiply(turn, rotations)
    return GaussianCloud(to_viewer_frame(positions), features, scales, turned, opacities, gaussians.filter_2d)


def write_mesh_ply(mesh: Mesh, path: str | Path) -> Path:
    """Write a mesh, with vertex colours if it has some, as a binary PLY in the world frame (z-up); return its path."""
    layout: list[tuple[str, type]] = [(name, np.float32) for name in ("x", "y", "z")]
    if mesh.colors is not None:
        layout += [(name, np.uint8) for name in ("red", "green", "blue")]
    faces = np.empty(len(mesh.faces), dtype=[("vertex_indices", np.int32, (3,))])
    faces["vertex_indices"] = mesh.faces.cpu().numpy()
    return write_bytes(path, ply_bytes({"vertex": _vertex_records(mesh, layout), "face": faces}))


def _vertex_records(mesh: Mesh, layout: list[tuple[str, type]]) -> NDArray:
    records = np.empty(len(mesh.vertices), dtype=layout)
    positions = mesh.vertices.detach().float().cpu().numpy()
    for axis, name in enumerate(("x", "y", "z")):
        records[name] = positions[:, axis]
    if mesh.colors is not None:
        colors = (mesh.colors.detach().float().clamp(0, 1) * 255).round().cpu().numpy()
        for channel, name in enumerate(("red", "green", "blue")):
            records[name] = colors[:, channel]
    return records
