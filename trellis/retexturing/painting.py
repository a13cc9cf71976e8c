"""Colours for the sheets of a mesh: from views of Gaussians, with the mesh's own visibility, and from the picture."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trellis.encoding.colors import surface_colors
from trellis.encoding.source_mesh import Material, SourceMesh, Texture
from trellis.export.bake import Texels, as_bytes
from trellis.export.picture_blend import blended_colors, check_picture
from trellis.export.projection import ViewOptions, gaussian_colors
from trellis.geometry.cameras import Cameras
from trellis.progress import Progress
from trellis.rendering.mesh import rasterize_mesh
from trellis.representations import GaussianCloud, Mesh
from trellis.retexturing.sheets import Layout, Sheet


@dataclass(frozen=True)
class DrawnSource:
    """A mesh as its file colours it, in the unit cube, drawn for comparing it with pictures."""

    mesh: SourceMesh

    @property
    def points(self) -> Tensor:
        return self.mesh.vertices

    def draw(self, camera: Cameras, size: int) -> Tensor:
        """Colour times coverage and coverage [4, size, size], of 2 x 2 samples a pixel."""
        plain = Mesh(self.mesh.vertices, self.mesh.faces.int())
        samples = rasterize_mesh(plain, camera, size=2 * size)
        image = torch.zeros(*samples.mask.shape, 4, device=self.mesh.device)
        face = samples.face_id[samples.mask].long()
        image[samples.mask] = surface_colors(self.mesh, face, samples.barycentric[samples.mask])
        image[..., 3] = samples.mask.float()
        return torch.nn.functional.avg_pool2d(image.permute(2, 0, 1), 2)


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
        drawn = DrawnSource(repainted(mesh, layout, _pictures(sheets, colors)))
        colors, _, alike, notes = blended_colors(colors, texels, surface, drawn, picture=picture, progress=progress)
    return _pictures(sheets, colors), alike, notes


def _pictures(sheets: Sequence[Sheet], colors: Tensor) -> list[NDArray[np.uint8]]:
    parts = colors.split([len(sheet.texels) for sheet in sheets])
    return [as_bytes(sheet.picture(part)) for sheet, part in zip(sheets, parts)]


def repainted(mesh: SourceMesh, layout: Layout, pictures: Sequence[NDArray[np.uint8]]) -> SourceMesh:
    """The mesh with the pictures of its sheets; faces on none keep their materials."""
    textures, materials = list(mesh.textures), list(mesh.materials)
    face_materials = mesh.face_materials.clone()
    for number, (sheet, picture) in enumerate(zip(layout.sheets, pictures)):
        old = mesh.materials[sheet.materials[0]].texture
        pixels = torch.from_numpy(np.dstack([picture, np.full_like(picture[..., :1], 255)])).to(mesh.device)
        wrap = ("repeat", "repeat") if old is None or sheet.tile is not None else mesh.textures[old].wrap
        face_materials[layout.face_sheets == number] = len(materials)
        materials.append(Material(texture=len(textures)))
        textures.append(Texture(pixels, wrap))
    colors = mesh.vertex_colors.clone()
    colors[mesh.faces[layout.face_sheets >= 0].reshape(-1)] = 1.0
    return replace(
        mesh,
        vertex_colors=colors,
        face_materials=face_materials,
        materials=tuple(materials),
        textures=tuple(textures),
    )
