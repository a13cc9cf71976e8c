"""Every file of an asset, from the representations it was decoded to: all of them appear, or none."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from trellis.errors import InvalidInputError
from trellis.export.clean import CleanOptions, clean
from trellis.export.glb import write_glb
from trellis.export.maps import write_maps
from trellis.export.obj import write_obj
from trellis.export.pictures import check_picture_format
from trellis.export.ply import write_gaussian_ply, write_mesh_ply
from trellis.export.simplify import simplify
from trellis.export.splat import write_splat
from trellis.export.stl import LONGEST_SIDE, check_longest_side, closed, is_closed, write_stl
from trellis.export.textured import ExportOptions, TexturedMesh, textured_mesh
from trellis.export.usdz import write_usdz
from trellis.export.video import write_video
from trellis.progress import Progress
from trellis.rendering import TurntableConfig, turntable
from trellis.representations import GaussianCloud, Mesh

# What can be written, and the representations that it takes.
FORMATS = {
    "glb": ("mesh",),
    "obj": ("mesh",),
    "usdz": ("mesh",),
    "stl": ("mesh",),
    "mesh_ply": ("mesh",),
    "maps": ("mesh",),
    "ply": ("gaussians",),
    "splat": ("gaussians",),
    "mp4": (),  # what its content takes
}
PREVIEW_CONTENT = {"gaussians": "gaussians", "normals": "mesh", "colors": "mesh", "textured": "mesh"}
TEXTURED = ("glb", "obj", "usdz", "maps")  # the formats that show the textured mesh
DRAFT_SIZE = 256  # pixels
SIMPLIFY = 0.95
# The mesh is cleaned once for all files; the texture's own cleaning then has nothing to look for.
ALREADY_CLEAN = CleanOptions(floater_area=0, floater_extent=0, drop_hidden=False, max_hole_edges=0)

T = TypeVar("T")


@dataclass(frozen=True)
class FileOptions:
    """Which files are written, and how.

    formats: out of FORMATS. simplify: fraction of faces removed in [0, 1), or faces: their target count; with `faces`,
    simplify is left at its default or None. texture_size, texture_mode, blend_picture, normal_map, double_sided: see
    ExportOptions; texture_format: of the pictures inside a GLB. stl_size: longest side of the STL in millimetres.
    preview_*: content (out of PREVIEW_CONTENT, from left to right; None: see `shown`), frames and pixels of the video.
    seed: of everything that draws random numbers. Raises InvalidInputError for a value out of range.
    """

    formats: tuple[str, ...] = ("glb", "ply", "mp4")
    simplify: float | None = SIMPLIFY
    faces: int | None = None
    texture_size: int = 1024
    texture_mode: str = "fast"
    texture_format: str = "png"
    blend_picture: bool = True
    normal_map: bool = False
    double_sided: bool = False
    stl_size: float = LONGEST_SIDE
    preview_content: tuple[str, ...] | None = None
    preview_frames: int = 60
    preview_size: int = 384
    seed: int = 0

    def __post_init__(self) -> None:
        for item in self.formats:
            if item not in FORMATS:
                raise InvalidInputError(f"Unknown format {item!r}; choose from {', '.join(FORMATS)}.")
        for item in self.shown:
            if item not in PREVIEW_CONTENT:
                raise InvalidInputError(f"Unknown preview content {item!r}; choose from {', '.join(PREVIEW_CONTENT)}.")
        if self.faces is not None and self.simplify not in (None, SIMPLIFY):
            raise InvalidInputError("simplify and faces exclude each other: give one of them.")
        check_picture_format(self.texture_format)
        check_longest_side(self.stl_size)
        assert self.export and self.preview  # they check their own values

    @property
    def shown(self) -> tuple[str, ...]:
        """What the video shows.

        Where nothing else is asked for, that is what people get: the textured mesh if a file holds it, else the
        Gaussians; and the normals beside it.
        """
        if self.preview_content is not None:
            return self.preview_content
        return ("textured" if set(self.formats) & set(TEXTURED) else "gaussians", "normals")

    @property
    def fraction_removed(self) -> float | None:
        """`simplify`, where it counts."""
        return self.simplify if self.faces is None else None

    @property
    def export(self) -> ExportOptions:
        return ExportOptions(
            simplify=self.fraction_removed,
            faces=self.faces,
            texture_size=self.texture_size,
            texture_mode=self.texture_mode,
            blend_picture=self.blend_picture,
            normal_map=self.normal_map,
            double_sided=self.double_sided,
            clean=ALREADY_CLEAN,
        )

    @property
    def preview(self) -> TurntableConfig:
        return TurntableConfig(sides=self.shown, frames=self.preview_frames, size=self.preview_size)

    @property
    def needs(self) -> set[str]:
        """Names of the representations that the files are made of."""
        needs = {name for item in self.formats for name in FORMATS[item]}
        return needs | ({PREVIEW_CONTENT[item] for item in self.shown} if "mp4" in self.formats else set())


@dataclass(frozen=True)
class FileSources:
    """What files are made of: representations, and the picture [S, S, 4] uint8 of the object cut out and framed."""

    gaussians: GaussianCloud | None
    mesh: Mesh | None
    picture: NDArray[np.uint8] | None = None


def write_files(
    sources: FileSources,
    folder: str | Path,
    *,
    name: str,
    options: FileOptions,
    progress: Progress,
    on_note: Callable[[str], None],
    on_draft: Callable[[NDArray[np.uint8]], None] | None = None,
) -> dict[str, Path]:
    """Write `folder/name.*` in the formats of `options`; the paths by kind.

    `on_note` hears remarks for the user, `on_draft` gets a small picture of the asset (see `draft`) before anything is
    written.

    A kind is a format's name, but OBJ brings mtl and base_color along, and maps are base_color and normal_map.
    Files that are there already are replaced when all new ones are complete, else they stay as they are. Raises
    InvalidInputError when a representation is missing, before anything is computed.
    """
    if not name or Path(name).name != name:
        raise InvalidInputError(f"The name of an asset is the name of a file without its folder, not {name!r}.")
    for representation in sorted(options.needs):
        required(getattr(sources, representation), representation)
    if on_draft is not None:
        on_draft(draft(sources))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder) as aside:
        writer = _Writer(sources, Path(aside), name, options, progress)
        written: dict[str, Path] = {}
        for item in options.formats:
            written |= writer.write(item)
        paths = {kind: path.replace(folder / path.name) for kind, path in written.items()}
    for note in dict.fromkeys(writer.notes):
        on_note(note)
    return paths


def draft(sources: FileSources) -> NDArray[np.uint8]:
    """A first look at an asset: its front in Gaussians and normals, what there is of them; uint8 [S, S * sides, 3]."""
    available = {"gaussians": sources.gaussians, "normals": sources.mesh}
    sides = tuple(side for side, representation in available.items() if representation is not None)
    config = TurntableConfig(sides=sides, frames=1, size=DRAFT_SIZE)
    return next(turntable(gaussians=sources.gaussians, mesh=sources.mesh, config=config))


def required(representation: T | None, name: str) -> T:
    """The representation itself; raises InvalidInputError when the asset was generated without it."""
    if representation is None:
        raise InvalidInputError(f"This asset has no {name}: generate it with representations that include {name!r}.")
    return representation


class _Writer:
    """Writes one asset; what several files share is made once, at its first use."""

    def __init__(self, sources: FileSources, folder: Path, name: str, options: FileOptions, progress: Progress) -> None:
        self.sources = sources
        self.folder = folder
        self.name = name
        self.options = options
        self.progress = progress
        self.notes: list[str] = []

    def write(self, item: str) -> dict[str, Path]:
        """Write one format and return the paths by kind."""
        self.progress.cancel.raise_if_cancelled()
        writers: dict[str, Callable[[], Path | dict[str, Path]]] = {
            "glb": lambda: write_glb(self.textured, self.path("glb"), texture_format=self.options.texture_format),
            "obj": lambda: write_obj(self.textured, self.path("obj")),
            "usdz": lambda: write_usdz(self.textured, self.path("usdz")),
            "maps": lambda: write_maps(self.textured, self.folder, name=self.name),
            "stl": self.write_solid,
            "mesh_ply": lambda: write_mesh_ply(self.light, self.folder / f"{self.name}_mesh.ply"),
            "ply": lambda: write_gaussian_ply(self.gaussians, self.path("ply")),
            "splat": lambda: write_splat(self.gaussians, self.path("splat")),
            "mp4": self.write_preview,
        }
        written = writers[item]()
        return {item: written} if isinstance(written, Path) else written

    def path(self, suffix: str) -> Path:
        return self.folder / f"{self.name}.{suffix}"

    @property
    def gaussians(self) -> GaussianCloud:
        return required(self.sources.gaussians, "gaussians")

    @cached_property
    def mesh(self) -> Mesh:
        """The cleaned mesh: decoded surfaces carry floaters and inner shells, which neither file nor preview shows."""
        return clean(required(self.sources.mesh, "mesh"), progress=self.progress)

    @cached_property
    def light(self) -> Mesh:
        """The cleaned mesh with as few faces as asked for."""
        return simplify(
            self.mesh, ratio=self.options.fraction_removed, faces=self.options.faces, progress=self.progress
        )

    @cached_property
    def textured(self) -> TexturedMesh:
        made = textured_mesh(
            self.mesh,
            self.sources.gaussians,
            picture=self.sources.picture if self.options.blend_picture else None,
            seed=self.options.seed,
            options=self.options.export,
            progress=self.progress,
        )
        self.notes += made.notes
        return made

    def write_solid(self) -> Path:
        solid = closed(self.light)
        if not is_closed(solid):
            self.notes.append("The mesh could not be closed everywhere: check the STL before you print it.")
        return write_stl(solid, self.path("stl"), longest_side=self.options.stl_size)

    def write_preview(self) -> Path:
        shown = self.options.shown
        frames = turntable(
            gaussians=self.sources.gaussians,
            mesh=self.mesh if {"normals", "colors"} & set(shown) else None,
            textured=self.textured if "textured" in shown else None,
            config=self.options.preview,
            progress=self.progress,
        )
        return write_video(self.path("mp4"), frames)
