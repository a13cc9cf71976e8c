"""Every file of an asset, from the representations it was decoded to: all of them appear, or none."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trellis.atomic import written_aside
from trellis.errors import InvalidInputError
from trellis.export.chain import ExportChain, FileSources, required
from trellis.export.glb import write_glb
from trellis.export.maps import write_maps
from trellis.export.obj import write_obj
from trellis.export.options import TEXTURED, FileOptions
from trellis.export.placement import placed, placed_gaussians, placed_mesh
from trellis.export.ply import write_gaussian_ply, write_mesh_ply
from trellis.export.splat import write_splat
from trellis.export.stl import closed, is_closed, write_stl
from trellis.export.usdz import write_usdz
from trellis.export.video import write_video
from trellis.progress import Progress
from trellis.rendering.turntable import TurntableConfig, turntable
from trellis.representations import GaussianCloud, TexturedMesh

DRAFT_SIZE = 256  # pixels


def write_files(
    sources: FileSources,
    folder: str | Path,
    *,
    name: str,
    options: FileOptions,
    progress: Progress,
    on_note: Callable[[str], None],
    on_draft: Callable[[NDArray[np.uint8]], None] | None = None,
    on_likeness: Callable[[float], None] | None = None,
    on_kept: Callable[[float], None] | None = None,
    rasterizer: str = "builtin",
) -> dict[str, Path]:
    """Write `folder/name.*` in the formats of `options`; the paths by kind.

    `on_note` hears remarks for the user, `on_draft` gets a small picture of the asset (see `draft`) before anything is
    written, and one in the colours of the texture, if there is one, in the end; `on_likeness` how much the asset looks
    like its picture (see `likeness`); `on_kept` how well textured files agree with the source's outside of what was
    edited, in dB (see `kept.kept_psnr`); `rasterizer`, one of `runtime.RASTERIZERS`, draws it, the preview and the
    views of a texture.

    A kind is a format's name, but OBJ brings mtl and base_color along, and maps are base_color and normal_map. With
    `options.draft` the small picture is all that is written, of the kind "draft".
    Files that are there already are replaced when all new ones are complete, else they stay as they are. Raises
    InvalidInputError when a representation is missing, before anything is computed.
    """
    if not name or Path(name).name != name:
        raise InvalidInputError(f"The name of an asset is the name of a file without its folder, not {name!r}.")
    for representation in sorted(options.needs):
        required(getattr(sources, representation), representation)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if on_draft is not None or options.draft:
        first = draft(sources, rasterizer=rasterizer)
        if on_draft is not None:
            on_draft(first)
        if options.draft:
            return {"draft": _write_draft(folder / f"{name}_draft.png", first)}
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder) as aside:
        writer = _Writer(ExportChain(sources, options, progress=progress, rasterizer=rasterizer), Path(aside), name)
        written: dict[str, Path] = {}
        for item in options.formats:
            written |= writer.write(item)
        if on_likeness is not None and writer.chain.likeness is not None:
            on_likeness(writer.chain.likeness)
        if on_kept is not None and "textured" in vars(writer.chain) and writer.chain.agreement is not None:
            on_kept(writer.chain.agreement)
        if on_draft is not None and set(options.formats) & set(TEXTURED):
            on_draft(draft(sources, textured=writer.textured, rasterizer=rasterizer))
        paths = {kind: path.replace(folder / path.name) for kind, path in written.items()}
    for note in dict.fromkeys(writer.notes):
        on_note(note)
    return paths


def draft(
    sources: FileSources, *, textured: TexturedMesh | None = None, rasterizer: str = "builtin"
) -> NDArray[np.uint8]:
    """A first look at an asset, uint8 [S, S * sides, 3]: its front in Gaussians and normals, what there is of them.

    textured: shown in place of the Gaussians.
    """
    gaussians = sources.gaussians if textured is None else None
    available = {"textured": textured, "gaussians": gaussians, "normals": sources.mesh}
    sides = tuple(side for side, representation in available.items() if representation is not None)
    config = TurntableConfig(sides=sides, frames=1, size=DRAFT_SIZE, backend=rasterizer)
    return next(turntable(gaussians=gaussians, mesh=sources.mesh, textured=textured, config=config))


def _write_draft(path: Path, pixels: NDArray[np.uint8]) -> Path:
    with written_aside(path) as aside:
        Image.fromarray(pixels).save(aside)
    return path


class _Writer:
    """Writes the files of one asset from what its chain makes for all of them."""

    def __init__(self, chain: ExportChain, folder: Path, name: str) -> None:
        self.chain = chain
        self.folder = folder
        self.name = name
        self.options = chain.options
        self.notes: list[str] = []

    def write(self, item: str) -> dict[str, Path]:
        """Write one format and return the paths by kind."""
        self.chain.progress.cancel.raise_if_cancelled()
        writers: dict[str, Callable[[], Path | dict[str, Path]]] = {
            "glb": self.write_glb,
            "obj": lambda: write_obj(self.placed, self.path("obj")),
            "usdz": lambda: write_usdz(self.placed, self.path("usdz")),
            "maps": lambda: write_maps(self.textured, self.folder, name=self.name),
            "stl": self.write_solid,
            "mesh_ply": lambda: write_mesh_ply(
                placed_mesh(self.chain.light, self.chain.sources.to_world), self.folder / f"{self.name}_mesh.ply"
            ),
            "ply": lambda: write_gaussian_ply(self.gaussians, self.path("ply")),
            "splat": lambda: write_splat(self.gaussians, self.path("splat")),
            "radiance_field": self.write_field,
            "mp4": self.write_preview,
        }
        written = writers[item]()
        return {item: written} if isinstance(written, Path) else written

    def path(self, suffix: str) -> Path:
        return self.folder / f"{self.name}.{suffix}"

    @property
    def gaussians(self) -> GaussianCloud:
        return placed_gaussians(required(self.chain.sources.gaussians, "gaussians"), self.chain.sources.to_world)

    @property
    def textured(self) -> TexturedMesh:
        """The textured mesh; its remarks are heard once, however many files hold it."""
        self.notes += self.chain.textured.notes
        return self.chain.textured

    @property
    def placed(self) -> TexturedMesh:
        """The textured mesh where its files have it."""
        options, to_world = self.options, self.chain.sources.to_world
        return placed(self.textured, pivot=options.pivot, real_size=options.real_size, to_world=to_world)

    def write_glb(self) -> Path:
        format, notice = self.options.texture_format, self.chain.sources.notice
        return write_glb(self.placed, self.path("glb"), texture_format=format, notice=notice)

    def write_solid(self) -> Path:
        solid = closed(self.chain.light)
        if not is_closed(solid):
            self.notes.append("The mesh could not be closed everywhere: check the STL before you print it.")
        return write_stl(solid, self.path("stl"), longest_side=self.options.stl_size)

    def write_field(self) -> Path:
        store = self.chain.sources.store_field
        assert store is not None  # whoever has the field can store it
        return store(self.folder / f"{self.name}_radiance_field.safetensors")

    def write_preview(self) -> Path:
        shown = self.options.shown
        frames = turntable(
            gaussians=self.chain.sources.gaussians,
            mesh=self.chain.cleaned if {"normals", "colors"} & set(shown) else None,
            textured=self.textured if "textured" in shown else None,
            radiance_field=self.chain.sources.radiance_field,
            config=TurntableConfig(
                sides=shown,
                frames=self.options.preview_frames,
                size=self.options.preview_size,
                backend=self.chain.rasterizer,
            ),
            progress=self.chain.progress,
        )
        return write_video(self.path("mp4"), frames)
