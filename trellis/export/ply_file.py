"""PLY files of tables: elements of scalar columns and of lists of fixed length, little-endian."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

# The format's names of numpy's types.
TYPE_NAMES = {
    **{"i1": "char", "u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int", "u4": "uint"},
    **{"f4": "float", "f8": "double"},
}


def ply_bytes(elements: Mapping[str, NDArray]) -> bytes:
    """A little-endian PLY file of structured arrays [n], one an element, in the order given.

    A scalar field becomes a property, a field of shape (k,) a list of k values behind a one-byte count.
    """
    header = ["ply", "format binary_little_endian 1.0"]
    body = []
    for element, table in elements.items():
        header.append(f"element {element} {len(table)}")
        columns: dict[str, tuple[np.dtype, NDArray | int]] = {}
        for name, (dtype, *_) in (table.dtype.fields or {}).items():
            type_name = TYPE_NAMES[f"{dtype.base.kind}{dtype.base.itemsize}"]
            if dtype.shape:
                columns[f"{name} count"] = (np.dtype("u1"), dtype.shape[0])
                header.append(f"property list uchar {type_name} {name}")
            else:
                header.append(f"property {type_name} {name}")
            columns[name] = (dtype.newbyteorder("<"), table[name])
        records = np.empty(len(table), dtype=[(name, dtype) for name, (dtype, _) in columns.items()])
        for name, (_, values) in columns.items():
            records[name] = values
        body.append(records.tobytes())
    return "\n".join([*header, "end_header", ""]).encode("ascii") + b"".join(body)
