"""An OBJ file with other base colours: the lines of its surface stay, its material library is written anew."""

import re
from collections.abc import Iterator, Mapping

from trellis.encoding.readers.files import SourceFiles
from trellis.encoding.readers.obj import MAP_OPTION, lines, text

DEFAULT_NAME = "surface"
# Statements that the new picture replaces, and those that name other pictures, which come along.
COLORS = ("kd", "map_kd")
MAPS = re.compile(r"map_\w+|norm|bump|disp|decal|refl", re.IGNORECASE)
_MATERIAL = re.compile(rb"^[ \t]*(mtllib|usemtl|f)\b[^\r\n]*(\r?\n|$)", re.MULTILINE)


def repainted_obj(data: bytes, library: str) -> bytes:
    """The OBJ file `data`, its materials from `library`; only lines of `mtllib` and `usemtl` change.

    Faces before the first material get DEFAULT_NAME.
    """
    added = [f"mtllib {library}\n".encode()]
    first = next((found for found in _MATERIAL.finditer(data) if found[1] != b"mtllib"), None)
    if first is not None and first[1] == b"f":
        added.append(f"usemtl {DEFAULT_NAME}\n".encode())
    without = _MATERIAL.sub(lambda found: b"" if found[1] == b"mtllib" else found[0], data)
    return b"".join(added) + without


def repainted_library(
    files: SourceFiles, data: bytes, pictures: Mapping[str | None, str]
) -> tuple[bytes, dict[str, bytes]]:
    """The material library of an OBJ file `data` with new base colours, and the other pictures that it names.

    pictures: file names, by the name of the material (None: DEFAULT_NAME). Whatever else the old libraries say stays.
    """
    said: dict[str, list[tuple[str, str]]] = {}
    for _, word, library in lines(data, files.path.name):
        if word == b"mtllib":
            for name, statement in _statements(files, text(library)):
                said.setdefault(name, []).extend([statement] if statement else [])
    painted = {name or DEFAULT_NAME: file_name for name, file_name in pictures.items()}
    written, others = [], dict[str, bytes]()
    for name in {**said, **painted}:
        written.append(f"newmtl {name}")
        old = said.get(name, [("Ks", "0 0 0"), ("illum", "1")])
        for key, rest in old:
            if MAPS.fullmatch(key) and not (name in painted and key.lower() == "map_kd"):
                options = _options(rest)
                if (found := files.optional(rest[len(options) :])) is None:
                    continue
                flat = flattened(rest[len(options) :], others, found)
                others[flat], rest = found, options + flat
            if name not in painted or key.lower() not in COLORS:
                written.append(f"{key} {rest}")
        if name in painted:
            options = next((_options(rest) for key, rest in old if key.lower() == "map_kd"), "")
            written += ["Kd 1 1 1", f"map_Kd {options}{painted[name]}"]
    return ("\n".join(written) + "\n").encode(), others


def _statements(files: SourceFiles, library: str) -> Iterator[tuple[str, tuple[str, str] | None]]:
    """The statements of a library, each with the name of its material; None where a material begins."""
    current = None
    for _, key, rest in lines(files.optional(library) or b"", library):
        if key == b"newmtl":
            current = text(rest)
            yield current, None
        elif current is not None:
            yield current, (text(key), text(rest))


def _options(statement: str) -> str:
    """What stands before the name of a picture."""
    end = 0
    while option := MAP_OPTION.match(statement, end):
        end = option.end()
    return statement[:end]


def flattened(name: str, others: Mapping[str, bytes], data: bytes) -> str:
    """A name without folders for a picture that comes along; another one has it under another number."""
    stem, dot, ending = re.sub(r"\W+", "_", re.split(r"[\\/]", name)[-1].rpartition(".")[0])[:60], ".", name[-4:]
    ending = re.sub(r"\W+", "", ending.rpartition(".")[2]) or "png"
    number = 1
    while others.get(made := f"map_{number}_{stem}{dot}{ending}", data) != data:
        number += 1
    return made
