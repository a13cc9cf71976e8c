"""The pictures of a textured mesh as PNG files of their own."""

import re
from pathlib import Path

from trellis.atomic import write_bytes
from trellis.export.pictures import png_bytes
from trellis.representations import TexturedMesh


def write_maps(textured: TexturedMesh, folder: str | Path, *, name: str) -> dict[str, Path]:
    """Write `folder/name_base_color.png` and, if there is one, `name_normal.png`; the paths by kind."""
    pictures = {"base_color": textured.texture, "normal_map": textured.normal_map}
    written = {}
    for kind, file_name in map_names(textured, name).items():
        picture = pictures[kind]
        assert picture is not None
        written[kind] = write_bytes(Path(folder) / file_name, png_bytes(picture))
    return written


def map_names(textured: TexturedMesh, name: str) -> dict[str, str]:
    """File names of the pictures of an asset called `name`, by kind."""
    names = {"base_color": f"{plain_name(name)}_base_color.png"}
    return names if textured.normal_map is None else names | {"normal_map": f"{plain_name(name)}_normal.png"}


def plain_name(name: str) -> str:
    """`name` with "_" for white space, at which readers of material libraries stop."""
    return re.sub(r"\s+", "_", name)
