"""Time and memory of a variant and an edit beside a generation: `python -m benchmarks.editing --device cuda`.

Networks of the released shapes with random weights, an object of 20,232 voxels, the whole of each operation from the
picture to Gaussians and mesh; the source's textured surface is at hand, as it is where the source has a GLB. The
decoded structure is that object whatever a picture shows. For the table of docs/editing.md:
`python -m benchmarks.editing --device cuda --preset fastest --preset minimal --output DIR`.
"""

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from benchmarks.measures import measured
from benchmarks.released import SCALES, Scene, corner_distances, make_scene, random_pipeline
from trellis.app.presets import PRESETS
from trellis.asset import Asset
from trellis.atomic import write_bytes
from trellis.conditioning.view import PictureView
from trellis.editing.boxes import Box
from trellis.encoding.source_mesh import Material, SourceMesh
from trellis.geometry.cameras import orbit_cameras
from trellis.kept import FileSurface
from trellis.memory import MemoryPlan
from trellis.pipeline import ImageTo3D
from trellis.rendering.mesh import rasterize_mesh
from trellis.representations import Mesh
from trellis.runtime import Runtime, device_name
from trellis.sparse import SparseTensor

GIB = 2**30
VIEW = 512  # pixels
REGION = Box((-0.5, 0.1, -0.5), (0.5, 0.5, 0.5))  # the upper third of the object


class ScenePipeline(ImageTo3D):
    """Its networks run, and the object is the scene's whatever they say: random weights make none."""

    scene: Scene

    def decode_numbers(self, latent: Tensor) -> Tensor:
        """Those of the scene's voxels."""
        numbers = torch.full_like(super().decode_numbers(latent), -1)
        numbers[self.scene.voxels.long().unbind(1)] = 1
        return numbers

    def decode_mesh_features(self, latent: SparseTensor) -> SparseTensor:
        """The scene's surface."""
        features = super().decode_mesh_features(latent)
        features.feats[:, :8] = corner_distances(features.coords[:, 1:]).to(features.feats)
        features.feats[:, 8:53] *= 0.3
        return features


def object_picture() -> Image.Image:
    """A cut-out object."""
    picture = Image.new("RGBA", (640, 640), (0, 0, 0, 0))
    ImageDraw.Draw(picture).ellipse((120, 100, 540, 560), fill=(200, 120, 60, 255))
    return picture


def with_surface(asset: Asset) -> Asset:
    """The asset with the textured surface of its file, here in one colour."""
    assert asset.mesh is not None
    count, faces = len(asset.mesh.vertices), asset.mesh.faces.long()
    surface = SourceMesh(
        vertices=asset.mesh.vertices,
        faces=faces,
        uvs=asset.mesh.vertices.new_zeros(count, 2),
        vertex_colors=asset.mesh.vertices.new_ones(count, 4),
        face_materials=torch.zeros(len(faces), dtype=torch.int64, device=faces.device),
        materials=(Material(),),
        textures=(),
    )
    return replace(asset, surface=FileSurface(surface))


def view_of(mesh: Mesh) -> tuple[Image.Image, PictureView]:
    """A picture of the mesh, and the view that it is of."""
    camera = orbit_cameras([math.radians(200)], [math.radians(20)], fov_degrees=50)
    covered = rasterize_mesh(mesh, camera, size=VIEW).mask
    picture = Image.new("RGBA", (VIEW, VIEW), (0, 0, 0, 0))
    picture.paste((200, 120, 60, 255), mask=Image.fromarray(covered.cpu().numpy().astype("uint8") * 255))
    return picture, PictureView((VIEW, VIEW), (0, 0, VIEW, VIEW), camera)


def operations(pipeline: ImageTo3D) -> dict[str, Callable[[], Any]]:
    """What is measured; the asset that is edited is made beforehand."""
    picture = object_picture()
    source = with_surface(pipeline(picture))
    assert source.mesh is not None
    shown, view = view_of(source.mesh)
    return {
        "generate": lambda: pipeline(picture),
        "variant": lambda: pipeline.variant(source, picture),
        "edit": lambda: pipeline.edit(source, picture, region=REGION),
        "edit of a view": lambda: pipeline.edit(source, shown, region=REGION, view=view),
        "remove": lambda: pipeline.edit(source, region=REGION, remove=True),
    }


def measure(pipeline: ImageTo3D, repeats: int, *, warm: int) -> list[dict[str, Any]]:
    """Median seconds and the peak of each operation, printed beside the generation's."""
    device, rows = pipeline.runtime.device, list[dict[str, Any]]()
    for name, work in operations(pipeline).items():
        for _ in range(warm):
            work()
        seconds, peak, before = measured(work, device, repeats)
        rows.append({"operation": name, "seconds": seconds, "peak": peak, "before": before})
        median, usual = (statistics.median(row["seconds"]) for row in (rows[-1], rows[0]))
        print(
            f"{name:30} {median:7.3f} s, {median / usual:5.2f} of a generation, peak {peak / GIB:6.3f} GiB "
            f"({before / GIB:.3f} before)",
            flush=True,
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.editing", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="float16")
    parser.add_argument("--preset", choices=list(PRESETS), action="append", help="memory plan; several (all at once)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--warm", type=int, default=1, help="runs of each operation before those that count")
    parser.add_argument("--steps", type=int, help="of both flows, instead of the released 25")
    parser.add_argument("--scale", choices=SCALES, default="released", help="tiny: to try the benchmark itself")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where editing.json goes")
    options = parser.parse_args(arguments)
    results = {}
    for preset in options.preset or ["none"]:
        runtime = Runtime.detect(device=options.device, precision=options.precision, offline=True)
        plan = PRESETS[preset].plan if preset in PRESETS else MemoryPlan()
        print(f"{preset} on {device_name(runtime.device)}, {options.precision}, {plan}", flush=True)
        pipeline = random_pipeline(runtime, scale=options.scale, plan=plan, steps=options.steps, kind=ScenePipeline)
        assert isinstance(pipeline, ScenePipeline)
        pipeline.scene = make_scene(scale=options.scale, device=runtime.device)
        with torch.inference_mode():
            results[preset] = measure(pipeline, options.repeats, warm=options.warm)
    if options.output is not None:
        write_bytes(options.output / "editing.json", (json.dumps(results) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
