"""Whether the likeness tells good results from bad ones: `python -m benchmarks.likeness --store runs/likeness`.

Assets of the example pictures, of held-out objects of the families that the embedded model knows and of those that it
does not, and of the pictures of a folder (photographs with their objects cut out, say); and every asset against the
picture of another. A row is a group: the likeness with the camera search of a texture and with the rough one, and how
many fall below the limit. Assets and figures stay in --store, so that a run goes on where the last one was.
"""

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from trellis.app.likeness import LIMIT
from trellis.asset import Asset
from trellis.atomic import write_bytes
from trellis.errors import TrellisError
from trellis.export.clean import clean
from trellis.export.likeness import CELLS, likeness, thinned
from trellis.export.picture_camera import ColoredMesh, estimate_camera, estimate_roughly
from trellis.pipeline import ImageTo3D
from trellis.training.data import training_families
from trellis.training.evaluate import data_settings
from trellis.training.procedural import FAMILIES
from trellis.training.procedural.examples import Example, render_example
from trellis.training.procedural.objects import HELD_OUT_SEEDS

FIRST = HELD_OUT_SEEDS.start + 3_000_000
SIZE = 384
NANO = Path("assets/models/trellis-nano")
OTHER = 5  # an asset is held against the picture of the fifth after it


def sources(folder: Path | None, count: int) -> Iterator[tuple[str, str, Path | Example]]:
    """Group, name and picture of what is generated; `count` objects of every family."""
    for path in sorted(Path("assets/example_image").glob("*.png")):
        yield "examples", path.stem, path
    for path in sorted(folder.glob("*.png")) if folder is not None else ():
        yield "photographs", path.stem, path
    known = training_families(data_settings(NANO))
    for number in range(count):
        for index, family in enumerate(FAMILIES):
            group = "known families" if family in known else "unknown families"
            yield group, f"{family}_{number}", Example(family, FIRST + 100 * number + index, SIZE)


def stored_asset(pipeline: ImageTo3D, source: Path | Example, path: Path) -> Asset:
    """The asset of `path`, generated where it is not there: its mesh alone, seed 0."""
    if not path.is_file():
        picture: Path | Image.Image = source if isinstance(source, Path) else render_example(source)[0]
        pipeline([picture], seed=0, representations=("mesh",)).store(path)
    return Asset.load(path)


def measured(asset: Asset, picture: np.ndarray | None) -> tuple[float, float]:
    """Likeness to a picture with the search of a texture, on the colours of vertices, and with the rough one."""
    assert asset.mesh is not None and picture is not None
    shown = ColoredMesh(thinned(clean(asset.mesh), CELLS))
    with torch.no_grad():
        searches = (estimate_camera(shown, picture), estimate_roughly(shown, picture))
    return tuple(round(likeness(shown, picture, found.camera), 3) for found in searches)  # type: ignore[return-value]


def table(figures: dict[str, dict[str, tuple[float, float]]]) -> list[str]:
    """A line a group in Markdown, for both searches: count, lowest, median, highest, below the limit."""
    lines = ["| | n | lowest, median, highest | below | rough search | below |", "|---|---:|---:|---:|---:|---:|"]
    for group, rows in figures.items():
        parts = [f"| {group} | {len(rows)} "]
        for values in zip(*rows.values(), strict=True):
            spread = f"{min(values):.2f}, {statistics.median(values):.2f}, {max(values):.2f}"
            parts.append(f"| {spread} | {sum(value < LIMIT for value in values)} ")
        lines.append("".join(parts) + "|")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, required=True, help="folder of the assets and figures")
    parser.add_argument("--photographs", type=Path, help="folder of pictures, PNG with their objects cut out")
    parser.add_argument("--count", type=int, default=1, help="objects of every family")
    options = parser.parse_args(arguments)
    options.store.mkdir(parents=True, exist_ok=True)
    pipeline, record = ImageTo3D.from_pretrained("nano"), options.store / "figures.json"
    figures = json.loads(record.read_text()) if record.is_file() else {}
    made: list[tuple[str, Asset]] = []
    for group, name, source in sources(options.photographs, options.count):
        try:
            asset = stored_asset(pipeline, source, options.store / f"{name}.safetensors")
        except TrellisError as error:
            print(f"{name}: {error}")
            continue
        made.append((name, asset))
        if name not in figures.setdefault(group, {}):
            figures[group][name] = measured(asset, asset.picture)
            print(group, name, *figures[group][name], flush=True)
            write_bytes(record, json.dumps(figures, indent=1).encode())
    for (name, asset), (other, another) in zip(made, made[OTHER:] + made[:OTHER], strict=True):
        if f"{name} {other}" not in figures.setdefault("another's picture", {}):
            figures["another's picture"][f"{name} {other}"] = measured(asset, another.picture)
            write_bytes(record, json.dumps(figures, indent=1).encode())
    print("\n".join(table(figures)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
