"""Colours for the sheets of a mesh: from views of Gaussians, with the mesh's own visibility, and from the picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trellis.encoding.source_mesh import SourceMesh
from trellis.export.bake import Texels, as_bytes
from trellis.export.picture_blend import blended_colors, check_picture
from trellis.export.projection import ViewOptions, gaussian_colors
from trellis.geometry.cameras import Cameras
from trellis.ops.rasterize import interpolate_attributes
from trellis.progress import Progress
from trellis.rendering.mesh import rasterize_mesh
from trellis.representations import GaussianCloud, Mesh
from trellis.retexturing.sheets import Layout, Sheet

SMALL = 256  # pixels of a sheet's side where it is drawn for comparing


@dataclass(frozen=True)
class DrawnSheets:
    """A mesh with its sheets, drawn for comparing it with pictures.

    uvs [V, 2]; face_sheets [F] (faces on none show the first one); texture [3, n SMALL, SMALL]: the sheets below each
    other; clamped, mirrored [n, 2]: how each goes on beyond its sides, else it repeats.
    """

    mesh: Mesh
    uvs: Tensor
    face_sheets: Tensor
    texture: Tensor
    clamped: Tensor
    mirrored: Tensor

    @classmethod
    def create(cls, mesh: SourceMesh, layout: Layout, pictures: Sequence[NDArray[np.uint8]]) -> "DrawnSheets":
        """The mesh with these pictures on its sheets."""
        wraps = np.array([sheet.wrap(mesh) for sheet in layout.sheets])
        clamped, mirrored = (torch.from_numpy(wraps == mode).to(mesh.device) for mode in ("clamp", "mirror"))
        images = [torch.from_numpy(p).to(mesh.device).permute(2, 0, 1)[None].float() / 255 for p in pictures]
        small = [torch.nn.functional.interpolate(i, (SMALL, SMALL), mode="bilinear", antialias=True)[0] for i in images]
        plain = Mesh(mesh.vertices, mesh.faces.int())
        return cls(plain, mesh.uvs, layout.face_sheets.clamp_min(0), torch.cat(small, 1), clamped, mirrored)

    @property
    def points(self) -> Tensor:
        return self.mesh.vertices

    def draw(self, camera: Cameras, size: int) -> Tensor:
        """Colour times coverage and coverage [4, size, size], of 2 x 2 samples a pixel."""
        samples = rasterize_mesh(self.mesh, camera, size=2 * size)
        place = interpolate_attributes(samples, self.mesh.faces, self.uvs)
        sheet = self.face_sheets[samples.face_id.clamp_min(0).long()]
        repeated = place - place.floor()
        turned = torch.where((place.floor() % 2 == 1) & self.mirrored[sheet], 1 - repeated, repeated)
        place = torch.where(self.clamped[sheet], place.clamp(0, 1), turned)
        down = (sheet + place[..., 1].clamp(0.5 / SMALL, 1 - 0.5 / SMALL)) / len(self.clamped)
        grid = torch.stack([place[..., 0], down], -1)[None] * 2 - 1
        color = torch.nn.functional.grid_sample(self.texture[None], grid, padding_mode="border", align_corners=False)
        mask = samples.mask[None].to(color)
        return torch.nn.functional.avg_pool2d(torch.cat([color[0] * mask, mask]), 2)


def painted_sheets(
    mesh: SourceMesh,
    surface: Mesh,
    layout: Layout,
    gaussians: GaussianCloud,
    *,
    picture: NDArray[np.uint8] | None,
    views: ViewOptions,
    seed: int,
    progress: Progress,
) -> tuple[list[NDArray[np.uint8]], float | None, tuple[str, ...]]:
    """A picture [H, W, 3] for each sheet, the likeness to the picture before it was laid on, remarks for the user.

    mesh lies in the cube of `gaussians`, surface is `outward_mesh` of it; picture [P, P, 4] uint8: the cut-out input
    picture as the networks saw it, laid on where it sees the surface. Raises InvalidInputError when the Gaussians are
    nowhere near the surface, Cancelled.
    """
    sheets = layout.sheets
    points, normals = (torch.cat([getattr(sheet.texels, name) for sheet in sheets]) for name in ("points", "normals"))
    texels = Texels(0, torch.arange(len(points), device=points.device), points, normals)
    colors = gaussian_colors(
        texels, gaussians, surface, options=views, fallback=None, progress=progress, seed=seed
    )  # fmt: skip
    alike: float | None = None
    notes: tuple[str, ...] = ()
    if picture is not None:
        check_picture(picture)
        drawn = DrawnSheets.create(mesh, layout, _pictures(sheets, colors))
        colors, _, alike, notes = blended_colors(colors, texels, surface, drawn, picture=picture, progress=progress)
    return _pictures(sheets, colors), alike, notes


def _pictures(sheets: Sequence[Sheet], colors: Tensor) -> list[NDArray[np.uint8]]:
    parts = colors.split([len(sheet.texels) for sheet in sheets])
    return [as_bytes(sheet.picture(part)) for sheet, part in zip(sheets, parts)]
