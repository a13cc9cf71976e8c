"""The pictures of an unwrapped mesh: its texture, and the relief of the full mesh."""

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.export.bake import (
    Texels,
    as_bytes,
    dilated,
    mesh_colors,
    surface_mask,
    surface_texels,
    unwrapped_mesh,
)
from trellis.export.kept import KeptPart, with_kept_texture
from trellis.export.normal_map import normal_map
from trellis.export.options import FileOptions
from trellis.export.picture_blend import blended_texture, check_picture
from trellis.export.projection import ViewOptions, gaussian_colors
from trellis.export.refine import TextureEquations, refine_texture
from trellis.export.unwrap import Unwrapped
from trellis.geometry.cameras import Cameras
from trellis.progress import Progress
from trellis.representations import GaussianCloud, Mesh, TexturedMesh
from trellis.stages import Stage


def check_sources(mesh: Mesh, gaussians: GaussianCloud | None, picture: NDArray[np.uint8] | None) -> None:
    """Raise InvalidInputError when nothing gives the texture its colours, or for a picture that cannot be used."""
    if not gaussians and mesh.colors is None:
        raise InvalidInputError("There is no source of colour: the mesh has none and there are no Gaussians.")
    if picture is not None:
        check_picture(picture)


def textured_mesh(
    unwrapped: Unwrapped,
    full: Mesh,
    gaussians: GaussianCloud | None,
    *,
    picture: NDArray[np.uint8] | None,
    options: FileOptions,
    views: ViewOptions,
    progress: Progress,
    kept: KeptPart | None = None,
) -> TexturedMesh:
    """Bake the unwrapped mesh: the colours of the Gaussians, or without some those of `full`, and its relief.

    picture [S, S, 4] uint8: the cut-out input picture as the networks saw it (straight RGBA, framed by
    `frame_object`), laid over the texture where it sees the surface. kept: of an edited asset, what was not edited: it
    has the source's texture.
    """
    texels = surface_texels(unwrapped, options.texture_size, device=full.vertices.device)
    texture = _texture(
        texels, unwrapped, full=full, gaussians=gaussians, options=options, views=views, progress=progress
    )
    camera: Cameras | None = None
    alike: float | None = None
    notes: tuple[str, ...] = ()
    if picture is not None:
        texture, camera, alike, notes = blended_texture(
            texture, texels, unwrapped, picture=picture, camera=None if kept is None else kept.camera, progress=progress
        )
    if kept is not None:
        texture = with_kept_texture(texture, texels, kept, progress=progress)
    return TexturedMesh(
        vertices=unwrapped.vertices.astype(np.float32),
        normals=unwrapped.normals.astype(np.float32),
        uvs=unwrapped.uvs.astype(np.float32),
        faces=unwrapped.faces.astype(np.int32),
        texture=as_bytes(texture),
        double_sided=options.double_sided,
        normal_map=normal_map(texels, unwrapped, full, progress=progress) if options.normal_map else None,
        likeness=alike,
        picture_camera=None if camera is None else camera.to(torch.device("cpu")),
        notes=notes,
    )


def _texture(
    texels: Texels,
    unwrapped: Unwrapped,
    *,
    full: Mesh,
    gaussians: GaussianCloud | None,
    options: FileOptions,
    views: ViewOptions,
    progress: Progress,
) -> Tensor:
    """The texture [S, S, 3] in [0, 1], from views of the Gaussians or, without, from the colours of `full`."""
    if not gaussians:
        texture = dilated(texels, mesh_colors(texels, full, progress=progress))
        progress.report(Stage.TEXTURE, 1, 1)
        return texture
    surface = unwrapped_mesh(unwrapped, texels.points.device)
    equations = None
    if options.texture_mode == "best":
        uvs = torch.from_numpy(unwrapped.uvs.astype(np.float32)).to(texels.points.device)
        equations = TextureEquations(uvs, surface.faces, texels.size)
    colors = gaussian_colors(
        texels,
        gaussians,
        surface,
        options=views,
        fallback=None if full.colors is None else partial(mesh_colors, mesh=full, progress=progress),
        progress=progress,
        mode=options.texture_mode,
        seed=options.seed,
        equations=equations,
    )
    texture = dilated(texels, colors)
    if equations is None:
        return texture
    return refine_texture(texture, surface_mask(texels), equations=equations, progress=progress)
