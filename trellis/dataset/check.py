"""Whether a data folder, ours or one made elsewhere in the published layout, can be trained on."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trellis.dataset.cameras import frame_fault
from trellis.dataset.latent_statistics import read_arrays
from trellis.dataset.layout import (
    CAMERAS,
    CONDITIONED,
    FEATURE,
    LATENT,
    METADATA,
    NORMALIZATION,
    RENDERED,
    STRUCTURE,
    VOXELIZED,
    DataFolder,
    voxel_numbers,
)
from trellis.dataset.records import CAPTIONS, COUNT, KEY, Row, has, is_step, read_table, record_files
from trellis.encoding.readers.files import DAMAGED_PICTURE
from trellis.encoding.readers.ply import read_points
from trellis.errors import InvalidInputError

_SHA = re.compile(r"[0-9a-f]{64}")
SMALLEST_PICTURE = 64  # pixels a side


@dataclass
class Report:
    """Sentences on what is wrong, and lines of what there is."""

    faults: list[str] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)


def check_folder(root: Path) -> Report:
    """Read everything that metadata.csv says is there, and compare: shapes, types, ranges, missing files, counts.

    Raises InvalidInputError where there is no metadata.csv that can be read.
    """
    folder, report = DataFolder(root), Report()
    if not (root / METADATA).is_file():
        raise InvalidInputError(f"{root} has no {METADATA}: it is no data folder, or nothing was merged there yet.")
    table = read_table(root / METADATA)
    rows = {row[KEY]: row for row in table}
    if len(rows) < len(table):
        report.faults.append(f"{METADATA} has {len(table) - len(rows):,} objects twice.")
    columns = [name for name in (table[0] if table else {}) if is_step(name)]
    for sha, row in rows.items():
        report.faults += [f"{sha}: {fault}" for fault in _object_faults(folder, sha, row, columns)]
    for path in record_files(folder):
        report.faults.append(f"{path.name} is not merged: run build_metadata when all ranks have ended.")
    for column in columns:
        having = sum(has(row, column) for row in rows.values())
        report.counts.append(f"{column}: {having:,} of {len(rows):,} objects")
        unstated = len(folder.made(column) - {sha for sha, row in rows.items() if has(row, column)})
        if unstated:
            report.counts.append(f"  {unstated:,} more have files, but {METADATA} does not say so")
        if column.startswith(LATENT) and having:
            report.faults += _statistics_faults(folder, column, rows)
    _check_use(rows, columns, report)
    return report


def _check_use(rows: Mapping[str, Row], columns: Sequence[str], report: Report) -> None:
    """Count what each kind of training finds; a folder that serves none is a fault."""
    conditions = {"pictures": CONDITIONED, "texts": CAPTIONS}
    uses: dict[str, list[tuple[str, ...]]] = {"structure VAE": [(VOXELIZED,)]}
    uses["latent VAE"] = [(name, RENDERED) for name in columns if name.startswith(FEATURE)]
    for name, prefix in (("structure flow", STRUCTURE), ("latent flow", LATENT)):
        for kind, column in conditions.items():
            uses[f"{name}, {kind}"] = [(latent, column) for latent in columns if latent.startswith(prefix)]
    found = False
    for name, needed in uses.items():
        most = max((sum(all(has(row, name) for name in names) for row in rows.values()) for names in needed), default=0)
        found |= most > 0
        report.counts.append(f"for the {name}: {most:,} objects")
    if not found:
        report.faults.append("No object has all that any kind of training needs.")


def _object_faults(folder: DataFolder, sha: str, row: Row, columns: Sequence[str]) -> Iterator[str]:
    """What of an object is missing or wrong."""
    if not _SHA.fullmatch(sha):
        yield "this is no sha256 of 64 small hexadecimal digits"
        return
    if row.get(CAPTIONS) and not _is_list_of_texts(row[CAPTIONS]):
        yield "its captions are no JSON list of texts"
    places: dict[str, NDArray] = {}
    for column in columns:
        if row[column] not in ("True", "False", ""):
            yield f"{column} is {row[column]!r}, not True or False"
        if row[column] != "True":
            continue
        try:
            if column in (RENDERED, CONDITIONED):
                yield from _picture_faults(folder.path(column, sha))
            elif not folder.path(column, sha).is_file():
                yield f"{folder.path(column, sha)} is missing"
            elif column == VOXELIZED:
                places[column] = _read_voxels(folder.path(column, sha), row)
            else:
                coords = _read_arrays(folder, column, sha)
                places |= {} if coords is None else {column: coords}
        except InvalidInputError as error:
            yield str(error)
    known = {name: {tuple(place) for place in coords.tolist()} for name, coords in places.items()}
    first = next(iter(known), "")
    for name, voxels in known.items():
        if voxels != known[first]:
            yield f"{name} and {first} have other voxels"
        if len(voxels) < len(places[name]):
            yield f"{name} has a voxel twice"


def _is_list_of_texts(value: str) -> bool:
    try:
        texts = json.loads(value)
    except ValueError:
        return False
    return isinstance(texts, list) and all(isinstance(text, str) for text in texts)


def _read_voxels(path: Path, row: Row) -> NDArray:
    """The voxels of a file of points; raises InvalidInputError for points that are no centres, or another number."""
    points = read_points(path)
    found = voxel_numbers(points)
    if found is None or not len(found[0]):
        raise InvalidInputError(f"{path}: its points are no centres of voxels between -0.5 and 0.5.")
    if row.get(COUNT) and float(row[COUNT]) != len(points):
        raise InvalidInputError(f"{path} has {len(points)} points, {METADATA} says {row[COUNT]}.")
    return found[0]


def _read_arrays(folder: DataFolder, column: str, sha: str) -> NDArray | None:
    """The voxels of features or latents, None of a structure's; raises InvalidInputError for what is out of form."""
    arrays, path = read_arrays(folder, column, sha), folder.path(column, sha)
    if column.startswith(STRUCTURE):
        mean = _array(arrays, "mean", np.float32, 4, path)
        if len(set(mean.shape[1:])) != 1:
            raise InvalidInputError(f"{path}: mean is {list(mean.shape)}, not [C, r, r, r].")
        return None
    values, places, kind = (
        ("patchtokens", "indices", np.float16) if column.startswith(FEATURE) else ("feats", "coords", np.float32)
    )
    feats, coords = _array(arrays, values, kind, 2, path), _array(arrays, places, np.uint8, 2, path)
    if coords.shape != (len(feats), 3) or not len(feats):
        raise InvalidInputError(
            f"{path}: {places} {list(coords.shape)} do not go with {values} {list(feats.shape)}: [N, 3] and [N, C]."
        )
    return coords


