"""The solid that a mesh bounds, and signed distances to its visible surface, for meshes of any kind.

Files hold open surfaces, parts that overlap, shells within shells and faces turned the wrong way. Here inside is what
the winding number of the outward-turned faces says, or what no path from outside reaches on a fine grid; surfaces with
the outside on both sides become thin plates. What is open to the air, as a bowl is, is not filled, whatever the winding
number says there: the surface becomes a wall, on the side that it finds inside.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from trellis.encoding.colors import surface_colors
from trellis.encoding.normals import face_normals
from trellis.encoding.orientation import is_closed, outward_faces
from trellis.encoding.source_mesh import SourceMesh
from trellis.encoding.voxelize import voxelize
from trellis.errors import InvalidInputError
from trellis.ops.closest_point import SurfacePoints, closest_query
from trellis.ops.rasterize import rendering_device
from trellis.ops.winding_number import inside_query
from trellis.progress import Progress
from trellis.stages import Stage

FINE = 4  # cells of the grid along a voxel's side
PLATE = 0.2  # half thickness of a plate in voxels
THIN = 0.01  # share of a surface's area that must be thin sheets, for them to be thickened
WALL = 0.8  # thickness in voxels of the wall of what is open; thinner ones come back uneven
GAP = 1.0  # radius in voxels of the widest hole that does not open what is behind it
_AGREEMENT = 0.95  # share of enclosed cells that the winding number must find inside to be believed
_WITNESSES = 4096
_NEAR = 4  # voxels from the surface, farther than any that is encoded
_QUERIES = 1 << 20
_OUTSIDE, _ENCLOSED, _SURFACE, _WALL, _AIR, _OPEN = range(6)  # what a cell of the grid is
_STRIDES = (4, 2, 1)  # of the cells that are asked whether they are inside: between equal answers none is


@dataclass(frozen=True)
class FieldSamples:
    """What is near n points: signed distance [n] (negative inside), outward normal [n, 3], nearest surface point as
    face number [n] of `SolidField.mesh` and barycentrics [n, 3].
    """

    distance: Tensor
    normal: Tensor
    faces: Tensor
    barycentrics: Tensor


@dataclass(frozen=True)
class SolidField:
    """The visible surface of a mesh in [-0.5, 0.5]^3 and what is inside of it; make it with `create`.

    mesh: faces with area that border on the outside; winding: points [n, 3] -> bool [n], inside of all faces turned
    outwards; closed: these have no rim; cells uint8 [G, G, G]: without surface and reached from outside, without
    surface and enclosed, with surface, or (see `_with_walls`) in the wall of what is open, the air within, and what
    the winding number too finds outside; solid, depth [G, G, G]: cells whose centre is inside, and how far each
    cell lies from the nearest one outside; nearest: for each cell the number of the nearest one without surface
    (where faces are too disordered for winding numbers); resolution: voxels along the cube, G / FINE; thin: the
    share of the visible surface that belongs to sheets thinner than a cell.
    """

    mesh: SourceMesh
    winding: Callable[[Tensor], Tensor]
    closed: bool
    cells: Tensor
    solid: Tensor
    depth: Tensor
    nearest: Tensor | None
    resolution: int
    thin: float = 0.0

    @classmethod
    def create(cls, mesh: SourceMesh, *, resolution: int, progress: Progress | None = None) -> "SolidField":
        """The field of a mesh in the unit cube, for a grid of `resolution` voxels a side.

        Raises InvalidInputError for a mesh without area, Cancelled within one step of a wish to stop.
        """
        progress = progress or Progress()
        mesh = mesh.to(rendering_device(mesh.device, "auto", mesh.vertices))
        _, areas = face_normals(mesh)
        mesh = _with_faces(mesh, areas > 0)
        if not len(mesh.faces):
            raise InvalidInputError("The mesh has no area, so it bounds nothing.")
        side = resolution * FINE
        touched = torch.zeros(side, side, side, dtype=torch.bool)
        cells = voxelize(mesh, side, progress=progress)
        touched[tuple(cells.cpu().long().unbind(1))] = True
        progress.report(Stage.SOLID, 1, 3)
        outward = outward_faces(mesh.vertices, mesh.faces)
        field = cls(
            mesh=mesh,
            winding=inside_query(mesh.vertices, outward),
            closed=is_closed(mesh.vertices, outward),
            cells=_classified(touched).to(mesh.device),
            solid=torch.zeros(0),
            depth=torch.zeros(0),
            nearest=None,
            resolution=resolution,
        )
        if not field._winding_agrees():
            field = replace(field, nearest=_nearest_free(touched).to(mesh.device))
        elif not field.closed:
            field = replace(field, cells=field._with_walls())
        field = replace(field, solid=field._solid(cells))
        field = replace(field, depth=field._depths().to(mesh.device))
        progress.report(Stage.SOLID, 2, 3)
        field = replace(field, mesh=_with_faces(mesh, ~field._hidden_faces()))
        field = replace(field, thin=field._thin_share())
        progress.report(Stage.SOLID, 3, 3)
        return field

    @property
    def voxel(self) -> float:
        """Side of a voxel in the world."""
        return 1 / self.resolution

    @property
    def cell(self) -> float:
        """Side of a cell of the grid."""
        return self.voxel / FINE

    def inside(self, points: Tensor) -> Tensor:
        """Bool [n]: points [n, 3] in the solid."""
        number = self._cell_numbers(points)
        if self.nearest is not None:
            return self.cells.flatten()[self.nearest[number]] == _ENCLOSED
        state = self.cells.flatten()[number]
        found = (state == _ENCLOSED) | (state == _WALL)
        # Around a closed surface the winding number is the same wherever a path without surface leads.
        unclear = state == _SURFACE if self.closed else (state == _SURFACE) | (state == _OUTSIDE)
        for part in unclear.nonzero().squeeze(1).split(_QUERIES):
            found[part] = self.winding(points[part])
        return found

    def inside_centres(self, points: Tensor) -> Tensor:
        """The same as `inside` for points [n, 3] that are centres of cells: looked up where `solid` knows it."""
        number = self._cell_numbers(points)
        found = self.solid.flatten()[number]
        if not self.closed and self.nearest is None:  # inside may reach into open cells
            unclear = (self.cells.flatten()[number] == _OUTSIDE).nonzero().squeeze(1)
            for part in unclear.split(_QUERIES):
                found[part] = self.winding(points[part])
        return found

    def nearest_surface(self, points: Tensor) -> SurfacePoints:
        """Faces, barycentrics and distances of the visible surface points nearest to `points` [n, 3]."""
        return self._closest(points.to(self.mesh.device))

    @cached_property
    def _closest(self) -> Callable[[Tensor], SurfacePoints]:
        return closest_query(self.mesh.vertices, self.mesh.faces)

    def sample(self, points: Tensor, *, inside: Tensor | None = None) -> FieldSamples:
        """Distances, normals and nearest surface points of `points` [n, 3]; `inside` [n] saves asking for it."""
        points = points.to(self.mesh.device).float()
        nearest = self.nearest_surface(points)
        foot = self._points(nearest)
        inside = self.inside(points) if inside is None else inside
        away = torch.nn.functional.normalize(points - foot, dim=1)
        behind = foot - away * (0.25 * self.cell)
        distance = self._signed(points, foot, behind, nearest.distances, inside)
        # A wall has a second surface, as far from the first as it is thick.
        state, wall = self.cells.flatten()[self._cell_numbers(points)], WALL * self.voxel
        within = (state == _WALL) | (state == _AIR)
        distance = torch.where(within, torch.maximum(-nearest.distances, nearest.distances - wall), distance)
        outer = inside & ~(within & (nearest.distances > 0.5 * wall))
        normal = torch.where(outer[:, None], -away, away)
        # On the surface itself the direction to the point is noise.
        close = (nearest.distances < 1e-3 * self.voxel).nonzero().squeeze(1)
        flat = face_normals(self.mesh, nearest.faces[close])[0]
        turned = self.inside(foot[close] + flat * (0.25 * self.cell))
        normal[close] = torch.where(turned[:, None], -flat, flat)
        return FieldSamples(distance, normal, nearest.faces, nearest.barycentrics)

    def _signed(self, points: Tensor, foot: Tensor, behind: Tensor, distance: Tensor, inside: Tensor) -> Tensor:
        """Signed distances [n]; `foot` [n, 3] are the nearest points, `behind` those just behind the surface, seen from
        `points`.
        """
        result = torch.where(inside, -distance, distance)
        # A point in the solid whose nearest face has the solid behind it: a seam of two parts, not the surface.
        depth = self.depth.flatten()[self._cell_numbers(points)]
        seam = (inside & (depth > distance + 0.75 * self.cell)).nonzero().squeeze(1)
        seam = seam[self.inside(behind[seam])]
        result[seam] = -depth[seam]
        if not self.closed:
            plate = (~inside).nonzero().squeeze(1)
            plate = plate[~self.inside(behind[plate])]
            result[plate] -= PLATE * self.voxel
        elif self.thin > THIN:
            # A cell below the surface, where `behind` is a quarter beyond it: outside again, if this is a sheet.
            below = foot + torch.where(inside[:, None], -4.0, 4.0) * (behind - foot)
            near = (distance < 2 * self.voxel).nonzero().squeeze(1)
            result[near[~self.inside(below[near])]] -= 0.5 * self.cell
        return result

    def _thin_share(self) -> float:
        """The share of the surface's area that has the outside on both sides, a cell away."""
        normals, areas = face_normals(self.mesh)
        centres = self.mesh.corners().mean(1)
        thin = ~self.inside(centres + normals * self.cell)
        rows = thin.nonzero().squeeze(1)
        thin[rows] = ~self.inside((centres - normals * self.cell)[rows])
        return float(areas[thin].sum() / areas.sum())

    def _points(self, surface: SurfacePoints) -> Tensor:
        return (self.mesh.corners(surface.faces) * surface.barycentrics[..., None]).sum(1)

    def colors(self, surface: SurfacePoints | FieldSamples) -> Tensor:
        """sRGB colours [n, 3] of surface points."""
        return surface_colors(self.mesh, surface.faces, surface.barycentrics)[:, :3]

    def _cell_numbers(self, points: Tensor) -> Tensor:
        """Number [n] of the cell of each point, the nearest one from outside of the cube."""
        side = self.cells.shape[0]
        x, y, z = ((points + 0.5) * side).floor().long().clamp(0, side - 1).unbind(1)
        return (x * side + y) * side + z

    def _centres(self, cells: Tensor) -> Tensor:
        return (cells.float() + 0.5) * self.cell - 0.5

    def _winding_agrees(self) -> bool:
        """Winding numbers find nearly all enclosed cells inside (or nothing is enclosed that could tell)."""
        cells = (self.cells == _ENCLOSED).nonzero()
        if not len(cells):
            return True
        witnesses = cells[:: max(1, len(cells) // _WITNESSES)]
        inside = self.winding(self._centres(witnesses))
        return bool(inside.float().mean() >= _AGREEMENT)

    def _with_walls(self) -> Tensor:
        """The cells [G, G, G], those as _WALL or _AIR that the winding number finds inside, though they are open: paths
        wider than GAP reach them, and the others of these as _OPEN. Only near the surface, as nobody asks for others.
        """
        surface = (self.cells == _SURFACE).cpu().numpy()
        box, margin = _box(surface), int(GAP * FINE) + 1
        away = ndimage.distance_transform_edt(np.pad(~surface[box], margin, constant_values=True))
        wide = _reached(away > GAP * FINE)
        reached = (ndimage.distance_transform_edt(~wide) <= GAP * FINE) & (away > 0) & (away <= _NEAR * FINE)
        found, inner = np.zeros_like(surface), (slice(margin, -margin),) * 3
        found[box] = reached[inner]
        places = torch.from_numpy(found).to(self.cells.device)
        inside = self._inside_cells(places)
        depth = torch.zeros(surface.shape)
        depth[box] = torch.from_numpy(away[inner]).float()
        held = torch.where(depth.to(self.cells.device) < WALL * FINE, _WALL, _AIR)
        return torch.where(places, torch.where(inside, held, _OPEN), self.cells).to(torch.uint8)

    def _inside_cells(self, places: Tensor) -> Tensor:
        """Bool [G, G, G]: cells of `places`, none of which has surface, whose centre the winding number finds inside.

        Between cells that agree, with no surface among them, it is not asked again: it has no source there.
        """
        inside, known = torch.zeros_like(places), ~places
        for stride in _STRIDES:
            lattice = (slice(None, None, stride),) * 3
            cells = (~known[lattice]).nonzero() * stride
            found = [self.winding(self._centres(part)) for part in cells.split(_QUERIES)]
            inside[tuple(cells.unbind(1))] = torch.cat(found)
            known[lattice] = True
            if stride > 1:
                corners = inside[lattice]
                equal = (_most(corners, 2) == ~_most(~corners, 2)) & ~_most(~places, stride + 1, stride)
                within = (slice(len(equal) * stride),) * 3
                blocks, values = (
                    part.repeat_interleave(stride, 0).repeat_interleave(stride, 1).repeat_interleave(stride, 2)
                    for part in (equal, corners[(slice(len(equal)),) * 3])
                )
                inside[within] = torch.where(blocks, values, inside[within])
                known[within] |= blocks
        return inside

    def _solid(self, touched: Tensor) -> Tensor:
        """Bool [G, G, G]: cells that are enclosed, or with surface (`touched` [n, 3]) and their centre inside."""
        solid = (self.cells == _ENCLOSED) | (self.cells == _WALL)
        solid[tuple(touched.long().unbind(1))] = self.inside(self._centres(touched))
        return solid

    def _depths(self) -> Tensor:
        """About how far [G, G, G] each cell of the solid lies from the outside; 0 outside."""
        solid = self.solid.cpu().numpy()
        distance, box = np.zeros(solid.shape), _box(solid)
        distance[box] = ndimage.distance_transform_edt(np.pad(solid[box], 1))[1:-1, 1:-1, 1:-1]
        return torch.from_numpy((np.maximum(distance - 0.5, 0) * self.cell).astype(np.float32))

    def _hidden_faces(self) -> Tensor:
        """Bool [F]: faces with the inside on both sides, at the centre and near every corner; none if all are."""
        normals, _ = face_normals(self.mesh)
        corners, step = self.mesh.corners(), normals * (0.25 * self.cell)
        hidden = torch.ones(len(corners), dtype=torch.bool, device=self.mesh.device)
        # Most faces see an open cell right beside them, which is looked up at once.
        for side in (6 * step, -6 * step):
            beside = self._cell_numbers(corners.mean(1) + side)
            hidden &= self.cells.flatten()[beside] != _OUTSIDE
        for weights in ((1 / 3, 1 / 3, 1 / 3), (0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.1, 0.1, 0.8)):
            rows = hidden.nonzero().squeeze(1)
            points = (corners[rows] * corners.new_tensor(weights)[:, None]).sum(1)
            for side in (step, -step):
                rows, points = hidden.nonzero().squeeze(1), points[hidden[rows]]
                hidden[rows] = self.inside(points + side[rows])
        return hidden & ~hidden.all()


def _most(cells: Tensor, size: int, stride: int = 1) -> Tensor:
    """Whether any of size^3 neighbours is true, in blocks that begin `stride` apart and lie within the grid."""
    return torch.nn.functional.max_pool3d(cells[None].float(), size, stride=stride)[0] > 0


def _with_faces(mesh: SourceMesh, keep: Tensor) -> SourceMesh:
    normals = None if mesh.normals is None else mesh.normals[keep]
    return replace(mesh, faces=mesh.faces[keep], face_materials=mesh.face_materials[keep], normals=normals)


def _classified(touched: Tensor) -> Tensor:
    """The kind of every cell, uint8 [G, G, G]: paths lead over faces of cells without surface."""
    box = _box(touched.numpy())
    free = np.pad(~touched.numpy()[box], 1, constant_values=True)
    enclosed = torch.zeros(touched.shape, dtype=torch.int32)
    enclosed[box] = torch.from_numpy((free & ~_reached(free))[1:-1, 1:-1, 1:-1].astype(np.int32))
    return torch.where(touched, _SURFACE, enclosed).to(torch.uint8)


def _reached(free: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What is connected with the first cell."""
    label, _ = ndimage.label(free)
    return free & (label == label[0, 0, 0])


def _box(cells: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Where the cells [G, G, G] are that are true: beyond there is only outside, which need not be looked at."""
    filled = [np.flatnonzero(cells.any(tuple(axis for axis in range(3) if axis != along))) for along in range(3)]
    return tuple(slice(int(found.min(initial=0)), int(found.max(initial=-1)) + 1) for found in filled)


def _nearest_free(touched: Tensor) -> Tensor:
    """For each cell [G^3] the number of the nearest cell without surface."""
    if bool(touched.all()):
        raise InvalidInputError("The mesh fills every cell of the grid: it is too dense to be encoded.")
    places = ndimage.distance_transform_edt(touched.numpy(), return_distances=False, return_indices=True)
    side = touched.shape[0]
    return torch.from_numpy(((places[0] * side + places[1]) * side + places[2]).astype(np.int64)).flatten()
