"""The part of an edited asset that was not edited: its texture is the source's, and how well it agrees is measured."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from trellis.export.bake import CHUNK, FacingSurface, Texels, dilated
from trellis.geometry.cameras import Cameras, orbit_cameras
from trellis.ops.rasterize import TriangleSamples, interpolate_attributes
from trellis.progress import Progress
from trellis.rendering.mesh import rasterize_mesh
from trellis.representations import Mesh, TexturedMesh

VIEWS = ((0, 20), (90, 20), (180, 20), (270, 20), (0, 80), (0, -80))  # yaw and pitch in degrees
SIZE, SAMPLES = 256, 2  # pixels of a picture that is compared, and samples along a pixel's side
BORDER = 3  # pixels around the edit that are not compared
MOST_PSNR = 100.0  # dB: equal pictures


@dataclass(frozen=True)
class KeptPart:
    """mesh, in the model's cube, and `colors` (sRGB [n, 3 or 4] at faces [n] and barycentrics [n, 3] of it): the
    textured surface of the source; region bool [R, R, R]: the voxels that were edited; camera: of the new picture.
    """

    mesh: Mesh
    colors: Callable[[Tensor, Tensor], Tensor]
    region: Tensor
    camera: Cameras | None = None

    def depth(self, points: Tensor) -> Tensor:
        """How deep in the region `points` [n, 3] lie, in voxels from 0 (outside) to 1."""
        inner = self.holds(points).nonzero().squeeze(1)
        place, cell = self._cells(points[inner])
        least = torch.ones(len(inner), device=points.device)
        padded = torch.nn.functional.pad(self.region.to(points.device), (1,) * 6)
        for step in itertools.product((-1, 0, 1), repeat=3):
            other = cell + torch.tensor(step, device=points.device)
            away = torch.maximum(other - place, place - (other + 1)).clamp_min(0).norm(dim=1)
            least = torch.where(padded[tuple((other + 1).unbind(1))], least, torch.minimum(least, away))
        return torch.zeros(len(points), device=points.device).index_put((inner,), least)

    def holds(self, points: Tensor) -> Tensor:
        """Bool [n]: `points` [n, 3] in the region."""
        return self.region.to(points.device)[tuple(self._cells(points)[1].unbind(1))]

    def _cells(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Places [n, 3] of points in voxels, and the voxel [n, 3] of each."""
        side = self.region.shape[0]
        place = (points + 0.5) * side
        return place, place.floor().long().clamp(0, side - 1)

    def surface(self) -> Callable[[Tensor, Tensor], Tensor]:
        """A function from points [n, 3] with unit normals [n, 3] to the colours [n, 3] of the source's kept surface
        nearest to them.

        A face is kept that has a corner or its middle outside of the region.
        """
        corners = self.mesh.vertices[self.mesh.faces.long()]
        places = torch.cat([corners, corners.mean(1, keepdim=True)], 1)
        outside = ~self.holds(places.flatten(0, 1)).unflatten(0, (-1, 4))
        numbers = outside.any(1).nonzero().squeeze(1)
        kept = FacingSurface(replace(self.mesh, faces=self.mesh.faces[numbers]))

        def nearest_colors(points: Tensor, normals: Tensor) -> Tensor:
            faces, weights = kept.nearest(points, normals)
            return self.colors(numbers[faces], weights)[:, :3]

        return nearest_colors


def with_kept_texture(texture: Tensor, texels: Texels, kept: KeptPart, *, progress: Progress) -> Tensor:
    """`texture` [S, S, 3] with the source's colours outside of the region, blended over one voxel inside of it.

    Cancelled between two portions of texels.
    """
    before = texture.reshape(-1, 3)[texels.index]
    after, nearest_colors = before.clone(), kept.surface()
    for start in range(0, len(texels), CHUNK):
        progress.cancel.raise_if_cancelled()
        depth = kept.depth(texels.points[start : start + CHUNK])
        rows = (depth < 1).nonzero().squeeze(1) + start
        old = nearest_colors(texels.points[rows], texels.normals[rows])
        share = depth[rows - start][:, None]
        after[rows] = share * before[rows] + (1 - share) * old
    return (texture + dilated(texels, after - before)).clamp(0, 1)


def kept_psnr(textured: TexturedMesh, kept: KeptPart, *, progress: Progress | None = None) -> float:
    """Agreement in dB of pictures of a file's mesh and of the source's, away from the region; at most MOST_PSNR.

    Six unlit views; pixels count that both surfaces cover and that lie BORDER pixels away from the edit in both:
    how far outlines move is told by the shape.
    """
    progress = progress or Progress()
    device = kept.mesh.vertices.device
    new = Mesh(torch.from_numpy(textured.vertices).to(device), torch.from_numpy(textured.faces).to(device))
    uvs = torch.from_numpy(textured.uvs).to(device)
    pixels = torch.from_numpy(textured.texture).to(device).permute(2, 0, 1)[None].float() / 255
    error, count = 0.0, 0
    yaws, pitches = (np.radians(values).tolist() for values in zip(*VIEWS))
    for camera in orbit_cameras(yaws, pitches):
        progress.cancel.raise_if_cancelled()
        seen = rasterize_mesh(new, camera, size=SIZE * SAMPLES)
        place = interpolate_attributes(seen, new.faces, uvs)
        color = torch.nn.functional.grid_sample(
            pixels, place[None] * 2 - 1, padding_mode="border", align_corners=False
        )[0]
        old = rasterize_mesh(kept.mesh, camera, size=SIZE * SAMPLES)
        was = torch.zeros_like(color)
        was[:, old.mask] = kept.colors(old.face_id[old.mask].long(), old.barycentric[old.mask])[:, :3].T
        edited = edited_pixels([(seen, new), (old, kept.mesh)], kept, samples=SAMPLES)
        pictures = [
            torch.nn.functional.avg_pool2d(values * samples.mask, SAMPLES)
            for values, samples in ((color, seen), (was, old))
        ]
        counted = (torch.nn.functional.avg_pool2d((seen.mask & old.mask)[None].float(), SAMPLES)[0] == 1) & ~edited
        error += float((pictures[0] - pictures[1])[:, counted].square().sum())
        count += 3 * int(counted.sum())
    return min(MOST_PSNR, -10 * math.log10(max(error / max(count, 1), 1e-12)))


def edited_pixels(pictures: Sequence[tuple[TriangleSamples, Mesh]], kept: KeptPart, *, samples: int = 1) -> Tensor:
    """Bool [S, S]: pixels, each of samples x samples, within BORDER of one where any of the meshes shows the region."""
    edited = torch.stack([_shows_region(*picture, kept) for picture in pictures]).any(0)
    pixels = torch.nn.functional.max_pool2d(edited[None, None].float(), samples)
    return torch.nn.functional.max_pool2d(pixels, 2 * BORDER + 1, stride=1, padding=BORDER)[0, 0] > 0


def _shows_region(samples: TriangleSamples, mesh: Mesh, kept: KeptPart) -> Tensor:
    """Bool [S, S]: samples whose point of the surface lies in the region."""
    points = interpolate_attributes(samples, mesh.faces, mesh.vertices)
    shown = samples.mask.clone()
    shown[samples.mask] = kept.holds(points[samples.mask])
    return shown
