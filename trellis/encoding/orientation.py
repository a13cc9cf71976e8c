"""Faces turned so that neighbours agree and closed parts face outwards."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trellis.ops.half_edges import consistent_winding


def outward_faces(vertices: Tensor, faces: Tensor) -> Tensor:
    """The same faces [F, 3] int64, some turned over: neighbours agree across each edge that exactly two faces share.

    Vertices [V, 3] at the same place count as one. Each connected part is turned so that its volume is not negative; a
    part with a rim is measured around its centre. Rows keep their order.
    """
    points = vertices.detach().cpu().double().numpy()
    corners = faces.detach().cpu().long().numpy()
    turned, _, part = consistent_winding(_welded(vertices)[corners], len(vertices))
    corners = np.where(turned[:, None], corners[:, ::-1], corners)
    inward = _volumes(points[corners], part) < 0
    corners = np.where(inward[part][:, None], corners[:, ::-1], corners)
    return torch.from_numpy(np.ascontiguousarray(corners)).to(faces.device)


def is_closed(vertices: Tensor, faces: Tensor) -> bool:
    """Each edge is run through as often one way as the other: the surface has no rim, and no face is turned over."""
    corners = _welded(vertices)[faces.detach().cpu().long().numpy()]
    start, end = corners.reshape(-1), np.roll(corners, -1, 1).reshape(-1)
    edge = np.minimum(start, end) * (int(corners.max(initial=0)) + 1) + np.maximum(start, end)
    _, number = np.unique(edge, return_inverse=True)
    return not np.bincount(number.reshape(-1), np.sign(end - start)).any()


def _welded(vertices: Tensor) -> NDArray[np.int64]:
    """A number [V] for each vertex, the same for those at the same place."""
    points = vertices.detach().cpu().double().numpy() + 0.0  # -0 becomes 0
    return np.unique(points, axis=0, return_inverse=True)[1].reshape(-1)


def _volumes(corners: NDArray[np.float64], part: NDArray[np.int64]) -> NDArray[np.float64]:
    """Signed volume of each part around its centre; what may be rounding, as of flat parts, counts as 0."""
    count = int(part.max()) + 1 if len(part) else 0
    sizes = np.bincount(part, minlength=count)
    middle = corners.mean(1)
    centre = np.stack([np.bincount(part, middle[:, axis], count) for axis in range(3)], 1) / sizes[:, None]
    a, b, c = (corners - centre[part][:, None]).transpose(1, 0, 2)
    pieces = np.einsum("ij,ij->i", a, np.cross(b, c)) / 6
    reach = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1) * np.linalg.norm(c, axis=1)
    total, scale = np.bincount(part, pieces, count), np.bincount(part, reach, count)
    return np.where(np.abs(total) > 1e-9 * scale, total, 0.0)
