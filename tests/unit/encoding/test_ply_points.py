"""Points of PLY files: those of another writer are read, and damage is named."""

import re

import numpy as np
import pytest
from plyfile import PlyData, PlyElement

from trellis.encoding.readers.ply import read_points
from trellis.errors import InvalidInputError
from trellis.export.ply_file import ply_bytes


@pytest.mark.parametrize(("text", "order"), [(True, "="), (False, "<"), (False, ">")])
@pytest.mark.parametrize("code", ["i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"])
def test_files_of_another_writer_are_read(tmp_path, code, text, order):
    before = np.zeros(3, dtype=[("id", "i2")])
    rng, kind = np.random.default_rng(0), np.dtype(code)
    limits = np.iinfo(kind) if kind.kind != "f" else None
    values = rng.normal(size=(7, 3)) if limits is None else rng.integers(limits.min, limits.max, (7, 3), endpoint=True)
    table = np.array([(9, *row) for row in values], [("more", "f4"), ("x", code), ("y", code), ("z", code)])
    elements = [PlyElement.describe(before, "first"), PlyElement.describe(table, "vertex")]
    PlyData(elements, text=text, byte_order=order, comments=["made elsewhere"]).write(str(tmp_path / "a.ply"))
    assert np.array_equal(read_points(tmp_path / "a.ply"), values.astype(code))


def test_windows_line_ends_and_nothing_are_read(tmp_path):
    names = [f"property float {axis}" for axis in "xyz"]
    lines = ["ply", "format ascii 1.0", "element vertex 2", *names, "end_header", "1.5 0 0", "-2 1 1e3"]
    (tmp_path / "a.ply").write_bytes("\r\n".join(lines).encode())
    assert read_points(tmp_path / "a.ply").tolist() == [[1.5, 0, 0], [-2, 1, 1000]]
    none = np.zeros(0, [(axis, "f4") for axis in "xyz"])
    (tmp_path / "b.ply").write_bytes(ply_bytes({"vertex": none}))
    assert read_points(tmp_path / "b.ply").shape == (0, 3)


NAMES = "property float x\nproperty float y\nproperty float z\n"
HEADER = "ply\nformat {format} 1.0\nelement vertex 2\n" + NAMES + "end_header\n"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no header"),
        (b"ply\nformat ascii 1.0\nelement vertex 2\n", "no header"),
        (b"ply\nelement vertex 1\nproperty float x\nend_header\n1\n", "states no format"),
        (b"ply\nformat utf8 1.0\nend_header\n", "unknown line 'format utf8 1.0'"),
        (b"ply\nformat ascii 1.0\nelement vertex many\nend_header\n", "unknown line 'element vertex many'"),
        (b"ply\nformat ascii 1.0\nproperty float x\nend_header\n", "unknown line 'property float x'"),
        (b"ply\nformat ascii 1.0\nelement face 1\nproperty float x\nend_header\n1\n", "no vertices with x, y and z"),
        (HEADER.format(format="ascii").encode() + b"1 2 3\n", "cut short"),
        (HEADER.format(format="ascii").encode() + b"1 2 3\n4 5 six\n", "is no number"),
        (HEADER.format(format="binary_little_endian").encode() + bytes(23), "cut short"),
        (
            HEADER.format(format="binary_little_endian").replace("float y", "float x").encode() + bytes(24),
            "x' occurs more than once",
        ),
    ],
)
def test_damage_is_named(tmp_path, data, said):
    path = tmp_path / "broken.ply"
    path.write_bytes(data)
    with pytest.raises(InvalidInputError, match=rf"broken\.ply.*{re.escape(said)}"):
        read_points(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidInputError, match=r"none\.ply.*No such file"):
        read_points(tmp_path / "none.ply")
