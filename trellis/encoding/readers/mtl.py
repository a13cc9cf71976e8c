"""The MTL file of an OBJ: diffuse colours and pictures."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from trellis.encoding.readers.files import SourceFiles
from trellis.encoding.source_mesh import Material, Texture, linear_from_srgb
from trellis.errors import InvalidInputError

logger = logging.getLogger(__name__)

# Options of a picture and how many words follow each; -o, -s and -t take one to three numbers.
_OPTION_WORDS = {"-blendu": 1, "-blendv": 1, "-boost": 1, "-mm": 2, "-texres": 1, "-clamp": 1, "-bm": 1, "-imfchan": 1}
_VECTOR_OPTIONS = ("-o", "-s", "-t")


@dataclass(frozen=True)
class ObjMaterial:
    """color: sRGB; alpha in [0, 1]; texture coordinates (origin top left) are scaled and shifted first."""

    color: tuple[float, float, float] = (1.0, 1.0, 1.0)
    alpha: float = 1.0
    texture: Texture | None = None
    uv_scale: tuple[float, float] = (1.0, 1.0)
    uv_offset: tuple[float, float] = (0.0, 0.0)

    def as_material(self, texture: int) -> Material:
        """The material whose picture, if there is one, has the number `texture`."""
        # Files with a picture and a black colour mean the picture.
        plain = self.texture is not None and max(self.color) == 0
        red, green, blue = (1.0, 1.0, 1.0) if plain else linear_from_srgb(torch.tensor(self.color)).tolist()
        return Material(
            (red, green, blue, self.alpha),
            None if self.texture is None else texture,
            "blend" if self.alpha < 1 else "opaque",
        )


def read_materials(files: SourceFiles, name: str) -> dict[str, ObjMaterial]:
    """Materials by name. Raises InvalidInputError when the file or a picture is missing, elsewhere or damaged."""
    found: dict[str, ObjMaterial] = {}
    current: str | None = None
    for number, (key, rest) in enumerate(_lines(files, name), 1):
        if key == "newmtl":
            current = rest
            found[current] = ObjMaterial()
        elif current is not None:
            try:
                found[current] = _changed(files, found[current], key, rest)
            except InvalidInputError:
                raise
            except ValueError as error:
                raise InvalidInputError(f"{name}, statement {number} ({key} {rest[:40]}): {error}.") from error
    return found


def _lines(files: SourceFiles, name: str) -> Iterator[tuple[str, str]]:
    for line in files.referenced(name).decode("utf-8", "replace").splitlines():
        key, _, rest = line.strip().partition(" ")
        if key and not key.startswith("#"):
            yield key, rest.strip()


def _changed(files: SourceFiles, material: ObjMaterial, key: str, rest: str) -> ObjMaterial:
    if key == "Kd":
        values = [min(max(float(word), 0.0), 1.0) for word in rest.split()[:3]]
        if len(values) == 1:
            values *= 3
        red, green, blue = values
        return replace(material, color=(red, green, blue))
    if key in ("d", "Tr"):
        value = min(max(float(rest.split()[-1]), 0.0), 1.0) if rest else 1.0
        return replace(material, alpha=value if key == "d" else 1 - value)
    if key == "map_Kd":
        return _with_picture(files, material, rest)
    return material


def _with_picture(files: SourceFiles, material: ObjMaterial, rest: str) -> ObjMaterial:
    words = rest.split()
    wrap, vectors = "repeat", {"-o": (0.0, 0.0), "-s": (1.0, 1.0)}
    name = rest
    while words and words[0] in (*_OPTION_WORDS, *_VECTOR_OPTIONS):
        option = words.pop(0)
        if option in _VECTOR_OPTIONS:
            values: list[float] = []
            while words and len(values) < 3 and _is_number(words[0]):
                values.append(float(words.pop(0)))
            if option in vectors and values:
                vectors[option] = (values[0], values[1] if len(values) > 1 else vectors[option][1])
        else:
            taken, words = words[: _OPTION_WORDS[option]], words[_OPTION_WORDS[option] :]
            wrap = "clamp" if option == "-clamp" and taken == ["on"] else wrap
        name = " ".join(words)
    texture = files.picture(files.referenced(name), name)
    (su, sv), (ou, ov) = vectors["-s"], vectors["-o"]
    # v runs upwards in the file: v' = v * sv + ov there is (1 - v) counted from the top.
    return replace(
        material, texture=replace(texture, wrap=(wrap, wrap)), uv_scale=(su, sv), uv_offset=(ou, 1 - sv - ov)
    )


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
