"""Colours of surface points from rendered views of the Gaussians, with exact occlusion, as one weighted mean."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.export.bake import Texels
from trellis.export.refine import TextureEquations
from trellis.geometry.cameras import Cameras, look_at, uniform_view_angles
from trellis.ops.half_edges import face_vectors
from trellis.ops.rasterize import GAUSSIAN_BACKENDS, TriangleSamples, backend_for, check_backend
from trellis.ops.warp_device import side_by_side
from trellis.progress import Progress
from trellis.rendering.gaussians import render_gaussians
from trellis.rendering.mesh import project_vertices, rasterize_mesh
from trellis.representations import GaussianCloud, Mesh
from trellis.stages import Stage

MIN_COSINE = 0.2  # flatter views smear the colour over more than five times the area
MIN_ALPHA = 0.5  # thinner coverage is mostly background
# Points seen beside an outline may show what overhangs it: such views decide only where no view is clear.
UNCLEAR_WEIGHT = 0.02
VIEWS_AT_ONCE = 4  # on a card: share what does not depend on the camera; a wish to stop waits for so many
DISTANCE = 2.0  # of the cameras, as the published renderer has it
FRAME_MARGIN = 1.02
OVERHANG = 0.006  # of the picture's side
SHARPNESS = 2.0  # more leans on the views that look straight at a point: less blur, more noise
# Count and side of the views, by mode, on a CPU (seconds, not minutes) and elsewhere.
VIEWS = {
    "fast": {"cpu": (24, 512), "other": (100, 1024)},
    "best": {"cpu": (48, 768), "other": (150, 1536)},
}


@dataclass(frozen=True)
class ViewOptions:
    """Views of the Gaussians: count and side in pixels, None for what suits mode and device; rasterizer: one
    of `runtime.RASTERIZERS`.
    """

    count: int | None = None
    size: int | None = None
    rasterizer: str = "builtin"

    def __post_init__(self) -> None:
        if self.count is not None and not 4 <= self.count <= 1000:
            raise InvalidInputError(f"The number of views must be 4..1000, not {self.count}.")
        if self.size is not None and not 64 <= self.size <= 4096:
            raise InvalidInputError(f"The size of a view must be 64..4096 pixels, not {self.size}.")
        check_backend(self.rasterizer)

    def resolved(self, device: torch.device, *, mode: str = "fast") -> tuple[int, int]:
        """Count and side of the views in `mode` on `device`."""
        count, size = VIEWS[mode]["cpu" if device.type == "cpu" else "other"]
        return self.count or count, self.size or size


@dataclass(frozen=True)
class Sight:
    """One camera's view of a mesh: a picture [4, S, S] (colour times coverage, coverage) and the faces behind it.

    far [S, S]: greatest depth of the mesh in the 3 x 3 neighbourhood of each pixel, the background being very far;
    near [S, S]: least depth within `reach` pixels: Gaussians in front overhang the mesh's outline by about as much.
    """

    camera: Cameras
    picture: Tensor
    samples: TriangleSamples
    near: Tensor
    far: Tensor
    reach: int

    @property
    def size(self) -> int:
        return self.picture.shape[-1]


def look(mesh: Mesh, camera: Cameras, picture: Tensor) -> Sight:
    """Rasterise `mesh` for `picture` [4, S, S], taken by one `camera`."""
    samples = rasterize_mesh(mesh, camera, size=picture.shape[-1])
    depth = torch.where(samples.mask, samples.depth, 1e6)[None, None]
    far = torch.nn.functional.max_pool2d(depth, 3, stride=1, padding=1)[0, 0]
    reach = max(1, round(OVERHANG * picture.shape[-1]))
    near = -depth
    for window in ((1, 2 * reach + 1), (2 * reach + 1, 1)):
        near = torch.nn.functional.max_pool2d(near, window, stride=1, padding=(window[0] // 2, window[1] // 2))
    return Sight(camera, picture, samples, -near[0, 0], far, reach)


def view_cameras(mesh: Mesh, count: int, *, seed: int) -> Cameras:
    """`count` cameras all around `mesh`, on its device, each with the sphere about the mesh filling its picture.

    Spread evenly over the sphere; `seed` draws the turn about the vertical of the whole set.
    """
    low, high = mesh.vertices.amin(0).cpu(), mesh.vertices.amax(0).cpu()
    centre = (low + high) / 2
    radius = float(torch.linalg.vector_norm(mesh.vertices.cpu() - centre, dim=1).max().clamp_min(1e-3)) * FRAME_MARGIN
    turn = 2 * math.pi * float(torch.rand(1, generator=torch.Generator().manual_seed(seed)))
    yaw, pitch = (torch.tensor(values, dtype=torch.float64) for values in zip(*uniform_view_angles(count)))
    yaw = yaw + turn
    outward = torch.stack([yaw.sin() * pitch.cos(), yaw.cos() * pitch.cos(), pitch.sin()], dim=1)
    # Straight up and down "up" has no direction on the picture; any other axis does.
    polar = pitch.cos().abs() < 1e-6
    up = torch.where(polar[:, None], torch.tensor([0.0, 1.0, 0.0]).double(), torch.tensor([0.0, 0.0, 1.0]).double())
    distance = max(DISTANCE, 3 * radius)
    eyes = centre.double() + distance * outward
    focal = 0.5 * math.sqrt(distance * distance - radius * radius) / radius
    intrinsics = torch.tensor([[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1.0]]).repeat(count, 1, 1)
    extrinsics = look_at(eyes, centre.double().expand_as(eyes), up)
    return Cameras(extrinsics.float(), intrinsics).to(mesh.vertices.device)


def sights(
    gaussians: GaussianCloud,
    mesh: Mesh,
    *,
    cameras: Cameras,
    size: int,
    progress: Progress,
    rasterizer: str = "builtin",
) -> Iterator[Sight]:
    """What every one of `cameras` sees of the Gaussians and the mesh; reports each as a step and can be cancelled."""
    device = gaussians.positions.device
    at_once = 1 if device.type == "cpu" else VIEWS_AT_ONCE

    def seen(begin: int) -> Iterator[Sight]:
        pictures = _pictures(gaussians, cameras[begin : begin + at_once], size, rasterizer)
        first = look(mesh, cameras[begin : begin + 1], pictures[0])  # the others one at a time: they are large
        others = (look(mesh, cameras[begin + i : begin + i + 1], pictures[i]) for i in range(1, len(pictures)))
        return itertools.chain([first], others)

    groups = side_by_side(seen, range(0, len(cameras), at_once), device=device)
    for number, sight in enumerate(itertools.chain.from_iterable(groups), 1):
        progress.cancel.raise_if_cancelled()
        yield sight
        progress.report(Stage.TEXTURE, number, len(cameras))


def gaussian_colors(
    texels: Texels,
    gaussians: GaussianCloud,
    mesh: Mesh,
    *,
    options: ViewOptions,
    fallback: Callable[[Texels], Tensor] | None,
    progress: Progress,
    mode: str = "fast",
    seed: int = 0,
    equations: TextureEquations | None = None,
) -> Tensor:
    """Colours [n, 3] in [0, 1] of `texels` on the surface of `mesh`, seen in views all around.

    A view counts where it sees the point: the depth of `mesh` agrees with the point's own in the whole neighbourhood of
    the pixel, so that silhouettes do not bleed; weight = alpha * cosine^SHARPNESS. fallback: colours [m, 3] of
    those texels that no view sees; without it they take the colour of the nearest seen point. equations: collect the
    same views' pixels for a refinement. Reports each view as a step and can be cancelled there.
    """
    count, size = options.resolved(texels.points.device, mode=mode)
    cameras = view_cameras(mesh, count, seed=seed)
    total = torch.zeros(len(texels), 3, device=texels.points.device)
    weights = torch.zeros(len(texels), device=texels.points.device)
    with torch.no_grad():
        for sight in sights(
            gaussians, mesh, cameras=cameras, size=size, progress=progress, rasterizer=options.rasterizer
        ):
            seen = seen_texels(texels, sight)
            weight = torch.where(seen.alpha > MIN_ALPHA, seen.cosine.pow(SHARPNESS) * seen.alpha, 0)
            weight = torch.where(seen.clear, weight, UNCLEAR_WEIGHT * weight)
            total[seen.index] += seen.colors * weight[:, None]
            weights[seen.index] += weight
            if equations is not None:
                colors = sight.picture[:3] / sight.picture[3].clamp_min(MIN_ALPHA)
                equations.add(sight.samples, colors.permute(1, 2, 0), _pixel_weights(sight, mesh))
        return _completed(texels, total, weights, fallback)


def _pictures(gaussians: GaussianCloud, cameras: Cameras, size: int, rasterizer: str) -> Tensor:
    """Colour over black and coverage [V, 4, size, size]."""
    backend = backend_for(rasterizer, GAUSSIAN_BACKENDS)
    images = render_gaussians(gaussians, cameras, size=size, background="black", backend=backend)
    return torch.cat([images.color.clamp(0, 1), images.alpha[:, None]], dim=1)


@dataclass(frozen=True)
class SeenTexels:
    """What one camera sees of the texels: their numbers `index` [m], colours [m, 3], coverage `alpha` [m], `cosine` [m]
    between normal and view, `pixels` [m, 2] (x, y; the picture spans [0, S]), and whether the sight of each is `clear`
    [m]: no outline is near.
    """

    index: Tensor
    colors: Tensor
    alpha: Tensor
    cosine: Tensor
    pixels: Tensor
    clear: Tensor


def seen_texels(texels: Texels, sight: Sight) -> SeenTexels:
    """The texels that face the camera, lie in the picture and are not hidden by the mesh."""
    camera, size = sight.camera, sight.size
    towards = camera.positions - texels.points
    adding = towards.new_ones(3)  # a product adds up three numbers much sooner than `sum` does
    cosine = (texels.normals * towards) @ adding / (towards.square() @ adding).sqrt()
    facing = (cosine > MIN_COSINE).nonzero().squeeze(1)
    projected = project_vertices(texels.points[facing], camera.extrinsics[0], camera.intrinsics[0], size)
    x, y = projected[:, :2].floor().long().unbind(1)
    framed = (x >= 0) & (x < size) & (y >= 0) & (y < size)
    at = torch.where(framed, y * size + x, 0)
    depth = projected[:, 2]
    clear = _undisturbed(depth, cosine[facing], sight.near.view(-1)[at], sight.far.view(-1)[at], sight)
    front = sight.samples.depth.view(-1)[at]
    seen = framed & (clear | ((front > 0) & (depth - front < 2 * _depth_step(depth, cosine[facing], sight))))
    facing, pixels, clear = facing[seen], projected[seen, :2], clear[seen]
    values = torch.nn.functional.grid_sample(
        sight.picture[None], (pixels / size * 2 - 1)[None, None], align_corners=False
    )
    color, alpha = values[0, :3, 0].T, values[0, 3, 0]
    return SeenTexels(facing, color / alpha.clamp_min(MIN_ALPHA)[:, None], alpha, cosine[facing], pixels, clear)


def _undisturbed(depth: Tensor, cosine: Tensor, near: Tensor, far: Tensor, sight: Sight) -> Tensor:
    """Bool: a plane at `depth` seen at `cosine` explains all depths of the neighbourhood, so no other part is there."""
    step = _depth_step(depth, cosine, sight)
    return (depth - near < (1 + sight.reach) * step) & (far - depth < 2 * step)


def _depth_step(depth: Tensor, cosine: Tensor, sight: Sight) -> Tensor:
    """How much the depth of a plane seen at `cosine` changes from pixel to pixel."""
    slope = (1 / cosine.clamp_min(MIN_COSINE).square() - 1).clamp_min(0).sqrt()
    return 2 * math.tan(float(sight.camera.fov[0]) / 2) * depth / sight.size * (1 + slope)


def pixel_cosines(sight: Sight, mesh: Mesh) -> Tensor:
    """Cosine [S, S] between the face behind each pixel and the view, 0 for back faces and the background."""
    corners = mesh.vertices[mesh.faces.long()]
    normals = torch.nn.functional.normalize(face_vectors(corners), dim=1)
    face = sight.samples.face_id.clamp_min(0).long()
    points = (corners[face] * sight.samples.barycentric[..., None]).sum(2)
    towards = torch.nn.functional.normalize(sight.camera.positions - points, dim=-1)
    return torch.where(sight.samples.mask, (normals[face] * towards).sum(-1), 0).clamp(0, 1)


def smooth_pixels(sight: Sight, cosine: Tensor) -> Tensor:
    """Bool [S, S]: pixels whose face has the given `cosine` and whose neighbours show the same surface."""
    return sight.samples.mask & _undisturbed(sight.samples.depth, cosine, sight.near, sight.far, sight)


def _pixel_weights(sight: Sight, mesh: Mesh) -> Tensor:
    """What a refinement makes of the pixels of a picture: weights [S, S], 0 at outlines and thin coverage."""
    cosine = pixel_cosines(sight, mesh)
    alpha = sight.picture[3]
    usable = smooth_pixels(sight, cosine) & (alpha > MIN_ALPHA) & (cosine > MIN_COSINE)
    return torch.where(usable, cosine * alpha, 0)


def _completed(texels: Texels, total: Tensor, weights: Tensor, fallback: Callable[[Texels], Tensor] | None) -> Tensor:
    """Weighted means; points that no view saw are coloured by `fallback`, or like the nearest point that one saw."""
    seen = weights > 0
    colors = total / weights.clamp_min(1e-12)[:, None]
    if fallback is not None:
        colors[~seen] = fallback(texels.part(~seen))
    elif not bool(seen.any()):
        raise InvalidInputError("The Gaussians cover no part of the mesh, so they cannot colour it.")
    elif not bool(seen.all()):
        tree = cKDTree(texels.points[seen].cpu().numpy())
        _, nearest = tree.query(texels.points[~seen].cpu().numpy())
        colors[~seen] = colors[seen][torch.from_numpy(nearest).to(colors.device)]
    return colors.clamp(0, 1)
