"""How long other files of an asset take on this machine and how large they are, scaled from files made here before."""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trellis.app.jobs import Job
from trellis.app.request import AssetRequest
from trellis.export.options import TEXTURED
from trellis.stages import Stage

GLB_START = struct.Struct("<4sIIII")
# Bytes against those of a GLB's surface and of its texture, measured on the embedded model's files.
SURFACE = {"glb": 1.0, "obj": 3.2, "usdz": 3.1, "stl": 1.5, "mesh_ply": 0.6}
PICTURE = {"glb": 1.0, "obj": 1.0, "usdz": 1.0, "maps": 1.0}
SPLAT_SHARE = 32 / 68  # of the bytes of a Gaussian in PLY


@dataclass(frozen=True)
class Estimate:
    """Seconds of work, None where nothing is known, and bytes of all files."""

    seconds: float | None
    bytes: int


@dataclass(frozen=True)
class Contents:
    """What a GLB holds: faces, and the bytes of its surface and its pictures."""

    faces: int
    surface: int
    pictures: int


def estimate_files(shown: Job, request: AssetRequest, jobs: Sequence[Job]) -> Estimate | None:
    """What the files of `request` cost for the asset of a job that is done; None without a GLB of it to go by.

    jobs: others that ran here, the newest first, for stages that the job itself has not had.
    """
    contents = read_contents(shown.files.get("glb"))
    if contents is None:
        return None
    done = [job for job in (shown, *jobs) if job.spent and isinstance(job.request, AssetRequest)]
    seconds = [_stage_seconds(stage, request, done) for stage in _stages(request)]
    known = [value for value in seconds if value is not None]
    return Estimate(sum(known) if known else None, _bytes(shown, request, contents))


def read_contents(path: Path | None) -> Contents | None:
    """What the header of a GLB says; None for a file that is not there or is none."""
    try:
        with (path or Path()).open("rb") as file:
            magic, _, total, length, _ = GLB_START.unpack(file.read(GLB_START.size))
            if magic != b"glTF":
                return None
            document = json.loads(file.read(length))
    except (OSError, ValueError, struct.error):
        return None
    views, accessors = document.get("bufferViews", []), document.get("accessors", [])
    pictures = sum(views[image["bufferView"]]["byteLength"] for image in document.get("images", []))
    primitives = [part for mesh in document.get("meshes", []) for part in mesh["primitives"]]
    faces = sum(accessors[part["indices"]]["count"] // 3 for part in primitives if "indices" in part)
    return Contents(faces, total - pictures, pictures)


def _stages(request: AssetRequest) -> list[Stage]:
    """The stages that the files need."""
    textured = bool(set(request.formats) & set(TEXTURED)) or "textured" in request.shown
    wanted = {
        Stage.EXPORT: True,
        Stage.TEXTURE: textured,
        Stage.PICTURE: textured and request.blend_picture,
        Stage.REFINE: textured and request.texture_mode == "best",
        Stage.NORMAL_MAP: textured and request.normal_map,
        Stage.PREVIEW: "mp4" in request.formats,
    }
    return [stage for stage, needed in wanted.items() if needed]


def _stage_seconds(stage: Stage, request: AssetRequest, jobs: Sequence[Job]) -> float | None:
    """The seconds of a stage in the first job that had it, scaled to this request."""
    for job in jobs:
        if stage in job.spent:
            return job.spent[stage] * _work(stage, request) / _work(stage, job.asset_request)
    return None


def _work(stage: Stage, request: AssetRequest) -> float:
    """The work of a stage in numbers that can be compared between requests."""
    if stage is Stage.PREVIEW:
        return float(request.preview_frames * request.preview_size**2)
    if stage is Stage.EXPORT:
        return 1.0  # cleaning and unwrapping take most of it
    return 1024**2 + float(request.texture_size**2)  # part of it does not depend on the texture


def _bytes(shown: Job, request: AssetRequest, contents: Contents) -> int:
    before = shown.asset_request
    surface = contents.surface * _faces(request, contents, before) / max(contents.faces, 1)
    pictures = contents.pictures * (request.texture_size / before.texture_size) ** 1.7
    if request.normal_map != before.normal_map:
        pictures *= 2 if request.normal_map else 0.5
    total = 0.0
    for kind in request.formats:
        if kind in SURFACE or kind in PICTURE:
            total += SURFACE.get(kind, 0) * surface + PICTURE.get(kind, 0) * pictures
        elif kind in shown.files:
            total += shown.files[kind].stat().st_size
        elif kind == "splat" and "ply" in shown.files:
            total += SPLAT_SHARE * shown.files["ply"].stat().st_size
    return round(total)


def _faces(request: AssetRequest, contents: Contents, before: AssetRequest) -> float:
    """How many faces the mesh has with a request."""
    every = contents.faces / (1 - before.simplify) if before.faces is None else max(contents.faces, before.faces)
    return min(every, request.faces) if request.faces is not None else every * (1 - request.simplify)
