"""A pipeline without networks: real files of a coloured knot, real progress, and faults on demand."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import imageio.v2 as imageio
import numpy as np
import trimesh
from PIL import Image
from plyfile import PlyData, PlyElement

from tests.unit.app.process_fakes import UNLIKE_SEED
from trellis.geometry.similarity import Similarity
from trellis.progress import Progress
from trellis.stages import Stage

STAGES = ((Stage.PREPARE, 1), (Stage.STRUCTURE, 8), (Stage.LATENT, 8))
ENDINGS = {"mesh_ply": "_mesh.ply", "base_color": "_base_color.png", "normal_map": "_normal.png"}
PICTURE = Path(__file__).with_name("picture.png")  # 32 x 24, as the reader of pictures leaves them
MESH_SEED = 99  # of the asset of a mesh file
SH_C0 = 0.28209479177387814


class FakeAsset:
    """Writes a GLB (front at +z, orange), a Gaussian PLY (y-down), an MP4, and every other kind as a line of text.

    What it was asked for is recorded in `saves`; `writing` holds it after the draft while clear.
    """

    def __init__(self, seed: int, saves: list[dict[str, Any]], writing: threading.Event) -> None:
        self.seed = seed
        self.notice, self.gaussians = "", "coloured"
        self.saves = saves
        self.writing = writing
        self.notes = ("The background was removed without a network.",)
        self.picture = np.asarray(_gradient().resize((64, 64)).convert("RGBA"))
        self.mesh = _knot()
        self.kept: SimpleNamespace | None = None  # of an edit
        self.resolution, self.to_cube = 32, Similarity()

    def store(self, path: Path) -> Path:
        path.write_text(str(self.seed))
        return path

    def save(
        self, folder: Path, *, name: str, formats: Sequence[str], progress: Progress, **options: Any
    ) -> dict[str, Path]:
        if options["draft"]:
            picture = np.asarray(_gradient().resize((64, 32)))
            options["on_draft"](picture)
            Image.fromarray(picture).save(folder / f"{name}_draft.png")
            return {"draft": folder / f"{name}_draft.png"}
        if self.kept is not None:
            options["on_kept"](46.04)
        options["on_likeness"](0.125 if self.seed == UNLIKE_SEED else 0.75)
        if options["on_draft"] is not None:
            options["on_draft"](np.asarray(_gradient().resize((64, 32))))
        folder.mkdir(parents=True, exist_ok=True)
        self.saves.append({"seed": self.seed, "formats": tuple(formats), **options})
        while not self.writing.wait(0.05):
            progress.cancel.raise_if_cancelled()
        writers = {"glb": self._write_glb, "ply": self._write_ply, "mp4": self._write_mp4}
        companions = {"obj": ("obj", "mtl", "base_color"), "maps": ("base_color",)}
        kinds = list(dict.fromkeys(kind for item in formats for kind in companions.get(item, (item,))))
        files = {}
        for index, kind in enumerate(kinds):
            files[kind] = folder / f"{name}{ENDINGS.get(kind, f'.{kind}')}"
            writers.get(kind, self._write_line)(files[kind])
            progress.report(Stage.EXPORT, index + 1, len(kinds))
        return files

    def _write_line(self, path: Path) -> None:
        path.write_text(f"{path.name} of seed {self.seed}")

    def _write_glb(self, path: Path) -> None:
        self.mesh.export(path)

    def _write_ply(self, path: Path) -> None:
        points, _ = trimesh.sample.sample_surface(self.mesh, 20000, seed=self.seed)
        colors = np.asarray(_gradient())[np.clip((0.5 - points[:, 1]) * 256, 0, 255).astype(int), 0] / 255
        columns = {
            "x": points[:, 0], "y": -points[:, 1], "z": -points[:, 2],
            "nx": 0, "ny": 0, "nz": 0,
            **{f"f_dc_{i}": (colors[:, i] - 0.5) / SH_C0 for i in range(3)},
            "opacity": 4.0,
            **{f"scale_{i}": np.log(0.005) for i in range(3)},
            "rot_0": 1.0, "rot_1": 0.0, "rot_2": 0.0, "rot_3": 0.0,
        }  # fmt: skip
        table = np.empty(len(points), dtype=[(name, "f4") for name in columns])
        for name, values in columns.items():
            table[name] = values
        PlyData([PlyElement.describe(table, "vertex")]).write(path)

    def _write_mp4(self, path: Path) -> None:
        ramp = np.linspace(0, 255, 256, dtype=np.uint8)
        frames = [np.broadcast_to(np.roll(ramp, 8 * i)[None, :, None], (128, 256, 3)) for i in range(20)]
        imageio.mimwrite(path, [np.ascontiguousarray(frame) for frame in frames], fps=10)


class FakeRetextured:
    """The same file once more."""

    notes, likeness, notice = ("The texture coordinates are the mesh's own.",), 0.5, ""

    def __init__(self, mesh: Path) -> None:
        self.mesh = mesh

    def save(self, folder: Path, *, name: str) -> dict[str, Path]:
        kind = self.mesh.suffix.removeprefix(".")
        path = folder / f"{name}.{kind}"
        path.write_bytes(self.mesh.read_bytes())
        return {kind: path}


class FakePipeline:
    """Calls are recorded in `calls`; `fault` is raised after the first stage; `gate` holds the steps while clear."""

    inputs, operations = ("pictures", "text"), ("generate", "variant", "edit", "retexture", "encode")
    representations = ("gaussians", "mesh", "radiance_field")
    options, notice = (), ""

    def __init__(self, *, step_seconds: float = 0.0, fault: BaseException | None = None) -> None:
        self.calls: list[dict[str, Any]] = []
        self.saves: list[dict[str, Any]] = []
        self.steps_done = 0
        self.fault = fault
        self.gate = threading.Event()
        self.gate.set()
        self.writing = threading.Event()
        self.writing.set()
        self._step_seconds = step_seconds

    def __call__(self, source: Sequence[Path] | str, *, progress: Progress, **options: Any) -> FakeAsset:
        if isinstance(source, str):
            self.calls.append({"prompt": source, **options})
        else:
            self.calls.append({"sizes": [Image.open(path).size for path in source], **options})
        for stage, total in STAGES:
            for _ in progress.steps(stage, total):
                assert self.gate.wait(timeout=30)
                time.sleep(self._step_seconds)
                self.steps_done += 1
            if self.fault is not None:
                raise self.fault
        return FakeAsset(options["seed"], self.saves, self.writing)

    def variant(self, source: FakeAsset, condition: Sequence[Path] | str, **options: Any) -> FakeAsset:
        return self(condition, of=source.seed, **options)

    def edit(self, source: FakeAsset, condition: Sequence[Path] | str | None, **options: Any) -> FakeAsset:
        made = self(condition or [], of=source.seed, **options)
        made.kept = SimpleNamespace(voxels_changed=0)
        return made

    def load_mesh(self, path: Path, *, progress: Progress, **options: Any) -> FakeAsset:
        self.calls.append({"mesh": path.name, "bytes": path.stat().st_size, **options})
        return FakeAsset(MESH_SEED, self.saves, self.writing)

    def represented(self, asset: FakeAsset, representations: Sequence[str], *, progress: Progress) -> FakeAsset:
        return asset

    def retexture(self, mesh: Path, condition: Sequence[Path] | str, **options: Any) -> "FakeRetextured":
        self(condition, mesh=mesh.name, **options)
        return FakeRetextured(mesh)

    def load_asset(self, path: Path) -> FakeAsset:
        return FakeAsset(int(path.read_text()), self.saves, self.writing)


def _knot() -> trimesh.Trimesh:
    """A (2, 3) torus knot inside the unit cube, shaded from orange to blue along its length."""
    along = np.linspace(0, 2 * np.pi, 160, endpoint=False)
    radius = 2 + np.cos(3 * along)
    line = np.stack([radius * np.cos(2 * along), radius * np.sin(2 * along), np.sin(3 * along)], axis=1) / 7
    tangent = np.roll(line, -1, axis=0) - np.roll(line, 1, axis=0)
    side = np.cross(tangent, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    other = np.cross(tangent, side)
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    around = np.linspace(0, 2 * np.pi, 16, endpoint=False)[None, :, None]
    vertices = line[:, None] + 0.055 * (np.cos(around) * side[:, None] + np.sin(around) * other[:, None])
    ring, spoke = np.divmod(np.arange(160 * 16), 16)
    a, b = ring * 16 + spoke, ring * 16 + (spoke + 1) % 16
    c, d = (a + 16) % (160 * 16), (b + 16) % (160 * 16)
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([c, b, d], axis=1)])
    mesh = trimesh.Trimesh(vertices.reshape(-1, 3), faces)
    mesh.fix_normals()
    mesh.visual = trimesh.visual.TextureVisuals(
        uv=np.stack([np.full(len(mesh.vertices), 0.5), mesh.vertices[:, 1] + 0.5], axis=1),
        material=trimesh.visual.material.PBRMaterial(
            baseColorTexture=_gradient(), metallicFactor=0.0, roughnessFactor=1.0
        ),
    )
    return mesh


def _gradient() -> Image.Image:
    """Orange above, blue below."""
    share = np.linspace(1, 0, 256)[:, None]
    colors = share * np.array([[240, 130, 30]]) + (1 - share) * np.array([[35, 90, 200]])
    return Image.fromarray(np.repeat(colors[:, None].astype(np.uint8), 8, axis=1))
