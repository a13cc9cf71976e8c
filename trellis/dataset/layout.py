"""The published data folder: where everything is, and its files of arrays, points and cameras."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trellis.atomic import write_bytes
from trellis.export.ply_file import ply_bytes

METADATA, STATISTICS, CAMERAS, MESH, NORMALIZATION = (
    "metadata.csv", "statistics.txt", "transforms.json", "mesh.ply", "stats.json",
)  # fmt: skip
MERGED = "merged_records"
RENDERED, VOXELIZED, CONDITIONED = "rendered", "voxelized", "cond_rendered"
FEATURE, LATENT, STRUCTURE = "feature_", "latent_", "ss_latent_"
PLAIN = {RENDERED: "renders", VOXELIZED: "voxels", CONDITIONED: "renders_cond"}  # folders by column
NAMED = {FEATURE: "features", LATENT: "latents", STRUCTURE: "ss_latents"}  # and by the beginning of a column
_HEADER = 1 << 10  # bytes of a file of points that hold its header


@dataclass(frozen=True)
class DataFolder:
    """A folder of training data; what an object has is named by the column of metadata.csv that says so."""

    root: Path

    def path(self, column: str, sha: str) -> Path:
        """The file, or for pictures the folder, of an object: `voxels/<sha>.ply` of "voxelized" and so on."""
        ending = {RENDERED: "", CONDITIONED: "", VOXELIZED: ".ply"}.get(column, ".npz")
        return self.folder(column) / f"{sha}{ending}"

    def folder(self, column: str) -> Path:
        """Where the objects' files of a column are: `voxels`, `latents/<L>` of "latent_<L>" and so on."""
        if column in PLAIN:
            return self.root / PLAIN[column]
        prefix = next(prefix for prefix in NAMED if column.startswith(prefix))
        return self.root / NAMED[prefix] / column.removeprefix(prefix)

    def columns(self) -> list[str]:
        """The columns whose folders are there, in the published order."""
        found = [column for column in PLAIN if self.folder(column).is_dir()]
        for prefix, name in NAMED.items():
            found += sorted(f"{prefix}{path.name}" for path in (self.root / name).glob("*") if path.is_dir())
        return found

    def made(self, column: str) -> set[str]:
        """The sha of every object that has what `column` says, complete: of pictures, with their cameras."""
        names = _names(self.folder(column))
        if column in (RENDERED, CONDITIONED):
            last = (CAMERAS, MESH) if column == RENDERED else (CAMERAS,)
            return {name for name in names if all((self.path(column, name) / file).is_file() for file in last)}
        ending = self.path(column, "").name
        return {name.removesuffix(ending) for name in names if name.endswith(ending) and not name.startswith(".")}

    def leftovers(self) -> Iterator[tuple[str, Path]]:
        """Unfinished files that killed processes left, each with the sha of its object."""
        for folder in (self.folder(column) for column in self.columns()):
            for name in _names(folder):
                if name.startswith(".") and "-" in name:
                    yield name[1:].partition("-")[0], folder / name


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def write_arrays(path: Path, **arrays: NDArray) -> None:
    """Write an .npz file; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_bytes(path, buffer.getvalue())


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file, if it does not say the same already."""
    write_changed(path, (json.dumps(value, indent=2) + "\n").encode())


def write_changed(path: Path, data: bytes) -> None:
    """Write a file in one step, if it is not that already."""
    if not path.is_file() or path.read_bytes() != data:
        write_bytes(path, data)


def write_voxels(path: Path, coords: NDArray, resolution: int) -> None:
    """Write the centres of voxels [N, 3] of a grid over [-0.5, 0.5]^3 as points of a PLY file."""
    points = np.empty(len(coords), [(axis, "<f4") for axis in "xyz"])
    for number, axis in enumerate("xyz"):
        points[axis] = (coords[:, number] + 0.5) / resolution - 0.5
    write_bytes(path, ply_bytes({"vertex": points}))


def count_points(path: Path) -> int | None:
    """How many points a PLY file states, None where its header does not."""
    with path.open("rb") as file:
        head = file.read(_HEADER)
    for line in head.splitlines():
        words = line.split()
        if words[:2] == [b"element", b"vertex"] and len(words) == 3 and words[2].isdigit():
            return int(words[2])
    return None


def voxel_numbers(points: NDArray, resolutions: Sequence[int] = (64, 32, 16, 128, 256)) -> tuple[NDArray, int] | None:
    """The voxels int64 [N, 3] whose centres `points` [N, 3] are, and the grid's resolution; None if they are none."""
    for resolution in resolutions:
        place = (points.astype(np.float64) + 0.5) * resolution - 0.5
        numbers = place.round()
        inside = numbers.min(initial=0) >= 0 and numbers.max(initial=0) < resolution
        if inside and np.abs(place - numbers).max(initial=0) < 1e-2:
            return numbers.astype(np.int64), resolution
    return None
