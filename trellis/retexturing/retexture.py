"""A mesh file with new colours: the same file with other pictures, or with new texture coordinates as GLB."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from trellis.asset import Asset
from trellis.atomic import write_bytes
from trellis.encoding.options import UV_CHOICES
from trellis.encoding.readers.files import LoadLimits, SourceFiles
from trellis.encoding.readers.gltf_document import parse_document
from trellis.encoding.source_mesh import SourceMesh
from trellis.errors import InvalidInputError
from trellis.export.glb import glb_bytes
from trellis.export.maps import plain_name
from trellis.export.options import TEXTURE_SIZES, FileOptions
from trellis.export.pictures import png_bytes
from trellis.export.projection import ViewOptions
from trellis.export.surface import Surface
from trellis.export.textured import textured_mesh
from trellis.export.unwrap import unwrap
from trellis.geometry.similarity import Similarity
from trellis.progress import Progress
from trellis.representations import TexturedMesh
from trellis.retexturing.gltf_pictures import NewPicture, repainted_glb
from trellis.retexturing.obj_pictures import repainted_library, repainted_obj
from trellis.retexturing.painting import painted_sheets
from trellis.retexturing.placement import PlacedMesh
from trellis.retexturing.sheets import PLAIN_SIZE, Layout, lay_out

# Share of the texels that distant points share, or of the surface without area in the pictures, above which new
# coordinates are better; share from which on people are told.
TOO_MUCH, WORTH_TELLING = 0.25, 0.05
GLTF = (".glb", ".gltf")
NEW = "The file has new texture coordinates and one material."
NEW_GLTF = "The file has new texture coordinates and one material; skins and animations are gone."
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Retextured:
    """A mesh file with new colours; `save` reads the file once more.

    Either its own `layout` of sheets and their new `pictures` ([H, W, 3 or 4] uint8), or, with new coordinates, a
    `textured` mesh. notes: for the user; likeness: to the picture, before it was laid on (`trellis.export.likeness`).
    """

    path: Path
    mesh: SourceMesh
    layout: Layout | None = None
    pictures: tuple[Picture, ...] = ()
    textured: TexturedMesh | None = None
    notes: tuple[str, ...] = ()
    likeness: float | None = None

    @property
    def notice(self) -> str:
        """The line that the licence of the model asks for which made the mesh; "" without."""
        return self.mesh.notice

    def save(self, folder: str | Path, *, name: str = "asset") -> dict[str, Path]:
        """Write `folder/name.*`; the paths by kind.

        A GLB or glTF file becomes a GLB, an OBJ an OBJ with its library and pictures, anything with new coordinates a
        GLB, and what was made for `tiles` a PNG a tile.
        """
        files = self._files(name)
        return {kind: write_bytes(Path(folder) / file_name, data) for kind, (file_name, data) in files.items()}

    def _files(self, name: str) -> dict[str, tuple[str, bytes]]:
        """Names and contents by kind."""
        if self.textured is not None:
            return {"glb": (f"{name}.glb", glb_bytes(self.textured, notice=self.notice))}
        assert self.layout is not None
        pngs = [png_bytes(picture) for picture in self.pictures]
        tiles = [sheet.tile for sheet in self.layout.sheets]
        if any(tile is not None for tile in tiles):
            return {f"base_color_{tile}": (f"{name}_{tile}.png", png) for tile, png in zip(tiles, pngs)}
        files = SourceFiles(self.path, LoadLimits())
        entries = [[self.mesh.materials[number].entry for number in sheet.materials] for sheet in self.layout.sheets]
        if self.path.suffix.lower() in GLTF:
            pictures = [NewPicture([e for e in own if not isinstance(e, str)], png) for own, png in zip(entries, pngs)]
            return {"glb": (f"{name}.glb", repainted_glb(parse_document(files), pictures))}
        return _obj_files(files, name, [[None if e is None else str(e) for e in own] for own in entries], pngs)


def _obj_files(
    files: SourceFiles, name: str, entries: list[list[str | None]], pngs: list[bytes]
) -> dict[str, tuple[str, bytes]]:
    stem = plain_name(name)
    numbers = ["" if number == 0 else f"_{number + 1}" for number in range(len(pngs))]
    named = {entry: f"{stem}_base_color{number}.png" for own, number in zip(entries, numbers) for entry in own}
    data = files.read()
    library, others = repainted_library(files, data, named)
    written = {"obj": (f"{name}.obj", repainted_obj(data, f"{stem}.mtl")), "mtl": (f"{stem}.mtl", library)}
    written |= {f"base_color{n}": (f"{stem}_base_color{n}.png", png) for n, png in zip(numbers, pngs)}
    return written | {f"map_{n}": (other, content) for n, (other, content) in enumerate(others.items(), 1)}


def retextured(
    path: Path,
    placed: PlacedMesh,
    asset: Asset,
    *,
    picture: Picture | None = None,
    uvs: str = "auto",
    texture_size: int | None = None,
    seed: int = 0,
    rasterizer: str = "builtin",
    progress: Progress,
) -> Retextured:
    """The file at `path`, `placed` in the cube of `asset`, in the colours of its Gaussians and of `picture` [S, S, 4].

    uvs: "keep" the file's own texture coordinates, make "new" ones, "auto": keep them where they can be painted on, or
    "tiles": pictures alone, one for each UDIM tile of the whole mesh; texture_size: by default that of each picture
    replaced, else PLAIN_SIZE. Raises InvalidInputError for an unknown choice, and where there is nothing to keep.
    """
    if uvs not in UV_CHOICES:
        raise InvalidInputError(f"uvs must be one of {', '.join(UV_CHOICES)}, not {uvs!r}.", field="uvs")
    assert asset.gaussians is not None
    views = ViewOptions(rasterizer=rasterizer)
    notes = [*placed.notes, *asset.notes]
    tiles = uvs == "tiles"
    keeps = path.suffix.lower() in (*GLTF, ".obj") or tiles
    if uvs != "new" and keeps:
        apart = 0.5 / asset.resolution
        layout = lay_out(
            placed.mesh, placed.surface, apart=apart, texture_size=texture_size, tiles=tiles, progress=progress
        )
        if layout.sheets and (uvs in ("keep", "tiles") or max(layout.overlap, layout.lost) <= TOO_MUCH):
            pictures, alike, more = painted_sheets(
                placed.mesh,
                placed.surface,
                layout,
                asset.gaussians,
                picture=picture,
                views=views,
                seed=seed,
                progress=progress,
            )
            notes += [*_layout_notes(layout, path), *more]
            shown = tuple(
                picture if sheet.tile is not None else _with_alpha(placed.mesh, sheet.materials, picture)
                for sheet, picture in zip(layout.sheets, pictures)
            )
            return Retextured(path, placed.mesh, layout, shown, notes=tuple(notes), likeness=alike)
        if uvs == "auto":
            notes.append(_why_new(layout))
    if uvs in ("keep", "tiles"):
        what = "has no texture coordinates" if keeps else f"is a {path.suffix[1:].upper()} file, which is not kept"
        raise InvalidInputError(f'{path.name} {what}: choose uvs "new" or "auto".', field="uvs")
    textured = _unwrapped(placed, asset, picture, texture_size=texture_size, views=views, seed=seed, progress=progress)
    notes += [*textured.notes, NEW_GLTF if path.suffix.lower() in GLTF else NEW]
    return Retextured(path, placed.mesh, textured=textured, notes=tuple(notes), likeness=textured.likeness)


def _unwrapped(
    placed: PlacedMesh,
    asset: Asset,
    picture: Picture | None,
    *,
    texture_size: int | None,
    views: ViewOptions,
    seed: int,
    progress: Progress,
) -> TexturedMesh:
    """The mesh with new texture coordinates, where its file has it."""
    sizes = [size for size in TEXTURE_SIZES if size >= (texture_size or PLAIN_SIZE)] or [TEXTURE_SIZES[-1]]
    made = textured_mesh(
        unwrap(Surface.from_mesh(placed.surface), sizes[0], progress=progress),
        placed.surface,
        asset.gaussians,
        picture=picture,
        options=FileOptions(texture_size=sizes[0], double_sided=True, seed=seed),
        views=views,
        progress=progress,
    )
    back = placed.to_cube.inverse()
    normals = Similarity(turns=back.turns).apply(torch.from_numpy(made.normals)).numpy()
    return replace(
        made, vertices=back.apply(torch.from_numpy(made.vertices)).numpy(), normals=normals, picture_camera=None
    )  # fmt: skip


def _layout_notes(layout: Layout, path: Path) -> list[str]:
    notes = []
    if layout.overlap > WORTH_TELLING:
        notes.append(
            f"{layout.overlap:.0%} of the texture is shared by places far from each other: these got the mean of their "
            'colours; choose uvs "new" to part them.'
        )
    if layout.lost > WORTH_TELLING:
        notes.append(
            f"{layout.lost:.0%} of the surface has no area in a texture, so that it cannot be painted: choose uvs "
            '"new" to give it one.'
        )
    if path.suffix.lower() == ".gltf":
        notes.append("The glTF file was written as GLB, with its buffers and pictures in it.")
    return notes


def _why_new(layout: Layout) -> str:
    if not layout.sheets or layout.lost > TOO_MUCH:
        return f"{layout.lost:.0%} of the surface has no area in a texture."
    return f"{layout.overlap:.0%} of the texture is shared by places far from each other."


def _with_alpha(mesh: SourceMesh, materials: tuple[int, ...], picture: Picture) -> Picture:
    """The picture with the transparency of the one that it replaces, where that is shown."""
    old = mesh.materials[materials[0]].texture
    if old is None or all(mesh.materials[number].alpha_mode == "opaque" for number in materials):
        return picture
    alpha = Image.fromarray(mesh.textures[old].pixels[..., 3].cpu().numpy())
    return np.dstack([picture, np.array(alpha.resize(picture.shape[1::-1], Image.Resampling.BILINEAR))])
