"""Which files of an asset are written, and how: every choice of an export."""

from typing import Annotated

from pydantic import Field, model_validator

from trellis.errors import InvalidInputError
from trellis.options import FILES, MESH, PREVIEW, SHAPE, TEXTURE, WHOLE, OneOf, Options, Seed, SomeOf, option

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
    "radiance_field": ("radiance_field",),
    "mp4": (),  # what its content takes
}
PREVIEW_CONTENT = {
    "gaussians": "gaussians",
    "normals": "mesh",
    "colors": "mesh",
    "textured": "mesh",
    "radiance_field": "radiance_field",
}
TEXTURED = ("glb", "obj", "usdz", "maps")  # the formats that show the textured mesh
TEXTURE_SIZES = (512, 1024, 2048, 4096)
TEXTURE_MODES = ("fast", "best")
PICTURE_FORMATS = ("png", "webp")
UNWRAP_METHODS = ("builtin", "xatlas")
PIVOTS = ("center", "base")
REAL_SIZES = (0.001, 1000)  # metres
STL_SIZE, STL_SIZES = 100.0, (1, 10_000)  # millimetres


class FileOptions(Options):
    """Which files are written, and how. Raises InvalidInputError for a value out of range.

    `simplify` and `faces` exclude each other: with `faces` set, `simplify` is not used and must be left at its default.
    """

    seed: Seed = option(0, "Seed", "The same seed, picture and settings give the same model.", group=SHAPE)
    simplify: Annotated[float, Field(ge=0, le=0.99)] = option(
        0.95,
        "Simplify",
        "Share of the mesh's faces that is removed; 0 keeps them all.",
        group=MESH,
        unit="SHARE",
        step=0.01,
    )
    faces: Annotated[int, Field(ge=100, le=5_000_000), WHOLE] | None = option(
        None, "Faces", "Number of faces to keep, in place of Simplify.", group=MESH, null="by Simplify"
    )
    texture_size: Annotated[int, OneOf(TEXTURE_SIZES)] = option(
        1024, "Texture size", "Side of the texture in pixels; larger is sharper, slower.", group=TEXTURE
    )
    texture_mode: Annotated[str, OneOf(TEXTURE_MODES)] = option(
        "fast",
        "Texture mode",
        "fast projects views of the Gaussians; best takes more views and fits the texture to their pixels.",
        group=TEXTURE,
    )
    unwrap: Annotated[str, OneOf(UNWRAP_METHODS)] = option(
        "builtin",
        "Texture coordinates",
        "builtin takes seconds; xatlas takes minutes from 100,000 faces on.",
        group=TEXTURE,
    )
    blend_picture: bool = option(
        True,
        "Blend in the picture",
        "Lays the picture itself over the texture where it sees the surface.",
        group=TEXTURE,
    )
    normal_map: bool = option(
        False,
        "Normal map",
        "Keeps the relief of the full mesh as a second texture of the simplified one.",
        group=TEXTURE,
    )
    double_sided: bool = option(
        False, "Double-sided", "Viewers draw the back of the surface too; for meshes with openings.", group=TEXTURE
    )
    formats: Annotated[tuple[str, ...], SomeOf(tuple(FORMATS))] = option(
        ("glb", "ply", "mp4"),
        "Files",
        "glb, obj, usdz: textured mesh. stl, mesh_ply: its shape. maps: textures. ply, splat: Gaussians. "
        "radiance_field: that, for this program. mp4: preview.",
        group=FILES,
    )
    draft: bool = option(
        False,
        "Draft only",
        "Writes one small picture of the asset and none of its files.",
        group=FILES,
    )
    texture_format: Annotated[str, OneOf(PICTURE_FORMATS)] = option(
        "png",
        "Texture inside GLB",
        "webp makes the file several times smaller; a few older programs do not read it.",
        group=FILES,
    )
    pivot: Annotated[str, OneOf(PIVOTS)] = option(
        "center",
        "Origin",
        "The origin of GLB and OBJ: center, in the middle of the space of generation; base, below the middle of the "
        "model, which then stands on the floor. USDZ always stands there.",
        group=FILES,
    )
    real_size: Annotated[float, Field(ge=REAL_SIZES[0], le=REAL_SIZES[1])] | None = option(
        None,
        "Real size",
        "Longest side of GLB, OBJ and USDZ in metres.",
        group=FILES,
        unit="M",
        step=0.001,
        null="as generated, at most 1",
    )
    stl_size: Annotated[float, Field(ge=STL_SIZES[0], le=STL_SIZES[1])] = option(
        STL_SIZE, "STL size", "Longest side of the STL in millimetres.", group=FILES, unit="MM"
    )
    preview_content: Annotated[tuple[str, ...], SomeOf(tuple(PREVIEW_CONTENT))] | None = option(
        None,
        "Preview shows",
        "Pictures of the video, side by side; none chosen: the mesh of the files (else the Gaussians) beside normals.",
        group=PREVIEW,
        null="textured, or gaussians where no file holds the textured mesh; and normals",
    )
    preview_frames: Annotated[int, Field(ge=1, le=600), WHOLE] = option(
        60, "Preview frames", "Length of the preview video.", group=PREVIEW, unit="FRAMES"
    )
    preview_size: Annotated[int, OneOf((256, 384, 512, 768, 1024))] = option(
        384, "Preview size", "Side of the preview video in pixels.", group=PREVIEW
    )

    @model_validator(mode="after")
    def _one_number_of_faces(self) -> "FileOptions":
        if self.faces is not None and self.simplify != type(self).model_fields["simplify"].default:
            raise InvalidInputError("simplify and faces exclude each other: give one of them.")
        return self

    @property
    def shown(self) -> tuple[str, ...]:
        """What the video shows, from left to right.

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
    def needs(self) -> set[str]:
        """Names of the representations that the files are made of."""
        needs = {name for item in self.formats for name in FORMATS[item]}
        return needs | ({PREVIEW_CONTENT[item] for item in self.shown} if "mp4" in self.formats else set())
