"""From a generated mesh to one that every viewer shows right: repaired, light, with normals and a texture."""

import logging
from dataclasses import dataclass, field

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
from trellis.export.clean import CleanOptions, clean
from trellis.export.normal_map import normal_map
from trellis.export.picture_blend import blended_texture, check_picture
from trellis.export.projection import ViewOptions, gaussian_colors
from trellis.export.refine import RefineOptions, TextureEquations, refine_texture
from trellis.export.simplify import simplify, target_faces
from trellis.export.surface import Surface
from trellis.export.unwrap import UnwrapOptions, Unwrapped, unwrap
from trellis.progress import Progress
from trellis.representations import GaussianCloud, Mesh

logger = logging.getLogger(__name__)

STAGE = "export"
TEXTURE_SIZES = (512, 1024, 2048, 4096)
TEXTURE_SOURCES = ("auto", "gaussians", "mesh")
TEXTURE_MODES = ("fast", "best")


@dataclass(frozen=True)
class ExportOptions:
    """How a mesh becomes an asset.

    simplify: fraction of faces removed in [0, 1), or faces: their target count (exclusive; neither keeps all);
    texture_size: one of TEXTURE_SIZES; texture_source: `gaussians` (views of them), `mesh` (vertex colours) or `auto`
    (Gaussians where there are some); texture_mode: `fast` (closed form) or `best` (more views, then fitted to their
    pixels); blend_picture: lay the input picture over the texture where it sees the surface; normal_map: the relief of
    the full mesh as a second texture; double_sided: draw back faces too.
    """

    simplify: float | None = None
    faces: int | None = None
    texture_size: int = 1024
    texture_source: str = "auto"
    texture_mode: str = "fast"
    normal_map: bool = False
    blend_picture: bool = True
    double_sided: bool = False
    clean: CleanOptions = field(default_factory=CleanOptions)
    unwrap: UnwrapOptions = field(default_factory=UnwrapOptions)
    views: ViewOptions = field(default_factory=ViewOptions)
    refine: RefineOptions = field(default_factory=RefineOptions)

    def __post_init__(self) -> None:
        target_faces(1_000_000, ratio=self.simplify, faces=self.faces)
        if self.texture_size not in TEXTURE_SIZES:
            sizes = ", ".join(map(str, TEXTURE_SIZES))
            raise InvalidInputError(f"texture_size must be one of {sizes}, not {self.texture_size}.")
        if self.texture_source not in TEXTURE_SOURCES:
            raise InvalidInputError(
                f"Unknown texture source {self.texture_source!r}; choose one of {', '.join(TEXTURE_SOURCES)}."
            )
        if self.texture_mode not in TEXTURE_MODES:
            raise InvalidInputError(
                f"Unknown texture mode {self.texture_mode!r}; choose one of {', '.join(TEXTURE_MODES)}."
            )


@dataclass(frozen=True)
class TexturedMesh:
    """A mesh as files carry it, still in the world frame (z-up).

    vertices [V, 3], normals [V, 3] (unit), uvs [V, 2] (origin top left) float32; faces [F, 3] int32, counter-clockwise
    seen from outside; texture [S, S, 3] uint8, sRGB; normal_map [S, S, 3] uint8, tangent space as glTF has it, or None;
    notes: what the user should know.
    """

    vertices: NDArray[np.float32]
    normals: NDArray[np.float32]
    uvs: NDArray[np.float32]
    faces: NDArray[np.int32]
    texture: NDArray[np.uint8]
    double_sided: bool = False
    normal_map: NDArray[np.uint8] | None = None
    notes: tuple[str, ...] = ()


