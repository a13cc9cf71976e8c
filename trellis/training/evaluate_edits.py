"""Measure editing on objects whose truth is known: two joined at a box, the one to be edited and the other to be made.

`python -m trellis.training.evaluate_edits --output edits.json`
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from trellis.asset import Asset
from trellis.conditioning.view import PictureView
from trellis.editing.boxes import Box
from trellis.editing.region import Region
from trellis.editing.voxels import enclosed
from trellis.editing.voxels import occupancy as grid_of
from trellis.encoding.source_mesh import SourceMesh
from trellis.export.chain import ExportChain
from trellis.export.kept import BORDER, MOST_PSNR, VIEWS, KeptPart, edited_pixels, kept_psnr
from trellis.export.options import FileOptions
from trellis.geometry.cameras import Cameras
from trellis.geometry.similarity import IDENTITY
from trellis.kept import FileSurface
from trellis.ops.closest_point import closest_point
from trellis.ops.rasterize import TriangleSamples, interpolate_attributes
from trellis.pipeline import TrellisPipeline
from trellis.rendering.gaussians import render_gaussians
from trellis.rendering.mesh import rasterize_mesh
from trellis.representations import Mesh
from trellis.sparse import SparseTensor
from trellis.training.evaluate_encoding import averaged, measure_file, view_cameras, write_files
from trellis.training.evaluate_retexture import measure, summary
from trellis.training.metrics import chamfer_and_f_score, psnr, sample_mesh, voxel_iou
from trellis.training.procedural import (
    HELD_OUT_SEEDS,
    ObjectBatch,
    occupancy,
    occupied_coords,
    render_views,
    sample_objects,
    voxel_features,
)
from trellis.training.procedural.joined import JoinedBatch
from trellis.training.procedural.pictures import frame_objects, picture_draws
from trellis.training.procedural.viewpoints import draw_cameras
from trellis.training.program import program

logger = logging.getLogger(__name__)

FIRST = HELD_OUT_SEEDS.start + 100
# Family, pair of seeds, and the height from which on the object is to be the other one.
EDITS = (
    ("mushroom", 0, 0.05), ("snowman", 1, 0.05), ("cake", 2, 0.05), ("lamp", 2, 0.05),
    ("robot", 2, 0.05), ("rocket", 1, 0.05), ("house", 0, 0.05), ("lighthouse", 1, 0.05),
)  # fmt: skip
FILES = 2  # edits whose files are made
PICTURE, WINDOW = 200, 128  # pixels of the picture, and of the source's crop in its middle
SIZE = 192


@dataclass(frozen=True)
class Row:
    """A line of the table: what is measured, its value, and the goal, which is reached from above or from below."""

    name: str
    value: float
    goal: float
    least: bool = True

    @property
    def met(self) -> bool:
        return self.value >= self.goal if self.least else self.value <= self.goal


@dataclass(frozen=True)
class Edit:
    """A source as the model encodes it, the voxels [R, R, R] of the edited object, and the latter's picture."""

    source: Asset
    truth: Tensor
    region: Region
    picture: Image.Image
    view: PictureView


def make_edit(pipeline: TrellisPipeline, family: str, pair: int, height: float) -> Edit:
    """One of EDITS, with its source decoded."""
    outer, inner = (sample_objects([FIRST + 2 * pair + i], [family]) for i in (0, 1))
    joined = JoinedBatch.create(outer, inner, torch.tensor([[[-0.5, -0.5, height], [0.5, 0.5, 0.5]]]))
    dense = occupancy(outer)
    framed = frame_objects(outer, draw_cameras(picture_draws(outer.seeds, 1, 0)), dense)
    wide = framed.intrinsics.clone()
    wide[:, :2] *= WINDOW / PICTURE
    wide[:, :2, 2] += (1 - WINDOW / PICTURE) / 2
    picture = render_views(joined, Cameras(framed.extrinsics, wide), size=PICTURE)[0, 0]
    rim = (PICTURE - WINDOW) // 2
    view = PictureView((PICTURE, PICTURE), (rim, rim, PICTURE - rim, PICTURE - rim), framed)
    return Edit(
        source=encoded(pipeline, outer, dense),
        truth=occupancy(joined)[0],
        region=Region((Box((-0.5, height, -0.5), (0.5, 0.5, 0.5)),)),
        picture=Image.fromarray(picture.numpy()),
        view=view,
    )


