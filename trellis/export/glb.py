"""GLB files: glTF 2.0 in one binary file, byte for byte the same for the same mesh."""

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from trellis.atomic import write_bytes
from trellis.errors import InvalidInputError
from trellis.export.textured import TexturedMesh
from trellis.geometry.axes import to_gltf_frame

GENERATOR = "trellis-desktop"
ROUGHNESS = 0.9
# Numbers of the glTF 2.0 specification.
FLOAT, UNSIGNED_SHORT, UNSIGNED_INT = 5126, 5123, 5125
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
LINEAR, LINEAR_MIPMAP_LINEAR, REPEAT = 9729, 9987, 10497
GLB_MAGIC, GLB_VERSION, JSON_CHUNK, BINARY_CHUNK = 0x46546C67, 2, 0x4E4F534A, 0x004E4942


def write_glb(textured: TexturedMesh, path: str | Path) -> Path:
    """Write `textured` as a GLB file (y-up, front towards +z) and return its path."""
    return write_bytes(path, glb_bytes(textured))


def glb_bytes(textured: TexturedMesh) -> bytes:
    """The GLB file of `textured`: positions, normals, texture coordinates, one material with the texture embedded.

    World z-up becomes glTF y-up. The material is no metal and matte. Raises InvalidInputError for an empty mesh.
    """
    if not len(textured.faces):
        raise InvalidInputError("An empty mesh cannot be written as GLB.")
    binary = _Binary()
    accessors = _accessors(textured, binary)
    image_view = binary.add(png_bytes(textured.texture))
    document = {
        "asset": {"version": "2.0", "generator": GENERATOR},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "object"}],
        "meshes": [
            {
                "name": "object",
                "primitives": [
                    {
                        "attributes": {"POSITION": 0, "NORMAL": 1, "TEXCOORD_0": 2},
                        "indices": 3,
                        "material": 0,
                    }
                ],
            }
        ],
        "materials": [_material(textured)],
        "textures": [{"sampler": 0, "source": 0}],
        "samplers": [{"magFilter": LINEAR, "minFilter": LINEAR_MIPMAP_LINEAR, "wrapS": REPEAT, "wrapT": REPEAT}],
        "images": [{"bufferView": image_view, "mimeType": "image/png", "name": "base_color"}],
        "accessors": accessors,
        "bufferViews": binary.views,
        "buffers": [{"byteLength": len(binary.data)}],
    }
    return _container(document, bytes(binary.data))


class _Binary:
    """The binary chunk under construction: pieces aligned to 4 bytes, and their buffer views."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, int]] = []

    def add(self, piece: bytes, *, target: int | None = None) -> int:
        """Append `piece` and return the number of its buffer view."""
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(piece)}
        if target is not None:
            view["target"] = target
        self.views.append(view)
        self.data += piece + b"\0" * (-len(piece) % 4)
        return len(self.views) - 1


def _accessors(textured: TexturedMesh, binary: _Binary) -> list[dict[str, Any]]:
    positions = _gltf_frame(textured.vertices)
    normals = _gltf_frame(textured.normals)
    # float32 rounding may leave a length off by more than readers allow.
    normals = (normals.astype(np.float64) / np.linalg.norm(normals.astype(np.float64), axis=1, keepdims=True)).astype(
        "<f4"
    )
    uvs = np.ascontiguousarray(textured.uvs, dtype="<f4")
    accessors = []
    for name, values, kind in (("p", positions, "VEC3"), ("n", normals, "VEC3"), ("t", uvs, "VEC2")):
        view = binary.add(values.tobytes(), target=ARRAY_BUFFER)
        accessor = {"bufferView": view, "componentType": FLOAT, "count": len(values), "type": kind}
        if name == "p":
            accessor |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
        accessors.append(accessor)
    # 65535 itself is the primitive restart value, which no index may use.
    small = len(positions) <= 65535
    indices = np.ascontiguousarray(textured.faces, dtype="<u2" if small else "<u4")
    view = binary.add(indices.tobytes(), target=ELEMENT_ARRAY_BUFFER)
    component = UNSIGNED_SHORT if small else UNSIGNED_INT
    accessors.append({"bufferView": view, "componentType": component, "count": indices.size, "type": "SCALAR"})
    return accessors


def _gltf_frame(points: NDArray[np.float32]) -> NDArray[np.float32]:
    turned = to_gltf_frame(torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32)))
    return turned.numpy().astype("<f4") + np.float32(0)  # -0 becomes 0


def _material(textured: TexturedMesh) -> dict[str, Any]:
    material: dict[str, Any] = {
        "name": "surface",
        "pbrMetallicRoughness": {
            "baseColorTexture": {"index": 0},
            "metallicFactor": 0.0,
            "roughnessFactor": ROUGHNESS,
        },
    }
    if textured.double_sided:
        material["doubleSided"] = True
    return material


def png_bytes(picture: NDArray[np.uint8]) -> bytes:
    """`picture` [H, W, 3] uint8 as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def _container(document: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    header = struct.pack("<III", GLB_MAGIC, GLB_VERSION, 12 + 8 + len(text) + 8 + len(binary))
    return b"".join(
        [header, struct.pack("<II", len(text), JSON_CHUNK), text, struct.pack("<II", len(binary), BINARY_CHUNK), binary]
    )
