"""A glTF file in which boxes hold a new part: outside of them its own faces, coordinates and materials stay."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trellis.encoding.readers.files import LoadLimits, SourceFiles
from trellis.encoding.readers.gltf import PlacedPrimitive, global_transforms, placed_primitives
from trellis.encoding.readers.gltf_document import GltfDocument, parse_document
from trellis.encoding.readers.gltf_materials import WEBP
from trellis.retexturing.clipping import apart_from_boxes, in_boxes, outside_of_boxes
from trellis.retexturing.gltf_editor import GltfEditor, references

FLOAT, UNSIGNED_INT = 5126, 5125  # numbers of the glTF 2.0 specification
KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
Boxes = NDArray[np.float64]


def grafted_glb(own: Path, edited: Path, boxes: Boxes, *, overlap: float) -> bytes:
    """The file `own` with the part of `edited`, a GLB file of one mesh, that lies in `boxes` in place of its own there.

    boxes [B, 2, 3] are in the frame of the scene of both. Faces of `own` outside keep their bytes; those across the
    border are cut there, where nothing bends them (else their middle decides). The new part reaches `overlap` beyond
    the border, as a node of its own. Raises InvalidInputError for a file that is damaged or not complete.
    """
    document, made = (parse_document(SourceFiles(path, LoadLimits())) for path in (own, edited))
    graft = _Graft(document)
    try:
        graft.embed()
        graft.cut_out(boxes, fine=overlap / 2)
        graft.put_in(made, np.stack([boxes[:, 0] - overlap, boxes[:, 1] + overlap], 1))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise document.damaged(f"{type(error).__name__} {error}") from error
    return graft.container()


class _Graft(GltfEditor):
    """The document of the own file while it is changed."""

    def cut_out(self, boxes: Boxes, *, fine: float) -> None:
        """Take what lies in the boxes out of every node; faces whose sides are all below `fine` are not cut."""
        transforms = global_transforms(self.document)
        seen: set[int] = set()
        for index in transforms:
            node = self.json["nodes"][index]
            if "mesh" not in node:
                continue
            if node["mesh"] in seen:  # shown by another node too, where other faces go
                node["mesh"] = self.append("meshes", deepcopy(self.document.json["meshes"][node["mesh"]]))
            seen.add(node["mesh"])
            mesh = self.json["meshes"][node["mesh"]]
            numbers = [i for i, one in enumerate(mesh["primitives"]) if "POSITION" in one["attributes"]]
            kept = [one for i, one in enumerate(mesh["primitives"]) if i not in numbers]
            for number, placed in zip(numbers, placed_primitives(self.document, index, transforms), strict=True):
                kept += self._remains(mesh["primitives"][number], placed, boxes, fine, rigid="skin" not in node)
            mesh["primitives"] = kept
            if not kept:
                del node["mesh"]

    def _remains(
        self, entry: dict[str, Any], placed: PlacedPrimitive, boxes: Boxes, fine: float, *, rigid: bool
    ) -> list[dict[str, Any]]:
        """The primitive without what lies in the boxes, and another one of the pieces of its faces that are cut."""
        corners = placed.positions[placed.faces]
        apart = apart_from_boxes(corners, boxes)
        if apart.all():
            return [entry]
        stays = apart | ~in_boxes(corners.mean(1), boxes)
        found: list[tuple[int, NDArray]] = []
        if rigid and "targets" not in entry:
            sides = np.linalg.norm(corners - np.roll(corners, 1, 1), axis=2).max(1)
            for face in np.flatnonzero(~apart & (sides > fine)):
                pieces = outside_of_boxes(corners[face], boxes)
                stays[face] = pieces is None
                if pieces is not None and len(pieces):
                    found.append((int(face), pieces))
        own = [] if not stays.any() else [entry | {"mode": 4, "indices": self._indices(placed.faces[stays])}]
        return own + ([self._rim(entry, placed, found)] if found else [])

    def _rim(self, entry: dict[str, Any], placed: PlacedPrimitive, found: list[tuple[int, NDArray]]) -> dict[str, Any]:
        """The pieces [T, 3, 3] (barycentric) of faces, by number, as a primitive with vertices of its own."""
        weights = np.concatenate([pieces.reshape(-1, 1, 3) for _, pieces in found])
        owners = np.repeat([face for face, _ in found], [3 * len(pieces) for _, pieces in found])
        corners = placed.faces[owners]
        attributes = {}
        for name, accessor in entry["attributes"].items():
            values = self.document.accessor(accessor, *KINDS.values())[corners]
            mixed = (weights @ values.astype(np.float64))[:, 0]
            if name == "TANGENT":
                mixed[:, 3] = values[:, 0, 3]  # a sign
            attributes[name] = self._vertices(mixed, bounds=name == "POSITION")
        same = {key: value for key, value in entry.items() if key not in ("attributes", "indices", "mode")}
        return deepcopy(same) | {"attributes": attributes, "indices": self._indices(np.arange(len(weights)))}

    def put_in(self, made: GltfDocument, boxes: Boxes) -> None:
        """Add the faces of a file of one mesh whose middle lies in the boxes."""
        [placed] = placed_primitives(made, 0, global_transforms(made))
        faces = placed.faces[in_boxes(placed.positions[placed.faces].mean(1), boxes)]
        if not len(faces):
            return
        used, faces = np.unique(faces, return_inverse=True)
        attributes = {
            name: self._vertices(made.accessor(accessor, *KINDS.values())[used], bounds=name == "POSITION")
            for name, accessor in placed.entry["attributes"].items()
        }
        material = self._material(made, deepcopy(made.entry("materials", placed.entry["material"])))
        primitive = {"attributes": attributes, "indices": self._indices(faces), "material": material}
        mesh = self.append("meshes", {"primitives": [primitive], "name": "new part"})
        node = self.append("nodes", {"mesh": mesh, "name": "new part"})
        if "scenes" in self.json:
            self.json["scenes"][self.json.get("scene", 0)].setdefault("nodes", []).append(node)

    def _material(self, made: GltfDocument, material: dict[str, Any]) -> int:
        """The number of a material of another file, which comes with its textures."""
        for reference in references(material):
            texture = deepcopy(made.entry("textures", reference["index"]))
            if "sampler" in texture:
                texture["sampler"] = self.append("samplers", made.entry("samplers", texture["sampler"]))
            for place in (texture, texture.get("extensions", {}).get(WEBP, {})):
                if "source" in place:
                    image = made.entry("images", place["source"])
                    view = self.append("bufferViews", self.place(bytes(made.view_bytes(image["bufferView"]))))
                    place["source"] = self.append("images", image | {"bufferView": view})
            reference["index"] = self.append("textures", texture)
        for key in ("extensionsUsed", "extensionsRequired"):
            if key in made.json:
                self.json[key] = list(dict.fromkeys([*self.json.get(key, []), *made.json[key]]))
        return self.append("materials", material)

    def _vertices(self, values: NDArray, *, bounds: bool) -> int:
        """The number of an accessor of float32 [n, 2..4]."""
        values = values.astype("<f4")
        limits = {"min": values.min(0).tolist(), "max": values.max(0).tolist()} if bounds else {}
        view = self.append("bufferViews", self.place(values.tobytes()))
        entry = {"bufferView": view, "componentType": FLOAT, "count": len(values), "type": KINDS[values.shape[1]]}
        return self.append("accessors", entry | limits)

    def _indices(self, faces: NDArray) -> int:
        values = faces.reshape(-1).astype("<u4")
        view = self.append("bufferViews", self.place(values.tobytes()))
        entry = {"bufferView": view, "componentType": UNSIGNED_INT, "count": len(values), "type": "SCALAR"}
        return self.append("accessors", entry)
