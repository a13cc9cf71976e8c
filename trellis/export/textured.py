"""From a generated mesh to one that every viewer shows right: repaired, light, with normals and a texture."""

import logging
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trellis.errors import InvalidInputError
from trellis.export.bake import mesh_colors, surface_texels, texture_image
from trellis.export.clean import CleanOptions, clean
from trellis.export.projection import ViewOptions, gaussian_colors
from trellis.export.simplify import simplify, target_faces
from trellis.export.surface import Surface
from trellis.export.unwrap import UnwrapOptions, unwrap
from trellis.progress import Progress
from trellis.representations import GaussianCloud, Mesh

logger = logging.getLogger(__name__)

STAGE = "export"
TEXTURE_SIZES = (512, 1024, 2048, 4096)
TEXTURE_SOURCES = ("auto", "gaussians", "mesh")


@dataclass(frozen=True)
class ExportOptions:
    """How a mesh becomes an asset.

    simplify: fraction of faces removed in [0, 1), or faces: their target count (exclusive; neither keeps all);
    texture_size: one of TEXTURE_SIZES; texture_source: `gaussians` (views of them), `mesh` (vertex colours) or `auto`
    (Gaussians where there are some); double_sided: draw back faces too.
    """

    simplify: float | None = None
    faces: int | None = None
    texture_size: int = 1024
    texture_source: str = "auto"
    double_sided: bool = False
    clean: CleanOptions = field(default_factory=CleanOptions)
    unwrap: UnwrapOptions = field(default_factory=UnwrapOptions)
    views: ViewOptions = field(default_factory=ViewOptions)

    def __post_init__(self) -> None:
        target_faces(1_000_000, ratio=self.simplify, faces=self.faces)
        if self.texture_size not in TEXTURE_SIZES:
            sizes = ", ".join(map(str, TEXTURE_SIZES))
            raise InvalidInputError(f"texture_size must be one of {sizes}, not {self.texture_size}.")
        if self.texture_source not in TEXTURE_SOURCES:
            raise InvalidInputError(
                f"Unknown texture source {self.texture_source!r}; choose one of {', '.join(TEXTURE_SOURCES)}."
            )


@dataclass(frozen=True)
class TexturedMesh:
    """A mesh as files carry it, still in the world frame (z-up).

    vertices [V, 3], normals [V, 3] (unit), uvs [V, 2] (origin top left) float32; faces [F, 3] int32, counter-clockwise
    seen from outside; texture [S, S, 3] uint8, sRGB; normal_map [S, S, 3] uint8 or None: tangent space, green up (the
    OpenGL convention, which glTF wants).
    """

    vertices: NDArray[np.float32]
    normals: NDArray[np.float32]
    uvs: NDArray[np.float32]
    faces: NDArray[np.int32]
    texture: NDArray[np.uint8]
    double_sided: bool = False
    normal_map: NDArray[np.uint8] | None = None


def textured_mesh(
    mesh: Mesh,
    gaussians: GaussianCloud | None,
    *,
    options: ExportOptions | None = None,
    progress: Progress | None = None,
) -> TexturedMesh:
    """Clean, simplify and unwrap `mesh`, and bake its texture; the same input gives the same result.

    Tensors may be on any device; rendering runs there, the rest on the CPU. Raises InvalidInputError for an empty
    mesh or a source of colour that is not there, Cancelled within two seconds of the wish.
    """
    options, progress = options or ExportOptions(), progress or Progress()
    source = _texture_source(mesh, gaussians, options.texture_source)
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
    colors = mesh_colors(texels, full, progress=progress) if full.colors is not None else None
    if source == "gaussians":
        assert gaussians is not None
        colors = gaussian_colors(texels, gaussians, light, options=options.views, fallback=colors, progress=progress)
    assert colors is not None
    progress.report(STAGE, 4, 5)
    texture = texture_image(texels, colors)
    progress.report(STAGE, 5, 5)
    return TexturedMesh(
        vertices=unwrapped.vertices.astype(np.float32),
        normals=unwrapped.normals.astype(np.float32),
        uvs=unwrapped.uvs.astype(np.float32),
        faces=unwrapped.faces.astype(np.int32),
        texture=texture,
        double_sided=options.double_sided,
    )


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
