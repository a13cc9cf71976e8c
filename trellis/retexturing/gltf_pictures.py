"""A glTF file with other base colours: its accessors stay byte for byte, all else as it was."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from trellis.encoding.readers.gltf_document import GltfDocument
from trellis.encoding.readers.gltf_materials import OLD_GLOSS, WEBP
from trellis.export.glb import ROUGHNESS
from trellis.retexturing.gltf_editor import ALIGNMENT, GltfEditor, references


@dataclass(frozen=True)
class NewPicture:
    """A PNG file, for the base colour of the materials with these numbers (None: the default one)."""

    materials: Sequence[int | None]
    png: bytes


def repainted_glb(document: GltfDocument, pictures: Sequence[NewPicture]) -> bytes:
    """The file as GLB with new base colours; buffers and pictures beside it are taken in.

    A picture that only these base colours show is replaced where it stands, so that whoever names it by its number
    gets the new one; else one is added. Raises InvalidInputError for a file that is damaged or not complete.
    """
    editor = _Painter(document)
    try:
        editor.embed()
        for number, picture in enumerate(pictures):
            editor.paint(picture, f"base_color_{number}")
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise document.damaged(f"{type(error).__name__} {error}") from error
    return editor.container()


class _Painter(GltfEditor):
    """The document of a file whose base colours change."""

    def paint(self, picture: NewPicture, name: str) -> None:
        """Make `picture` the base colour of its materials; their factor becomes white, vertex colours are unlinked."""
        numbers = [self.default_material() if number is None else number for number in picture.materials]
        slots = [slot for number in numbers for slot in _color_slots(self.json["materials"][number])]
        shown = [slot[key]["index"] for slot, key, _ in slots if key in slot]
        if shown and self.belongs(_source(self.json["textures"][shown[0]]), slots):
            texture = shown[0]
            self.replace(_source(self.json["textures"][texture]), picture.png)
        else:
            view = self.append("bufferViews", self.place(picture.png))
            image = self.append("images", {"bufferView": view, "mimeType": "image/png", "name": name})
            sampler = self.json["textures"][shown[0]].get("sampler") if shown else None
            texture = self.append("textures", {"source": image} | ({} if sampler is None else {"sampler": sampler}))
        source = _source(self.json["textures"][texture])
        for slot, key, factor in slots:
            if key not in slot or _source(self.json["textures"][slot[key]["index"]]) != source:
                slot[key] = slot.get(key, {}) | {"index": texture}
            alpha = slot.pop(factor, (1, 1, 1, 1))[3]
            if alpha != 1:
                slot[factor] = [1, 1, 1, alpha]
        for primitive in self.primitives():
            if primitive.get("material") in numbers:
                for attributes in (primitive["attributes"], *primitive.get("targets", ())):
                    attributes.pop("COLOR_0", None)

    def primitives(self) -> Iterator[dict[str, Any]]:
        for mesh in self.json.get("meshes", []):
            yield from mesh["primitives"]

    def default_material(self) -> int:
        """A material for what has none; without one the surface would be of metal."""
        surface = {"metallicFactor": 0.0, "roughnessFactor": ROUGHNESS}
        number = self.append("materials", {"name": "surface", "pbrMetallicRoughness": surface})
        for primitive in self.primitives():
            if "material" not in primitive and "TEXCOORD_0" in primitive["attributes"]:
                primitive["material"] = number
        return number

    def belongs(self, image: Any, slots: Sequence[tuple[dict[str, Any], str, str]]) -> bool:
        """Nothing but these slots shows the image, and nothing but the image has its bytes."""
        textures = [number for number, entry in enumerate(self.json["textures"]) if _source(entry) == image]
        used = [r for material in self.json["materials"] for r in references(material) if r["index"] in textures]
        mine = [slot[key] for slot, key, _ in slots if key in slot and slot[key]["index"] in textures]
        return len(used) == len(mine) and "bufferView" in self.json["images"][image]

    def replace(self, number: int, png: bytes) -> None:
        """Put another picture in the place of an image."""
        image = self.json["images"][number]
        view = self.json["bufferViews"][image["bufferView"]]
        if sum(key == image["bufferView"] for key in _values(self.json, "bufferView")) == 1:
            self.cut(view)
            view |= self.place(png)
        else:
            image["bufferView"] = self.append("bufferViews", self.place(png))
        image["mimeType"] = "image/png"
        for entry in self.json["textures"]:
            if _source(entry) == number:
                entry["source"] = number
                entry.pop("extensions", None)  # the same picture in other formats
        for key in ("extensionsUsed", "extensionsRequired"):
            if WEBP in self.json.get(key, ()) and not any(
                WEBP in e.get("extensions", ()) for e in self.json["textures"]
            ):
                self.json[key].remove(WEBP)
                if not self.json[key]:
                    del self.json[key]

    def cut(self, view: dict[str, int]) -> None:
        """Take the bytes of a view out of the buffer, where no other view shares them."""
        start, end = view["byteOffset"], view["byteOffset"] + view["byteLength"]
        others = [other for other in self.json["bufferViews"] if other is not view]
        shared = any(o["byteOffset"] < end and o["byteOffset"] + o["byteLength"] > start for o in others)
        if shared or any("extensions" in other for other in others):  # these may hold places of their own
            return
        length = (end - start) // ALIGNMENT * ALIGNMENT
        del self.binary[start : start + length]
        for other in others:
            other["byteOffset"] -= length if other["byteOffset"] >= end else 0


def _color_slots(material: dict[str, Any]) -> list[tuple[dict[str, Any], str, str]]:
    """Where a material has its base colour: the object, and the names of texture and factor in it."""
    slots = [(material.setdefault("pbrMetallicRoughness", {}), "baseColorTexture", "baseColorFactor")]
    old = material.get("extensions", {}).get(OLD_GLOSS)
    return slots if old is None else [(old, "diffuseTexture", "diffuseFactor"), *slots]


def _source(texture: dict[str, Any]) -> Any:
    """The number of a texture's image, as it is read."""
    return texture.get("extensions", {}).get(WEBP, {}).get("source", texture.get("source"))


def _values(content: Any, name: str) -> Iterator[Any]:
    """All values of this name in a document."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key == name:
                yield value
            yield from _values(value, name)
    elif isinstance(content, list):
        for value in content:
            yield from _values(value, name)
