"""OBJ files with their material library and pictures: the oldest format that every modelling program reads."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trellis.atomic import write_bytes
from trellis.errors import InvalidInputError
from trellis.export.glb import ROUGHNESS, gltf_frame
from trellis.export.maps import map_names, plain_name, write_maps
from trellis.representations import TexturedMesh

MATERIAL = "surface"


def write_obj(textured: TexturedMesh, path: str | Path) -> dict[str, Path]:
    """Write `textured` as `path` (y-up), and beside it its material library and PNG maps; the paths by kind.

    Kinds are obj, mtl, base_color and, with a normal map, normal_map. The texture coordinates count upwards, as the
    format has it. Raises InvalidInputError for an empty mesh.
    """
    path = Path(path)
    names = map_names(textured, path.stem)
    material = path.with_name(f"{plain_name(path.stem)}.mtl")
    shape = obj_bytes(textured, material.name)
    written = write_maps(textured, path.parent, name=path.stem)
    written["mtl"] = write_bytes(material, mtl_bytes(names))
    written["obj"] = write_bytes(path, shape)
    return {kind: written[kind] for kind in ("obj", "mtl", *names)}


def obj_bytes(textured: TexturedMesh, material_file: str) -> bytes:
    """The OBJ file of `textured`; points that differ only in texture coordinates or normal are written once."""
    if not len(textured.faces):
        raise InvalidInputError("An empty mesh cannot be written as OBJ.")
    points, point = np.unique(gltf_frame(textured.vertices), axis=0, return_inverse=True)
    coordinates = textured.uvs * [1, -1] + [0, 1]
    corners = textured.faces.astype(np.int64)
    numbers = np.stack([point.reshape(-1)[corners], corners, corners], axis=2) + 1
    lines = [
        f"mtllib {material_file}\no object\n",
        _rows("v %.8f %.8f %.8f\n", points),
        _rows("vt %.8f %.8f\n", coordinates),
        _rows("vn %.7f %.7f %.7f\n", gltf_frame(textured.normals)),
        f"usemtl {MATERIAL}\ns 1\n",
        _rows("f %d/%d/%d %d/%d/%d %d/%d/%d\n", numbers.reshape(-1, 9)),
    ]
    return "".join(lines).encode()


def mtl_bytes(names: dict[str, str]) -> bytes:
    """The material library that shows the pictures `names` (by kind) on a matte surface that is no metal."""
    lines = [
        f"newmtl {MATERIAL}",
        "Kd 1 1 1",
        "Ks 0 0 0",
        "d 1",
        "illum 1",
        "Pm 0",
        f"Pr {ROUGHNESS}",
        f"map_Kd {names['base_color']}",
    ]
    if "normal_map" in names:
        lines.append(f"norm {names['normal_map']}")
    return ("\n".join(lines) + "\n").encode()


def _rows(template: str, values: NDArray) -> str:
    """`template` filled with every row of `values` [n, k]."""
    return (template * len(values)) % tuple(values.reshape(-1).tolist())
