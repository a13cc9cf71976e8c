"""Files made to take memory: each gets a sentence, or is read, and the peak of a process that reads it is measured."""

import base64
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.unit.encoding.meshes import TRIANGLE

MIB = 1 << 20
# One program reads all files, each in a fork of its own, whose peak of resident memory starts where it was forked.
PROGRAM = """
import json, os, resource, sys
import trimesh.exchange.stl  # once, here: it is not a cost of a file
from trellis.encoding.load import load_mesh
from trellis.errors import InvalidInputError

def memory(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name))

plain, *paths = sys.argv[1:]
for path in paths:
    if os.fork():
        os.wait()
        continue
    resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
    load_mesh(plain)  # a child has to map the libraries' pages anew, which is not a cost of a file either
    before = memory("VmRSS")
    try:
        said = f"{len(load_mesh(path).faces)} faces"
    except InvalidInputError as error:
        said = str(error)
    print(json.dumps([path, (memory("VmHWM") - before) >> 10, said]), flush=True)
    os._exit(0)
"""
POINTS = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"
CORNERS = b"\0" * 36
PLY = "element vertex {}\nproperty float x\nproperty float y\nproperty float z\nelement face {}\n"
LISTS = "property list uint int vertex_indices\n"
BINARY, ASCII = "ply\nformat binary_little_endian 1.0\n", "ply\nformat ascii 1.0\n"
END = "end_header\n"


class Hostile(NamedTuple):
    """A file, what is said of it, and the most memory (MiB) that it may take."""

    name: str
    content: str | bytes
    said: str
    most: int = 32


def inline(data: bytes) -> str:
    return "data:application/octet-stream;base64," + base64.b64encode(data).decode()


