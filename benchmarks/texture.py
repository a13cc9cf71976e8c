"""How faithful textures are to the Gaussians, seen from views they were not made from: `python -m benchmarks.texture`.

Per example picture, mode and size: seconds of the export; PSNR over whole pictures on white; PSNR where both the mesh
and the Gaussians cover the pixel, which is the texture's own; the overlap of the outlines; and the limit, the whole
pictures' PSNR of a perfect texture, since outlines that differ are no texture's fault. The input picture is not blended
in. The exit code is 1 when the mean PSNR over whole pictures of any mode and size stays under --minimum.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from trellis import ImageTo3D
from trellis.atomic import write_bytes
from trellis.export.chain import ExportChain, FileSources
from trellis.export.options import TEXTURE_MODES, TEXTURE_SIZES, FileOptions
from trellis.geometry.cameras import Cameras, orbit_cameras, uniform_view_angles
from trellis.rendering.gaussians import render_gaussians
from trellis.rendering.textured_mesh import render_textured_mesh
from trellis.representations import GaussianCloud, TexturedMesh
from trellis.runtime import Runtime

PICTURES = Path(__file__).resolve().parent.parent / "assets" / "example_image"
OPAQUE = 0.99
VIEWS, VIEW_SIZE = 24, 512


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


def unseen_cameras(count: int) -> Cameras:
    """Views all around that are not those of the export: turned, and moved off its circles of latitude."""
    angles = [(yaw + 1.0, 0.97 * pitch + 0.013) for yaw, pitch in uniform_view_angles(count)]
    return orbit_cameras([yaw for yaw, _ in angles], [pitch for _, pitch in angles])


def compare(textured: TexturedMesh, gaussians: GaussianCloud, *, cameras: Cameras, size: int) -> dict[str, float]:
    """The figures of a Row for a textured mesh and the Gaussians, in pictures of `size` pixels on white."""
    device = gaussians.positions.device
    wanted = render_gaussians(gaussians, cameras, size=size, background="white")
    shown = render_textured_mesh(
        torch.from_numpy(textured.vertices).to(device),
        torch.from_numpy(textured.faces).to(device),
        uvs=torch.from_numpy(textured.uvs).to(device),
        texture=torch.from_numpy(textured.texture).to(device) / 255,
        cameras=cameras,
        size=size,
    )
    error = (wanted.color.clamp(0, 1) - shown.color).square().mean(1)
    both = (wanted.alpha > OPAQUE) & (shown.alpha > OPAQUE)
    solid, solid_mesh = wanted.alpha > 0.5, shown.alpha > 0.5
    overlap = (solid & solid_mesh).sum((1, 2)) / (solid | solid_mesh).sum((1, 2)).clamp_min(1)
    return {
        "psnr": decibels(error.mean((1, 2))),
        "surface_psnr": decibels((error * both).sum((1, 2)) / both.sum((1, 2)).clamp_min(1)),
        "limit": decibels((error * ~both).mean((1, 2))),
        "overlap": float(overlap.mean()),
    }


def decibels(mean_squares: Tensor) -> float:
    """Mean PSNR over views of their mean squared errors [V]."""
    return float((-10 * mean_squares.clamp_min(1e-10).log10()).mean())


def measure(pipeline: ImageTo3D, name: str, options: argparse.Namespace) -> list[Row]:
    """Rows of every mode and size for one example picture."""
    asset = pipeline(PICTURES / f"{name}.png", seed=0)
    assert asset.mesh is not None and asset.gaussians is not None
    cameras = unseen_cameras(options.views)
    rows = []
    for mode in options.modes:
        for size in options.sizes:
            wishes = FileOptions(texture_size=size, texture_mode=mode)
            start = time.perf_counter()
            textured = ExportChain(FileSources(asset.gaussians, asset.mesh), wishes).textured
            seconds = time.perf_counter() - start
            figures = compare(textured, asset.gaussians, cameras=cameras, size=options.view_size)
            rows.append(Row(name, mode, size, len(textured.faces), seconds, **figures))
            print(line(rows[-1]), flush=True)
    return rows


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
    names = sorted(path.stem for path in PICTURES.glob("*.png"))
    parser = argparse.ArgumentParser(prog="python -m benchmarks.texture", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"example pictures (default: all), of {', '.join(names)}")
    parser.add_argument("--modes", nargs="+", choices=TEXTURE_MODES, default=list(TEXTURE_MODES))
    parser.add_argument("--sizes", nargs="+", type=int, choices=TEXTURE_SIZES, default=[1024, 2048])
    parser.add_argument("--views", type=int, default=VIEWS, help="unseen views")
    parser.add_argument("--view-size", type=int, default=VIEW_SIZE)
    parser.add_argument("--minimum", type=float, default=30.0, help="least mean PSNR over whole pictures, dB")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, required=True, help="folder of texture.json")
    options = parser.parse_args(arguments)
    wrong = [name for name in options.names if name not in names]
    if wrong:
        parser.error(f"unknown example {wrong[0]!r}; choose from {', '.join(names)}")
    options.names = options.names or names
    return options


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    pipeline = ImageTo3D.from_pretrained("nano", runtime=Runtime(device=torch.device(options.device)))
    print(HEADER)
    with torch.inference_mode():
        rows = [row for name in options.names for row in measure(pipeline, name, options)]
    summary = means(rows)
    print("\n".join(line(row) for row in summary))
    report = {"device": options.device, "views": options.views,
              "rows": [asdict(row) for row in rows], "means": [asdict(row) for row in summary]}  # fmt: skip
    write_bytes(options.output / "texture.json", (json.dumps(report, indent=1) + "\n").encode())
    low = [row for row in summary if row.psnr < options.minimum]
    for row in low:
        print(f"{row.mode} {row.size}: mean PSNR {row.psnr:.2f} dB is under {options.minimum} dB", file=sys.stderr)
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
