"""From a decoded mesh to what its files hold: clean -> simplify -> unwrap -> bake."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from trellis.errors import InvalidInputError
from trellis.export.clean import clean
from trellis.export.kept import KeptPart, kept_psnr
from trellis.export.likeness import rough_likeness
from trellis.export.options import FileOptions
from trellis.export.projection import ViewOptions
from trellis.export.simplify import simplify
from trellis.export.surface import Surface
from trellis.export.textured import check_sources, textured_mesh
from trellis.export.unwrap import Unwrapped, unwrap
from trellis.geometry.similarity import IDENTITY, Similarity
from trellis.progress import Progress
from trellis.representations import GaussianCloud, Mesh, RadianceField, TexturedMesh
from trellis.stages import Stage

logger = logging.getLogger(__name__)

STEPS = 4
T = TypeVar("T")


@dataclass(frozen=True)
class FileSources:
    """What files are made of: representations, and the picture [S, S, 4] uint8 of the object cut out and framed.

    store_field: writes the file that `Asset.load` reads the radiance field from again, and returns its path. to_world:
    where files put what is made of the representations; kept: of an edited asset, what was not edited; notice: the line
    that the licence of its model asks for; texture_source: "gaussians", or "mesh" where the mesh has colours as good,
    and views of the Gaussians show gaps between these.
    """

    gaussians: GaussianCloud | None
    mesh: Mesh | None
    picture: NDArray[np.uint8] | None = None
    radiance_field: RadianceField | None = None
    store_field: Callable[[Path], Path] | None = None
    to_world: Similarity = IDENTITY
    kept: KeptPart | None = None
    notice: str = ""
    texture_source: str = "gaussians"


def required(representation: T | None, name: str) -> T:
    """The representation itself; raises InvalidInputError when the asset was generated without it."""
    if representation is None:
        raise InvalidInputError(f"This asset has no {name.replace('_', ' ')}: generate a new one that includes it.")
    return representation


class ExportChain:
    """The steps of one export: each is taken at most once, when the first file needs it.

    Every step is made of the one before it. The same sources and options give the same results. Tensors may be on any
    device; rendering runs there, the rest on the CPU. Steps raise InvalidInputError for sources that cannot be used,
    Cancelled within two seconds of the wish. views: of the Gaussians, by default what suits mode and device;
    rasterizer: one of `runtime.RASTERIZERS`, for these and the preview.
    """

    def __init__(
        self,
        sources: FileSources,
        options: FileOptions,
        *,
        progress: Progress | None = None,
        views: ViewOptions | None = None,
        rasterizer: str = "builtin",
    ) -> None:
        self.sources = sources
        self.options = options
        self.progress = progress or Progress()
        self.views = views or ViewOptions(rasterizer=rasterizer)
        self.rasterizer = rasterizer

    @cached_property
    def cleaned(self) -> Mesh:
        """The decoded mesh without its floaters and inner shells, which neither file nor preview shows."""
        mesh = clean(required(self.sources.mesh, "mesh"), progress=self.progress)
        self.progress.report(Stage.EXPORT, 1, STEPS)
        return mesh

    @cached_property
    def light(self) -> Mesh:
        """The cleaned mesh with as few faces as asked for."""
        ratio, faces = self.options.fraction_removed, self.options.faces
        mesh = simplify(self.cleaned, ratio=ratio, faces=faces, progress=self.progress)
        self.progress.report(Stage.EXPORT, 2, STEPS)
        return mesh

    @cached_property
    def unwrapped(self) -> Unwrapped:
        """The light mesh with texture coordinates."""
        surface, method = Surface.from_mesh(self.light), self.options.unwrap
        made = unwrap(surface, self.options.texture_size, method=method, progress=self.progress)
        used = 100 * made.utilisation
        logger.info("%d faces in %d charts, %.0f%% of the texture used", len(made.faces), made.charts, used)
        self.progress.report(Stage.EXPORT, 3, STEPS)
        return made

    @cached_property
    def textured(self) -> TexturedMesh:
        """The unwrapped mesh with its texture, and remarks for the user."""
        mesh, picture = required(self.sources.mesh, "mesh"), self.picture if self.options.blend_picture else None
        of_mesh = self.sources.texture_source == "mesh" and mesh.colors is not None
        gaussians = None if of_mesh else self.sources.gaussians
        check_sources(mesh, gaussians, picture)
        made = textured_mesh(
            self.unwrapped,
            self.cleaned,
            gaussians,
            picture=picture,
            options=self.options,
            views=self.views,
            progress=self.progress,
            kept=self.sources.kept,
        )
        self.progress.report(Stage.EXPORT, 4, STEPS)
        return made

    @property
    def picture(self) -> NDArray[np.uint8] | None:
        """The picture of the asset; where a part was edited, only one that shows it and whose camera is known."""
        kept = self.sources.kept
        return None if kept is not None and kept.camera is None else self.sources.picture

    @cached_property
    def agreement(self) -> float | None:
        """How well the files agree with the source's outside of what was edited, in dB; None without an edit."""
        kept = self.sources.kept
        return None if kept is None else kept_psnr(self.textured, kept, progress=self.progress)

    @cached_property
    def likeness(self) -> float | None:
        """How much the asset looks like its picture, see `trellis.export.likeness`; None without picture or colours.

        Where the picture is laid on the texture its camera is known; else a rough search finds it.
        """
        picture, mesh = self.picture, self.sources.mesh
        if picture is None:
            return None
        if "textured" in vars(self) and self.options.blend_picture:
            return self.textured.likeness
        return rough_likeness(mesh and self.cleaned, self.sources.gaussians, picture, progress=self.progress)
