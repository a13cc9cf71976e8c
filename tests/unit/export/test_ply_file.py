"""PLY tables: an independent reader agrees with ours both ways, and damage is named."""

import io
import re

import numpy as np
import pytest
from plyfile import PlyData, PlyElement

from trellis.errors import InvalidInputError
from trellis.export.ply_file import ply_bytes, read_ply_element

CODES = ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8")


def table(rows: int = 7) -> np.ndarray:
    rng = np.random.default_rng(0)
    values = np.empty(rows, dtype=[(f"of_{code}", code) for code in CODES])
    for code in CODES:
        kind = np.dtype(code)
        if kind.kind == "f":
            values[f"of_{code}"] = rng.normal(size=rows)
        else:
            limits = np.iinfo(kind)
            values[f"of_{code}"] = rng.integers(limits.min, limits.max, rows, endpoint=True)
    return values


@pytest.mark.parametrize(("text", "order"), [(True, "="), (False, "<"), (False, ">")])
def test_files_of_another_writer_are_read(tmp_path, text, order):
    before = np.zeros(3, dtype=[("id", "i2")])
    elements = [PlyElement.describe(before, "first"), PlyElement.describe(table(), "vertex")]
    PlyData(elements, text=text, byte_order=order, comments=["made elsewhere"]).write(str(tmp_path / "a.ply"))
    read = read_ply_element(tmp_path / "a.ply", "vertex")
    assert read.dtype == table().dtype and read.dtype.isnative
    for name in table().dtype.names:
        assert np.array_equal(read[name], table()[name]), name


def test_our_files_are_read_by_another_reader():
    faces = np.zeros(2, dtype=[("vertex_indices", "i4", (3,))])
    faces["vertex_indices"] = [[0, 1, 2], [2, 1, 3]]
    data = PlyData.read(io.BytesIO(ply_bytes({"vertex": table(), "face": faces})))
    assert data.byte_order == "<" and not data.text
    for name in table().dtype.names:
        assert np.array_equal(data["vertex"][name], table()[name]), name
    assert np.array_equal(np.stack(data["face"]["vertex_indices"]), faces["vertex_indices"])


def test_windows_line_ends_are_read(tmp_path):
    lines = ["ply", "format ascii 1.0", "element vertex 2", "property float x", "end_header", "1.5", "-2"]
    (tmp_path / "a.ply").write_bytes("\r\n".join(lines).encode())
    assert read_ply_element(tmp_path / "a.ply", "vertex")["x"].tolist() == [1.5, -2.0]


def test_an_empty_element_is_empty(tmp_path):
    (tmp_path / "a.ply").write_bytes(ply_bytes({"vertex": table(0)}))
    assert len(read_ply_element(tmp_path / "a.ply", "vertex")) == 0


HEADER = "ply\nformat {format} 1.0\nelement vertex 2\nproperty float x\nproperty float y\nend_header\n"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "begin with 'ply'"),
        (b"ply\nformat ascii 1.0\nelement vertex 2\n", "end_header"),
        (b"ply\nelement vertex 1\nproperty float x\nend_header\n1\n", "states no format"),
        (b"ply\nformat utf8 1.0\nend_header\n", "unknown line 'format utf8 1.0'"),
        (b"ply\nformat ascii 1.0\nelement vertex many\nend_header\n", "unknown line 'element vertex many'"),
        (b"ply\nformat ascii 1.0\nproperty float x\nend_header\n", "belongs to no element"),
        (b"ply\nformat ascii 1.0\nelement face 1\nproperty float x\nend_header\n1\n", "no element 'vertex', only face"),
        (b"ply\nformat ascii 1.0\nelement vertex 1\nproperty list uchar int x\nend_header\n0\n", "has lists"),
        (HEADER.format(format="ascii").encode() + b"1 2\n", "1 of 2 rows"),
        (HEADER.format(format="ascii").encode() + b"1 2\n3\n", "does not have 2 values"),
        (HEADER.format(format="ascii").encode() + b"1 2\n3 four\n", "four"),
        (HEADER.format(format="binary_little_endian").encode() + bytes(15), "1 of 2 rows"),
        (HEADER.format(format="binary_little_endian").replace("float y", "float x").encode(), "twice"),
    ],
)
def test_damage_is_named(tmp_path, data, said):
    path = tmp_path / "broken.ply"
    path.write_bytes(data)
    with pytest.raises(InvalidInputError, match=rf"broken\.ply.*{re.escape(said)}"):
        read_ply_element(path, "vertex")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidInputError, match=r"none\.ply.*No such file"):
        read_ply_element(tmp_path / "none.ply", "vertex")
