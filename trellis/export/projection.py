"""Colours of surface points from rendered views of the Gaussians, with exact occlusion, as one weighted mean."""

import math
from dataclasses import dataclass

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.export.bake import Texels
from trellis.geometry.cameras import Cameras, uniform_cameras
from trellis.progress import Progress
from trellis.rendering.gaussians import render_gaussians
from trellis.rendering.mesh import project_vertices, rasterize_mesh
from trellis.representations import GaussianCloud, Mesh

STAGE = "texture"
MIN_COSINE = 0.2  # flatter views smear the colour over more than five times the area
MIN_ALPHA = 0.5  # thinner coverage is mostly background
# The fallback colour counts like a view seen at the least cosine: it decides only where no view does.
FALLBACK_WEIGHT = 1e-3
VIEWS_AT_ONCE = 4  # share the work that does not depend on the camera; a wish to stop waits for so many


@dataclass(frozen=True)
class ViewOptions:
    """Views of the Gaussians: count and side in pixels, None for what suits the device; sharpness: power of the cosine.

    A higher `sharpness` leans on the views that look straight at a point: less blur, more noise.
    """

    count: int | None = None
    size: int | None = None
    sharpness: float = 2.0

    def __post_init__(self) -> None:
        if self.count is not None and not 4 <= self.count <= 1000:
            raise InvalidInputError(f"The number of views must be 4..1000, not {self.count}.")
        if self.size is not None and not 64 <= self.size <= 4096:
            raise InvalidInputError(f"The size of a view must be 64..4096 pixels, not {self.size}.")
        if not 0 <= self.sharpness <= 16:
            raise InvalidInputError(f"The sharpness must be 0..16, not {self.sharpness}.")

    def resolved(self, device: torch.device) -> tuple[int, int]:
        """Count and side of the views on `device`: the CPU gets fewer and smaller ones, for seconds, not minutes."""
        count, size = (24, 512) if device.type == "cpu" else (100, 1024)
        return self.count or count, self.size or size


def gaussian_colors(
    texels: Texels,
    gaussians: GaussianCloud,
    mesh: Mesh,
    *,
    options: ViewOptions,
    fallback: Tensor | None,
    progress: Progress,
) -> Tensor:
    """Colours [n, 3] in [0, 1] of `texels` on the surface of `mesh`, seen in views all around.

    A view counts where it sees the point: the depth of `mesh` agrees with the point's own in the whole neighbourhood of
    the pixel, so that silhouettes do not bleed; weight = alpha * cosine^sharpness. fallback [n, 3] colours points that
    no view sees; without it those take the colour of the nearest seen point.
    Reports each view as a step and can be cancelled there.
    """
    count, size = options.resolved(texels.points.device)
    cameras = uniform_cameras(count).to(texels.points.device)
    total = torch.zeros(len(texels), 3, device=texels.points.device)
    weights = torch.zeros(len(texels), device=texels.points.device)
    with torch.no_grad():
        pictures: Tensor | None = None
        for view in progress.steps(STAGE, count):
            if view % VIEWS_AT_ONCE == 0:
                pictures = _pictures(gaussians, cameras[view : view + VIEWS_AT_ONCE], size)
            assert pictures is not None
            camera, picture = cameras[view : view + 1], pictures[view % VIEWS_AT_ONCE]
            seen, colors, weight = _seen_colors(texels, picture, mesh=mesh, camera=camera, sharpness=options.sharpness)
            total.index_add_(0, seen, colors * weight[:, None])
            weights.index_add_(0, seen, weight)
        if fallback is not None:
            total += FALLBACK_WEIGHT * fallback
            weights += FALLBACK_WEIGHT
            return (total / weights[:, None]).clamp(0, 1)
        return _with_nearest_seen(texels, total, weights)


def _pictures(gaussians: GaussianCloud, cameras: Cameras, size: int) -> Tensor:
    """Colour over black and coverage [V, 4, size, size]."""
    images = render_gaussians(gaussians, cameras, size=size, background="black")
    return torch.cat([images.color.clamp(0, 1), images.alpha[:, None]], dim=1)


def _seen_colors(
    texels: Texels, picture: Tensor, *, mesh: Mesh, camera: Cameras, sharpness: float
) -> tuple[Tensor, Tensor, Tensor]:
    """What one camera sees in `picture` [4, S, S]: numbers of the texels [m], their colours [m, 3] and weights [m]."""
    size = picture.shape[-1]
    towards = torch.nn.functional.normalize(camera.positions - texels.points, dim=1)
    cosine = (texels.normals * towards).sum(1)
    facing = (cosine > MIN_COSINE).nonzero().squeeze(1)
    projected = project_vertices(texels.points[facing], camera.extrinsics[0], camera.intrinsics[0], size)
    pixel = projected[:, :2].floor().long()
    framed = ((pixel >= 0) & (pixel < size)).all(1)
    facing, projected, pixel = facing[framed], projected[framed], pixel[framed]
    nearest, farthest = _depth_range(rasterize_mesh(mesh, camera, size=size).depth)
    at = pixel[:, 1] * size + pixel[:, 0]
    depth = projected[:, 2]
    # How much depth a plane of this slope spans within the neighbourhood of the pixel.
    slope = (1 / cosine[facing].square() - 1).clamp_min(0).sqrt()
    pixel_side = 2 * math.tan(float(camera.fov[0]) / 2) * depth / size
    allowed = 2 * pixel_side * (1 + slope)
    seen = ((depth - nearest[at]) < allowed) & ((farthest[at] - depth) < allowed)
    facing, projected = facing[seen], projected[seen]
    grid = (projected[:, :2] / size * 2 - 1)[None, None]
    values = torch.nn.functional.grid_sample(picture[None], grid, align_corners=False)[0, :, 0].T
    alpha = values[:, 3]
    weight = torch.where(alpha > MIN_ALPHA, cosine[facing].pow(sharpness) * alpha, 0)
    return facing, values[:, :3] / alpha.clamp_min(MIN_ALPHA)[:, None], weight


def _depth_range(depth: Tensor) -> tuple[Tensor, Tensor]:
    """Least and greatest depth [H * W] in the 3 x 3 neighbourhood of each pixel; the background counts as very far."""
    far = torch.where(depth > 0, depth, 1e6)[None, None]
    greatest = torch.nn.functional.max_pool2d(far, 3, stride=1, padding=1)
    least = -torch.nn.functional.max_pool2d(-far, 3, stride=1, padding=1)
    return least.reshape(-1), greatest.reshape(-1)


def _with_nearest_seen(texels: Texels, total: Tensor, weights: Tensor) -> Tensor:
    """Weighted means, with the points that no view saw coloured like the nearest point that one did."""
    seen = weights > 0
    if not bool(seen.any()):
        raise InvalidInputError("The Gaussians cover no part of the mesh, so they cannot colour it.")
    colors = total / weights.clamp_min(1e-12)[:, None]
    if not bool(seen.all()):
        tree = cKDTree(texels.points[seen].cpu().numpy())
        _, nearest = tree.query(texels.points[~seen].cpu().numpy())
        colors[~seen] = colors[seen][torch.from_numpy(nearest).to(colors.device)]
    return colors.clamp(0, 1)
