"""The pictures that a mesh's own texture coordinates lead into, and the points of the surface behind their texels."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from trellis.encoding.orientation import outward_faces
from trellis.encoding.source_mesh import SourceMesh
from trellis.errors import InvalidInputError
from trellis.export.bake import Texels, filled
from trellis.ops.half_edges import face_vectors
from trellis.ops.rasterize import interpolate_attributes, rasterize_triangles
from trellis.progress import Progress
from trellis.representations import Mesh

PLAIN_SIZE = 1024  # of a picture where there was none
SMALLEST, LARGEST = 256, 4096  # smaller ones hold plain colours, larger ones take too much memory
MOST_TEXELS = 8 * LARGEST**2  # of all pictures, which take 32 bytes each while they are made
MOST_TILES = 4  # copies of a face along one side of a picture that repeats
FLAT = 1e-2  # texels; a face that covers less has no area in its picture
FIRST_TILE, TILES_ACROSS = 1001, 10  # of the UDIM numbers


@dataclass(frozen=True)
class Sheet:
    """One picture to be made: `shape` (H, W), and what is seen on it.

    materials: numbers of the mesh's materials that show it; tile: its UDIM number, None where the picture repeats;
    texels: their `index` = row * W + column may name one twice: two points of the surface lie on it then.
    """

    materials: tuple[int, ...]
    shape: tuple[int, int]
    texels: Texels
    tile: int | None = None

    def wrap(self, mesh: SourceMesh) -> tuple[str, str]:
        """How the picture goes on beyond its sides."""
        texture = mesh.materials[self.materials[0]].texture
        return ("repeat", "repeat") if texture is None or self.tile is not None else mesh.textures[texture].wrap

    def picture(self, colors: Tensor) -> Tensor:
        """The picture [H, W, 3] of the colours [n, 3] of its texels: the mean where two lie on one."""
        height, width = self.shape
        count = torch.zeros(height * width, device=colors.device)
        count.index_add_(0, self.texels.index, torch.ones_like(colors[:, 0]))
        total = torch.zeros(height * width, 3, device=colors.device).index_add_(0, self.texels.index, colors)
        mean = total / count.clamp_min(1)[:, None]
        return filled(mean.reshape(height, width, 3), (count > 0).reshape(height, width))


@dataclass(frozen=True)
class Layout:
    """Where a mesh lies on its pictures: the sheets, and the sheet [F] of each face (-1: on none).

    overlap: share of the texels that points far from each other claim; lost: share of the surface on no picture.
    """

    sheets: tuple[Sheet, ...]
    face_sheets: Tensor
    overlap: float
    lost: float


def outward_mesh(mesh: SourceMesh) -> Mesh:
    """The surface alone, faces turned outwards, in the same order."""
    return Mesh(mesh.vertices, outward_faces(mesh.vertices, mesh.faces).int())


def lay_out(
    mesh: SourceMesh,
    surface: Mesh,
    *,
    apart: float,
    texture_size: int | None = None,
    tiles: bool = False,
    progress: Progress | None = None,
) -> Layout:
    """The sheets of a mesh in the unit cube.

    surface: `outward_mesh` of it; apart: the distance from which on two points of one texel are two places;
    texture_size: of all pictures, by default each has that of the one it replaces. With `tiles` the whole mesh is one
    material without pictures, and each UDIM tile a sheet. Raises InvalidInputError for more than MOST_TEXELS.
    """
    progress = progress or Progress()
    normals = torch.nn.functional.normalize(face_vectors(surface.vertices[surface.faces.long()]), dim=1)
    areas = torch.linalg.vector_norm(face_vectors(mesh.corners()), dim=1)
    face_sheets = torch.full_like(mesh.face_materials, -1)
    sheets: list[Sheet] = []
    claimed = doubled = 0
    texels_made = 0
    for materials, tile, faces in _tile_groups(mesh) if tiles else _picture_groups(mesh):
        progress.cancel.raise_if_cancelled()
        shape = _shape(mesh, materials, texture_size)
        texels_made += shape[0] * shape[1]
        if texels_made > MOST_TEXELS:
            raise InvalidInputError(
                f"The mesh has more than {len(sheets)} textures of this size: choose a smaller texture_size, or join "
                "its materials.",
                field="texture_size",
            )
        corners = _corners_in_picture(mesh, faces, materials, shape, tile)
        texels, twice = _claims(corners, mesh, normals, shape, apart)
        if len(texels):
            area = face_vectors(torch.nn.functional.pad(mesh.uvs[mesh.faces[faces]], (0, 1)))[:, 2].abs()
            face_sheets[faces[area * (shape[0] * shape[1]) > 2 * FLAT]] = len(sheets)
            sheets.append(Sheet(materials, shape, texels, tile))
            claimed, doubled = claimed + len(texels) - twice, doubled + twice
    lost = float(areas[face_sheets < 0].sum() / areas.sum().clamp_min(1e-30))
    return Layout(tuple(sheets), face_sheets, doubled / max(claimed, 1), lost)


def _picture_groups(mesh: SourceMesh) -> Iterator[tuple[tuple[int, ...], None, Tensor]]:
    """Materials that share a picture, and their faces."""
    groups: dict[object, list[int]] = {}
    for number in torch.unique(mesh.face_materials).tolist():
        texture = mesh.materials[number].texture
        picture = None if texture is None else mesh.textures[texture].picture
        groups.setdefault(("material", number) if picture is None else picture, []).append(number)
    for numbers in groups.values():
        owned = torch.isin(mesh.face_materials, torch.tensor(numbers, device=mesh.device))
        yield tuple(numbers), None, owned.nonzero().squeeze(1)


def _tile_groups(mesh: SourceMesh) -> Iterator[tuple[tuple[int, ...], int, Tensor]]:
    """UDIM tiles in ascending order, and the faces whose middle lies in each; v counts upwards in their numbers."""
    middle = mesh.uvs[mesh.faces].mean(1)
    across, up = middle[:, 0].floor(), (1 - middle[:, 1]).floor()
    number = FIRST_TILE + across + TILES_ACROSS * up
    number = torch.where((across >= 0) & (across < TILES_ACROSS) & (up >= 0), number, 0).long()
    for tile in torch.unique(number[number > 0]).tolist():
        yield tuple(range(len(mesh.materials))), tile, (number == tile).nonzero().squeeze(1)


def _shape(mesh: SourceMesh, materials: tuple[int, ...], texture_size: int | None) -> tuple[int, int]:
    texture = mesh.materials[materials[0]].texture
    height, width = (0, 0) if texture is None else mesh.textures[texture].pixels.shape[:2]
    if texture_size is not None or max(height, width) < SMALLEST:
        return texture_size or PLAIN_SIZE, texture_size or PLAIN_SIZE
    scale = min(1.0, LARGEST / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


@dataclass(frozen=True)
class _Corners:
    """Copies of faces in a picture: number [C] of the face, and places [C, 3, 2] of its corners in pixels."""

    face: Tensor
    pixels: Tensor


def _corners_in_picture(
    mesh: SourceMesh, faces: Tensor, materials: tuple[int, ...], shape: tuple[int, int], tile: int | None
) -> _Corners:
    """The faces as often as the picture shows them: where it repeats, a face may run over its border."""
    uvs = mesh.uvs[mesh.faces[faces]]
    texture = mesh.materials[materials[0]].texture
    wrap = ("repeat", "repeat") if texture is None else mesh.textures[texture].wrap
    if tile is not None:
        column, row = (tile - FIRST_TILE) % TILES_ACROSS, (tile - FIRST_TILE) // TILES_ACROSS
        uvs, wrap = uvs - uvs.new_tensor([column, -row]), ("clamp", "clamp")
    face = faces
    for axis, mode in enumerate(wrap):
        if mode == "clamp":
            continue
        along = uvs[..., axis]
        first = (along.amin(1) + 1e-6).floor()
        count = ((along.amax(1) - 1e-6).ceil() - first).clamp(1, MOST_TILES).long()
        copy = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
        number = first[copy] + torch.arange(len(copy), device=copy.device) - (count.cumsum(0) - count)[copy]
        along = along[copy] - number[:, None]
        if mode == "mirror":
            along = torch.where(number[:, None] % 2 == 1, 1 - along, along)
        face, uvs = face[copy], uvs[copy].clone()
        uvs[..., axis] = along
    return _Corners(face, uvs * uvs.new_tensor([shape[1], shape[0]]))


def _claims(
    corners: _Corners, mesh: SourceMesh, normals: Tensor, shape: tuple[int, int], apart: float
) -> tuple[Texels, int]:
    """The points that claim the texels of a picture, and how many texels two of them claim: the first face and the last
    one that cover it, where they are `apart`.
    """
    count = len(corners.face)
    rank = torch.arange(count, device=mesh.device, dtype=torch.float32) / max(count, 1)
    triangles = torch.arange(3 * count, device=mesh.device).reshape(-1, 3)
    found = []
    for depth in (rank, -rank):
        flat = torch.cat([corners.pixels, depth[:, None, None].expand(-1, 3, 1)], 2).reshape(-1, 3)
        samples = rasterize_triangles(flat, triangles, size=shape, perspective=False)
        index = samples.mask.reshape(-1).nonzero().squeeze(1)
        points = interpolate_attributes(samples, triangles, mesh.corners(corners.face).reshape(-1, 3)).reshape(-1, 3)
        owner = corners.face[samples.face_id.reshape(-1)[index].long()] if count else index
        found.append((index, points[index], normals[owner]))
    (index, first, facing), (_, last, other) = found
    second = torch.linalg.vector_norm(first - last, dim=1) > apart
    parts = zip((index, first, facing), (index[second], last[second], other[second]))
    return Texels(max(shape), *(torch.cat(pair) for pair in parts)), int(second.sum())
