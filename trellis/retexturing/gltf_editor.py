"""The document of a glTF file while it is changed: its own buffers as one, to which new bytes are added."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from trellis.encoding.readers.gltf_document import GltfDocument
from trellis.export.glb import glb_container

ALIGNMENT = 8  # of what is cut out: accessors of any type stay aligned


class GltfEditor:
    """The document of a file while it is changed, and its one buffer."""

    def __init__(self, document: GltfDocument) -> None:
        self.document = document
        self.json: dict[str, Any] = deepcopy(document.json)
        self.binary = bytearray()

    def embed(self) -> None:
        """All buffers as one, and the pictures of other files in it."""
        starts = []
        for index, entry in enumerate(self.json.get("buffers", [])):
            starts.append(len(self.binary))
            self.binary += self.document.buffer(index)[: int(entry["byteLength"])]
            self.binary += bytes(-len(self.binary) % ALIGNMENT)
        for view in self.json.get("bufferViews", []):
            view["byteOffset"] = int(view.get("byteOffset", 0)) + starts[view["buffer"]]
            view["buffer"] = 0
        for image in self.json.get("images", []):
            if "uri" in image and (data := self.document.files.optional(str(image["uri"]))) is not None:
                del image["uri"]
                kind = (
                    "image/jpeg" if data[:2] == b"\xff\xd8" else "image/webp" if data[8:12] == b"WEBP" else "image/png"
                )
                image |= {"bufferView": self.append("bufferViews", self.place(data)), "mimeType": kind}

    def append(self, kind: str, entry: dict[str, Any]) -> int:
        """The number of a new entry."""
        entries = self.json.setdefault(kind, [])
        entries.append(entry)
        return len(entries) - 1

    def place(self, data: bytes) -> dict[str, int]:
        """A buffer view of new bytes."""
        view = {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data)}
        self.binary += data + bytes(-len(data) % ALIGNMENT)
        return view

    def container(self) -> bytes:
        """The GLB file."""
        first = {key: value for key, value in (self.json.get("buffers") or [{}])[0].items() if key != "uri"}
        self.json["buffers"] = [first | {"byteLength": len(self.binary)}]
        return glb_container(self.json, bytes(self.binary))


def references(content: Any) -> Iterator[dict[str, Any]]:
    """Everything in a material that names a texture."""
    for key, value in content.items() if isinstance(content, dict) else ():
        if key.endswith("Texture") and isinstance(value, dict) and "index" in value:
            yield value
        yield from references(value)