def _array(arrays: Mapping[str, NDArray], name: str, kind: type, dimensions: int, path: Path) -> NDArray:
    if name not in arrays:
        raise InvalidInputError(f"{path} has no array {name!r}, only {', '.join(arrays) or 'none'}.")
    array = arrays[name]
    if array.dtype != kind or array.ndim != dimensions:
        raise InvalidInputError(
            f"{path}: {name} is {array.dtype} {list(array.shape)}, not {np.dtype(kind)} of {dimensions} dimensions."
        )
    if not np.isfinite(array).all():
        raise InvalidInputError(f"{path}: {name} holds numbers that are not finite.")
    return array


def _picture_faults(folder: Path) -> Iterator[str]:
    """What is wrong with pictures and their cameras; every picture is read."""
    place = folder / CAMERAS
    try:
        frames = json.loads(place.read_bytes())["frames"]
        names = [frame["file_path"] for frame in frames]
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield f"{place} is missing or damaged ({type(error).__name__} {error})"
        return
    if not frames:
        yield f"{place} has no frames"
    yield from (f"{place}: {fault}" for fault in map(frame_fault, frames) if fault)
    sizes, seen = set(), False
    for name in names:
        try:
            with Image.open(folder / str(name)) as picture:
                sizes.add(picture.size)
                if picture.mode != "RGBA":
                    yield f"{folder / str(name)} is {picture.mode}, not RGBA"
                seen |= "A" in picture.getbands() and picture.getchannel("A").getbbox() is not None
        except DAMAGED_PICTURE as error:
            yield f"{folder / str(name)} cannot be read ({error})"
    if any(width != height or width < SMALLEST_PICTURE for width, height in sizes) or len(sizes) > 1:
        yield f"{folder}: its pictures are {sorted(sizes)} pixels; they must be squares of one size"
    if frames and not seen:
        yield f"{folder}: nothing is seen in any of its pictures"


def _statistics_faults(folder: DataFolder, column: str, rows: Mapping[str, Row]) -> Iterator[str]:
    """What is wrong with the stats.json beside latents."""
    path = folder.folder(column) / NORMALIZATION
    channels = next((count for sha in rows if (count := _channels(folder, column, sha))), 0)
    try:
        stated = json.loads(path.read_bytes())
        values = np.array([stated["mean"], stated["std"]], np.float64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield f"{path} is missing or damaged ({type(error).__name__} {error}): run stat_latent"
        return
    if values.shape != (2, channels) or not np.isfinite(values).all() or (values[1] <= 0).any():
        yield f"{path}: mean and std must be {channels} numbers each, std positive"


def _channels(folder: DataFolder, column: str, sha: str) -> int:
    try:
        return int(read_arrays(folder, column, sha)["feats"].shape[-1])
    except (InvalidInputError, KeyError, IndexError):
        return 0
