"""How much an asset looks like the picture that it was made from, as one figure.

The camera is the one from which it looks most like the picture, so what is left is what no camera explains. What is
compared is what the model made, before the picture's own colours are laid on it.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trellis.export.picture_camera import ColoredCloud, ColoredMesh, Drawable, estimate_roughly, target
from trellis.geometry.cameras import Cameras
from trellis.progress import Progress
from trellis.representations import GaussianCloud, Mesh

SIDE, CELL = 160, 8  # pixels; finer patterns blur in every model
FLAT = 1e-3  # variance of both pictures together, below which there is no pattern to compare
CELLS = 64  # along a side of the unit cube: what is smaller shows in no picture of 160 pixels


def likeness(asset: Drawable, picture: NDArray[np.uint8], camera: Cameras) -> float:
    """How much `asset`, seen by `camera`, looks like `picture` [S, S, 4] uint8: overlap^2 * (tone + pattern) / 2.

    All three are from 0 to 1, of pictures of SIDE pixels. overlap: intersection over union of the outlines. Where both
    show something, over cells of CELL pixels and after one gain for the light: tone = 1 - 2 e, where e is the root mean
    square difference of the colours in [0, 1]; pattern = 2 cov(a, b) / (var(a) + var(b)), the structure term of SSIM.
    """
    shown, wanted = asset.draw(camera, SIDE), target(picture, SIDE).to(asset.points.device)
    both = torch.minimum(shown[3], wanted[3])
    overlap = float(both.sum() / torch.maximum(shown[3], wanted[3]).sum().clamp_min(1e-6))
    solid = (both > 0.9).float()
    parts = torch.cat([shown[:3] * solid, wanted[:3] * solid, solid[None]])
    cells = torch.nn.functional.avg_pool2d(parts, CELL)
    weight = cells[6] * (cells[6] > 0.25)
    a, b = cells[:3] / cells[6].clamp_min(1e-6), cells[3:6] / cells[6].clamp_min(1e-6)
    a = a * ((a * b * weight).sum() / (a.square() * weight).sum().clamp_min(1e-6)).clamp(0.5, 2)

    def mean(values: Tensor) -> Tensor:
        return (values * weight).sum((1, 2), keepdim=True) / weight.sum().clamp_min(1e-6)

    tone = 1 - 2 * float(mean((a - b).square()).mean().sqrt())
    a, b = a - mean(a), b - mean(b)
    spread = float(mean(a.square() + b.square()).mean())
    pattern = float(mean(2 * a * b).mean()) / spread if spread > FLAT else 1.0
    return overlap**2 * (max(tone, 0.0) + max(pattern, 0.0)) / 2


def rough_likeness(
    mesh: Mesh | None, gaussians: GaussianCloud | None, picture: NDArray[np.uint8], *, progress: Progress
) -> float | None:
    """The likeness where no camera is known; None where nothing has colours."""
    asset: Drawable
    if mesh is not None and mesh.colors is not None:
        asset = ColoredMesh(thinned(mesh, CELLS))
    elif gaussians is not None:
        asset = ColoredCloud(gaussians)
    else:
        return None
    with torch.no_grad():
        return likeness(asset, picture, estimate_roughly(asset, picture, progress=progress).camera)


def thinned(mesh: Mesh, cells: int) -> Mesh:
    """`mesh` with the vertex of lowest index of each of the `cells`^3 cells of [-0.5, 0.5]^3: for small pictures."""
    place = ((mesh.vertices + 0.5) * cells).long().clamp(0, cells - 1)
    key = (place[:, 0] * cells + place[:, 1]) * cells + place[:, 2]
    _, cell = torch.unique(key, return_inverse=True)
    number = torch.arange(len(key), device=key.device)
    kept = torch.full_like(number[: int(cell.max()) + 1], len(key)).scatter_reduce(0, cell, number, "amin")
    faces = cell[mesh.faces.long()]
    whole = (faces != faces.roll(1, dims=1)).all(1)
    attributes = None if mesh.attributes is None else mesh.attributes[kept]
    return Mesh(mesh.vertices[kept], faces[whole].int(), attributes)
