"""The subset Local: one's own mesh files, each known by what is in it."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from trellis.dataset.layout import DataFolder
from trellis.dataset.records import CAPTIONS, KEY, NAME, PLACE, SCORE, Row, read_table
from trellis.encoding.options import MESH_FORMATS
from trellis.encoding.readers.files import LoadLimits, SourceFiles
from trellis.encoding.readers.obj import MAP_OPTION, text
from trellis.errors import InvalidInputError

_LIBRARY = re.compile(rb"^[ \t]*mtllib[ \t]+([^\r\n]+)", re.MULTILINE)
_PICTURE = re.compile(rb"^[ \t]*map_Kd[ \t]+([^\r\n]+)", re.MULTILINE)


def mesh_files(source: Path) -> list[Path]:
    """Every mesh file in a folder and the folders in it, by name; raises InvalidInputError where there is none."""
    if not source.is_dir():
        raise InvalidInputError(f"There is no folder {source}: give the folder that your mesh files are in.")
    hidden = (path for path in source.rglob("*") if path.suffix.lower() in MESH_FORMATS and path.is_file())
    found = sorted(path for path in hidden if not any(part[0] == "." for part in path.relative_to(source).parts))
    if not found:
        raise InvalidInputError(f"{source} holds no mesh file: {', '.join(MESH_FORMATS)} are read.")
    return found


def local_rows(source: Path, folder: DataFolder) -> tuple[dict[str, Row], list[str]]:
    """A row of metadata.csv for every mesh file in a folder, by sha, and sentences on files that get none."""
    rows: dict[str, Row] = {}
    notes, copies = [], 0
    for path in mesh_files(source):
        try:
            sha = file_sha(path)
        except InvalidInputError as error:
            notes.append(f"{path} is left out: {error}")
            continue
        copies += sha in rows
        place = path.resolve()
        inside = place.is_relative_to(folder.root.resolve())
        kept = place.relative_to(folder.root.resolve()) if inside else place
        values = {KEY: sha, NAME: path.relative_to(source).as_posix(), SCORE: "", CAPTIONS: "[]"}
        rows.setdefault(sha, values | {PLACE: kept.as_posix()})
    if copies:
        notes.append(f"{copies:,} files are copies of others: each object is taken once.")
    return rows, notes


def file_sha(path: Path) -> str:
    """SHA-256 of a mesh file; of OBJ and glTF, followed by the files that it names and that can be read.

    Raises InvalidInputError for a file that cannot be read.
    """
    files = SourceFiles(path, LoadLimits())
    data = files.read()
    digest = hashlib.sha256(data)
    for part in _named_files(files, data):
        digest.update(part)
    return digest.hexdigest()


def _named_files(files: SourceFiles, data: bytes) -> Iterator[bytes]:
    """The contents of the files beside a mesh file that reading it would open, in the order of their names."""
    kind = files.path.suffix.lower()
    if kind == ".obj":
        names = sorted({text(found[1].strip()) for found in _LIBRARY.finditer(data)})
        libraries = [files.optional(name) or b"" for name in names]
        yield from libraries
        named = {_picture_name(text(m[1].strip())) for library in libraries for m in _PICTURE.finditer(library)}
    elif kind == ".gltf":
        try:
            document = json.loads(data)
            entries = [*document.get("buffers", []), *document.get("images", [])]
            named = {entry["uri"] for entry in entries if not str(entry.get("uri", "data:")).startswith("data:")}
        except (ValueError, AttributeError, TypeError, RecursionError):
            named = set()  # damaged, which reading it will tell
    else:
        named = set()
    for name in sorted(named):
        yield files.optional(name) or b""


def _picture_name(words: str) -> str:
    while option := MAP_OPTION.match(words):
        words = words[option.end() :]
    return words


def read_captions(path: Path) -> dict[str, str]:
    """Captions as JSON lists by sha or by file_identifier, out of a table with one of these and `captions`.

    A value that is no JSON list is one caption. Raises InvalidInputError for a table without these columns.
    """
    captions: dict[str, str] = {}
    for row in read_table(path, (KEY, NAME)):
        if CAPTIONS not in row:
            raise InvalidInputError(f"{path} has no column {CAPTIONS}.")
        value = row[CAPTIONS].strip()
        try:
            known = json.loads(value)
        except ValueError:
            known = value
        listed = known if isinstance(known, list) else [value] if value else []
        for name in (KEY, NAME):
            if row.get(name):
                captions[row[name]] = json.dumps([str(each) for each in listed])
    return captions
