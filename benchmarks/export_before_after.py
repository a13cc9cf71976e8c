"""The published exporters' faults beside our export, as one picture: `python -m benchmarks.export_before_after`.

Every column is one fault of docs/developer/model-facts.md, section 18, put back by hand into our own export of an
asset (above), and the export as it is (below). The lights are a viewer's three, the material is computed as glTF says.
"""

import argparse
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from benchmarks.texture_assets import TextureAsset, assets
from trellis.atomic import write_bytes
from trellis.export.chain import ExportChain, FileSources
from trellis.export.clean import clean
from trellis.export.options import FileOptions
from trellis.geometry.cameras import Cameras, orbit_cameras
from trellis.ops.rasterize import rasterize_triangles
from trellis.rendering.mesh import render_mesh
from trellis.rendering.textured_mesh import LIGHTS, render_textured_mesh
from trellis.representations import Mesh, TexturedMesh
from trellis.runtime import Runtime

SIZE = 320
FACES = 2500
SMALL = 8  # a viewer's smaller version of the texture, as a fraction of it: seen from afar
HOLE = 0.11  # radius of the hole that is cut, world units
TITLES = (
    ("no gap around the charts", "charts widened"),
    ("metallicFactor left out", "metallicFactor 0"),
    ("no normals in the file", "normals of the surface"),
    ("hole, one-sided faces", "closed"),
    ("Gaussians alone", "input picture laid on"),
)


def draw(asset: TexturedMesh, camera: Cameras, *, texture: Tensor | None = None, smooth: bool = True) -> Tensor:
    """The picture [3, SIZE, SIZE] of an export in a viewer with three lights."""
    picture = torch.from_numpy(asset.texture) / 255 if texture is None else texture
    return render_textured_mesh(
        torch.from_numpy(asset.vertices),
        torch.from_numpy(asset.faces),
        uvs=torch.from_numpy(asset.uvs),
        texture=picture,
        cameras=camera,
        size=SIZE,
        normals=torch.from_numpy(asset.normals) if smooth else None,
    ).color[0]


def as_metal(asset: TexturedMesh, camera: Cameras) -> Tensor:
    """The export as glTF's default material has it, metal of roughness 1, under the same lights without surroundings.

    Specular part of glTF 2.0, appendix B, at roughness 1: F = base colour, D = 1 / pi, V = 0.5 / (n.l + n.v).
    """
    base = render_textured_mesh(
        torch.from_numpy(asset.vertices), torch.from_numpy(asset.faces), uvs=torch.from_numpy(asset.uvs),
        texture=torch.from_numpy(asset.texture) / 255, cameras=camera, size=SIZE, shading="none",
    )  # fmt: skip
    shown = render_mesh(Mesh(torch.from_numpy(asset.vertices), torch.from_numpy(asset.faces)), camera, size=SIZE)
    normals = torch.nn.functional.normalize(2 * shown.normal[0] - 1, dim=0)
    local = torch.einsum("ij,jhw->ihw", camera.extrinsics[0, :3, :3], normals)
    facing = (-local[2]).clamp_min(1e-3)
    light = torch.zeros_like(facing)
    for direction, strength in LIGHTS["studio"][1]:
        towards = torch.nn.functional.normalize(torch.tensor(direction), dim=0)
        lit = torch.einsum("i,ihw->hw", towards, local).clamp_min(0)
        light += strength * 0.5 * lit / (lit + facing)
    return base.color[0] * light * base.alpha[0] + (1 - base.alpha[0])


def with_gaps(asset: TexturedMesh) -> Tensor:
    """The texture [S, S, 3] with nothing between the charts, where the exporter has not repeated their colours."""
    size = asset.texture.shape[0]
    flat = torch.from_numpy(np.pad(asset.uvs * size, ((0, 0), (0, 1)))).float()
    on = rasterize_triangles(flat, torch.from_numpy(asset.faces), size=size, perspective=False).mask
    return torch.from_numpy(asset.texture) / 255 * on[..., None]


