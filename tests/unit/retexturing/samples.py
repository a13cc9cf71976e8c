"""Files with known contents to repaint, and an asset that gives their colours: one for above and one for below."""

from pathlib import Path

import numpy as np
import torch

from tests.unit.encoding.meshes import GltfBuilder
from tests.unit.export.shapes import sphere
from tests.unit.export.test_texture import shell_of_gaussians
from trellis.asset import Asset
from trellis.encoding.load import load_mesh
from trellis.progress import Progress
from trellis.retexturing.placement import PlacedMesh
from trellis.retexturing.retexture import Retextured, retextured

ABOVE, BELOW = (0.1, 0.7, 0.2), (0.1, 0.2, 0.8)
OLD = np.full((256, 512, 3), (200, 30, 30), np.uint8)
HALVES = ((1.0, 0.0), (0.0, -1.0))  # sine of the highest and of the lowest latitude
RADIUS = 0.475


def half_globe(
    high: float, low: float, *, rows: int = 12, columns: int = 24
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices [V, 3] of a part of a globe (y up), uvs [V, 2] that map it onto the whole picture, and faces [F, 3]."""
    v, u = (
        grid.reshape(-1) for grid in np.meshgrid(*(np.linspace(0, 1, n + 1) for n in (rows, columns)), indexing="ij")
    )
    latitude = np.arcsin(high) + (np.arcsin(low) - np.arcsin(high)) * v
    around = 2 * np.pi * u
    points = np.stack([np.cos(latitude) * np.sin(around), np.sin(latitude), np.cos(latitude) * np.cos(around)], 1)
    first = (np.arange(rows)[:, None] * (columns + 1) + np.arange(columns)).reshape(-1)
    a, b, c, d = first, first + columns + 1, first + columns + 2, first + 1
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    return RADIUS * points, np.stack([u, v], 1), faces


def globe(path: Path, *, textured: bool = True, vertex_colors: bool = False, rigged: bool = False) -> Path:
    """A globe of two materials, one for each half; `rigged` with a skin and an animation, and a normal map."""
    builder = GltfBuilder()
    normal = builder.texture(np.full((64, 64, 3), (128, 128, 255), np.uint8)) if rigged else None
    primitives = []
    for number, half in enumerate(HALVES):
        points, uvs, faces = half_globe(*half)
        attributes = {
            "POSITION": builder.accessor(
                points.astype(np.float32), min=points.min(0).tolist(), max=points.max(0).tolist()
            )
        }
        attributes["TEXCOORD_0"] = builder.accessor(uvs.astype(np.float32))
        if vertex_colors:
            attributes["COLOR_0"] = builder.accessor(np.full((len(points), 4), 60, np.uint8), normalized=True)
        if rigged:
            normals = (points / RADIUS).astype(np.float32)
            east = np.stack([np.cos(2 * np.pi * uvs[:, 0]), 0 * uvs[:, 0], -np.sin(2 * np.pi * uvs[:, 0])], 1)
            attributes["NORMAL"] = builder.accessor(normals)
            attributes["TANGENT"] = builder.accessor(
                np.pad(east, ((0, 0), (0, 1)), constant_values=1).astype(np.float32)
            )
            attributes["JOINTS_0"] = builder.accessor(np.zeros((len(points), 4), np.uint8))
            attributes["WEIGHTS_0"] = builder.accessor(np.tile(np.float32([1, 0, 0, 0]), (len(points), 1)))
        surface = {"baseColorFactor": [0.5, 0.5, 0.5, 1.0], "roughnessFactor": 0.4}
        if textured:
            surface["baseColorTexture"] = {"index": builder.texture(OLD)}
        more = {} if normal is None else {"normalTexture": {"index": normal}}
        material = builder.add("materials", name=f"half {number}", pbrMetallicRoughness=surface, **more)
        indices = builder.accessor(faces.reshape(-1).astype(np.uint16))
        primitives.append({"attributes": attributes, "indices": indices, "material": material})
    mesh = builder.add("meshes", primitives=primitives)
    if rigged:
        joint = builder.node(name="joint")
        inverse = builder.accessor(np.eye(4, dtype=np.float32).reshape(1, 16))
        skin = builder.add("skins", joints=[joint], inverseBindMatrices=inverse)
        root = builder.node(mesh=mesh, skin=skin)
        times = builder.accessor(np.float32([0, 1]), min=[0], max=[1])
        turns = builder.accessor(np.float32([[0, 0, 0, 1], [0, 1, 0, 0]]))
        builder.add(
            "animations",
            samplers=[{"input": times, "output": turns}],
            channels=[{"sampler": 0, "target": {"node": joint, "path": "rotation"}}],
        )
        builder.add("scenes", nodes=[root, joint])
    else:
        builder.add("scenes", nodes=[builder.node(mesh=mesh)])
    builder.json["scene"] = 0
    return builder.write(path)


def obj_globe(path: Path, *, materials: bool = True, mirrored: bool = False) -> Path:
    """The globe as OBJ (y up), with a library and a bump map beside it, or none; `mirrored`: one half on the other."""
    lines, start = [b"# a globe\n", b"mtllib old parts.mtl\n" if materials else b""], 1
    for number, half in enumerate(HALVES):
        points, uvs, faces = half_globe(*half)
        uvs = uvs if mirrored else uvs * (1, 0.5) + (0, 0.5 * number)
        lines += [b"v %.6f %.6f %.6f\r\n" % tuple(row) for row in points]
        lines += [b"vt %.6f %.6f\n" % (u, 1 - v) for u, v in uvs]
        lines += [b"usemtl half %d\n" % number] if materials else []
        lines += [b"f %s\n" % b" ".join(b"%d/%d" % (corner, corner) for corner in row) for row in faces + start]
        start += len(points)
    path.write_bytes(b"".join(lines))
    if materials:
        both = "".join(
            f"newmtl half {n}\nKd 1 0 0\nNs 20\nmap_Kd -s 1 1 1 red.png\nmap_Bump -bm 0.5 my bump.png\n" for n in (0, 1)
        )
        path.with_name("old parts.mtl").write_text(both)
        path.with_name("my bump.png").write_bytes(b"a bump")
    return path


def two_colored(*, resolution: int = 32) -> Asset:
    """An asset in the place of the globe, ABOVE and BELOW in colour, without a picture."""
    shell = sphere(5, radius=RADIUS)
    colors = torch.where(shell.vertices[:, 2:] > 0, torch.tensor(ABOVE), torch.tensor(BELOW))
    nothing = torch.zeros(0, 3, dtype=torch.int32)
    return Asset(shell_of_gaussians(shell, colors), None, None, nothing, torch.zeros(0, 8), resolution, ())


def repaint(path: Path, *, up: str = "auto", front: str = "0", **options: object) -> Retextured:
    """The file at `path` in the colours of `two_colored`."""
    placed = PlacedMesh.create(load_mesh(path, up=up), None, front=front, local=True, progress=Progress())
    return retextured(path, placed, two_colored(), progress=Progress(), **options)  # type: ignore[arg-type]
