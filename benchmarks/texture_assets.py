"""Assets for the texture benchmark: what the nano model makes of the example pictures, and the true objects of them."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from trellis import ImageTo3D
from trellis.conditioning import PreparedImage
from trellis.geometry.cameras import Cameras
from trellis.ops.rasterize.scenes import SH_C0
from trellis.representations import GaussianCloud, Mesh
from trellis.representations.flexicubes import extract_mesh
from trellis.runtime import Runtime
from trellis.training.procedural import ObjectBatch, occupancy, occupied_coords, render_pictures, sample_objects
from trellis.training.procedural.examples import EXAMPLES

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "assets" / "example_image"
SOURCES = ("nano", "true")
RESOLUTION = 32  # of the shell of voxels about a true object; its mesh is four times finer
PICTURE_SEED = 1  # of the example pictures
PICTURE_SIZE = 518
DISC = 0.45  # standard deviation of a disc over the spacing of the fine grid


@dataclass(frozen=True)
class TextureAsset:
    """A mesh and Gaussians of one object, the framed cut-out picture [S, S, 4] uint8, and its camera where known."""

    name: str
    mesh: Mesh
    gaussians: GaussianCloud
    picture: NDArray[np.uint8]
    camera: Cameras | None = None


def assets(source: str, names: Sequence[str], *, runtime: Runtime, cache: Path | None = None) -> Iterator[TextureAsset]:
    """The assets of the example pictures called `names`, of one of SOURCES; generated ones are kept in `cache`."""
    if source == "true":
        yield from (true_asset(name, device=runtime.device) for name in names)
        return
    pipeline: ImageTo3D | None = None
    for name in names:
        kept = None if cache is None else cache / f"{name}.pt"
        if kept is not None and kept.exists():
            yield torch.load(kept, map_location=runtime.device, weights_only=False)
            continue
        pipeline = pipeline or ImageTo3D.from_pretrained("nano", runtime=runtime)
        made = pipeline(PICTURES / f"{name}.png", seed=0)
        assert made.mesh is not None and made.gaussians is not None
        asset = TextureAsset(name, made.mesh, made.gaussians, framed_cutout(made.prepared[0]))
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            torch.save(asset, kept)
        yield asset


def framed_cutout(prepared: PreparedImage, size: int = PICTURE_SIZE) -> NDArray[np.uint8]:
    """The cut-out with its transparency, framed as the networks saw it."""
    crop = prepared.cutout.convert("RGBA").crop(prepared.box)
    return np.asarray(crop.resize((size, size), Image.Resampling.LANCZOS))


def true_asset(name: str, *, device: torch.device) -> TextureAsset:
    """The object behind an example picture: its exact surface, flat opaque discs on it, its picture and camera."""
    example = next(example for example in EXAMPLES if example.family == name)
    objects = sample_objects([example.seed], [example.family], device=device)
    pictures = render_pictures(objects, size=PICTURE_SIZE, seed=PICTURE_SEED, supersampling=2)
    mesh = true_mesh(objects)
    return TextureAsset(name, mesh, discs(mesh, objects), pictures.images[0, 0].cpu().numpy(), pictures.cameras)


def true_mesh(objects: ObjectBatch) -> Mesh:
    """The surface of one object on a grid of 4 RESOLUTION a side, with its unlit colours."""
    coarse = occupied_coords(occupancy(objects, resolution=RESOLUTION))[:, 1:]
    steps = torch.arange(4, device=coarse.device)
    inner = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    fine = (coarse[:, None] * 4 + inner).reshape(-1, 3)
    bits = torch.arange(8, device=coarse.device)
    corners = torch.stack([bits & 1, bits >> 1 & 1, bits >> 2 & 1], 1)
    points = ((fine[:, None] + corners) / (4 * RESOLUTION) - 0.5).reshape(1, -1, 3)
    distance = torch.cat([objects.sdf(part, corrected=True)[0] for part in points.split(1 << 20, dim=1)])
    colors = torch.cat([objects.color(objects.project(part))[0] for part in points.split(1 << 20, dim=1)])
    feats = torch.zeros(len(fine), 101, device=fine.device)
    feats[:, :8] = (distance * RESOLUTION).clamp(-2, 2).reshape(-1, 8) + 1 / (4 * RESOLUTION)
    attributes = torch.cat([torch.logit(colors, 1e-3), torch.zeros_like(colors)], 1)
    feats[:, 53:] = attributes.reshape(len(fine), -1)
    return extract_mesh(fine.int(), feats, resolution=4 * RESOLUTION)


def discs(mesh: Mesh, objects: ObjectBatch) -> GaussianCloud:
    """Flat, opaque Gaussians at the vertices and in the middle of the faces, coloured like the object."""
    corners = mesh.vertices[mesh.faces.long()]
    positions = torch.cat([mesh.vertices, corners.mean(1)])
    normals = objects.normal(positions[None])[0]
    colors = objects.color(positions[None])[0]
    sides = torch.tensor([DISC, DISC, 0.0], device=positions.device) / (4 * RESOLUTION) + 9e-4
    opacities = torch.full((len(positions), 1), 0.95, device=positions.device)
    return GaussianCloud(
        positions, (colors - 0.5) / SH_C0, sides.repeat(len(positions), 1), towards(normals), opacities
    )


def towards(normals: Tensor) -> Tensor:
    """Quaternions [n, 4] (w, x, y, z) that turn +z to unit `normals` [n, 3]."""
    x, y, z = normals.unbind(1)
    halfway = torch.stack([1 + z, -y, x, torch.zeros_like(x)], 1)
    upside_down = halfway.new_tensor([0.0, 1.0, 0.0, 0.0])
    return torch.nn.functional.normalize(torch.where((z < -0.9999)[:, None], upside_down, halfway), dim=1)
