"""Assets of the example pictures, drawn from their files: `python -m benchmarks.contact_sheet --help`.

Every GLB is written by the program, read back and drawn as the encoder sees it; trimesh, an independent reader, checks
what it holds. The exit code is 1 when an asset is missing, empty or cannot be read.
"""

import argparse
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import trimesh
from PIL import Image, ImageDraw, ImageFont, ImageOps

from trellis import ImageTo3D
from trellis.atomic import written_aside
from trellis.encoding.load import load_mesh
from trellis.encoding.source_mesh import SourceMesh
from trellis.encoding.views import render_views
from trellis.errors import TrellisError
from trellis.geometry.cameras import orbit_cameras

ROOT = Path(__file__).resolve().parent.parent
FRONT = math.pi
VIEWS = {"front": (FRONT, 0.2), "side": (FRONT + math.pi / 2, 0.2), "back": (FRONT + math.pi, 0.2)}
THREE_QUARTER = (FRONT + 0.6, 0.35)
CAPTION = 18  # pixels
BRIGHTER = 1.6  # than the lights of the encoder, under which colours are darker than those of the texture
EXAMPLES_PER_ROW = 4


@dataclass(frozen=True)
class ReadMesh:
    """A GLB as it was read, in the world frame (z-up), and whether trimesh finds it closed."""

    source: SourceMesh
    watertight: bool


def read_glb(path: Path) -> ReadMesh:
    """Read a GLB; raises ValueError when trimesh finds anything but one textured mesh in it."""
    scene = trimesh.load_scene(path, process=False)
    shapes = list(scene.geometry.values())
    if len(shapes) != 1:
        raise ValueError(f"{len(shapes)} meshes instead of one")
    shape = shapes[0]
    material = getattr(shape.visual, "material", None)
    picture = getattr(material, "baseColorTexture", None)
    if picture is None or shape.visual.uv is None:
        raise ValueError("no texture")
    if not len(shape.faces) or not shape.area > 0:
        raise ValueError("no faces")
    welded = shape.copy()
    welded.merge_vertices(merge_tex=True, merge_norm=True)
    return ReadMesh(load_mesh(path), bool(welded.is_watertight))


def draw(mesh: ReadMesh, views: Sequence[tuple[float, float]], size: int) -> list[Image.Image]:
    """Pictures on white, `size` pixels each way, from (yaw, pitch) in radians."""
    yaws, pitches = zip(*views)
    images = render_views(mesh.source, orbit_cameras(yaws, pitches), size=size, supersampling=3, shading="studio")
    whole = (images.color * BRIGHTER).minimum(images.alpha[:, None]) + (1 - images.alpha[:, None])
    pictures = (whole.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(picture) for picture in pictures]


def on_white(path: Path, size: int) -> Image.Image:
    """A picture without transparency in the middle of `size` pixels each way."""
    picture = Image.open(path).convert("RGBA")
    whole = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return ImageOps.pad(whole, (size, size), Image.Resampling.LANCZOS, color="white")


def contact_sheet(assets: Sequence[tuple[Path, ReadMesh]], size: int) -> Image.Image:
    """Rows of picture | front | side | back with a caption below each row."""
    sheet = Image.new("RGB", (size * (1 + len(VIEWS)), (size + CAPTION) * len(assets)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for row, (picture, mesh) in enumerate(assets):
        top = row * (size + CAPTION)
        shown = [on_white(picture, size), *draw(mesh, list(VIEWS.values()), size)]
        words = [picture.stem, *VIEWS]
        words[-1] += f"; {len(mesh.source.faces)} faces{'' if mesh.watertight else ', open'}"
        for column, (image, text) in enumerate(zip(shown, words)):
            sheet.paste(image, (column * size, top))
            pen.text((column * size + 4, top + size + 1), text, fill="black", font=font)
    return sheet


def examples(assets: Sequence[tuple[Path, ReadMesh]], size: int) -> Image.Image:
    """Pairs of picture and asset, seen from the front's side, EXAMPLES_PER_ROW a row."""
    rows = math.ceil(len(assets) / EXAMPLES_PER_ROW)
    sheet = Image.new("RGB", (2 * size * EXAMPLES_PER_ROW, size * rows), "white")
    inset = size // 8
    for index, (picture, mesh) in enumerate(assets):
        left, top = 2 * size * (index % EXAMPLES_PER_ROW), size * (index // EXAMPLES_PER_ROW)
        sheet.paste(on_white(picture, size - 2 * inset), (left + inset, top + inset))
        [drawn] = draw(mesh, [THREE_QUARTER], size)
        sheet.paste(drawn, (left + size, top))
    return sheet


def made(pictures: Sequence[Path], *, model: str, folder: Path | None) -> list[tuple[Path, ReadMesh]]:
    """The assets of `pictures`: made by `model`, or read from `folder`; those that fail are named on stderr."""
    assets = []
    with tempfile.TemporaryDirectory() as temporary:
        pipeline = ImageTo3D.from_pretrained(model) if folder is None else None
        for picture in pictures:
            try:
                if pipeline is not None:
                    pipeline(picture, seed=0).save(temporary, name=picture.stem, formats=("glb",))
                assets.append((picture, read_glb((folder or Path(temporary)) / f"{picture.stem}.glb")))
            # trimesh names damage by these (json and struct errors are ValueErrors or derive from them).
            except (TrellisError, OSError, ValueError, KeyError, IndexError, TypeError) as error:
                print(f"{picture.stem}: {type(error).__name__}: {error}", file=sys.stderr)
    return assets


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.contact_sheet", description=__doc__)
    parser.add_argument("pictures", nargs="*", type=Path, help="pictures (default: all of assets/example_image)")
    parser.add_argument("--model", default="nano", help="embedded model, folder or repository")
    parser.add_argument("--assets", type=Path, help="draw the GLB files of this folder, generate nothing")
    parser.add_argument("--size", type=int, default=192, help="pixels of one picture")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images", help="folder of the two PNG files")
    options = parser.parse_args(arguments)
    pictures = options.pictures or sorted((ROOT / "assets" / "example_image").glob("*.png"))
    assets = made(pictures, model=options.model, folder=options.assets)
    if len(assets) < len(pictures):
        return 1
    for name, compose in {"contact_sheet.png": contact_sheet, "examples.png": examples}.items():
        with written_aside(options.output / name) as aside:
            compose(assets, options.size).save(aside, "PNG", optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