def encoded(pipeline: TrellisPipeline, objects: ObjectBatch, dense: Tensor) -> Asset:
    """The asset of one object by the encoder's exact input, decoded."""
    coords = occupied_coords(dense)
    features = SparseTensor.create(voxel_features(objects, coords), coords, resolution=dense.shape[-1], batch_size=1)
    bare = Asset(
        gaussians=None, mesh=None, radiance_field=None, coords=coords[:, 1:], latent=pipeline.encode_latent(features),
        resolution=dense.shape[-1], prepared=(),
    )  # fmt: skip
    made = pipeline.represented(bare)
    assert made.mesh is not None
    return replace(made, surface=FileSurface(SourceMesh.from_mesh(made.mesh)))


def measure_edit(pipeline: TrellisPipeline, edit: Edit, *, files: bool) -> dict[str, float]:
    """The figures of one edit and of removing the same part."""
    source = edit.source
    made = pipeline.edit(source, edit.picture, region=edit.region, view=edit.view)
    removed = pipeline.edit(source, region=edit.region, remove=True, representations=("gaussians",))
    mask = edit.region.mask(source.resolution, to_cube=IDENTITY)
    before, after, without = (grid_of(asset.coords, asset.resolution) for asset in (source, made, removed))
    voxels = torch.nn.functional.pad(edit.truth.nonzero().int(), (1, 0))
    through = pipeline.decode_occupancy(pipeline.encode_structure(voxels))[0].cpu()

    def inside(grid: Tensor) -> float:
        return float(voxel_iou((grid & mask)[None], (edit.truth & mask)[None])[0])

    assert made.kept is not None and made.mesh is not None and source.mesh is not None
    part = made.kept.for_files()
    scores = {
        "inside": inside(after),
        "unedited": inside(before),
        "through the VAE": inside(through),
        "changed": float(made.kept.voxels_changed + _changed_bytes(source, made, mask)),
        "gaussians": gaussians_outside(source, made, mask),
        "mesh": mesh_outside(source.mesh, made.mesh, part),
        "moved": surface_moved(source.mesh, made.mesh, mask),
        "enclosed": float((enclosed(before) & ~mask & ~enclosed(without)).sum()),
    }
    if files:
        scores |= measure_files(source, made, mask)
    return scores


def _changed_bytes(source: Asset, made: Asset, mask: Tensor) -> bool:
    """Whether voxels and latents outside of `mask` have not the same bytes in the same order."""

    def outside(asset: Asset) -> tuple[Tensor, Tensor]:
        rows = ~mask[tuple(asset.coords.long().unbind(1))]
        return asset.coords[rows], asset.latent[rows]

    return not all(torch.equal(old, new) for old, new in zip(outside(source), outside(made), strict=True))


def measure_files(source: Asset, made: Asset, mask: Tensor) -> dict[str, float]:
    """Agreement of the files of source and edited asset outside of the region, and how far their surfaces lie apart."""
    before = ExportChain(source.file_sources, FileOptions()).textured
    surface = FileSurface.of_textured(before, source.coords.device)
    assert made.kept is not None
    kept = replace(made.kept, surface=surface.mesh)
    after = ExportChain(replace(made, kept=kept).file_sources, FileOptions()).textured
    old, new = (Mesh(torch.from_numpy(one.vertices), torch.from_numpy(one.faces)) for one in (before, after))
    return {"files": kept_psnr(after, kept.for_files()), "files moved": surface_moved(old, new, mask)}


