"""What the latent decoders are taught, computed exactly from procedural objects, a chunk of them at a time."""

import math

import torch
from torch import Tensor

from trellis.geometry.hammersley import offset_perturbation
from trellis.training.procedural import ObjectBatch, occupancy, occupied_coords, voxel_features
from trellis.training.procedural.voxels import PaddedVoxels, pad_voxels

DISC_SIZE = 0.19  # standard deviation of a disc along the surface, in voxels: less shows gaps, more blurs
LEAST_DISC_SIZE = 0.06  # of a disc at an edge
_DIRECTIONS = 8  # along the surface, in which a disc may reach over an edge
LATTICE = 5  # corners along a coarse voxel's side: four fine voxels
_PIECE = 1 << 21  # points evaluated in one piece


def encode_unit(values: Tensor) -> Tensor:
    """Values in [0, 1] as uint8."""
    return (values.clamp(0, 1) * 255).round().to(torch.uint8)


def decode_unit(values: Tensor) -> Tensor:
    """The inverse of `encode_unit`, float32."""
    return values.float() / 255


def lattice_points(device: torch.device) -> Tensor:
    """The 5^3 corners of a voxel's 4^3 fine voxels, relative to its centre, in voxels [125, 3], x-major."""
    line = torch.linspace(-0.5, 0.5, LATTICE, device=device)
    return torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)


def gaussian_points(count: int, voxel_size: float) -> Tensor:
    """Resting places of a voxel's Gaussians relative to its centre, in voxels [count, 3]."""
    return torch.tanh(offset_perturbation(count, voxel_size)) * 0.5 * voxel_size


def field_samples(objects: ObjectBatch, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Distance [B, M], outward normal, surface point and colour [B, M, 3] for `points` [B, M, 3], in pieces."""
    width = max(1, _PIECE // len(objects))
    pieces = []
    for low in range(0, points.shape[1], width):
        part = points[:, low : low + width]
        gradient, value = objects.gradient(part)
        length = gradient.norm(dim=-1).clamp(0.5, 2.0)
        normal = torch.nn.functional.normalize(gradient, dim=-1)
        distance = value / length
        surface = part - distance.clamp(-0.1, 0.1)[..., None] * normal
        pieces.append((distance, normal, surface, objects.color(surface)))
    return tuple(torch.cat(values, 1) for values in zip(*pieces))  # type: ignore[return-value]


def latent_chunk(
    objects: ObjectBatch, *, resolution: int, gaussians: int, voxel_size: float, samples: int, lattice: bool = True
) -> dict[str, Tensor]:
    """Voxels, encoder input and the decoders' targets of some objects, in compact types.

    gaussians: discs a voxel (0: none); samples: random points a voxel (0: none); lattice: also the corners.
    voxel_coords uint8 [N, 3]; voxel_features float16 [N, 91]; voxel_sdf float16 [N, 125] in voxels, limited to +-2;
    voxel_color, voxel_normal uint8 [N, 125, 3]; voxel_disc float16 [N, G, 11]: place relative to the voxel's centre in
    voxels (3), normal (3), colour (3), standard deviation along the surface in voxels (1), visible (1);
    voxel_ray_*: `samples` random points with distance and colour.
    """
    dense = occupancy(objects, resolution=resolution)
    coords = occupied_coords(dense)
    counts = torch.bincount(coords[:, 0].long(), minlength=len(objects))
    padded = pad_voxels(coords, len(objects), resolution=resolution)
    batch, width = padded.centres.shape[:2]

    def around(offsets: Tensor) -> Tensor:
        return (padded.centres[:, :, None] + offsets / resolution).reshape(batch, -1, 3)

    chunk = {
        "counts": counts,
        "voxel_coords": coords[:, 1:].to(torch.uint8),
        "voxel_features": voxel_features(objects, coords, resolution=resolution).half(),
    }
    if lattice:
        corners = lattice_points(objects.device)
        distance, normal, _, color = field_samples(objects, around(corners))
        shape = (batch, width, len(corners))
        chunk["voxel_sdf"] = padded.pack((distance * resolution).clamp(-2, 2).half().reshape(shape))
        chunk["voxel_normal"] = padded.pack(encode_unit(normal * 0.5 + 0.5).reshape(*shape, 3))
        chunk["voxel_color"] = padded.pack(encode_unit(color).reshape(*shape, 3))
    if gaussians:
        rest = gaussian_points(gaussians, voxel_size).to(objects.device)
        chunk["voxel_disc"] = padded.pack(_discs(objects, around(rest), padded.centres, resolution=resolution))
    if samples:
        chunk |= _ray_targets(objects, padded, samples, resolution=resolution)
    return chunk


def _ray_targets(objects: ObjectBatch, padded: PaddedVoxels, samples: int, *, resolution: int) -> dict[str, Tensor]:
    """`samples` random points in every voxel, with distance and colour."""
    batch, width = padded.centres.shape[:2]
    seed = int(objects.seeds[0]) & 0x7FFFFFFF
    generator = torch.Generator().manual_seed(seed)
    places = torch.randint(256, (batch, width, samples, 3), generator=generator, dtype=torch.uint8).to(objects.device)
    points = (padded.centres[:, :, None] + (places.float() / 255 - 0.5) / resolution).reshape(batch, -1, 3)
    distance, _, _, color = field_samples(objects, points)
    return {
        "voxel_ray_place": padded.pack(places),
        "voxel_ray_sdf": padded.pack((distance * resolution).clamp(-2, 2).half().reshape(batch, width, samples)),
        "voxel_ray_color": padded.pack(encode_unit(color).reshape(batch, width, samples, 3)),
    }


def _discs(objects: ObjectBatch, rest: Tensor, centres: Tensor, *, resolution: int) -> Tensor:
    """Discs [B, K, G, 11] that a voxel's Gaussians should become: their resting places moved onto the surface."""
    batch, width = centres.shape[:2]
    projected = objects.project(rest, steps=2)
    residual, normal, surface, color = field_samples(objects, projected)
    place = (surface.reshape(batch, width, -1, 3) - centres[:, :, None]) * resolution
    reachable = (place.abs().amax(-1) < 0.7) & (residual.reshape(batch, width, -1).abs() * resolution < 0.1)
    values = [
        place.clamp(-0.7, 0.7),
        normal.reshape(place.shape),
        color.reshape(place.shape),
        _disc_sizes(objects, surface, normal, resolution=resolution).reshape(place.shape[:-1])[..., None],
        reachable[..., None].float(),
    ]
    return torch.cat(values, -1).half()


def _disc_sizes(objects: ObjectBatch, surface: Tensor, normal: Tensor, *, resolution: int) -> Tensor:
    """Standard deviations [B, M] in voxels of discs at surface points [B, M, 3], so that two of them end at an edge."""
    across = torch.nn.functional.normalize(torch.linalg.cross(normal, normal.roll(1, -1) + 0.1), dim=-1)
    along = torch.linalg.cross(normal, across)
    reach = 2 * DISC_SIZE / resolution
    overhang = surface.new_zeros(surface.shape[:2])
    for turn in range(_DIRECTIONS):
        angle = 2 * math.pi * turn / _DIRECTIONS
        points = surface + reach * (math.cos(angle) * across + math.sin(angle) * along)
        overhang = torch.maximum(overhang, objects.sdf(points, corrected=True).abs())
    return (DISC_SIZE - overhang * resolution / 2).clamp_min(LEAST_DISC_SIZE)
