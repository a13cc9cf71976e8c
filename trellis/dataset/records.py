"""The tables of a data folder: metadata.csv, what ranks add to it, failures and counts."""

import csv
import io
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from trellis.dataset.layout import (
    MERGED,
    METADATA,
    NAMED,
    PLAIN,
    STATISTICS,
    VOXELIZED,
    DataFolder,
    count_points,
    write_changed,
)
from trellis.errors import InvalidInputError

Row = dict[str, str]
KEY, NAME, SCORE, CAPTIONS, PLACE, COUNT = (
    "sha256", "file_identifier", "aesthetic_score", "captions", "local_path", "num_voxels",
)  # fmt: skip
GIVEN = (KEY, NAME, SCORE, CAPTIONS, PLACE, COUNT)
FAILED = "failed_"
_FAILURE = (KEY, NAME, "reason")
LONGEST_REASON = 500  # characters


def read_table(path: Path, keys: Sequence[str] = (KEY,)) -> list[Row]:
    """The rows of a CSV file by column; a last line that a killed process left torn does not count.

    Raises InvalidInputError for a file that is no table with one of the columns `keys`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}.") from error
    csv.field_size_limit(1 << 24)
    lines = csv.reader(io.StringIO(text, newline=""))
    try:
        header = next(lines, [])
        if not set(keys) & set(header):
            raise InvalidInputError(f"{path} has no column {' or '.join(keys)}: give a table of objects.")
        return [dict(zip(header, line)) for line in lines if len(line) == len(header)]
    except csv.Error as error:
        raise InvalidInputError(f"{path} is not a usable table: {error}.") from error


def table_bytes(rows: Iterable[Mapping[str, str]], header: Sequence[str]) -> bytes:
    """A CSV file of rows, by their sha; values that a row has not are empty."""
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, header, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(rows, key=lambda row: row[KEY]))
    return buffer.getvalue().encode()


def append(path: Path, row: Mapping[str, str]) -> None:
    """Add a row to a table of its columns in one write, behind what a killed process may have left torn."""
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, list(row), lineterminator="\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        if file.tell() == 0:
            writer.writeheader()
        elif not _ends_a_line(path):
            buffer.write("\n")
        writer.writerow(row)
        file.write(buffer.getvalue().encode())


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read() == b"\n"


def has(row: Row, column: str) -> bool:
    """Whether an object has what a column is about."""
    return row.get(column, "") not in ("", "[]") if column == CAPTIONS else row.get(column) == "True"


def is_step(column: str) -> bool:
    """Whether a column says what a step has made."""
    return column in PLAIN or column.startswith(tuple(NAMED))


def read_metadata(folder: DataFolder) -> dict[str, Row]:
    """The rows of metadata.csv by sha; none where there is no such file yet."""
    path = folder.root / METADATA
    return {row[KEY]: row for row in read_table(path)} if path.is_file() else {}


def record_files(folder: DataFolder) -> list[Path]:
    """The tables of ranks that are not merged yet."""
    names = sorted(folder.root.glob("*.csv"))
    return [path for path in names if path.name != METADATA and not path.name.startswith((".", FAILED))]


def build_metadata(folder: DataFolder, rows: Mapping[str, Row], *, merge: bool = True) -> dict[str, Row]:
    """Bring metadata.csv up to date and return its rows by sha: what it held, `rows`, and what the folder has of each.

    merge: take in the tables of ranks, which move to `merged_records`, and count in `statistics.txt`; that is for when
    no other process works in the folder. Nothing is written that is there already.
    Raises InvalidInputError for a table that cannot be read.
    """
    found = read_metadata(folder)
    for sha, row in rows.items():
        stated = {name: value for name, value in row.items() if value not in ("", "[]")}
        found[sha] = row | found.get(sha, {}) | stated  # captions and scores stay where nothing new is said
    if not merge:
        write_changed(folder.root / METADATA, table_bytes(found.values(), _header(found.values())))
        return found
    records = record_files(folder)
    for path in records:
        for row in read_table(path):
            if row[KEY] in found:
                found[row[KEY]] |= {name: value for name, value in row.items() if value}
    _state(folder, found)
    write_changed(folder.root / METADATA, table_bytes(found.values(), _header(found.values())))
    for path in records:
        (folder.root / MERGED).mkdir(exist_ok=True)
        path.replace(folder.root / MERGED / f"{int(time.time())}_{path.name}")
    failed = {row[KEY] for path in folder.root.glob(f"{FAILED}*.csv") for row in read_table(path)}
    write_changed(folder.root / STATISTICS, _statistics(found.values(), len(failed)))
    return found


def _state(folder: DataFolder, found: Mapping[str, Row]) -> None:
    """State in the rows which files are there; the files decide, as a kill may come between a file and its record."""
    stated = {name for row in found.values() for name in row if is_step(name)}
    for column in sorted(stated | set(folder.columns())):
        made = folder.made(column)
        for sha, row in found.items():
            row[column] = str(sha in made)
            if column == VOXELIZED and sha in made and not row.get(COUNT):
                row[COUNT] = str(count_points(folder.path(column, sha)) or "")


def _header(rows: Iterable[Row]) -> list[str]:
    """Given columns, then what steps added in the published order, then those of others."""
    names = {name for row in rows for name in row}
    steps = [name for name in PLAIN if name in names]
    steps += [name for prefix in NAMED for name in sorted(names) if name.startswith(prefix)]
    others = sorted(names - set(GIVEN) - set(steps))
    return [*(name for name in GIVEN if name in names or name == KEY), *steps, *others]


def failures(folder: DataFolder, step: str) -> dict[str, str]:
    """The reason by the sha of every object that a step failed on, whatever its rank."""
    paths = sorted(folder.root.glob(f"{FAILED}{step}_*.csv"))
    return {row[KEY]: row["reason"] for path in paths for row in read_table(path) if "reason" in row}


def add_failure(folder: DataFolder, step: str, rank: int, row: Row, reason: str) -> None:
    """Note that a step failed on an object."""
    reason = " ".join(reason.split())[:LONGEST_REASON]
    values = (row[KEY], row.get(NAME, ""), reason)
    append(folder.root / f"{FAILED}{step}_{rank}.csv", dict(zip(_FAILURE, values)))


def drop_failures(folder: DataFolder, step: str, dropped: set[str]) -> None:
    """Forget that a step failed on some objects."""
    for path in sorted(folder.root.glob(f"{FAILED}{step}_*.csv")):
        rows = read_table(path)
        left = {row[KEY]: row for row in rows if row[KEY] not in dropped}
        if not left:
            path.unlink()
        elif len(left) < len(rows):
            write_changed(path, table_bytes(left.values(), _FAILURE))


def _statistics(rows: Iterable[Row], failed: int) -> bytes:
    rows = list(rows)
    columns = [name for name in _header(rows) if name not in GIVEN]
    lines = ["Statistics:", f"  - Number of assets: {len(rows)}"]
    lines += [
        f"  - Number of assets with {name}: {sum(row.get(name) == 'True' for row in rows)}"
        for name in columns
        if is_step(name)
    ]
    captions = sum(has(row, CAPTIONS) for row in rows)
    lines += [f"  - Number of assets with captions: {captions}", f"  - Number of failures: {failed}"]
    return ("\n".join(lines) + "\n").encode()
