"""The document of a glTF file and its numbers: buffers, views and accessors, checked before they are read."""

import json
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trellis.encoding.readers.files import SourceFiles
from trellis.errors import InvalidInputError

# Numbers of the glTF 2.0 specification.
GLB_MAGIC, GLB_VERSION, JSON_CHUNK, BINARY_CHUNK = b"glTF", 2, 0x4E4F534A, 0x004E4942
COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
LARGEST_DOCUMENT = 3_000_000  # values; Python takes about 100 bytes for one


@dataclass
class GltfDocument:
    """The JSON part of a file, its binary chunk, and the files it names; buffers are read once."""

    json: dict[str, Any]
    binary: memoryview | None
    files: SourceFiles
    _buffers: dict[int, memoryview] = field(default_factory=dict)

    def entry(self, kind: str, index: Any) -> dict[str, Any]:
        """Entry `index` of the top-level list `kind`; raises InvalidInputError when it is not there."""
        entries = self.json.get(kind, [])
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(entries):
            raise self.damaged(f"{kind} has no entry {index!r}")
        if not isinstance(entries[index], dict):
            raise self.damaged(f"entry {index} of {kind} is no object")
        return entries[index]

    def damaged(self, what: str) -> InvalidInputError:
        """The error that says so."""
        return InvalidInputError(f"{self.files.path.name} is not a usable glTF file: {what}.")

    def view_bytes(self, index: int) -> memoryview:
        """The bytes of a buffer view."""
        view = self.entry("bufferViews", index)
        data, start, length = self.buffer(view["buffer"]), int(view.get("byteOffset", 0)), int(view["byteLength"])
        if start < 0 or length < 0 or start + length > len(data):
            raise self.damaged(f"buffer view {index} reaches beyond its buffer")
        return data[start : start + length]

    def buffer(self, index: int) -> memoryview:
        """The bytes of a buffer, at least as many as it states."""
        entry = self.entry("buffers", index)
        if index not in self._buffers:
            if "uri" in entry:
                data = memoryview(self.files.referenced(str(entry["uri"])))
            elif index == 0 and self.binary is not None:
                data = self.binary
            else:
                raise self.damaged(f"buffer {index} has no data")
            if len(data) < int(entry["byteLength"]):
                raise self.damaged(f"buffer {index} is cut short")
            self._buffers[index] = data
        return self._buffers[index]

    def count(self, index: int) -> int:
        """How many entries an accessor states, checked against the limits."""
        entry = self.entry("accessors", index)
        count = int(entry["count"])
        if count < 0:
            raise self.damaged(f"accessor {index} has {count} entries")
        self.files.limits.check("vertices", count * max(WIDTHS.get(entry["type"], 1) // 4, 1))
        return count

    def accessor(self, index: int, *kinds: str, count: int | None = None) -> NDArray[np.float64] | NDArray[np.int64]:
        """Values [count, width]: integers as int64, or float64 where they are floats or normalised integers.

        kinds: the types that it may have; count: the entries that it must have.
        """
        entry = self.entry("accessors", index)
        stated, component, width = self.count(index), COMPONENTS.get(entry["componentType"]), WIDTHS.get(entry["type"])
        if component is None or width is None or entry["type"] not in kinds:
            raise self.damaged(f"accessor {index} has the type {entry['type']} of {entry['componentType']}")
        if count not in (None, stated):
            raise self.damaged(f"accessor {index} has {stated} entries instead of {count}")
        dtype = np.dtype(component)
        values = (
            self._entries(entry, stated, width, dtype) if "bufferView" in entry else np.zeros((stated, width), dtype)
        )
        if "sparse" in entry:
            values = self._with_sparse(values, entry["sparse"], width, dtype)
        if dtype.kind == "f":
            return values.astype(np.float64)
        if entry.get("normalized"):
            return np.maximum(values.astype(np.float64) / np.iinfo(dtype).max, -1)
        return values.astype(np.int64)

    def _entries(self, place: dict[str, Any], count: int, width: int, dtype: np.dtype) -> NDArray:
        """Entries [count, width] that lie `byteStride` apart in a view, as an array over its bytes."""
        view, offset, packed = place["bufferView"], int(place.get("byteOffset", 0)), width * dtype.itemsize
        data = self.view_bytes(view)
        stride = int(self.entry("bufferViews", view).get("byteStride", packed))
        if offset < 0 or stride < packed or (count and offset + (count - 1) * stride + packed > len(data)):
            raise self.damaged(f"buffer view {view} is too short for what is read from it")
        if not count:
            return np.zeros((0, width), dtype)
        return np.ndarray((count, width), dtype, data, offset, (stride, dtype.itemsize))

    def _with_sparse(self, values: NDArray, sparse: dict[str, Any], width: int, dtype: np.dtype) -> NDArray:
        count, index_type = int(sparse["count"]), COMPONENTS.get(sparse["indices"]["componentType"], "")
        if "u" not in index_type or not 0 <= count <= len(values):
            raise self.damaged("a sparse accessor is wrong")
        rows = self._entries(sparse["indices"], count, 1, np.dtype(index_type))[:, 0]
        if count and int(rows.max()) >= len(values):
            raise self.damaged("a sparse accessor names an entry that is not there")
        values = values.copy()
        values[rows] = self._entries(sparse["values"], count, width, dtype)
        return values


def parse_document(files: SourceFiles) -> GltfDocument:
    """The document of a .glb or .gltf file, told apart by their first bytes; raises InvalidInputError."""
    data, name = files.read(), files.path.name
    text, binary = _chunks(name, memoryview(data)) if data[:4] == GLB_MAGIC else (data, None)
    if sum(text.count(sign) for sign in (b",", b"[", b"{")) > LARGEST_DOCUMENT:
        raise InvalidInputError(f"{name} is not a usable glTF file: its text has over {LARGEST_DOCUMENT:,} values.")
    try:
        content = json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{name} is not a usable glTF file: its text is damaged.") from error
    if not isinstance(content, dict) or not isinstance(content.get("asset"), dict):
        raise InvalidInputError(f"{name} is not a glTF file: it has no asset entry.")
    version = str(content["asset"].get("version", ""))
    if not version.startswith("2."):
        raise InvalidInputError(f"{name} is glTF {version or 'of no version'}; save it as glTF 2.0.")
    return GltfDocument(content, binary, files)


def _chunks(name: str, data: memoryview) -> tuple[bytes, memoryview | None]:
    """The JSON and the binary chunk of a GLB file."""
    version, length = struct.unpack_from("<II", data, 4) if len(data) >= 12 else (GLB_VERSION, 0)
    if version != GLB_VERSION:
        raise InvalidInputError(f"{name} is GLB version {version}; save it as glTF 2.0.")
    found: dict[int, memoryview] = {}
    place = 12
    while place + 8 <= length <= len(data):
        size, kind = struct.unpack_from("<II", data, place)
        if kind in (JSON_CHUNK, BINARY_CHUNK):
            found.setdefault(kind, data[place + 8 : place + 8 + size])
        place += 8 + size
    if JSON_CHUNK not in found or place > length:
        raise InvalidInputError(f"{name} is not a usable GLB file: it is cut short or damaged.")
    return bytes(found[JSON_CHUNK]), found.get(BINARY_CHUNK)
