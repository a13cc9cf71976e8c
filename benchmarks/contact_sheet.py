"""Assets of the example pictures, drawn from their files: `python -m benchmarks.contact_sheet --help`.

Every GLB is written by the program and read back by trimesh, an independent reader; what is drawn is what it found.
The exit code is 1 when an asset is missing, empty or cannot be read.
"""

import argparse
import io
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from trellis import ImageTo3D
from trellis.atomic import write_bytes
from trellis.errors import TrellisError
from trellis.geometry.axes import from_gltf_frame
from trellis.geometry.cameras import orbit_cameras
from trellis.rendering.textured_mesh import render_textured_mesh

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "assets" / "example_image"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
FRONT = math.pi
VIEWS = {"front": (FRONT, 0.2), "side": (FRONT + math.pi / 2, 0.2), "back": (FRONT + math.pi, 0.2)}
THREE_QUARTER = (FRONT + 0.6, 0.35)
MAX_BYTES = 1_500_000
CAPTION = 18  # pixels
EXAMPLES_PER_ROW = 4


@dataclass(frozen=True)
class ReadMesh:
    """A GLB as trimesh read it, turned to the world frame (z-up); texture [H, W, 3] in [0, 1], uvs from top left."""

    vertices: torch.Tensor
    normals: torch.Tensor
    faces: torch.Tensor
    uvs: torch.Tensor
    texture: torch.Tensor
    watertight: bool


@dataclass(frozen=True)
class Outcome:
    """One picture and what became of it; `problem` is empty for a usable asset."""

    name: str
    picture: Image.Image
    seconds: tuple[float, float] | None  # generation, export; None for a file that was there
    mesh: ReadMesh | None
    sizes: dict[str, int]
    problem: str = ""

    def line(self) -> str:
        """Everything that was measured, as a row of a table."""
        if self.mesh is None:
            return f"{self.name:<14} FAILED: {self.problem}"
        texture = self.mesh.texture
        took = "     -      -" if self.seconds is None else f"{self.seconds[0]:6.1f} {self.seconds[1]:6.1f}"
        sizes = " ".join(f"{kind} {size / 1e6:.2f}" for kind, size in self.sizes.items())
        closed = "yes" if self.mesh.watertight else "no"
        values = f"{255 * texture.mean():6.1f} {255 * texture.std():5.1f}"
        return f"{self.name:<14} {took} {len(self.mesh.faces):8d} {closed:>6} {values}  {sizes} {self.problem}"


def read_glb(path: Path) -> ReadMesh:
    """Read a GLB with trimesh; raises ValueError when it holds anything but one textured mesh."""
    scene = trimesh.load_scene(path, process=False)
    shapes = list(scene.geometry.values())
    if len(shapes) != 1:
        raise ValueError(f"{len(shapes)} meshes instead of one")
    shape = shapes[0]
    material = getattr(shape.visual, "material", None)
    picture = getattr(material, "baseColorTexture", None)
    if picture is None or shape.visual.uv is None:
        raise ValueError("no texture")
    if not len(shape.faces) or shape.area <= 0:
        raise ValueError("no faces")
    if not np.isfinite(shape.vertices).all():
        raise ValueError("vertices that are not finite")
    welded = shape.copy()
    welded.merge_vertices(merge_tex=True, merge_norm=True)
    uvs = np.array(shape.visual.uv, dtype=np.float32)
    uvs[:, 1] = 1 - uvs[:, 1]  # trimesh turns v upward
    return ReadMesh(
        vertices=from_gltf_frame(torch.from_numpy(np.array(shape.vertices, dtype=np.float32))),
        normals=from_gltf_frame(torch.from_numpy(np.array(shape.vertex_normals, dtype=np.float32))),
        faces=torch.from_numpy(np.array(shape.faces, dtype=np.int32)),
        uvs=torch.from_numpy(uvs),
        texture=torch.from_numpy(np.asarray(picture.convert("RGB")).astype(np.float32) / 255),
        watertight=bool(welded.is_watertight),
    )


def draw(mesh: ReadMesh, views: Sequence[tuple[float, float]], size: int) -> list[NDArray[np.uint8]]:
    """Pictures [size, size, 3] from (yaw, pitch) in radians."""
    yaws, pitches = zip(*views)
    images = render_textured_mesh(
        mesh.vertices,
        mesh.faces,
        uvs=mesh.uvs,
        texture=mesh.texture,
        cameras=orbit_cameras(yaws, pitches),
        size=size,
        normals=mesh.normals,
        supersampling=3,
    )
    pictures = (images.color.clamp(0, 1) * 255).round().to(torch.uint8)
    return list(pictures.permute(0, 2, 3, 1).numpy())


def make(pipeline: ImageTo3D | None, picture: Path, folder: Path, seed: int) -> Outcome:
    """Generate the asset of `picture` (or take `folder`'s, without a pipeline), and read its file back."""
    name = picture.stem
    shown = on_white(Image.open(picture))
    path = folder / f"{name}.glb"
    seconds = None
    try:
        if pipeline is not None:
            start = time.perf_counter()
            asset = pipeline(picture, seed=seed)
            generated = time.perf_counter()
            asset.save(folder, name=name, formats=("glb", "ply"))
            seconds = generated - start, time.perf_counter() - generated
        mesh = read_glb(path)
    # trimesh names damage by these (json and struct errors are ValueErrors or derive from them).
    except (TrellisError, OSError, ValueError, KeyError, IndexError, TypeError) as error:
        return Outcome(name, shown, seconds, None, {}, f"{type(error).__name__}: {error}")
    files = {kind: folder / f"{name}.{kind}" for kind in ("glb", "ply")}
    sizes = {kind: file.stat().st_size for kind, file in files.items() if file.exists()}
    return Outcome(name, shown, seconds, mesh, sizes)