def from_afar(texture: Tensor) -> Tensor:
    """A smaller version [s, s, 3] of a texture: means of SMALL x SMALL texels, as viewers make them."""
    return torch.nn.functional.avg_pool2d(texture.permute(2, 0, 1)[None], SMALL)[0].permute(1, 2, 0)


def with_hole(mesh: Mesh, camera: Cameras) -> Mesh:
    """The mesh without the faces near the middle of what the camera sees, on its side."""
    towards = torch.nn.functional.normalize(camera.positions[0], dim=0)
    centres = mesh.vertices[mesh.faces.long()].mean(1)
    aside = centres - (centres @ towards)[:, None] * towards
    return Mesh(mesh.vertices, mesh.faces[~((aside.norm(dim=1) < HOLE) & (centres @ towards > 0))], mesh.attributes)


def one_sided(mesh: Mesh, camera: Cameras) -> Mesh:
    """What is left of a mesh whose faces are drawn from their front alone."""
    a, b, c = mesh.vertices[mesh.faces.long()].unbind(1)
    front = (torch.linalg.cross(b - a, c - a) * (camera.positions[0] - a)).sum(1) > 0
    return Mesh(mesh.vertices, mesh.faces[front], mesh.attributes)


def clay(mesh: Mesh, camera: Cameras) -> Tensor:
    """A mesh in plain grey under the lights."""
    uvs, texture = torch.zeros(len(mesh.vertices), 2), torch.full((1, 1, 3), 0.8)
    options = {"cameras": camera, "size": SIZE}
    return render_textured_mesh(mesh.vertices, mesh.faces, uvs=uvs, texture=texture, **options).color[0]  # type: ignore[arg-type]


def pairs(asset: TextureAsset) -> list[tuple[Tensor, Tensor]]:
    """(with the fault, as we export it) of every column."""
    camera, front = orbit_cameras([0.6], [0.45]), orbit_cameras([np.pi + 0.6], [0.6])
    sources = FileSources(asset.gaussians, asset.mesh, asset.picture)
    plain, ours = (
        ExportChain(sources, FileOptions(faces=FACES, blend_picture=blend)).textured for blend in (False, True)
    )
    texture = torch.from_numpy(ours.texture) / 255
    far = [draw(ours, camera, texture=from_afar(part)) for part in (with_gaps(ours), texture)]
    cut = with_hole(clean(asset.mesh), camera)
    shown = draw(ours, camera)
    return [
        (far[0], far[1]),
        (as_metal(ours, camera), shown),
        (draw(ours, camera, smooth=False), shown),
        (clay(one_sided(cut, camera), camera), clay(one_sided(clean(cut), camera), camera)),
        (draw(plain, front), draw(ours, front)),
    ]


def sheet(columns: Sequence[tuple[Tensor, Tensor]]) -> Image.Image:
    """All columns side by side, faults above, ours below, each with its words."""
    bar, font = 30, ImageFont.load_default(17)
    picture = Image.new("RGB", (SIZE * len(columns), 2 * (SIZE + bar)), "white")
    pen = ImageDraw.Draw(picture)
    for column, (images, words) in enumerate(zip(columns, TITLES)):
        for row, (image, text) in enumerate(zip(images, words)):
            values = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
            picture.paste(Image.fromarray(values), (column * SIZE, row * (SIZE + bar) + bar))
            color = ("#9a2a2a", "#1d6b36")[row]
            pen.text((column * SIZE + SIZE // 2, row * (SIZE + bar) + 15), text, fill=color, font=font, anchor="mm")
    return picture


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export_before_after", description=__doc__)
    parser.add_argument("--name", default="mug", help="the example picture whose asset is shown")
    parser.add_argument("--cache", type=Path, help="folder that keeps generated assets between runs")
    parser.add_argument("--output", type=Path, default=Path("docs/images/export_before_after.png"))
    options = parser.parse_args(arguments)
    with torch.inference_mode():
        [asset] = assets("nano", [options.name], runtime=Runtime(), cache=options.cache)
        made = sheet(pairs(asset))
    packed = BytesIO()
    made.save(packed, "PNG", optimize=True)
    print(f"Written: {write_bytes(options.output, packed.getvalue())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
