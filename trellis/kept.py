"""What an edited asset keeps of its source for its files: the source's textured surface, and where it was edited."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trellis.encoding.colors import surface_colors
from trellis.encoding.load import load_mesh
from trellis.encoding.source_mesh import Material, SourceMesh, Texture
from trellis.export.glb import read_picture_camera
from trellis.geometry.cameras import Cameras
from trellis.geometry.similarity import Similarity
from trellis.representations import Mesh, TexturedMesh

if TYPE_CHECKING:
    from trellis.export.kept import KeptPart

PREFIX = "kept."  # of the tensors' names


@dataclass(frozen=True)
class Kept:
    """surface: the textured surface of the source's file, in the model's cube; region bool [R, R, R]: the voxels that
    were edited; camera: of the crop of the asset's picture, if it is known; pictured: this shows what was edited;
    voxels_changed: outside of the region, against the source, as counted.
    """

    surface: SourceMesh
    region: Tensor
    camera: Cameras | None = None
    pictured: bool = True
    voxels_changed: int = 0

    def for_files(self) -> "KeptPart":
        """What the files need of it."""
        from trellis.export.kept import KeptPart

        mesh = Mesh(self.surface.vertices, self.surface.faces.int())
        return KeptPart(
            mesh, partial(surface_colors, self.surface), self.region, self.camera if self.pictured else None
        )

    def tensors(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors by name and a record for JSON, for `restored`."""
        mesh = self.surface
        named = {
            "vertices": mesh.vertices, "faces": mesh.faces, "uvs": mesh.uvs, "vertex_colors": mesh.vertex_colors,
            "face_materials": mesh.face_materials, "region": self.region,
        }  # fmt: skip
        if self.camera is not None:
            named |= {"extrinsics": self.camera.extrinsics, "intrinsics": self.camera.intrinsics}
        named |= {f"texture.{i}": texture.pixels for i, texture in enumerate(mesh.textures)}
        record = {
            "materials": [asdict(material) for material in mesh.materials],
            "wraps": [texture.wrap for texture in mesh.textures],
            "pictured": self.pictured,
            "voxels_changed": self.voxels_changed,
        }
        return {PREFIX + name: value for name, value in named.items()}, record

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], record: Mapping[str, Any], device: torch.device | None) -> "Kept":
        """The inverse of `tensors`, on `device`."""

        def take(name: str) -> Tensor:
            return tensors[PREFIX + name].to(device)

        pixels = (take(f"texture.{i}") for i in range(len(record["wraps"])))
        materials = ({**item, "base_color": tuple(item["base_color"])} for item in record["materials"])
        surface = SourceMesh(
            vertices=take("vertices"),
            faces=take("faces"),
            uvs=take("uvs"),
            vertex_colors=take("vertex_colors"),
            face_materials=take("face_materials"),
            materials=tuple(Material(**item) for item in materials),
            textures=tuple(Texture(part, tuple(wrap)) for part, wrap in zip(pixels, record["wraps"], strict=True)),
        )
        camera = None
        if PREFIX + "extrinsics" in tensors:
            camera = Cameras(take("extrinsics"), take("intrinsics"))
        return cls(surface, take("region"), camera, record["pictured"], record["voxels_changed"])


@dataclass(frozen=True)
class FileSurface:
    """The textured surface of an asset's file in the model's cube, and the camera of its picture's crop, if known."""

    mesh: SourceMesh
    camera: Cameras | None = None

    @classmethod
    def of_textured(cls, made: TexturedMesh, device: torch.device) -> "FileSurface":
        """That of a mesh made for files."""
        count = len(made.vertices)
        alpha = torch.full((*made.texture.shape[:2], 1), 255, dtype=torch.uint8)
        mesh = SourceMesh(
            vertices=torch.from_numpy(made.vertices),
            faces=torch.from_numpy(made.faces).long(),
            uvs=torch.from_numpy(made.uvs),
            vertex_colors=torch.ones(count, 4),
            face_materials=torch.zeros(len(made.faces), dtype=torch.int64),
            materials=(Material(texture=0),),
            textures=(Texture(torch.cat([torch.from_numpy(made.texture), alpha], 2)),),
        )
        return cls(mesh.to(device), made.picture_camera)

    @classmethod
    def of_glb(cls, path: Path, *, to_cube: Similarity, device: torch.device) -> "FileSurface":
        """That of a GLB file of this program, whose world `to_cube` brings into the cube."""
        mesh = load_mesh(path).to(device)
        return cls(replace(mesh, vertices=to_cube.apply(mesh.vertices)), read_picture_camera(path, to_cube=to_cube))