def gaussians_outside(source: Asset, made: Asset, mask: Tensor) -> float:
    """Agreement in dB of pictures of the Gaussians, BORDER pixels and more from where those of the region show."""
    pictures, edited = list[Tensor](), torch.zeros(len(VIEWS), SIZE, SIZE)
    for asset in (source, made):
        assert asset.gaussians is not None
        pictures.append(render_gaussians(asset.gaussians, view_cameras(), size=SIZE).color)
        inner = mask[tuple(asset.coords.long().unbind(1))].repeat_interleave(len(asset.gaussians) // len(asset.coords))
        values = {one.name: getattr(asset.gaussians, one.name) for one in fields(asset.gaussians)}
        chosen: dict[str, Any] = {name: value[inner] for name, value in values.items() if isinstance(value, Tensor)}
        edited += render_gaussians(replace(asset.gaussians, **chosen), view_cameras(), size=SIZE).alpha
    near = torch.nn.functional.max_pool2d((edited > 0).float(), 2 * BORDER + 1, stride=1, padding=BORDER) > 0
    return min(psnr(old[:, ~by], new[:, ~by]) for old, new, by in zip(*pictures, near, strict=True))


def mesh_outside(source: Mesh, made: Mesh, part: KeptPart) -> float:
    """Agreement in dB of pictures of the full meshes' colours, away from the region."""
    worst = MOST_PSNR
    for camera in view_cameras():
        samples = [rasterize_mesh(mesh, camera, size=SIZE) for mesh in (source, made)]
        apart = ~edited_pixels(list(zip(samples, (source, made), strict=True)), part)
        colors = [_drawn(samples[i], mesh)[apart] for i, mesh in enumerate((source, made))]
        worst = min(worst, psnr(*colors))
    return worst


def _drawn(samples: TriangleSamples, mesh: Mesh) -> Tensor:
    assert mesh.colors is not None
    return interpolate_attributes(samples, mesh.faces, mesh.colors)


def surface_moved(source: Mesh, made: Mesh, mask: Tensor) -> float:
    """The mean distance in voxels of points of each surface from the other, more than a voxel outside of `mask`."""
    wide = torch.nn.functional.max_pool3d(mask[None, None].float(), 3, stride=1, padding=1)[0, 0] > 0
    side, total, count = mask.shape[0], 0.0, 0
    for one, other in ((source, made), (made, source)):
        points = sample_mesh(one, generator=torch.Generator().manual_seed(0))
        cells = ((points + 0.5) * side).floor().long().clamp(0, side - 1)
        points = points[~wide[tuple(cells.unbind(1))]]
        total += float(closest_point(points, other.vertices, other.faces).distances.sum()) * side
        count += len(points)
    return total / max(count, 1)


def measure_variant(pipeline: TrellisPipeline, edit: Edit) -> float:
    """F-score at 0.05 of the mesh of a variant against its source's."""
    made = pipeline.variant(edit.source, edit.picture)
    assert made.mesh is not None and edit.source.mesh is not None
    points = [sample_mesh(mesh, generator=torch.Generator().manual_seed(0)) for mesh in (made.mesh, edit.source.mesh)]
    return chamfer_and_f_score(*points)[1]


def evaluate(pipeline: TrellisPipeline, *, count: int = len(EDITS)) -> list[Row]:
    """The rows of the table that edits and variants have."""
    scores, variants, began = list[dict[str, float]](), list[float](), time.monotonic()
    for number, chosen in enumerate(EDITS[:count]):
        edit = make_edit(pipeline, *chosen)
        scores.append(measure_edit(pipeline, edit, files=number < FILES))
        if number < FILES:
            variants.append(measure_variant(pipeline, edit))
        told = ", ".join(f"{name} {value:.3g}" for name, value in scores[-1].items())
        logger.info("%s: %s (%.0f s)", chosen[0], told, time.monotonic() - began)

    def of(name: str) -> list[float]:
        return [score[name] for score in scores if name in score]

    return [
        Row("edit: voxels and latents changed outside", sum(of("changed")), 0, least=False),
        Row("edit: inside-IoU", fmean(of("inside")), 0.60),
        Row("of the unedited source", fmean(of("unedited")), 0.0),
        Row("of the truth through the VAE", fmean(of("through the VAE")), 0.0),
        Row("pictures outside, dB: Gaussians", min(of("gaussians")), 60),
        Row("pictures outside, dB: full mesh", min(of("mesh")), 60),
        Row("pictures outside, dB: files", min(of("files")), 40),
        Row("surface outside, voxels: full mesh", max(of("moved")), 1e-6, least=False),
        Row("surface outside, voxels: files", max(of("files moved")), 0.25, least=False),
        Row("enclosed voxels lost by remove", sum(of("enclosed")), 0, least=False),
        Row("variant: mesh against source, F at 0.05", min(variants), 0.97),
    ]


def retexture_rows(pipeline: TrellisPipeline, folder: Path) -> list[Row]:
    """The rows of retexturing, whose files stay in `folder`."""
    found = summary(measure(pipeline, folder))
    return [
        Row("retexture: from the picture's view, dB", found["view"], 19),
        Row("of the old colours", found["view_before"], 0.0),
        Row("retexture: around, dB", found["around"], 17),
        Row("of the old colours around", found["around_before"], 0.0),
        Row("retexture: files whose accessors are equal", found["equal"], 1.0),
    ]


def encoding_rows(pipeline: TrellisPipeline, folder: Path) -> list[Row]:
    """The rows of encoding and decoding, whose files stay in `folder`: of each score the mean and the least."""
    kinds = zip(("objects", "plain shapes"), write_files(folder))
    rows = []
    for kind, paths in kinds:
        scores = [measure_file(pipeline, path) for path in paths]
        for told, found in (("mean", averaged(scores, fmean)), ("least", averaged(scores, min))):
            rows += [
                Row(f"encode, decode, {kind}, {told}: IoU", found.iou, 0.98),
                Row(f"{kind}, {told}: F at 0.02", found.near, 0.97),
                Row(f"{kind}, {told}: F at 0.02 of the surface that files show", found.seen, 0.97),
                Row(f"{kind}, {told}: F at 0.05", found.far, 0.99),
                Row(f"{kind}, {told}: pictures of the mesh, dB", found.mesh, 32),
                Row(f"{kind}, {told}: pictures of the Gaussians, dB", found.gaussians, 28),
                Row(f"{kind}, {told}: structure's encoder and decoder, IoU", found.structure, 0.97),
            ]
    return rows


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| | measured | goal | met |", "|---|---:|---:|---|"]
    for row in rows:
        goal = "-" if not row.goal and row.least else f"{'' if row.least else 'at most '}{row.goal:g}"
        lines.append(f"| {row.name} | {row.value:.3g} | {goal} | {'yes' if row.met else 'no'} |")
    return "\n".join(lines)


@program
def main(arguments: list[str] | None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano", help="name or folder of a model")
    parser.add_argument("--count", type=int, default=len(EDITS), help="edits, of those that there are")
    parser.add_argument("--output", type=Path, default=Path("edits.json"), help="figures to write")
    chosen = parser.parse_args(arguments)
    pipeline = TrellisPipeline.from_pretrained(chosen.model)
    folder = chosen.output.with_suffix("")
    rows = encoding_rows(pipeline, folder) + evaluate(pipeline, count=chosen.count)
    rows += retexture_rows(pipeline, folder)
    figures = [{"name": row.name, "value": row.value, "goal": row.goal, "met": row.met} for row in rows]
    chosen.output.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    logger.info("%s", table(rows))
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
