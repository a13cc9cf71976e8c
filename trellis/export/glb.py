"""GLB files: glTF 2.0 in one binary file, byte for byte the same for the same mesh."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trellis.atomic import write_bytes
from trellis.errors import InvalidInputError
from trellis.export.options import PICTURE_FORMATS
from trellis.export.pictures import png_bytes, webp_bytes
from trellis.export.tangents import vertex_tangents
from trellis.geometry.axes import from_gltf_frame, to_gltf_frame
from trellis.geometry.cameras import Cameras
from trellis.geometry.similarity import Similarity, quarter_turned
from trellis.representations import TexturedMesh

GENERATOR = "trellis-desktop"
ROUGHNESS = 0.9
WEBP_EXTENSION = "EXT_texture_webp"
# Numbers of the glTF 2.0 specification.
FLOAT, UNSIGNED_SHORT, UNSIGNED_INT = 5126, 5123, 5125
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
LINEAR, LINEAR_MIPMAP_LINEAR, REPEAT = 9729, 9987, 10497
GLB_MAGIC, GLB_VERSION, JSON_CHUNK, BINARY_CHUNK = 0x46546C67, 2, 0x4E4F534A, 0x004E4942
MAX_SHORT_INDEX = 65534  # 65535 itself is the primitive restart value, which no index may use


def write_glb(textured: TexturedMesh, path: str | Path, *, texture_format: str = "png", notice: str = "") -> Path:
    """Write `textured` as a GLB file (y-up, front towards +z) and return its path; see `glb_bytes`."""
    return write_bytes(path, glb_bytes(textured, texture_format=texture_format, notice=notice))


def glb_bytes(textured: TexturedMesh, *, texture_format: str = "png", notice: str = "") -> bytes:
    """The GLB file of `textured`: positions, normals, texture coordinates, one material with its pictures embedded.

    World z-up becomes glTF y-up. The material is no metal and matte; a normal map brings tangents with it.
    Where the input picture was taken from is kept in the extras of the node, for whoever compares the two; `notice`, a
    line that the model's licence asks for, in those of the asset.
    texture_format "webp" makes the file several times smaller and needs a reader of EXT_texture_webp. Raises
    InvalidInputError for an empty mesh or an unknown format.
    """
    if texture_format not in PICTURE_FORMATS:
        raise InvalidInputError(
            f"Unknown texture format {texture_format!r}; choose one of {', '.join(PICTURE_FORMATS)}."
        )
    if not len(textured.faces):
        raise InvalidInputError("An empty mesh cannot be written as GLB.")
    document = _Document()
    primitive = _primitive(textured, document)
    material: dict[str, Any] = {
        "name": "surface",
        "pbrMetallicRoughness": {
            "baseColorTexture": {"index": document.add_picture("base_color", textured.texture, texture_format)},
            "metallicFactor": 0.0,
            "roughnessFactor": ROUGHNESS,
        },
    }
    if textured.normal_map is not None:
        material["normalTexture"] = {"index": document.add_picture("normal", textured.normal_map, texture_format)}
    if textured.double_sided:
        material["doubleSided"] = True
    camera = textured.picture_camera
    extras = {} if camera is None else {"picture_camera": picture_camera(camera)}
    return document.container(primitive, material, extras, {"extras": {"notice": notice}} if notice else {})


def picture_camera(camera: Cameras) -> dict[str, list[float]]:
    """A camera as the extras of a node keep it.

    matrix: from the camera, which looks along -z with y up, to the node, column by column, as glTF writes matrices;
    intrinsics: focal lengths across and down, and the centre from the left and the top, in sides of the picture.
    """
    to_world = torch.linalg.inv(camera.extrinsics[0].double())
    columns = [to_gltf_frame(sign * to_world[:3, axis]) for axis, sign in enumerate((1, -1, -1, 1))]
    rows = torch.cat([torch.stack(columns), torch.tensor([[0.0], [0.0], [0.0], [1.0]])], dim=1)
    inner = camera.intrinsics[0]
    intrinsics = [inner[0, 0], inner[1, 1], inner[0, 2], inner[1, 2]]
    return {
        "matrix": [round(value, 7) for value in rows.flatten().tolist()],
        "intrinsics": [round(value.item(), 7) for value in intrinsics],
    }


def read_picture_camera(path: Path, *, to_cube: Similarity) -> Cameras | None:
    """The camera that `glb_bytes` kept in a file, in the cube into which `to_cube` brings the file's world; None if
    there is none.
    """
    data = path.read_bytes()
    document = json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]])
    kept = document["nodes"][0].get("extras", {}).get("picture_camera")
    if kept is None:
        return None
    columns = from_gltf_frame(torch.tensor(kept["matrix"], dtype=torch.float64).reshape(4, 4)[:, :3])
    right, up, back = (quarter_turned(column, to_cube.turns) for column in columns[:3])
    rotation = torch.stack([right, -up, -back])
    extrinsics = torch.eye(4, dtype=torch.float64)
    extrinsics[:3, :3] = rotation
    extrinsics[:3, 3] = -rotation @ to_cube.apply(columns[3])
    across, down, x, y = kept["intrinsics"]
    intrinsics = torch.tensor([[across, 0, x], [0, down, y], [0, 0, 1.0]])
    return Cameras(extrinsics.float()[None], intrinsics[None])


class _Document:
    """A glTF document under construction, and its binary chunk of pieces aligned to 4 bytes."""

    def __init__(self) -> None:
        self.binary = bytearray()
        self.views: list[dict[str, int]] = []
        self.accessors: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []
        self.textures: list[dict[str, Any]] = []

    def _add(self, piece: bytes, *, target: int | None = None) -> int:
        """Append `piece` and return the number of its buffer view."""
        view = {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(piece)}
        if target is not None:
            view["target"] = target
        self.views.append(view)
        self.binary += piece + b"\0" * (-len(piece) % 4)
        return len(self.views) - 1

    def add_vertices(self, values: NDArray[np.floating], *, bounds: bool = False) -> int:
        """Append a float32 attribute [V, k] and return the number of its accessor."""
        data = np.ascontiguousarray(values, dtype="<f4") + np.float32(0)  # -0 becomes 0
        accessor: dict[str, Any] = {
            "bufferView": self._add(data.tobytes(), target=ARRAY_BUFFER),
            "componentType": FLOAT,
            "count": len(data),
            "type": f"VEC{data.shape[1]}",
        }
        if bounds:
            accessor |= {"min": data.min(axis=0).tolist(), "max": data.max(axis=0).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def add_indices(self, faces: NDArray[np.int32], vertex_count: int) -> int:
        """Append the triangles [F, 3] in the smallest index type that fits and return the number of the accessor."""
        small = vertex_count - 1 <= MAX_SHORT_INDEX
        indices = np.ascontiguousarray(faces, dtype="<u2" if small else "<u4")
        view = self._add(indices.tobytes(), target=ELEMENT_ARRAY_BUFFER)
        component = UNSIGNED_SHORT if small else UNSIGNED_INT
        self.accessors.append({"bufferView": view, "componentType": component, "count": indices.size, "type": "SCALAR"})
        return len(self.accessors) - 1

    def add_picture(self, name: str, picture: NDArray[np.uint8], texture_format: str) -> int:
        """Append a picture and return the number of its texture. Directions are kept exactly, colours may be lossy."""
        webp = texture_format == "webp"
        data = webp_bytes(picture, lossless=name == "normal") if webp else png_bytes(picture)
        self.images.append({"bufferView": self._add(data), "mimeType": f"image/{texture_format}", "name": name})
        source = {"source": len(self.images) - 1}
        self.textures.append({"sampler": 0} | ({"extensions": {WEBP_EXTENSION: source}} if webp else source))
        return len(self.textures) - 1

    def container(
        self, primitive: dict[str, Any], material: dict[str, Any], extras: dict[str, Any], about: dict[str, Any]
    ) -> bytes:
        """The GLB file of one object of one primitive and one material, with the extras of its node; `about` it all."""
        webp = any("extensions" in texture for texture in self.textures)
        document = {
            "asset": {"version": "2.0", "generator": GENERATOR} | about,
            # There is no second picture to fall back on, so the extension is required, not only used.
            **({"extensionsUsed": [WEBP_EXTENSION], "extensionsRequired": [WEBP_EXTENSION]} if webp else {}),
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0, "name": "object"} | ({"extras": extras} if extras else {})],
            "meshes": [{"name": "object", "primitives": [primitive]}],
            "materials": [material],
            "textures": self.textures,
            "samplers": [{"magFilter": LINEAR, "minFilter": LINEAR_MIPMAP_LINEAR, "wrapS": REPEAT, "wrapT": REPEAT}],
            "images": self.images,
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [{"byteLength": len(self.binary)}],
        }
        return glb_container(document, bytes(self.binary))


def glb_container(document: Mapping[str, Any], binary: bytes) -> bytes:
    """The GLB file of a glTF document and its binary chunk, whose length is a multiple of 4."""
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    return b"".join(
        [
            struct.pack("<III", GLB_MAGIC, GLB_VERSION, 12 + 8 + len(text) + 8 + len(binary)),
            struct.pack("<II", len(text), JSON_CHUNK),
            text,
            struct.pack("<II", len(binary), BINARY_CHUNK),
            binary,
        ]
    )


def _primitive(textured: TexturedMesh, document: _Document) -> dict[str, Any]:
    normals = _unit(textured.normals)
    attributes = {
        "POSITION": document.add_vertices(gltf_frame(textured.vertices), bounds=True),
        "NORMAL": document.add_vertices(gltf_frame(normals)),
        "TEXCOORD_0": document.add_vertices(textured.uvs),
    }
    if textured.normal_map is not None:
        # Without tangents every viewer would make up its own, and shade the map a little differently.
        tangents = vertex_tangents(textured.vertices, normals, uvs=textured.uvs, faces=textured.faces)
        turned = np.concatenate([_unit(gltf_frame(tangents[:, :3])), tangents[:, 3:]], axis=1)
        attributes["TANGENT"] = document.add_vertices(turned)
    indices = document.add_indices(textured.faces, len(textured.vertices))
    return {"attributes": attributes, "indices": indices, "material": 0}


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows of length 1: float32 rounding may leave a length off by more than readers allow."""
    exact = vectors.astype(np.float64)
    return (exact / np.linalg.norm(exact, axis=1, keepdims=True)).astype(np.float32)


def gltf_frame(points: NDArray[np.floating]) -> NDArray[np.float32]:
    """World points or directions [n, 3] (z-up) in the y-up frame of glTF, OBJ and USD files."""
    return to_gltf_frame(torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32))).numpy()
