"""How faithful textures are to the Gaussians, seen from views they were not made from: `python -m benchmarks.texture`.

Per asset, mode and size: seconds of the export; PSNR over whole pictures on white; PSNR where both the mesh and the
Gaussians cover the pixel, which is the texture's own; the overlap of the outlines; and the limit, the whole pictures'
PSNR of a perfect texture, since outlines that differ are no texture's fault. The input picture is not blended in.
The exit code is 1 when the mean PSNR over whole pictures of any mode and size stays under --minimum.
"""

import argparse
import json
import logging
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.texture_assets import SOURCES, TextureAsset, assets
from trellis.atomic import write_bytes
from trellis.export.chain import ExportChain, FileSources
from trellis.export.options import TEXTURE_MODES, TEXTURE_SIZES, FileOptions
from trellis.geometry.cameras import Cameras, orbit_cameras, uniform_view_angles
from trellis.rendering.gaussians import render_gaussians
from trellis.rendering.textured_mesh import render_textured_mesh
from trellis.representations import TexturedMesh
from trellis.runtime import Runtime
from trellis.training.procedural.examples import EXAMPLES

OPAQUE = 0.99
SHOWN = (0, 6, 12, 18)  # of the unseen views, in the pictures


@dataclass(frozen=True)
class Row:
    """What was measured of one texture; PSNRs in dB are means over the views."""

    name: str
    mode: str
    size: int
    faces: int
    seconds: float
    psnr: float
    surface_psnr: float
    limit: float
    overlap: float


@dataclass(frozen=True)
class Comparison:
    """Pictures [V, 3, S, S] of both representations, and the figures of a Row."""

    wanted: Tensor
    shown: Tensor
    psnr: float
    surface_psnr: float
    limit: float
    overlap: float


def unseen_cameras(count: int) -> Cameras:
    """Views all around that are not those of the export: turned, and moved off its circles of latitude."""
    angles = [(yaw + 1.0, 0.97 * pitch + 0.013) for yaw, pitch in uniform_view_angles(count)]
    return orbit_cameras([yaw for yaw, _ in angles], [pitch for _, pitch in angles])


def compare(textured: TexturedMesh, asset: TextureAsset, *, cameras: Cameras, size: int) -> Comparison:
    """The textured mesh against the Gaussians from `cameras`, in pictures of `size` pixels on white."""
    device = asset.mesh.vertices.device
    wanted = render_gaussians(asset.gaussians, cameras, size=size, background="white")
    shown = render_textured_mesh(
        torch.from_numpy(textured.vertices).to(device),
        torch.from_numpy(textured.faces).to(device),
        uvs=torch.from_numpy(textured.uvs).to(device),
        texture=torch.from_numpy(textured.texture).to(device) / 255,
        cameras=cameras,
        size=size,
        shading="none",
    )
    color = wanted.color.clamp(0, 1)
    error = (color - shown.color).square().mean(1)
    both = (wanted.alpha > OPAQUE) & (shown.alpha > OPAQUE)
    solid, solid_mesh = wanted.alpha > 0.5, shown.alpha > 0.5
    overlap = (solid & solid_mesh).sum((1, 2)) / (solid | solid_mesh).sum((1, 2)).clamp_min(1)
    return Comparison(
        color,
        shown.color,
        decibels(error.mean((1, 2))),
        decibels((error * both).sum((1, 2)) / both.sum((1, 2)).clamp_min(1)),
        decibels((error * ~both).mean((1, 2))),
        float(overlap.mean()),
    )


def decibels(mean_squares: Tensor) -> float:
    """Mean PSNR over views of their mean squared errors [V]."""
    return float((-10 * mean_squares.clamp_min(1e-10).log10()).mean())


