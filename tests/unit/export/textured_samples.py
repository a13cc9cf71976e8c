"""Textured meshes that are known exactly, without unwrapping or baking."""

import numpy as np

from trellis.representations import TexturedMesh

SIDE = 64  # pixels of the texture
# Outward normal, direction of u and direction of v (downwards in the texture) of every side of the box.
SIDES = (
    ((1, 0, 0), (0, 1, 0), (0, 0, -1)),
    ((-1, 0, 0), (0, -1, 0), (0, 0, -1)),
    ((0, 1, 0), (-1, 0, 0), (0, 0, -1)),
    ((0, -1, 0), (1, 0, 0), (0, 0, -1)),
    ((0, 0, 1), (1, 0, 0), (0, -1, 0)),
    ((0, 0, -1), (1, 0, 0), (0, 1, 0)),
)
COLORS = ((220, 40, 40), (40, 200, 60), (50, 70, 230), (230, 210, 40), (30, 210, 220), (210, 60, 200))
EXTENTS = (0.6, 0.4, 0.8)


def textured_box(*, normal_map: bool = False, double_sided: bool = False) -> TexturedMesh:
    """A box around the origin, EXTENTS along x, y, z; side i has colour COLORS[i] in its own cell of a 3 x 2 grid."""
    vertices: list[np.ndarray] = []
    normals, uvs, faces = [], [], []
    texture = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    half = np.array(EXTENTS) / 2
    for side, (normal, along_u, along_v) in enumerate(SIDES):
        column, row = side % 3, side // 3
        texture[row * SIDE // 2 : (row + 1) * SIDE // 2, column * SIDE // 3 : (column + 1) * SIDE // 3 + 1] = COLORS[
            side
        ]
        start = len(vertices)
        for u, v in ((0, 0), (0, 1), (1, 1), (1, 0)):
            place = np.array(normal) + (2 * u - 1) * np.array(along_u) + (2 * v - 1) * np.array(along_v)
            vertices.append(place * half)
            normals.append(normal)
            uvs.append(((column + 0.1 + 0.8 * u) / 3, (row + 0.1 + 0.8 * v) / 2))
        faces += [(start, start + 1, start + 2), (start, start + 2, start + 3)]
    bumps = np.full_like(texture, 128)
    bumps[..., 2] = 255
    return TexturedMesh(
        vertices=np.array(vertices, dtype=np.float32),
        normals=np.array(normals, dtype=np.float32),
        uvs=np.array(uvs, dtype=np.float32),
        faces=np.array(faces, dtype=np.int32),
        texture=texture,
        double_sided=double_sided,
        normal_map=bumps if normal_map else None,
    )


def y_up(points: np.ndarray) -> np.ndarray:
    """World points [n, 3] as y-up files carry them."""
    x, y, z = points.T
    return np.stack([x, z, -y], axis=1)