def on_white(picture: Image.Image) -> Image.Image:
    """The picture without transparency."""
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def contact_sheet(outcomes: Sequence[Outcome], size: int) -> Image.Image:
    """Rows of picture | front | side | back with a caption below each row."""
    sheet = Image.new("RGB", (size * (1 + len(VIEWS)), (size + CAPTION) * len(outcomes)), "white")
    for row, outcome in enumerate(outcomes):
        top = row * (size + CAPTION)
        sheet.paste(outcome.picture.resize((size, size), Image.Resampling.LANCZOS), (0, top))
        caption(sheet, 0, top + size, outcome.name)
        if outcome.mesh is None:
            caption(sheet, size, top + size, outcome.problem[:80], color="red")
            continue
        for column, picture in enumerate(draw(outcome.mesh, list(VIEWS.values()), size), start=1):
            sheet.paste(Image.fromarray(picture), (column * size, top))
        for column, view in enumerate(VIEWS, start=1):
            caption(sheet, column * size, top + size, view)
        closed = "" if outcome.mesh.watertight else ", open"
        caption(sheet, 2 * size - size // 2, top + size, f"{len(outcome.mesh.faces)} faces{closed}")
    return sheet


def examples(outcomes: Sequence[Outcome], size: int) -> Image.Image:
    """Pairs of picture and asset, seen from the front's side, EXAMPLES_PER_ROW a row."""
    usable = [outcome for outcome in outcomes if outcome.mesh is not None]
    rows = math.ceil(len(usable) / EXAMPLES_PER_ROW)
    sheet = Image.new("RGB", (2 * size * EXAMPLES_PER_ROW, size * max(rows, 1)), "white")
    for index, outcome in enumerate(usable):
        assert outcome.mesh is not None
        left, top = 2 * size * (index % EXAMPLES_PER_ROW), size * (index // EXAMPLES_PER_ROW)
        inset = size // 8
        small = outcome.picture.resize((size - 2 * inset, size - 2 * inset), Image.Resampling.LANCZOS)
        sheet.paste(small, (left + inset, top + inset))
        [picture] = draw(outcome.mesh, [THREE_QUARTER], size)
        sheet.paste(Image.fromarray(picture), (left + size, top))
    return sheet


def caption(sheet: Image.Image, left: int, top: int, text: str, *, color: str = "black") -> None:
    ImageDraw.Draw(sheet).text((left + 4, top + 1), text, fill=color, font=ImageFont.load_default(size=12))


def save_png(picture: Image.Image, path: Path) -> Path:
    """Write a PNG of at most MAX_BYTES: in full colour if that fits, else with 256 colours."""
    for version in (picture, picture.quantize(256, dither=Image.Dither.NONE)):
        buffer = io.BytesIO()
        version.save(buffer, format="PNG", optimize=True)
        if buffer.tell() <= MAX_BYTES:
            return write_bytes(path, buffer.getvalue())
    raise ValueError(f"{path.name} would take {buffer.tell()} bytes; choose a smaller --size.")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.contact_sheet", description=__doc__)
    parser.add_argument("pictures", nargs="*", type=Path, help="pictures (default: all of assets/example_image)")
    parser.add_argument("--model", default="nano", help="embedded model, folder or repository")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--assets", type=Path, help="keep the assets in this folder")
    parser.add_argument("--reuse", action="store_true", help="draw the GLB files in --assets, generate nothing")
    parser.add_argument("--size", type=int, default=192, help="pixels of one picture")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images", help="folder of the two PNG files")
    options = parser.parse_args(arguments)
    if options.reuse and options.assets is None:
        parser.error("--reuse needs --assets")
    options.pictures = options.pictures or sorted(p for p in PICTURES.iterdir() if p.suffix.lower() in SUFFIXES)
    return options


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.assets or Path(temporary)
        try:
            pipeline = None if options.reuse else ImageTo3D.from_pretrained(options.model)
        except TrellisError as error:
            print(f"The model cannot be opened: {error}", file=sys.stderr)
            return 1
        print(
            f"{'picture':<14} {'make':>6} {'export':>6} {'faces':>8} {'closed':>6} {'mean':>6} {'std':>5}  files in MB"
        )
        outcomes = []
        for picture in options.pictures:
            outcomes.append(make(pipeline, picture, folder, options.seed))
            print(outcomes[-1].line(), flush=True)
    sheets = {"contact_sheet.png": contact_sheet, "examples.png": examples}
    for name, compose in sheets.items():
        path = save_png(compose(outcomes, options.size), options.output / name)
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")
    failed = [outcome.name for outcome in outcomes if outcome.mesh is None]
    if failed or not outcomes:
        print(f"{len(failed)} of {len(outcomes)} assets failed: {', '.join(failed)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
