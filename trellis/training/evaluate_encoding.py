"""How well mesh files come back from the model's latent: encoded, decoded, and compared with themselves."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from trellis.editing.voxels import occupancy
from trellis.encoding.local_features import shell_voxels
from trellis.encoding.solid import SolidField
from trellis.encoding.source_mesh import SourceMesh
from trellis.encoding.views import render_views
from trellis.export.clean import clean
from trellis.export.kept import VIEWS
from trellis.geometry.cameras import Cameras, orbit_cameras
from trellis.pipeline import TrellisPipeline
from trellis.rendering.gaussians import render_gaussians
from trellis.representations import Mesh
from trellis.training.evaluate_retexture import FAMILIES, write_object
from trellis.training.metrics import chamfer_and_f_score, psnr, sample_mesh, voxel_iou
from trellis.training.procedural import HELD_OUT_SEEDS, sample_objects

SIZE = 192  # pixels
SEGMENTS = 64  # around a round shape

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RoundTrip:
    """Of one file: IoU of the voxels, F-scores of the surfaces at 0.02 and 0.05 and, without the inner walls that files
    leave away, at 0.02 again (`seen`); PSNR (dB) of six unlit pictures of the decoded mesh and of the Gaussians against
    the file's, IoU of the voxels through the structure's VAE.
    """

    name: str
    iou: float
    near: float
    far: float
    seen: float
    mesh: float
    gaussians: float
    structure: float


def write_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """GLB files of coloured objects that the model never saw, and STL files of five plain shapes."""
    from trimesh import creation  # at the call: it takes over a second to import

    folder.mkdir(parents=True, exist_ok=True)
    objects = []
    for index, family in enumerate(FAMILIES):
        one = sample_objects([HELD_OUT_SEEDS.start + index], [family])
        objects.append(write_object(one, folder / f"{family}.glb"))
    shapes = {
        "ball": creation.icosphere(4),
        "box": creation.box((1.0, 0.7, 0.5)),
        "cylinder": creation.cylinder(0.4, 1.0, sections=SEGMENTS),
        "cone": creation.cone(0.5, 1.0, sections=SEGMENTS),
        "ring": creation.torus(0.35, 0.15, major_sections=SEGMENTS, minor_sections=SEGMENTS),
    }
    for name, shape in shapes.items():
        shape.export(folder / f"{name}.stl")
    return objects, [folder / f"{name}.stl" for name in shapes]


def measure_file(pipeline: TrellisPipeline, path: Path) -> RoundTrip:
    """The scores of one mesh file."""
    made = pipeline.represented(pipeline.load_mesh(path, front="0"))
    assert made.surface is not None and made.mesh is not None and made.gaussians is not None
    source, decoded = made.surface.mesh, SourceMesh.from_mesh(made.mesh)
    before, after = (_grid(mesh, made.resolution) for mesh in (source, decoded))
    surfaces = (made.mesh, clean(made.mesh), Mesh(source.vertices, source.faces.int()))
    found, seen, wanted = (sample_mesh(mesh, generator=torch.Generator().manual_seed(0)) for mesh in surfaces)
    voxels = torch.nn.functional.pad(before.nonzero().int(), (1, 0))
    through = pipeline.decode_occupancy(pipeline.encode_structure(voxels))[0].cpu()
    cameras = view_cameras()
    truth, drawn = (render_views(mesh, cameras, size=SIZE).color for mesh in (source, decoded))
    splats = render_gaussians(made.gaussians, cameras, size=SIZE).color
    scores = RoundTrip(
        path.stem,
        iou=_iou(before, after),
        near=chamfer_and_f_score(found, wanted, distance=0.02)[1],
        far=chamfer_and_f_score(found, wanted)[1],
        seen=chamfer_and_f_score(seen, wanted, distance=0.02)[1],
        mesh=psnr(drawn, truth),
        gaussians=psnr(splats, truth),
        structure=_iou(before, through),
    )
    logger.info("%s", scores)
    return scores


def view_cameras() -> Cameras:
    """The views that pictures are compared in."""
    yaws, pitches = zip(*(map(math.radians, view) for view in VIEWS))
    return orbit_cameras(yaws, pitches)


def _grid(mesh: SourceMesh, resolution: int) -> Tensor:
    """The voxels of a mesh in the cube, as an encoder of local numbers has them."""
    return occupancy(shell_voxels(SolidField.create(mesh, resolution=resolution)), resolution)


def _iou(one: Tensor, other: Tensor) -> float:
    return float(voxel_iou(one[None], other[None])[0])


def averaged(scores: Sequence[RoundTrip], of: Callable[[list[float]], float]) -> RoundTrip:
    """Of each score one number, such as the mean or the least."""
    names = [name for name in vars(scores[0]) if name != "name"]
    return RoundTrip("all", **{name: of([getattr(one, name) for one in scores]) for name in names})