def gltf(data: bytes = TRIANGLE.tobytes(), *, count: int = 3, **changes: Any) -> str:
    """A document of one triangle list, with some of its entries replaced."""
    document = {
        "asset": {"version": "2.0"},
        "buffers": [{"byteLength": len(data), "uri": inline(data)}],
        "bufferViews": [{"buffer": 0, "byteLength": len(data)}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": count, "type": "VEC3"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
    }
    return json.dumps(document | changes)


def painted(uri: str) -> str:
    primitive = {"attributes": {"POSITION": 0}, "material": 0}
    surface = {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}
    return gltf(
        images=[{"uri": uri}], textures=[{"source": 0}], materials=[surface], meshes=[{"primitives": [primitive]}]
    )


def black_png(width: int, height: int, rows: int) -> bytes:
    """A picture of one bit a pixel that states a size and holds some of its rows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    body = zlib.compress(bytes(1 + width // 8) * rows, 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def zeros(**more: Any) -> dict[str, Any]:
    """An accessor without bytes behind it."""
    return {"componentType": 5126, "count": 10**12, "type": "VEC3", **more}


LARGE = np.zeros((99_999, 3), np.float32).tobytes()
SPARSE = {
    "count": 10**12,
    "indices": {"bufferView": 0, "componentType": 5125},
    "values": {"bufferView": 0},
}
MANY = 20_000
CASES = [
    Hostile("lines.obj", POINTS + "v\n" * (4 * MIB), "fewer than 3 numbers"),
    Hostile("stray.obj", POINTS + "f 1\n" * MIB, "no faces"),
    Hostile("corner.obj", POINTS + "f" + " 1" * (4 * MIB), "is longer than"),
    Hostile("index.obj", POINTS + f"f 1 2 {2**31 - 1}\n" * 1000, "not there"),
    Hostile("materials.obj", POINTS + "".join(f"usemtl {i}\nf 1 2 3\n" for i in range(30_000)), "30000 faces", 128),
    Hostile("names.obj", POINTS + "".join(f"usemtl {i}\n" for i in range(200_000)), "more than the limit of 100,000"),
    Hostile("libraries.obj", "".join(f"mtllib {i}\n" for i in range(200_000)), "more than the limit of 100,000"),
    Hostile("grid.obj", POINTS * 30_000 + "f 1 2 3\n" * 100_000, "100000 faces", 80),
    Hostile("vertices.ply", f"{BINARY}{PLY.format(10**12, 1)}{LISTS}{END}", "1,000,000,000,000 vertices"),
    Hostile("text.ply", f"{ASCII}{PLY.format(10**12, 1)}{LISTS}{END}0 0 0\n", "1,000,000,000,000 vertices"),
    Hostile("faces.ply", f"{BINARY}{PLY.format(3, 10**12)}{LISTS}{END}", "1,000,000,000,000 faces"),
    Hostile("nothing.ply", f"{ASCII}{PLY.format(3, 0)}{LISTS}element none {10**12}\n{END}0 0 0 1 0 0 0 1 0", "usable"),
    Hostile(
        "list.ply",
        f"{BINARY}{PLY.format(3, 3)}{LISTS}{END}".encode() + CORNERS + struct.pack("<I", 2**31 - 1),
        "a list has 2147483647 entries",
    ),
    Hostile("numbers.ply", f"{ASCII}{PLY.format(3, 1)}{LISTS}{END}" + "0\n" * (4 * MIB), "no faces", 120),
    Hostile(
        "bytes.ply",
        f"{BINARY}{PLY.format(3, 200)}property list ushort uchar vertex_indices\n{END}".encode()
        + CORNERS
        + (b"\xff\xff" + b"\0" * 65535) * 200,
        "13,106,600 faces",
        64,
    ),
    Hostile("count.stl", b"\0" * 80 + struct.pack("<I", 2**32 - 1) + b"\0" * 50, "4,294,967,295 faces"),
    Hostile("words.stl", "solid a\n" + "vertex\n" * MIB + "endsolid a\n", "three corners", 64),
    Hostile("solids.stl", "solid a\nendsolid a\n" * 100_000, "holds no mesh", 64),
    Hostile("zeros.gltf", gltf(accessors=[zeros()]), "1,000,000,000,000 vertices"),
    Hostile("sparse.gltf", gltf(accessors=[zeros(sparse=SPARSE)]), "1,000,000,000,000 vertices"),
    Hostile("sparse3.gltf", gltf(accessors=[zeros(count=3, sparse=SPARSE)]), "a sparse accessor is wrong"),
    Hostile(
        "instances.gltf",
        gltf(LARGE, count=99_999, nodes=[{"mesh": 0}] * MANY, scenes=[{"nodes": list(range(MANY))}]),
        "more than the limit of 30,000,000",
        80,
    ),
    Hostile("million.gltf", gltf(nodes=[{"mesh": 0}] * 1_000_000), "1,000,000 parts", 320),
    Hostile("nodes.gltf", gltf(nodes=[{"mesh": 0}] * 110_000), "110,000 parts", 80),
    Hostile(
        "primitives.gltf",
        gltf(LARGE, count=99_999, meshes=[{"primitives": [{"attributes": {"POSITION": 0}}] * MANY}]),
        "more than the limit of 30,000,000",
        80,
    ),
    Hostile("cycle.gltf", gltf(nodes=[{"children": [0]}]), "reached twice"),
    Hostile("deep.gltf", gltf(nodes=[{"children": [i + 1]} for i in range(5000)] + [{"mesh": 0}]), "nested too deeply"),
    Hostile("brackets.gltf", "[" * MIB, "damaged"),
    Hostile("values.gltf", "[" + "[]," * (2 * MIB) + "[]]", "3,000,000 values"),
    Hostile("views.gltf", gltf(LARGE, bufferViews=[{"buffer": 0, "byteLength": len(LARGE)}] * MANY), "1 faces", 64),
    Hostile("picture.gltf", painted(inline(black_png(50_000, 50_000, 1))), "more than 268,435,456 pixels"),
    Hostile("short.gltf", painted(inline(black_png(6000, 6000, 1))), "1 faces", 250),
    Hostile("black.gltf", painted(inline(black_png(6000, 6000, 6000))), "1 faces", 250),
    Hostile("eps.gltf", painted(inline(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")), "cannot be read"),
    Hostile("zip.glb", b"PK\3\4" + bytes(1000), "not a usable glTF file"),
]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """Of each file the memory (MiB) that reading it took, and what was said."""
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of a process is read from /proc")
    folder = tmp_path_factory.mktemp("hostile")
    for case in CASES:
        (folder / case.name).write_bytes(case.content.encode() if isinstance(case.content, str) else case.content)
    (folder / "plain.obj").write_text(POINTS + "f 1 2 3\n")
    command = [sys.executable, "-c", PROGRAM, str(folder / "plain.obj"), *(str(folder / case.name) for case in CASES)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout.splitlines()
    return {Path(path).name: (took, said) for path, took, said in map(json.loads, lines)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_memory(measured: dict[str, tuple[int, str]], case: Hostile) -> None:
    assert case.name in measured, "the process ended without a word"
    took, said = measured[case.name]
    assert case.said in said
    assert took <= case.most