def textured_mesh(
    mesh: Mesh,
    gaussians: GaussianCloud | None,
    *,
    picture: NDArray[np.uint8] | None = None,
    seed: int = 0,
    options: ExportOptions | None = None,
    progress: Progress | None = None,
) -> TexturedMesh:
    """Clean, simplify and unwrap `mesh`, and bake its texture; the same input and seed give the same result.

    picture [S, S, 4] uint8: the cut-out input picture as the networks saw it (straight RGBA, framed by
    `frame_object`), for `blend_picture`. Tensors may be on any device; rendering runs there, the rest on the CPU.
    Raises InvalidInputError for an empty mesh, a picture of another form or a source of colour that is not there,
    Cancelled within two seconds of the wish.
    """
    options, progress = options or ExportOptions(), progress or Progress()
    source = _texture_source(mesh, gaussians, options.texture_source)
    if picture is not None:
        check_picture(picture)
    full = clean(mesh, options=options.clean)
    if not len(full.faces):
        raise InvalidInputError("The mesh is empty; try another seed or another picture.")
    progress.report(STAGE, 1, 5)
    target = target_faces(len(full.faces), ratio=options.simplify, faces=options.faces)
    light = simplify(full, faces=target, progress=progress)
    progress.report(STAGE, 2, 5)
    unwrapped = unwrap(Surface.from_mesh(light), options.texture_size, options=options.unwrap, progress=progress)
    logger.info(
        "%d faces in %d charts, %.0f%% of the texture used", target, unwrapped.charts, 100 * unwrapped.utilisation
    )
    progress.report(STAGE, 3, 5)
    texels = surface_texels(unwrapped, options.texture_size, device=mesh.vertices.device)
    cloud = gaussians if source == "gaussians" else None
    texture = _texture(texels, unwrapped, full=full, gaussians=cloud, seed=seed, options=options, progress=progress)
    notes: tuple[str, ...] = ()
    if picture is not None and options.blend_picture:
        texture, notes = blended_texture(texture, texels, unwrapped, picture=picture, progress=progress)
    progress.report(STAGE, 4, 5)
    relief = normal_map(texels, unwrapped, full, progress=progress) if options.normal_map else None
    progress.report(STAGE, 5, 5)
    return TexturedMesh(
        vertices=unwrapped.vertices.astype(np.float32),
        normals=unwrapped.normals.astype(np.float32),
        uvs=unwrapped.uvs.astype(np.float32),
        faces=unwrapped.faces.astype(np.int32),
        texture=as_bytes(texture),
        double_sided=options.double_sided,
        normal_map=relief,
        notes=notes,
    )


def _texture(
    texels: Texels,
    unwrapped: Unwrapped,
    *,
    full: Mesh,
    gaussians: GaussianCloud | None,
    seed: int,
    options: ExportOptions,
    progress: Progress,
) -> Tensor:
    """The texture [S, S, 3] in [0, 1], from views of the Gaussians or, without, from the colours of `full`."""
    colors = mesh_colors(texels, full, progress=progress) if full.colors is not None else None
    if gaussians is None:
        assert colors is not None
        return dilated(texels, colors)
    surface = unwrapped_mesh(unwrapped, texels.points.device)
    equations = None
    if options.texture_mode == "best":
        uvs = torch.from_numpy(unwrapped.uvs.astype(np.float32)).to(texels.points.device)
        equations = TextureEquations(uvs, surface.faces, texels.size)
    colors = gaussian_colors(
        texels,
        gaussians,
        surface,
        options=options.views,
        fallback=colors,
        progress=progress,
        mode=options.texture_mode,
        seed=seed,
        equations=equations,
    )
    texture = dilated(texels, colors)
    if equations is None:
        return texture
    return refine_texture(texture, surface_mask(texels), equations=equations, options=options.refine, progress=progress)


def _texture_source(mesh: Mesh, gaussians: GaussianCloud | None, wish: str) -> str:
    usable = gaussians is not None and len(gaussians) > 0
    if wish == "gaussians" and not usable:
        raise InvalidInputError("A texture from Gaussians needs Gaussians; decode them or use texture_source='mesh'.")
    if wish == "mesh" and mesh.colors is None:
        raise InvalidInputError("The mesh has no vertex colours; decode Gaussians and use texture_source='gaussians'.")
    if wish == "auto":
        if not usable and mesh.colors is None:
            raise InvalidInputError("There is no source of colour: the mesh has none and there are no Gaussians.")
        return "gaussians" if usable else "mesh"
    return wish
