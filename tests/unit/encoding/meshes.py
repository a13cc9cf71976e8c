"""Meshes and files with known contents for the encoding tests."""

import base64
import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from PIL import Image

from trellis.encoding.source_mesh import SourceMesh
from trellis.representations import Mesh

TRIANGLE = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=np.float32)
CHECKER = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], dtype=np.uint8)


def source(shape: trimesh.Trimesh) -> SourceMesh:
    """A white mesh of ours with the faces of `shape`, as it stands."""
    vertices = torch.from_numpy(np.array(shape.vertices, dtype=np.float32))
    return SourceMesh.from_mesh(Mesh(vertices, torch.from_numpy(np.array(shape.faces, dtype=np.int32))))


def sphere(
    subdivisions: int = 4, *, radius: float = 0.4, center: tuple[float, float, float] = (0, 0, 0)
) -> trimesh.Trimesh:
    shape = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    shape.apply_translation(center)
    return shape


def png(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()


class GltfBuilder:
    """A glTF document that grows by accessors; `write` saves it as .glb, or as .gltf with everything inline."""

    def __init__(self) -> None:
        self.data = b""
        self.json: dict[str, Any] = {
            "asset": {"version": "2.0"},
            "accessors": [],
            "bufferViews": [],
            "meshes": [],
            "nodes": [],
        }

    def view(self, data: bytes, **more: int) -> int:
        self.json["bufferViews"].append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data), **more})
        self.data += data + b"\0" * (-len(data) % 4)
        return len(self.json["bufferViews"]) - 1

    def accessor(self, values: Any, **more: Any) -> int:
        values = np.asarray(values)
        component = {"f4": 5126, "u1": 5121, "u2": 5123, "u4": 5125, "i1": 5120, "i2": 5122}[values.dtype.str[1:]]
        kind = "SCALAR" if values.ndim == 1 else {2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}[values.shape[1]]
        entry = {"bufferView": self.view(values.tobytes()), "componentType": component, "count": len(values)}
        self.json["accessors"].append({**entry, "type": kind, **more})
        return len(self.json["accessors"]) - 1

    def mesh(self, positions: Any = TRIANGLE, indices: Any = None, **primitive: Any) -> int:
        """A mesh of one primitive; `attributes` in `primitive` are added to its positions."""
        attributes = {"POSITION": self.accessor(np.asarray(positions, np.float32)), **primitive.pop("attributes", {})}
        entry = {"attributes": attributes, **primitive}
        if indices is not None:
            entry["indices"] = self.accessor(np.asarray(indices, np.uint16))
        self.json["meshes"].append({"primitives": [entry]})
        return len(self.json["meshes"]) - 1

    def node(self, **entry: Any) -> int:
        self.json["nodes"].append(entry)
        return len(self.json["nodes"]) - 1

    def add(self, kind: str, **entry: Any) -> int:
        self.json.setdefault(kind, []).append(entry)
        return len(self.json[kind]) - 1

    def texture(self, picture: np.ndarray, **sampler: int) -> int:
        image = self.add("images", bufferView=self.view(png(picture)), mimeType="image/png")
        return self.add("textures", source=image, sampler=self.add("samplers", **sampler))

    def write(self, path: Path) -> Path:
        document = {**self.json, "buffers": [{"byteLength": len(self.data)}]}
        if path.suffix == ".gltf":
            document["buffers"][0]["uri"] = (
                "data:application/octet-stream;base64," + base64.b64encode(self.data).decode()
            )
            path.write_text(json.dumps(document))
            return path
        text = json.dumps(document).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
        chunks += struct.pack("<II", len(self.data), 0x004E4942) + self.data
        path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
        return path
