"""A mesh as a file describes it: many materials, pictures with their wrapping, colours of vertices, alpha."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.geometry.similarity import Similarity, fit_to_cube
from trellis.representations import Mesh

WRAP_MODES = ("repeat", "mirror", "clamp")
ALPHA_MODES = ("opaque", "mask", "blend")
DEFAULT_SIDE = 0.95  # of the unit cube; its rim stays free, so that the shell around the surface lies inside the grid


@dataclass(frozen=True)
class Texture:
    """pixels [H, W, 4] uint8, sRGB with plain alpha; wrap: one of WRAP_MODES along u and along v.

    picture: which picture of the file it shows (glTF: number of the image, OBJ: name), None for one of no file.
    """

    pixels: Tensor
    wrap: tuple[str, str] = ("repeat", "repeat")
    picture: int | str | None = None

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        if self.pixels.dtype != torch.uint8 or len(shape) != 3 or shape[2] != 4 or 0 in shape:
            raise InvalidInputError(f"A texture is uint8 [H, W, 4], not {self.pixels.dtype} {list(shape)}.")
        for mode in self.wrap:
            if mode not in WRAP_MODES:
                raise InvalidInputError(f"Unknown wrap mode {mode!r}; choose one of {', '.join(WRAP_MODES)}.")


@dataclass(frozen=True)
class Material:
    """base_color: linear rgb and alpha that multiply the texture and the vertex colours.

    texture: number of a texture of the mesh, or None; alpha_mode: one of ALPHA_MODES; alpha_cutoff: for `mask`.
    entry: which material of the file it is (glTF: its number, OBJ: its name), None for the default one.
    """

    base_color: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    texture: int | None = None
    alpha_mode: str = "opaque"
    alpha_cutoff: float = 0.5
    entry: int | str | None = None

    def __post_init__(self) -> None:
        if self.alpha_mode not in ALPHA_MODES:
            raise InvalidInputError(f"Unknown alpha mode {self.alpha_mode!r}; choose one of {', '.join(ALPHA_MODES)}.")


@dataclass(frozen=True)
class SourceMesh:
    """A triangle mesh with its colours, in our world: z up, front towards -y.

    vertices [V, 3] float32; faces [F, 3] int64, counter-clockwise seen from outside; uvs [V, 2] float32, origin at the
    top left of the picture; vertex_colors [V, 4] float32, linear rgb and alpha that multiply the rest;
    face_materials [F] int64 into `materials`; normals [F, 3, 3] of the corners, 0 where the file states none, or None.
    All tensors lie on one device. notes: sentences on what its file says and is not in it; notice: the line that the
    licence of a model asks what it made to carry.
    """

    vertices: Tensor
    faces: Tensor
    uvs: Tensor
    vertex_colors: Tensor
    face_materials: Tensor
    materials: tuple[Material, ...] = (Material(),)
    textures: tuple[Texture, ...] = ()
    notes: tuple[str, ...] = ()
    notice: str = ""
    normals: Tensor | None = None

    def __post_init__(self) -> None:
        count, faces = len(self.vertices), len(self.faces)
        wanted = {
            "vertices": (self.vertices, (count, 3)),
            "faces": (self.faces, (faces, 3)),
            "uvs": (self.uvs, (count, 2)),
            "vertex_colors": (self.vertex_colors, (count, 4)),
            "face_materials": (self.face_materials, (faces,)),
        }
        if self.normals is not None:
            wanted["normals"] = (self.normals, (faces, 3, 3))
        for name, (tensor, shape) in wanted.items():
            if tuple(tensor.shape) != shape:
                raise InvalidInputError(f"{name} must be {list(shape)}, not {list(tensor.shape)}.")

    @classmethod
    def from_mesh(cls, mesh: Mesh) -> "SourceMesh":
        """A decoded mesh; its vertex colours are sRGB. Without colours it is white."""
        count = len(mesh.vertices)
        colors = mesh.vertices.new_ones(count, 4)
        if mesh.colors is not None:
            colors = torch.cat([linear_from_srgb(mesh.colors.float()), colors[:, 3:]], 1)
        return cls(
            vertices=mesh.vertices.float(),
            faces=mesh.faces.long(),
            uvs=mesh.vertices.new_zeros(count, 2),
            vertex_colors=colors,
            face_materials=torch.zeros(len(mesh.faces), dtype=torch.int64, device=mesh.faces.device),
        )

    @property
    def device(self) -> torch.device:
        return self.vertices.device

    def corners(self, faces: Tensor | slice = slice(None)) -> Tensor:
        """Corner points [n, 3, 3] of the faces with the given numbers, by default of all."""
        return self.vertices[self.faces[faces]]

    def to(self, device: torch.device) -> "SourceMesh":
        """The same mesh on another device."""
        return replace(
            self,
            vertices=self.vertices.to(device),
            faces=self.faces.to(device),
            uvs=self.uvs.to(device),
            vertex_colors=self.vertex_colors.to(device),
            face_materials=self.face_materials.to(device),
            normals=None if self.normals is None else self.normals.to(device),
            textures=tuple(replace(texture, pixels=texture.pixels.to(device)) for texture in self.textures),
        )


@dataclass(frozen=True)
class NormalizedMesh:
    """A mesh in the unit cube and the map `to_cube` that brought it there; `to_cube.inverse()` leads back."""

    mesh: SourceMesh
    to_cube: Similarity


def normalize_mesh(mesh: SourceMesh, *, side: float = DEFAULT_SIDE) -> NormalizedMesh:
    """Centre the box around the faces of `mesh` in [-0.5, 0.5]^3 and scale its longest side to `side` in (0, 1].

    Vertices that no face uses do not count. Raises InvalidInputError for a mesh without faces or without extent.
    """
    if not 0 < side <= 1:
        raise InvalidInputError(f"side must be more than 0 and at most 1, not {side}.")
    if not len(mesh.faces):
        raise InvalidInputError("The mesh has no faces, so it has no size.")
    to_cube = fit_to_cube(mesh.corners().reshape(-1, 3), side=side)
    # Rounding must not push a vertex out of the cube, where no voxel would hold its faces.
    moved = to_cube.apply(mesh.vertices).clamp(-side / 2, side / 2)
    return NormalizedMesh(replace(mesh, vertices=moved), to_cube)


def linear_from_srgb(values: Tensor) -> Tensor:
    """Linear light of sRGB values in [0, 1] (IEC 61966-2-1)."""
    return torch.where(values <= 0.04045, values / 12.92, ((values.clamp_min(0) + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(values: Tensor) -> Tensor:
    """sRGB values of linear light; the inverse of `linear_from_srgb`, limited to [0, 1]."""
    values = values.clamp(0, 1)
    return torch.where(values <= 0.0031308, values * 12.92, 1.055 * values.clamp_min(1e-9) ** (1 / 2.4) - 0.055)