def measure(asset: TextureAsset, options: argparse.Namespace, *, cameras: Cameras) -> list[Row]:
    """Rows of every mode and size; writes a picture of Gaussians above, textures below."""
    rows: list[Row] = []
    pictures: list[Tensor] = []
    for mode in options.modes:
        for size in options.sizes:
            wishes = FileOptions(simplify=options.simplify, texture_size=size, texture_mode=mode)
            start = time.perf_counter()
            textured = ExportChain(FileSources(asset.gaussians, asset.mesh), wishes).textured
            seconds = time.perf_counter() - start
            found = compare(textured, asset, cameras=cameras, size=options.view_size)
            pictures = pictures or [found.wanted]
            pictures.append(found.shown)
            figures = (found.psnr, found.surface_psnr, found.limit, found.overlap)
            rows.append(Row(asset.name, mode, size, len(textured.faces), seconds, *figures))
            print(line(rows[-1]), flush=True)
    save_pictures(pictures, options.output / f"texture_{options.source}_{asset.name}.png")
    return rows


def save_pictures(rows: Sequence[Tensor], path: Path) -> None:
    """Write some views of each of `rows` [V, 3, S, S] below each other as a PNG."""
    shown = [index for index in SHOWN if index < len(rows[0])]
    sheet = torch.cat([torch.cat(list(row[shown].clamp(0, 1)), 2) for row in rows], 1)
    picture = (sheet.permute(1, 2, 0) * 255).round().to(torch.uint8).cpu().numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(picture)).save(path)


HEADER = "asset        mode   size   faces      s   psnr surface  limit overlap"


def line(row: Row) -> str:
    return (
        f"{row.name:<12} {row.mode:<5} {row.size:>5} {row.faces:>7} {row.seconds:>6.1f} {row.psnr:>6.2f} "
        f"{row.surface_psnr:>7.2f} {row.limit:>6.2f} {row.overlap:>7.3f}"
    )


def means(rows: Sequence[Row]) -> list[Row]:
    """The mean row of every mode and size."""
    result = []
    for mode, size in dict.fromkeys((row.mode, row.size) for row in rows):
        chosen = [row for row in rows if (row.mode, row.size) == (mode, size)]
        names = ("seconds", "psnr", "surface_psnr", "limit", "overlap")
        figures = [math.fsum(getattr(row, name) for row in chosen) / len(chosen) for name in names]
        faces = sum(row.faces for row in chosen) // len(chosen)
        result.append(Row(f"mean of {len(chosen)}", mode, size, faces, *figures))
    return result


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    names = sorted(example.family for example in EXAMPLES)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.texture", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"example pictures (default: all), of {', '.join(names)}")
    parser.add_argument("--source", choices=SOURCES, default="nano", help="generated assets, or the true objects")
    parser.add_argument("--modes", nargs="+", choices=TEXTURE_MODES, default=list(TEXTURE_MODES))
    parser.add_argument("--sizes", nargs="+", type=int, choices=TEXTURE_SIZES, default=[1024, 2048])
    parser.add_argument("--simplify", type=float, default=0.95, help="fraction of faces removed")
    parser.add_argument("--views", type=int, default=24, help="unseen views")
    parser.add_argument("--view-size", type=int, default=512)
    parser.add_argument("--minimum", type=float, default=30.0, help="least mean PSNR over whole pictures, dB")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cache", type=Path, help="folder that keeps generated assets between runs")
    parser.add_argument("--output", type=Path, required=True, help="folder of texture_SOURCE.json and the pictures")
    options = parser.parse_args(arguments)
    wrong = [name for name in options.names if name not in names]
    if wrong:
        parser.error(f"unknown example {wrong[0]!r}; choose from {', '.join(names)}")
    options.names = options.names or names
    return options


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    logging.basicConfig(level=logging.WARNING)
    runtime = Runtime(device=torch.device(options.device))
    cameras = unseen_cameras(options.views)
    print(HEADER)
    rows: list[Row] = []
    with torch.inference_mode():
        for asset in assets(options.source, options.names, runtime=runtime, cache=options.cache):
            rows += measure(asset, options, cameras=cameras)
    summary = means(rows)
    print("\n".join(line(row) for row in summary))
    report = {"source": options.source, "device": options.device, "views": options.views,
              "rows": [asdict(row) for row in rows], "means": [asdict(row) for row in summary]}  # fmt: skip
    path = options.output / f"texture_{options.source}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, (json.dumps(report, indent=1) + "\n").encode())
    low = [row for row in summary if row.psnr < options.minimum]
    for row in low:
        print(f"{row.mode} {row.size}: mean PSNR {row.psnr:.2f} dB is under {options.minimum} dB", file=sys.stderr)
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
