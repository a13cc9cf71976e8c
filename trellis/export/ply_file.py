"""PLY files as tables: elements of scalar columns (and lists of fixed length when writing), binary or ASCII."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trellis.errors import InvalidInputError

# Names of the format's types (the original ones first, then those that say the width) and their numpy codes.
TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"float": "f4", "double": "f8"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float32": "f4", "float64": "f8"},
}
TYPE_NAMES = {code: name for name, code in reversed(TYPES.items())}
FORMATS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}
MAX_HEADER = 1 << 16  # bytes; a file without an end of its header is not searched through
LIST = "list"


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


@dataclass(frozen=True)
class _Element:
    """One element of a header: its name, number of rows and columns as (name, numpy code or LIST)."""

    name: str
    count: int
    columns: list[tuple[str, str]]

    @property
    def has_list(self) -> bool:
        return any(code == LIST for _, code in self.columns)

    def dtype(self, order: str) -> np.dtype:
        return np.dtype([(name, order + code) for name, code in self.columns])


def read_ply_element(path: str | Path, element: str) -> NDArray:
    """The rows of one element of scalar columns as a structured array [n] in native byte order.

    ASCII, little- and big-endian files are read. Raises InvalidInputError, which names the file and what is wrong or
    missing, for a file that cannot be read, is no PLY, is cut short, or lacks the element.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror or error}.") from error
    try:
        order, elements, body = _parse_header(data)
        return _rows(order, elements, body, element)
    except ValueError as error:
        raise InvalidInputError(f"{path} is not a usable PLY file: {error}.") from error


def _parse_header(data: bytes) -> tuple[str, list[_Element], bytes]:
    """Byte order ("" for ASCII), elements and what follows the header; raises ValueError."""
    if data[:3] != b"ply" or data[3:4] not in (b"\n", b"\r"):
        raise ValueError("it does not begin with 'ply'")
    end = data.find(b"end_header", 0, MAX_HEADER)
    line_end = data.find(b"\n", end) if end >= 0 else -1
    if line_end < 0:
        raise ValueError("its header has no end ('end_header')")
    order: str | None = None
    elements: list[_Element] = []
    for line in data[:end].decode("ascii", errors="replace").splitlines()[1:]:
        words = line.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        match words:
            case ["format", name, _] if name in FORMATS:
                order = FORMATS[name]
            case ["element", name, count] if count.isdecimal():
                elements.append(_Element(name, int(count), []))
            case ["property", "list", count_type, type_name, name] if {count_type, type_name} <= TYPES.keys():
                _add_column(elements, name, LIST)
            case ["property", type_name, name] if type_name in TYPES:
                _add_column(elements, name, TYPES[type_name])
            case _:
                raise ValueError(f"its header has an unknown line {line[:80]!r}")
    if order is None:
        raise ValueError("its header states no format")
    return order, elements, data[line_end + 1 :]


def _add_column(elements: list[_Element], name: str, code: str) -> None:
    if not elements:
        raise ValueError(f"property {name!r} belongs to no element")
    if any(name == known for known, _ in elements[-1].columns):
        raise ValueError(f"property {name!r} is there twice")
    elements[-1].columns.append((name, code))


def _rows(order: str, elements: list[_Element], body: bytes, wanted: str) -> NDArray:
    """The rows of element `wanted`; raises ValueError where they are missing or cannot be told apart."""
    names = [element.name for element in elements]
    if wanted not in names:
        raise ValueError(f"it has no element {wanted!r}, only {', '.join(names) or 'none'}")
    index = names.index(wanted)
    element = elements[index]
    if not element.columns:
        raise ValueError(f"element {wanted!r} has no properties")
    if element.has_list:
        raise ValueError(f"element {wanted!r} has lists, which are not read")
    if not order:
        return _ascii_rows(element, sum(before.count for before in elements[:index]), body)
    if any(before.has_list for before in elements[:index]):
        raise ValueError(f"element {wanted!r} comes after lists, which are not read")
    start = sum(before.count * before.dtype(order).itemsize for before in elements[:index])
    dtype = element.dtype(order)
    whole = max(len(body) - start, 0) // dtype.itemsize
    if whole < element.count:
        raise ValueError(f"it is cut short: {whole} of {element.count} rows of {wanted!r} are there")
    return np.frombuffer(body, dtype, count=element.count, offset=start).astype(dtype.newbyteorder("="))


def _ascii_rows(element: _Element, skipped: int, body: bytes) -> NDArray:
    lines = [line for line in body.splitlines() if line.strip()][skipped : skipped + element.count]
    if len(lines) < element.count:
        raise ValueError(f"it is cut short: {len(lines)} of {element.count} rows of {element.name!r} are there")
    words = [line.split() for line in lines]
    if any(len(row) != len(element.columns) for row in words):
        raise ValueError(f"a row of {element.name!r} does not have {len(element.columns)} values")
    rows = np.empty(element.count, dtype=element.dtype("="))
    for column, (name, code) in enumerate(element.columns):
        # Through float64, which holds every integer type of the format: some writers put "255.0" in byte columns.
        rows[name] = np.array([row[column] for row in words], dtype=np.bytes_).astype(np.float64).astype(code)
    return rows
