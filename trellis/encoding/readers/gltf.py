"""glTF 2.0 (.glb and .gltf): the scene at rest as one mesh.

Nodes are flattened with their transforms; skins stand in their resting pose and morph targets at their default
weights, as a viewer shows them before an animation plays. Cameras, lights, lines and points are left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trellis.encoding.readers.files import SourceFiles
from trellis.encoding.readers.gltf_document import GltfDocument, parse_document
from trellis.encoding.readers.gltf_materials import OLD_GLOSS, TRANSFORM, WEBP, MaterialReader
from trellis.encoding.readers.parts import MeshPart, assemble, cut_polygons
from trellis.encoding.source_mesh import SourceMesh
from trellis.errors import InvalidInputError
from trellis.geometry.rotations import quaternion_to_matrix

TRIANGLES, STRIP, FAN = 4, 5, 6
UNDERSTOOD = {TRANSFORM, WEBP, OLD_GLOSS, "KHR_mesh_quantization", "KHR_lights_punctual"}
MAX_DEPTH = 256  # of the tree of nodes
LONGEST_NOTICE = 200  # characters
SKINNED_TOGETHER = 1 << 16  # vertices; each has a matrix of its own meanwhile


def read_gltf(files: SourceFiles) -> SourceMesh:
    """Read a .glb or .gltf file. Raises InvalidInputError naming what is damaged, missing, remote or compressed."""
    document = parse_document(files)
    try:
        _check_extensions(document)
        transforms = global_transforms(document)
        _check_size(document, transforms)
        materials = MaterialReader(document)
        parts = [part for index in transforms for part in _node_parts(document, index, transforms, materials)]
        notice = document.json["asset"].get("extras", {}).get("notice") if "asset" in document.json else None
    except InvalidInputError:
        raise
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise document.damaged(f"{type(error).__name__} {error}") from error
    made = assemble(parts, files, materials=materials.materials, textures=materials.textures)
    return replace(made, notice=notice[:LONGEST_NOTICE]) if isinstance(notice, str) else made


def _check_extensions(document: GltfDocument) -> None:
    required = document.json.get("extensionsRequired", [])
    strange = sorted(name for name in required if name not in UNDERSTOOD and not str(name).startswith("KHR_materials_"))
    if strange:
        raise InvalidInputError(
            f"{document.files.path.name} needs {', '.join(strange)}, which is not read: save it again without "
            "compression or special extensions."
        )


def _check_size(document: GltfDocument, nodes: dict[int, NDArray]) -> None:
    """Hold what the scene states, each mesh as often as it is placed, against the limits before anything is read."""
    vertices = faces = parts = 0
    for node in (document.entry("nodes", index) for index in nodes):
        for primitive in document.entry("meshes", node["mesh"])["primitives"] if "mesh" in node else ():
            count = document.count(primitive["attributes"]["POSITION"]) if "POSITION" in primitive["attributes"] else 0
            corners = document.count(primitive["indices"]) if "indices" in primitive else count
            vertices, parts = vertices + count, parts + 1
            faces += corners // 3 if primitive.get("mode", TRIANGLES) == TRIANGLES else corners
            for name, value in (("vertices", vertices), ("faces", faces), ("parts", parts)):
                document.files.limits.check(name, value)


def _local_transform(node: dict[str, Any]) -> NDArray[np.float64]:
    if "matrix" in node:
        return np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
    result = np.eye(4)
    if any(node.get("rotation", ())):
        x, y, z, w = (float(value) for value in node["rotation"])
        result[:3, :3] = quaternion_to_matrix(torch.tensor([w, x, y, z], dtype=torch.float64)).numpy()
    result[:3, :3] *= np.array(node.get("scale", (1, 1, 1)), dtype=np.float64).reshape(3)
    result[:3, 3] = np.array(node.get("translation", (0, 0, 0)), dtype=np.float64).reshape(3)
    return result


def global_transforms(document: GltfDocument) -> dict[int, NDArray[np.float64]]:
    """Matrices [4, 4] of the nodes of the scene, in the order of the tree (all roots when no scene is stated)."""
    nodes = document.json.get("nodes", [])
    document.files.limits.check("parts", len(nodes))
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


@dataclass(frozen=True)
class PlacedPrimitive:
    """A primitive of a node: positions [V, 3] in the frame of the scene, faces [F, 3] in the order of the file.

    matrix [4, 4]: the node's, None where joints place the vertices instead.
    """

    entry: dict[str, Any]
    positions: NDArray[np.float64]
    faces: NDArray[np.int64]
    matrix: NDArray[np.float64] | None

    @property
    def mirrored(self) -> bool:
        """Whether its faces, in their order, are seen from behind."""
        return self.matrix is not None and bool(np.linalg.det(self.matrix[:3, :3]) < 0)


def placed_primitives(document: GltfDocument, index: int, transforms: dict[int, NDArray]) -> Iterator[PlacedPrimitive]:
    """The primitives of a node that have vertices."""
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
        count = len(positions)
        faces = _faces(document, primitive, count)
        if joints is not None and "JOINTS_0" in attributes:
            yield PlacedPrimitive(primitive, _skinned(document, attributes, joints, positions), faces, None)
        else:
            matrix = transforms[index]
            yield PlacedPrimitive(primitive, positions @ matrix[:3, :3].T + matrix[:3, 3], faces, matrix)


def _node_parts(
    document: GltfDocument, index: int, transforms: dict[int, NDArray], materials: MaterialReader
) -> Iterator[MeshPart]:
    """The primitives of a node, in the frame of the scene."""
    for placed in placed_primitives(document, index, transforms):
        primitive, attributes, count = placed.entry, placed.entry["attributes"], len(placed.positions)
        faces = placed.faces[:, ::-1] if placed.mirrored else placed.faces
        material, use = materials.read(primitive.get("material"))
        uvs = colors = None
        with np.errstate(over="ignore", invalid="ignore"):  # `assemble` finds what does not fit float32
            if (place := attributes.get(f"TEXCOORD_{use.coordinates}")) is not None:
                uvs = document.accessor(place, "VEC2", count=count) @ use.matrix[:, :2].T + use.matrix[:, 2]
                uvs = uvs.astype(np.float32)
            if (place := attributes.get("COLOR_0")) is not None:
                colors = document.accessor(place, "VEC3", "VEC4", count=count).astype(np.float32)
            yield MeshPart(
                placed.positions.astype(np.float32), faces.astype(np.uint32), uvs, colors, material,
                _normals(document, placed),
            )  # fmt: skip


def _normals(document: GltfDocument, placed: PlacedPrimitive) -> NDArray[np.float64] | None:
    """Normals [V, 3] in the frame of the scene; none of parts that joints or morph targets move."""
    place, matrix = placed.entry["attributes"].get("NORMAL"), placed.matrix
    if place is None or matrix is None or "targets" in placed.entry:
        return None
    a, b, c = matrix[:3, :3].T
    # The cofactors turn normals right under any scaling, also where there is no inverse.
    cofactors = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], 1)
    return document.accessor(place, "VEC3", count=len(placed.positions)) @ cofactors.T


def _morphed(document: GltfDocument, primitive: dict[str, Any], weights: list[float]) -> NDArray[np.float64]:
    positions = document.accessor(primitive["attributes"]["POSITION"], "VEC3").astype(np.float64)
    for target, weight in zip(primitive.get("targets", []), weights):
        if "POSITION" in target and weight:
            positions = positions + float(weight) * document.accessor(target["POSITION"], "VEC3", count=len(positions))
    return positions


def _joint_matrices(document: GltfDocument, skin: int, transforms: dict[int, NDArray]) -> NDArray[np.float64]:
    """Matrices [J, 4, 4] from the resting mesh to the world, one a joint."""
    entry = document.entry("skins", skin)
    joints = entry["joints"]
    if any(joint not in transforms for joint in joints):
        raise document.damaged("a joint of a skin is not in the scene")
    world = np.stack([transforms[joint] for joint in joints])
    if "inverseBindMatrices" not in entry:
        return world
    inverse = document.accessor(entry["inverseBindMatrices"], "MAT4")
    if len(inverse) < len(joints):
        raise document.damaged("a skin has fewer matrices than joints")
    return world @ inverse[: len(joints)].reshape(-1, 4, 4).transpose(0, 2, 1)


def _skinned(
    document: GltfDocument, attributes: dict[str, int], joints: NDArray[np.float64], positions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Each vertex moved by the weighted mean of its joints; without weights it hangs on the first."""
    places, weights = [], []
    for number in range(len(attributes)):
        if not {f"JOINTS_{number}", f"WEIGHTS_{number}"} <= attributes.keys():
            break
        places.append(document.accessor(attributes[f"JOINTS_{number}"], "VEC4", count=len(positions)).astype(np.int64))
        weights.append(document.accessor(attributes[f"WEIGHTS_{number}"], "VEC4", count=len(positions)))
    if not places:
        return positions @ joints[0, :3, :3].T + joints[0, :3, 3]
    place, weight = np.concatenate(places, 1), np.concatenate(weights, 1)
    if len(place) and not 0 <= place.min() <= place.max() < len(joints):
        raise document.damaged("a vertex names a joint that is not there")
    total = weight.sum(1, keepdims=True)
    weight = np.where(total > 0, weight / np.where(total > 0, total, 1), np.arange(weight.shape[1]) == 0)
    place = np.where(total > 0, place, 0)
    moved = np.empty_like(positions)
    for start in range(0, len(positions), SKINNED_TOGETHER):
        rows = slice(start, start + SKINNED_TOGETHER)
        matrices = np.einsum("nk,nkij->nij", weight[rows], joints[place[rows], :3])
        moved[rows] = np.einsum("nij,nj->ni", matrices[:, :, :3], positions[rows]) + matrices[:, :, 3]
    return moved


def _faces(document: GltfDocument, primitive: dict[str, Any], count: int) -> NDArray[np.int64]:
    """Triangles [F, 3] of a primitive; none for points and lines."""
    mode = primitive.get("mode", TRIANGLES)
    if mode not in (TRIANGLES, STRIP, FAN):
        return np.zeros((0, 3), np.int64)
    indices = primitive.get("indices")
    order = np.arange(count) if indices is None else document.accessor(indices, "SCALAR")[:, 0].astype(np.int64)
    if mode == TRIANGLES:
        if len(order) % 3:
            raise document.damaged(f"{len(order)} corners do not make triangles")
        return order.reshape(-1, 3)
    if mode == FAN or len(order) < 3:
        return order[cut_polygons([len(order)])]
    faces = np.stack([order[:-2], order[1:-1], order[2:]], 1)
    faces[1::2] = faces[1::2, [1, 0, 2]]
    return faces
