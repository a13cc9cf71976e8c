"""PLY tables: an independent reader finds what was written."""

import io

import numpy as np
from plyfile import PlyData

from trellis.export.ply_file import ply_bytes

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


def test_our_files_are_read_by_another_reader():
    faces = np.zeros(2, dtype=[("vertex_indices", "i4", (3,))])
    faces["vertex_indices"] = [[0, 1, 2], [2, 1, 3]]
    data = PlyData.read(io.BytesIO(ply_bytes({"vertex": table(), "face": faces})))
    assert data.byte_order == "<" and not data.text
    for name in table().dtype.names:
        assert np.array_equal(data["vertex"][name], table()[name]), name
    assert np.array_equal(np.stack(data["face"]["vertex_indices"]), faces["vertex_indices"])
