"""glTF 2.0 (.glb and .gltf): the scene at rest as one mesh.

Nodes are flattened with their transforms; skins stand in their resting pose and morph targets at their default
weights, as a viewer shows them before an animation plays. Cameras, lights, lines and points are left out.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trellis.encoding.readers.assemble import MeshPart, assemble
from trellis.encoding.readers.files import SourceFiles
from trellis.encoding.readers.gltf_accessors import GltfDocument, parse_document
from trellis.encoding.readers.gltf_materials import OLD_GLOSS, TRANSFORM, WEBP, MaterialReader
from trellis.encoding.source_mesh import SourceMesh
from trellis.errors import InvalidInputError

TRIANGLES, STRIP, FAN = 4, 5, 6
UNDERSTOOD = {TRANSFORM, WEBP, OLD_GLOSS, "KHR_mesh_quantization", "KHR_lights_punctual"}
MAX_DEPTH = 256  # of the tree of nodes


def read_gltf(files: SourceFiles) -> SourceMesh:
    """Read a .glb or .gltf file. Raises InvalidInputError naming what is damaged, missing, remote or compressed."""
    document = parse_document(files)
    try:
        _check_extensions(document)
        transforms = _global_transforms(document)
        materials = MaterialReader(document)
        parts = [part for index in transforms for part in _node_parts(document, index, transforms, materials)]
    except InvalidInputError:
        raise
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise document.damaged(f"{type(error).__name__} {error}") from error
    return assemble(parts, files, materials=materials.materials, textures=materials.textures)


def _check_extensions(document: GltfDocument) -> None:
    required = document.json.get("extensionsRequired", [])
    strange = sorted(name for name in required if name not in UNDERSTOOD and not str(name).startswith("KHR_materials_"))
    if strange:
        raise InvalidInputError(
            f"{document.files.path.name} needs {', '.join(strange)}, which is not read: save it again without "
            "compression or special extensions."
        )


def _local_transform(node: dict[str, Any]) -> NDArray[np.float64]:
    if "matrix" in node:
        return np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
    x, y, z, w = np.array(node.get("rotation", (0, 0, 0, 1)), dtype=np.float64)
    length = x * x + y * y + z * z + w * w
    s = 2 / length if length > 0 else 0.0
    result = np.eye(4)
    result[:3, :3] = [
        [1 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)],
        [s * (x * y + w * z), 1 - s * (x * x + z * z), s * (y * z - w * x)],
        [s * (x * z - w * y), s * (y * z + w * x), 1 - s * (x * x + y * y)],
    ]
    result[:3, :3] *= np.array(node.get("scale", (1, 1, 1)), dtype=np.float64).reshape(3)
    result[:3, 3] = np.array(node.get("translation", (0, 0, 0)), dtype=np.float64).reshape(3)
    return result


def _global_transforms(document: GltfDocument) -> dict[int, NDArray[np.float64]]:
    """Matrices [4, 4] of the nodes of the scene, in the order of the tree (all roots when no scene is stated)."""
    nodes = document.json.get("nodes", [])
    if "scenes" in document.json:
        roots = document.entry("scenes", document.json.get("scene", 0)).get("nodes", [])
    else:
        children = {child for node in nodes for child in node.get("children", [])}
        roots = [index for index in range(len(nodes)) if index not in children]
    result: dict[int, NDArray[np.float64]] = {}
    waiting = [(root, np.eye(4), 0) for root in reversed(roots)]
    while waiting:
        index, above, depth = waiting.pop()
        node = document.entry("nodes", index)
        if index in result or depth > MAX_DEPTH:
            raise document.damaged(f"node {index} is reached twice, or the nodes are nested too deeply")
        result[index] = above @ _local_transform(node)
        waiting += [(child, result[index], depth + 1) for child in reversed(node.get("children", []))]
    return result


def _node_parts(
    document: GltfDocument, index: int, transforms: dict[int, NDArray[np.float64]], materials: MaterialReader
) -> Iterator[MeshPart]:
    node = document.entry("nodes", index)
    if "mesh" not in node:
        return
    mesh = document.entry("meshes", node["mesh"])
    weights = node.get("weights", mesh.get("weights", []))
    joints = _joint_matrices(document, node["skin"], transforms) if "skin" in node else None
    for primitive in mesh["primitives"]:
        attributes = primitive["attributes"]
        if "POSITION" not in attributes:
            continue
        positions = _morphed(document, primitive, weights)
        faces = _faces(document, primitive, len(positions))
        if joints is not None and "JOINTS_0" in attributes:
            matrices = _skin_matrices(document, attributes, joints, len(positions))
            positions = np.einsum("nij,nj->ni", matrices[:, :3, :3], positions) + matrices[:, :3, 3]
            mirrored = False
        else:
            matrix = transforms[index]
            positions = positions @ matrix[:3, :3].T + matrix[:3, 3]
            mirrored = bool(np.linalg.det(matrix[:3, :3]) < 0)
        material, use = materials.read(primitive.get("material"))
        uvs = _attribute(document, attributes, f"TEXCOORD_{use.coordinates}", (2,), len(positions))
        yield MeshPart(
            vertices=positions,
            faces=faces[:, ::-1] if mirrored else faces,
            uvs=None if uvs is None else use.move(uvs),
            colors=_attribute(document, attributes, "COLOR_0", (3, 4), len(positions)),
            material=material,
        )


def _attribute(
    document: GltfDocument, attributes: dict[str, int], name: str, widths: tuple[int, ...], count: int
) -> NDArray | None:
    """Values [count, width] of an attribute, or None when it is not there."""
    if name not in attributes:
        return None
    kinds = {2: "VEC2", 3: "VEC3", 4: "VEC4"}
    kind = document.entry("accessors", attributes[name])["type"]
    width = next((width for width in widths if kinds[width] == kind), widths[0])
    values = document.accessor(attributes[name], width=width)
    if len(values) != count:
        raise document.damaged(f"{name} has {len(values)} entries for {count} vertices")
    return values


def _morphed(document: GltfDocument, primitive: dict[str, Any], weights: list[float]) -> NDArray[np.float64]:
    positions = document.accessor(primitive["attributes"]["POSITION"], width=3).astype(np.float64)
    for target, weight in zip(primitive.get("targets", []), weights):
        if "POSITION" in target and weight:
            offsets = document.accessor(target["POSITION"], width=3)
            if len(offsets) != len(positions):
                raise document.damaged("a morph target has another number of vertices than its mesh")
            positions = positions + float(weight) * offsets
    return positions


def _joint_matrices(
    document: GltfDocument, skin: int, transforms: dict[int, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Matrices [J, 4, 4] from the resting mesh to the world, one a joint."""
    entry = document.entry("skins", skin)
    joints = entry["joints"]
    if any(joint not in transforms for joint in joints):
        raise document.damaged("a joint of a skin is not in the scene")
    world = np.stack([transforms[joint] for joint in joints])
    if "inverseBindMatrices" not in entry:
        return world
    inverse = document.accessor(entry["inverseBindMatrices"], width=16)
    if len(inverse) < len(joints):
        raise document.damaged("a skin has fewer matrices than joints")
    return world @ inverse[: len(joints)].reshape(-1, 4, 4).transpose(0, 2, 1)


