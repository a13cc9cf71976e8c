"""Which files of an asset are written, and how: every choice of an export."""

from dataclasses import dataclass

from trellis.errors import InvalidInputError
from trellis.export.pictures import check_picture_format
from trellis.export.simplify import check_target
from trellis.export.stl import LONGEST_SIDE, check_longest_side
from trellis.export.unwrap import check_method
from trellis.rendering.turntable import TurntableConfig, check_turn

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
SIMPLIFY = 0.95


@dataclass(frozen=True)
class FileOptions:
    """Which files are written, and how.

    formats: out of FORMATS. simplify: fraction of faces removed in [0, 1), or faces: their target count; with `faces`,
    simplify is left at its default or None; neither keeps all. texture_size: one of TEXTURE_SIZES; texture_mode: `fast`
    (closed form) or `best` (more views, then fitted to their pixels); texture_format: of the pictures inside a GLB;
    unwrap: one of UNWRAP_METHODS; blend_picture: lay the input picture over the texture where it sees the surface;
    normal_map: the relief of the full mesh as a second texture; double_sided: draw back faces too. stl_size: longest
    side of the STL in millimetres. preview_*: content (out of PREVIEW_CONTENT, from left to right; None: see `shown`),
    frames and pixels of the video. seed: of everything that draws random numbers. Raises InvalidInputError for a
    value out of range.
    """

    formats: tuple[str, ...] = ("glb", "ply", "mp4")
    simplify: float | None = SIMPLIFY
    faces: int | None = None
    texture_size: int = 1024
    texture_mode: str = "fast"
    texture_format: str = "png"
    unwrap: str = "builtin"
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
        if not self.shown:
            raise InvalidInputError(f"The preview shows nothing; choose from {', '.join(PREVIEW_CONTENT)}.")
        for item in self.shown:
            if item not in PREVIEW_CONTENT:
                raise InvalidInputError(f"Unknown preview content {item!r}; choose from {', '.join(PREVIEW_CONTENT)}.")
        if self.faces is not None and self.simplify not in (None, SIMPLIFY):
            raise InvalidInputError("simplify and faces exclude each other: give one of them.")
        check_target(self.fraction_removed, self.faces)
        if self.texture_size not in TEXTURE_SIZES:
            sizes = ", ".join(map(str, TEXTURE_SIZES))
            raise InvalidInputError(f"texture_size must be one of {sizes}, not {self.texture_size}.")
        if self.texture_mode not in TEXTURE_MODES:
            raise InvalidInputError(
                f"Unknown texture mode {self.texture_mode!r}; choose one of {', '.join(TEXTURE_MODES)}."
            )
        check_method(self.unwrap)
        check_picture_format(self.texture_format)
        check_longest_side(self.stl_size)
        check_turn(self.preview_size, self.preview_frames)

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
    def preview(self) -> TurntableConfig:
        return TurntableConfig(sides=self.shown, frames=self.preview_frames, size=self.preview_size)

    @property
    def needs(self) -> set[str]:
        """Names of the representations that the files are made of."""
        needs = {name for item in self.formats for name in FORMATS[item]}
        return needs | ({PREVIEW_CONTENT[item] for item in self.shown} if "mp4" in self.formats else set())
