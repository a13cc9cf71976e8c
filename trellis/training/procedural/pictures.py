"""Pictures of procedural objects by sphere tracing, framed as the image conditioning frames its input."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from trellis.encoding.local_features import grid_centres
from trellis.geometry.cameras import Cameras
from trellis.training.procedural.draws import Draws
from trellis.training.procedural.objects import ObjectBatch
from trellis.training.procedural.photographs import everyday_cameras, everyday_lights, loosened, photographed
from trellis.training.procedural.viewpoints import Lights, draw_cameras, draw_lights, neutral_lights
from trellis.training.procedural.voxels import _padded_nonzero, occupancy

CROP_SCALE = 1.2  # the conditioning crop: a square of 1.2 x the longer side of the alpha box
_STEPS, _COMPACT_EVERY, _HIT = 72, 6, 6e-4
_FUSED_STEPS = 96  # where a ray's steps cost no launches
_AMBIENT_STEPS = (0.03, 0.08, 0.16)


@dataclass(frozen=True)
class Pictures:
    """`images` uint8 [B, V, H, W, 4] (straight RGBA) and the `cameras` (B*V, object-major) of these windows."""

    images: Tensor
    cameras: Cameras


def picture_draws(seeds: Tensor, views: int, seed: int, *, salt: int = 77) -> Draws:
    """The random numbers of `views` pictures of each object of `seeds` [B]."""
    numbers = seeds[:, None] * 1_000_003 + torch.arange(views) * 7919 + seed * 104_729
    return Draws(numbers.flatten(), salt)


def frame_objects(batch: ObjectBatch, cameras: Cameras, dense: Tensor) -> Cameras:
    """Narrow V cameras an object to the square that the conditioning crop would cut.

    The outline is taken from shell voxels of `dense` [B, R, R, R] projected onto the surface: corners attract the
    voxels outside of them, so the box is right to a small part of a voxel.
    """
    views = len(cameras) // len(batch)
    resolution = dense.shape[-1]
    index, valid = _padded_nonzero(dense.flatten(1))
    points = batch.project(grid_centres(resolution, device=dense.device)[index])
    owner = torch.arange(len(batch), device=dense.device).repeat_interleave(views)
    return frame_points(cameras, points[owner], valid[owner])


def frame_points(cameras: Cameras, points: Tensor, valid: Tensor) -> Cameras:
    """Narrow each of n cameras to the square that the conditioning crop cuts around the `valid` [n, K] of `points`."""
    local = points @ cameras.extrinsics[:, :3, :3].transpose(1, 2) + cameras.extrinsics[:, None, :3, 3]
    focal = cameras.intrinsics[:, 0, 0][:, None, None]
    image = local[..., :2] / local[..., 2:].clamp_min(0.05) * focal + 0.5
    outside = ~valid[..., None]
    low = image.masked_fill(outside, torch.inf).amin(1)
    high = image.masked_fill(outside, -torch.inf).amax(1)
    side = CROP_SCALE * (high - low).amax(1)
    corner = (low + high) / 2 - side[:, None] / 2
    intrinsics = cameras.intrinsics.clone()
    intrinsics[:, :2] /= side[:, None, None]
    intrinsics[:, :2, 2] = (cameras.intrinsics[:, :2, 2] - corner) / side[:, None]
    return Cameras(cameras.extrinsics, intrinsics)


def pixel_rays(cameras: Cameras, size: int) -> tuple[Tensor, Tensor]:
    """Eyes [n, 3] and unit ray directions [n, size^2, 3] through pixel centres (row-major)."""
    device = cameras.extrinsics.device
    line = (torch.arange(size, device=device) + 0.5) / size
    v, u = torch.meshgrid(line, line, indexing="ij")
    k = cameras.intrinsics
    x = (u.flatten() - k[:, 0, 2:]) / k[:, 0, :1]
    y = (v.flatten() - k[:, 1, 2:]) / k[:, 1, 1:2]
    rays = torch.stack([x, y, torch.ones_like(x)], -1) @ cameras.extrinsics[:, :3, :3]
    return cameras.positions, normalize(rays, dim=-1)


def trace(batch: ObjectBatch, eyes: Tensor, rays: Tensor) -> tuple[Tensor, Tensor]:
    """Distances [B, M] along unit `rays` [B, M, 3] from `eyes` [B, M, 3] to the surface, and which rays hit.

    Rays that left the cube or arrived are dropped every few steps; rows stay padded to the longest one.
    """
    inverse = 1 / torch.where(rays.abs() < 1e-7, 1e-7, rays)
    near, far = (-0.5 - eyes) * inverse, (0.5 - eyes) * inverse
    t = torch.minimum(near, far).amax(-1).clamp_min(0)
    end = torch.maximum(near, far).amin(-1)
    traced = batch.trace(eyes, rays, near=t, far=end, steps=_FUSED_STEPS, reach=_HIT)
    if traced is not None:
        return traced
    hit = torch.zeros_like(t, dtype=torch.bool)
    active = t < end
    for start in range(0, _STEPS, _COMPACT_EVERY):
        if not bool(active.any()):
            break
        index, valid = _padded_nonzero(active)
        wide = index[..., None].expand(-1, -1, 3)
        o, d = eyes.gather(1, wide), rays.gather(1, wide)
        s, stop = t.gather(1, index), end.gather(1, index)
        for _ in range(_COMPACT_EVERY):
            distance = batch.sdf(o + s[..., None] * d)
            s = torch.where((distance.abs() > _HIT) & (s < stop), s + 0.95 * distance, s)
        arrived = valid & (distance.abs() <= 3 * _HIT) & (s < stop)
        last = start + _COMPACT_EVERY >= _STEPS
        arrived = arrived | (valid & (distance.abs() < 5e-3) & (s < stop)) if last else arrived
        # Padding repeats index 0: write through a spare column so that it cannot overwrite a real ray.
        target = torch.where(valid, index, t.shape[1])
        t = _scatter(t, target, s)
        hit = _scatter(hit, target, arrived | ~valid)
        active = _scatter(active, target, valid & ~arrived & (s < stop))
    return t, hit


def _scatter(values: Tensor, index: Tensor, source: Tensor) -> Tensor:
    padded = torch.cat([values, values[:, :1]], 1)
    return padded.scatter(1, index, source)[:, :-1]


def _per_pixel(values: Tensor, view: Tensor) -> Tensor:
    """Values of each view [B, V, 3] at its pixels [B, K]."""
    return values.gather(1, view[..., None].expand(-1, -1, values.shape[-1]))


def shade(batch: ObjectBatch, points: Tensor, rays: Tensor, view: Tensor, lights: Lights) -> Tensor:
    """Colours [B, K, 3] in [0, 1]: diffuse, sky and ground light with ambient occlusion, and a highlight by gloss."""
    count = len(batch)
    normal = batch.normal(points)
    appearance = batch.appearance(points)
    albedo, gloss = appearance[..., :3].clamp(0, 1) ** 2.2, appearance[..., 3:]
    device = points.device
    direction, key, sky, ground = (
        _per_pixel(value.to(device).reshape(count, -1, 3), view)
        for value in (lights.direction, lights.key, lights.sky, lights.ground)
    )
    exposure = _per_pixel(lights.exposure.to(device).reshape(count, -1, 1), view)
    blocked = torch.zeros_like(points[..., 0])
    for step in _AMBIENT_STEPS:
        blocked += (step - batch.sdf(points + step * normal)).clamp_min(0) / step
    occlusion = (1 - 0.3 * blocked).clamp(0.15, 1)[..., None]
    diffuse = (normal * direction).sum(-1, keepdim=True).clamp_min(0)
    half = normalize(direction - rays, dim=-1)
    highlight = (normal * half).sum(-1, keepdim=True).clamp_min(0) ** 40 * gloss * 0.6
    up = 0.5 + 0.5 * normal[..., 2:]
    ambient = (ground + (sky - ground) * up) * occlusion
    light = albedo * (key * diffuse * (0.4 + 0.6 * occlusion) + ambient) + highlight * key
    return (light * exposure * 1.15).clamp(0, 1) ** (1 / 2.2)


def _render_window(batch: ObjectBatch, cameras: Cameras, size: int, lights: Lights) -> Tensor:
    """Straight RGBA float [B, V, size, size, 4]; `cameras` object-major, on the batch's device."""
    count = len(batch)
    eyes, rays = pixel_rays(cameras, size)
    pixels = rays.shape[1]
    rays = rays.reshape(count, -1, 3)
    origins = eyes.repeat_interleave(pixels, 0).reshape(count, -1, 3)
    t, hit = trace(batch, origins, rays)
    index, valid = _padded_nonzero(hit)
    wide = index[..., None].expand(-1, -1, 3)
    d = rays.gather(1, wide)
    points = origins.gather(1, wide) + t.gather(1, index)[..., None] * d
    colors = shade(batch, points, d, index // pixels, lights)
    image = torch.zeros(count, rays.shape[1] + 1, 4, device=rays.device)
    target = torch.where(valid, index, rays.shape[1])[..., None].expand(-1, -1, 4)
    image.scatter_(1, target, torch.cat([colors, torch.ones_like(colors[..., :1])], -1))
    return image[:, :-1].reshape(count, -1, size, size, 4)


def downsample(image: Tensor, factor: int) -> Tensor:
    """Mean of factor^2 samples of straight RGBA [B, V, H, W, 4], colours weighted by alpha."""
    if factor == 1:
        return image
    b, v, h, w, _ = image.shape
    cells = image.reshape(b, v, h // factor, factor, w // factor, factor, 4)
    alpha = cells[..., 3:].mean((3, 5))
    color = (cells[..., :3] * cells[..., 3:]).mean((3, 5)) / alpha.clamp_min(1e-6)
    return torch.cat([color, alpha], -1)


def _view_rows(rows: Tensor, views: int) -> Tensor:
    """Rows of the object-major views of some objects."""
    return (rows[:, None] * views + torch.arange(views)).flatten()


def _take_cameras(cameras: Cameras, rows: Tensor) -> Cameras:
    place = rows.to(cameras.extrinsics.device)
    return Cameras(cameras.extrinsics[place], cameras.intrinsics[place])


def _chunk_objects(batch: ObjectBatch, rays_per_object: int) -> int:
    return max(1, 4 * batch.chunk_points // rays_per_object)


def render_views(
    batch: ObjectBatch, cameras: Cameras, *, size: int = 128, supersampling: int = 1, lights: Lights | None = None
) -> Tensor:
    """Straight RGBA uint8 [B, V, size, size, 4] of every object through given cameras (B*V, object-major)."""
    light = neutral_lights(cameras) if lights is None else lights
    views = len(cameras) // len(batch)
    placed = cameras.to(batch.device)
    result = torch.empty(len(batch), views, size, size, 4, dtype=torch.uint8, device=batch.device)
    for rows, part in batch.by_family(_chunk_objects(batch, views * (size * supersampling) ** 2)):
        window = _view_rows(rows, views)
        seen = _take_cameras(placed, window)
        lit = Lights(light.direction[window], light.key[window], light.sky[window], light.ground[window],
                     light.exposure[window])  # fmt: skip
        image = _render_window(part, seen, size * supersampling, lit)
        result[rows.to(batch.device)] = (downsample(image, supersampling) * 255).round().to(torch.uint8)
    return result


def render_pictures(
    batch: ObjectBatch,
    *,
    views: int = 1,
    size: int = 128,
    seed: int = 0,
    supersampling: int = 1,
    dense: Tensor | None = None,
    photographs: float = 0.0,
) -> Pictures:
    """Random conditioning pictures of every object (see `draw_cameras`, `draw_lights`), framed by the crop window.

    A picture depends on the object's seed, the view's number and `seed`. `dense` [B, R, R, R] saves computing the
    occupancy again; photographs: the share of pictures that are as people take them and cut them out.
    """
    shell = occupancy(batch) if dense is None else dense

    def frame(cameras: Cameras) -> Cameras:
        windows = cameras.to(batch.device)
        intrinsics = windows.intrinsics.clone()
        for rows, part in batch.by_family(max(1, batch.chunk_points * 4 // (2500 * (1 + views)))):
            window = _view_rows(rows, views).to(batch.device)
            framed = frame_objects(part, _take_cameras(windows, window), shell[rows.to(shell.device)])
            intrinsics[window] = framed.intrinsics
        return Cameras(windows.extrinsics, intrinsics)

    def render(windows: Cameras, lights: Lights) -> Tensor:
        return render_views(batch, windows, size=size, supersampling=supersampling, lights=lights).flatten(0, 1)

    images, windows = take_pictures(batch.seeds, frame, render, views=views, seed=seed, photographs=photographs)
    return Pictures(images.unflatten(0, (len(batch), views)), windows)


def take_pictures(
    seeds: Tensor, frame: Callable[[Cameras], Cameras], render: Callable[[Cameras, Lights], Tensor], *,
    views: int, seed: int, photographs: float
) -> tuple[Tensor, Cameras]:  # fmt: skip
    """Pictures uint8 [B*V, S, S, 4] of the objects of `seeds` [B], and their cameras; see `render_pictures`.

    frame: narrows cameras to their objects; render: makes the pictures of B*V cameras.
    """
    draws, everyday = (picture_draws(seeds, views, seed, salt=salt) for salt in (77, 78))
    cameras = draw_cameras(draws)
    lights = draw_lights(draws, cameras)
    taken = everyday.chance(photographs)
    cameras = Cameras(*_chosen(taken, everyday_cameras(everyday), cameras))
    lights = Lights(*_chosen(taken, everyday_lights(everyday), lights))
    windows = loosened(frame(cameras), everyday, taken)
    return photographed(render(windows, lights), everyday, taken), windows


def _chosen(rows: Tensor, first: Cameras | Lights, second: Cameras | Lights) -> list[Tensor]:
    """The fields of `first` where `rows` [n] is true, else those of `second`."""
    return [
        torch.where(rows.view(-1, *[1] * (one.ndim - 1)), one, other)
        for one, other in zip(vars(first).values(), vars(second).values())
    ]