def _skin_matrices(
    document: GltfDocument, attributes: dict[str, int], joints: NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    """The weighted mean [count, 4, 4] of the joints of each vertex."""
    result, total = np.zeros((count, 4, 4)), np.zeros((count, 1, 1))
    for number in range(len(attributes)):
        places = _attribute(document, attributes, f"JOINTS_{number}", (4,), count)
        weights = _attribute(document, attributes, f"WEIGHTS_{number}", (4,), count)
        if places is None or weights is None:
            break
        if len(places) and not 0 <= places.min() <= places.max() < len(joints):
            raise document.damaged("a vertex names a joint that is not there")
        for place, weight in zip(places.astype(np.int64).T, weights.T):
            result += weight[:, None, None] * joints[place]
            total += weight[:, None, None]
    # Without weights a vertex hangs on the first joint.
    return np.where(total > 0, result / np.where(total > 0, total, 1), joints[0])


def _faces(document: GltfDocument, primitive: dict[str, Any], count: int) -> NDArray[np.int64]:
    """Triangles [F, 3] of a primitive; none for points and lines."""
    mode = primitive.get("mode", TRIANGLES)
    if mode not in (TRIANGLES, STRIP, FAN):
        return np.zeros((0, 3), np.int64)
    if "indices" in primitive:
        order = document.accessor(primitive["indices"], width=1)[:, 0].astype(np.int64)
    else:
        order = np.arange(count)
    if mode == TRIANGLES:
        if len(order) % 3:
            raise document.damaged(f"{len(order)} corners do not make triangles")
        return order.reshape(-1, 3)
    if len(order) < 3:
        return np.zeros((0, 3), np.int64)
    if mode == FAN:
        return np.stack([np.full(len(order) - 2, order[0]), order[1:-1], order[2:]], 1)
    faces = np.stack([order[:-2], order[1:-1], order[2:]], 1)
    faces[1::2] = faces[1::2, [1, 0, 2]]
    return faces
