"""Materials, pictures and texture coordinates of glTF files."""

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trellis.encoding.readers.gltf_document import GltfDocument
from trellis.encoding.source_mesh import Material, Texture

# Numbers of the glTF 2.0 specification.
WRAPS = {10497: "repeat", 33648: "mirror", 33071: "clamp"}
ALPHA_MODES = {"OPAQUE": "opaque", "MASK": "mask", "BLEND": "blend"}
TRANSFORM, WEBP, OLD_GLOSS = "KHR_texture_transform", "EXT_texture_webp", "KHR_materials_pbrSpecularGlossiness"


class TextureUse(NamedTuple):
    """Which set of texture coordinates a material reads, and the matrix [2, 3] that moves them into the picture."""

    coordinates: int = 0
    matrix: NDArray[np.float64] = np.eye(2, 3)


@dataclass
class MaterialReader:
    """Materials and textures as they are met; each picture is decoded once."""

    document: GltfDocument
    materials: list[Material] = field(default_factory=list)
    textures: list[Texture] = field(default_factory=list)
    _known: dict[int | None, tuple[int, TextureUse]] = field(default_factory=dict)
    _pictures: dict[int, Texture | None] = field(default_factory=dict)

    def read(self, index: int | None) -> tuple[int, TextureUse]:
        """The number in `materials` of the file's material `index` (None: the default one)."""
        if index not in self._known:
            material, use = self._material({} if index is None else self.document.entry("materials", index))
            self._known[index] = (len(self.materials), use)
            self.materials.append(replace(material, entry=index))
        return self._known[index]

    def _material(self, entry: dict[str, Any]) -> tuple[Material, TextureUse]:
        old, surface = entry.get("extensions", {}).get(OLD_GLOSS), entry.get("pbrMetallicRoughness", {})
        if old is not None:
            factor, reference = old.get("diffuseFactor"), old.get("diffuseTexture")
        else:
            factor, reference = surface.get("baseColorFactor"), surface.get("baseColorTexture")
        color = tuple(float(value) for value in (factor or (1, 1, 1, 1)))
        if len(color) != 4:
            raise self.document.damaged("a base colour needs four numbers")
        mode = entry.get("alphaMode", "OPAQUE")
        if mode not in ALPHA_MODES:
            raise self.document.damaged(f"the alpha mode {mode!r} does not exist")
        texture, use = (None, TextureUse()) if reference is None else self._texture(reference)
        return Material(color, texture, ALPHA_MODES[mode], float(entry.get("alphaCutoff", 0.5))), use

    def _texture(self, reference: dict[str, Any]) -> tuple[int | None, TextureUse]:
        entry = self.document.entry("textures", reference["index"])
        source = entry.get("extensions", {}).get(WEBP, {}).get("source", entry.get("source"))
        if source is None:
            raise self.document.damaged("a texture has no picture in a format that is read (PNG, JPEG, WebP)")
        sampler = self.document.entry("samplers", entry["sampler"]) if "sampler" in entry else {}
        across, down = (WRAPS.get(sampler.get(key, 10497), "repeat") for key in ("wrapS", "wrapT"))
        moved = reference.get("extensions", {}).get(TRANSFORM, {})
        use = TextureUse(int(moved.get("texCoord", reference.get("texCoord", 0))), _matrix(moved))
        picture = self._picture(source)
        if picture is None:
            return None, use
        self.textures.append(replace(picture, wrap=(across, down), picture=source))
        return len(self.textures) - 1, use

    def _picture(self, index: int) -> Texture | None:
        """Picture `index`, None when its file is not there."""
        entry = self.document.entry("images", index)
        if index not in self._pictures:
            files = self.document.files
            inside = "bufferView" in entry
            data = self.document.view_bytes(entry["bufferView"]) if inside else files.optional(str(entry["uri"]))
            self._pictures[index] = None if data is None else files.picture(data, str(entry.get("name", index)))
        return self._pictures[index]


def _matrix(transform: dict[str, Any]) -> NDArray[np.float64]:
    """Translation * rotation * scale of KHR_texture_transform."""
    angle = float(transform.get("rotation", 0.0))
    sx, sy = (float(value) for value in transform.get("scale", (1, 1)))
    tx, ty = (float(value) for value in transform.get("offset", (0, 0)))
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c * sx, s * sy, tx], [-s * sx, c * sy, ty]])
