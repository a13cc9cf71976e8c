"""How well a mesh file is retextured: files of procedural objects, coloured anew from one picture of other colours.

The truth is the same file with the channels of its colours exchanged.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from PIL import Image

from trellis.dataset.meshes import training_mesh
from trellis.encoding.readers.files import LoadLimits, SourceFiles
from trellis.encoding.readers.gltf_document import GltfDocument, parse_document
from trellis.encoding.source_mesh import SourceMesh, normalize_mesh
from trellis.encoding.views import render_views
from trellis.export.chain import ExportChain, FileSources
from trellis.export.glb import write_glb
from trellis.export.options import FileOptions
from trellis.geometry.cameras import Cameras, orbit_cameras
from trellis.pipeline import TrellisPipeline
from trellis.representations import Mesh
from trellis.representations.flexicubes import extract_mesh
from trellis.training.procedural import HELD_OUT_SEEDS, ObjectBatch, occupancy, occupied_coords, sample_objects

FAMILIES = ("chair", "car", "mushroom", "lighthouse", "robot")
FINE = 64  # cells of the grid that an object's surface is taken from
PICTURE, COMPARED = 512, 256  # pixels
PICTURE_VIEW = (30.0, 20.0)  # degrees from the front and from the floor
AROUND = ((75.0, 10.0), (120.0, 20.0), (165.0, 20.0), (210.0, 10.0), (255.0, 20.0), (300.0, 45.0))

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetextureScores:
    """Of one object: PSNR (dB) over its pixels with the file's old colours and with the new ones, from the picture's
    own view (`view`) and from six others (`around`), against the true new colours; equal: all accessors' bytes are.
    """

    name: str
    view_before: float
    view: float
    around_before: float
    around: float
    equal: bool


def measure(
    pipeline: TrellisPipeline, folder: Path, *, families: Sequence[str] = FAMILIES, seed: int = 0
) -> list[RetextureScores]:
    """Scores of an object of each family (of FAMILIES) that the model never saw; the files stay in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    scores = []
    for name in families:
        one = sample_objects([HELD_OUT_SEEDS.start + FAMILIES.index(name)], [name])
        source = write_object(one, folder / f"{name}.glb")
        scores.append(_measure_one(pipeline, source, seed=seed))
        logger.info("%s", scores[-1])
    return scores


def write_object(one: ObjectBatch, path: Path) -> Path:
    """The true surface and colours of one object as GLB."""
    coarse = occupied_coords(occupancy(one, resolution=FINE))[:, 1:]
    corners = torch.tensor([[corner >> axis & 1 for axis in range(3)] for corner in range(8)])
    places = (coarse[:, None] + corners).reshape(1, -1, 3) / FINE - 0.5
    values = one.sdf(places, corrected=True).reshape(-1, 8)
    surface = extract_mesh(coarse, torch.nn.functional.pad(values, (0, 45)), resolution=FINE)
    colored = Mesh(surface.vertices, surface.faces, one.color(surface.vertices[None])[0])
    return write_glb(ExportChain(FileSources(None, colored), FileOptions(simplify=0.9)).textured, path)


def _measure_one(pipeline: TrellisPipeline, source: Path, *, seed: int) -> RetextureScores:
    old = training_mesh(source)
    truth = recolored(old)
    picture = source.with_name(f"{source.stem}_picture.png")
    Image.fromarray(photograph(truth, camera_at(*PICTURE_VIEW), PICTURE)).save(picture)
    made = pipeline.retexture(source, picture, seed=seed)
    result = made.save(source.parent, name=f"{source.stem}_new")["glb"]
    new = training_mesh(result)
    views = [camera_at(*PICTURE_VIEW), *(camera_at(*angles) for angles in AROUND)]
    before, after = ([agreement(mesh, truth, camera) for camera in views] for mesh in (old, new))
    return RetextureScores(
        source.stem, before[0], after[0], fmean(before[1:]), fmean(after[1:]), same_accessors(source, result)
    )


def recolored(mesh: SourceMesh) -> SourceMesh:
    """The mesh with red, green and blue exchanged in its textures."""
    textures = tuple(replace(t, pixels=t.pixels[..., [1, 2, 0, 3]]) for t in mesh.textures)
    return replace(mesh, textures=textures)


def camera_at(yaw: float, pitch: float) -> Cameras:
    """A camera that looks at the middle of the cube, by degrees from the front and from the floor."""
    return orbit_cameras([math.radians(180 + yaw)], [math.radians(pitch)], radius=2.4, fov_degrees=40.0)


def photograph(mesh: SourceMesh, camera: Cameras, size: int) -> np.ndarray:
    """A picture [size, size, 4] uint8 of the mesh without light and background."""
    image = render_views(normalize_mesh(mesh).mesh, camera, size=size)
    alpha = image.alpha[0]
    straight = torch.cat([image.color[0] / alpha.clamp_min(1e-6), alpha[None]])
    return (straight.permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()


def agreement(mesh: SourceMesh, truth: SourceMesh, camera: Cameras) -> float:
    """PSNR of two meshes without light, over the pixels that the true one fills."""
    found, wanted = (render_views(normalize_mesh(one).mesh, camera, size=COMPARED) for one in (mesh, truth))
    filled = wanted.alpha[0] > 0.99
    error = (found.color[0] - wanted.color[0])[:, filled].square().mean()
    return -10 * math.log10(max(float(error), 1e-10))


def same_accessors(first: Path, second: Path) -> bool:
    """Every accessor of two glTF files has the same entry and the same bytes."""
    one, other = (parse_document(SourceFiles(path, LoadLimits())) for path in (first, second))
    return one.json["accessors"] == other.json["accessors"] and _accessor_bytes(one) == _accessor_bytes(other)


def _accessor_bytes(document: GltfDocument) -> list[bytes]:
    return [bytes(document.view_bytes(entry["bufferView"])) for entry in document.json["accessors"]]


def summary(scores: list[RetextureScores]) -> dict[str, float]:
    """Means over the objects; `equal` is the share of the files."""
    names = ("view_before", "view", "around_before", "around", "equal")
    return {name: fmean(getattr(one, name) for one in scores) for name in names}
