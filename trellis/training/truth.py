"""The true shape behind a picture, for metrics: even surface points, and pictures of surface colour without light."""

import torch
from torch import Tensor

from trellis.geometry.cameras import Cameras
from trellis.training.metrics import SAMPLES
from trellis.training.procedural import ObjectBatch
from trellis.training.procedural.pictures import pixel_rays, trace

_BAND = 0.004  # half thickness of the layer that points are drawn from, world units
_OVERSAMPLING = 12  # candidates for each point; about one in eight lies in the layer


def surface_points(objects: ObjectBatch, dense: Tensor, *, seed: int, count: int = SAMPLES) -> list[Tensor]:
    """About area-uniform points [count, 3] on each object: even points of a thin layer, moved onto the surface.

    dense [B, R, R, R] is the occupancy, which holds the layer. Fewer points come back for an object whose layer is
    hit too rarely.
    """
    resolution, results = dense.shape[-1], []
    generator = torch.Generator().manual_seed(seed)
    for index in range(len(objects)):
        one = objects.select([index])
        cells = dense[index].nonzero()
        pick = torch.randint(len(cells), (count * _OVERSAMPLING,), generator=generator).to(dense.device)
        jitter = torch.rand(count * _OVERSAMPLING, 3, generator=generator).to(dense.device)
        points = (cells[pick] + jitter) / resolution - 0.5
        inside = one.sdf(points[None], corrected=True)[0].abs() < _BAND
        results.append(one.project(points[inside][:count][None], steps=2)[0])
    return results


def albedo_pictures(objects: ObjectBatch, cameras: Cameras, *, size: int) -> tuple[Tensor, Tensor]:
    """Unlit surface colours [B, 3, size, size] on black and silhouettes [B, size, size], one camera an object."""
    eyes, rays = pixel_rays(cameras.to(objects.device), size)
    origins = eyes[:, None].expand_as(rays).contiguous()
    t, hit = trace(objects, origins, rays)
    color = objects.color(origins + t[..., None] * rays) * hit[..., None]
    return color.transpose(1, 2).reshape(-1, 3, size, size), hit.reshape(-1, size, size).float()


def opposite(cameras: Cameras) -> Cameras:
    """The cameras turned half a round about the world's z axis."""
    turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0])).to(cameras.extrinsics)
    return Cameras(cameras.extrinsics @ turn, cameras.intrinsics)
