"""Where the input picture was taken from, found by matching its outline and colours with pictures of the asset."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from trellis.geometry.cameras import Cameras, look_at
from trellis.ops.rasterize import draw_mesh
from trellis.ops.warp_device import side_by_side
from trellis.progress import Progress
from trellis.rendering.gaussians import render_gaussians
from trellis.representations import GaussianCloud, Mesh
from trellis.stages import Stage

YAWS, PITCHES_DEGREES = 24, (-15.0, 5.0, 25.0, 50.0)
ROUGH_YAWS = 12
SEARCHES = 3  # what follows the coarse search, in steps that are told
FOVS_DEGREES = (25.0, 45.0)
STARTS = 3  # best places of the coarse search, each followed by a local one
COARSE, MIDDLE, FINE = 48, 96, 160  # pixels a side
EVALUATIONS = {COARSE: 60, MIDDLE: 50, FINE: 90}  # of a local search; with 80 and 90 the costs are 0.3 % lower
MARGIN = 1.2  # side of the framed picture over the object's longer side (see `frame_object`)
COLOR_WEIGHT = 1.0  # of the root mean square colour error against one minus the overlap
BEHIND = 0.02  # cost of a camera behind the asset: many things look alike from there, and pictures mostly show fronts
HOPELESS = 0.7  # overlap of the coarse search below which the local one is spared
MIN_OVERLAP = 0.93  # for the picture's own pixels; with less their details would miss the surface's
MIN_OVERLAP_FOR_COLORS = 0.75
MAX_COLOR_ERROR = 0.3  # large, for it is what the picture is to correct
FRONT_NOT_FOUND = (
    "The picture's outline fits the mesh from no side, so the mesh was taken to face the camera as it stands: state "
    "`front` if it does not."
)
FRONT_MARGIN = 0.05  # of overlap, by which another side must fit better than the front
# Steps of the local search: yaw, pitch, log of tan(fov / 2), roll, log of the scale, shift right and down.
STEPS = (0.10, 0.08, 0.25, 0.03, 0.03, 0.015, 0.015)


class Drawable(Protocol):
    """What can be seen from a camera: `points` [n, 3] of its surface, on the device that draws."""

    @property
    def points(self) -> Tensor: ...

    def draw(self, camera: Cameras, size: int) -> Tensor:
        """Colour times coverage and coverage [4, size, size]."""


@dataclass(frozen=True)
class ColoredMesh:
    """A mesh on its device with uvs [V, 2] (origin top left) and texture [S, S, 3] in [0, 1].

    Without a texture the mesh has the colours of its vertices.
    """

    mesh: Mesh
    uvs: Tensor | None = None
    texture: Tensor | None = None

    @property
    def points(self) -> Tensor:
        return self.mesh.vertices

    def draw(self, camera: Cameras, size: int) -> Tensor:
        """Colour times coverage and coverage [4, size, size], of 2 x 2 samples a pixel."""
        image = draw_mesh(
            self.mesh.vertices,
            self.mesh.faces,
            camera,
            face_values=self.mesh.vertices.new_zeros(len(self.mesh.faces), 3),
            vertex_values=self.mesh.colors if self.texture is None else self.uvs,
            texture=self.texture,
            size=size,
            supersampling=2,
        )[0]
        return image[[0, 1, 2, 7]]


@dataclass(frozen=True)
class ColoredCloud:
    """Gaussians on their device, in place of a mesh."""

    gaussians: GaussianCloud

    @property
    def points(self) -> Tensor:
        return self.gaussians.positions

    def draw(self, camera: Cameras, size: int) -> Tensor:
        """Colour times coverage and coverage [4, size, size]."""
        images = render_gaussians(self.gaussians, camera, size=size)
        return torch.cat([images.color[0], images.alpha])


@dataclass(frozen=True)
class PictureCamera:
    """An estimate: `camera` of the framed picture (one), `overlap` of the outlines (intersection over union) and
    `color_error` (root mean square in [0, 1], after one gain a channel).
    """

    camera: Cameras
    overlap: float
    color_error: float

    @property
    def confident(self) -> bool:
        """Good enough to lay the picture on the surface."""
        return self.overlap >= MIN_OVERLAP and self.color_error <= MAX_COLOR_ERROR

    @property
    def knows_colors(self) -> bool:
        """Good enough to take broad colours from the picture."""
        return self.overlap >= MIN_OVERLAP_FOR_COLORS and self.color_error <= MAX_COLOR_ERROR


def estimate_camera(asset: Drawable, picture: NDArray[np.uint8], *, progress: Progress | None = None) -> PictureCamera:
    """Find the camera of `picture` [S, S, 4] uint8 (straight RGBA, framed with a margin of 1.2).

    The camera may look from any side, 30 degrees from below to 65 from above, with any field of view; it looks about
    at the middle of the object, from in front (-y) where both sides fit. A coarse search over yaw and pitch, then
    Nelder-Mead from the best places, over roll, scale and shift too; nothing is drawn at random. Cancelled between two
    rendered pictures.
    """
    progress = progress or Progress()
    small = asset
    if isinstance(asset, ColoredMesh) and asset.texture is not None:
        reduced = _reduced(asset.texture.permute(2, 0, 1), 256)
        small = ColoredMesh(asset.mesh, asset.uvs, reduced.permute(1, 2, 0).contiguous())
    targets = {size: target(picture, size).to(small.points.device) for size in (COARSE, MIDDLE, FINE)}
    found = _look_around(small, targets[COARSE], YAWS, progress, more=SEARCHES)
    first = _camera(small.points, found[0])
    overlap, error = _agreement(small.draw(first, COARSE), targets[COARSE])
    if overlap < HOPELESS:
        return PictureCamera(first, overlap, error)
    starts = [place.copy() for place in found[:STARTS]]
    for place in [start.copy() for start in starts]:
        for fov in FOVS_DEGREES:
            place[2] = math.log(math.tan(math.radians(fov) / 2))
            starts.append(place.copy())
    device = small.points.device
    costs = side_by_side(lambda place: _cost(small, place, targets[MIDDLE], progress), starts, device=device)
    progress.report(Stage.PICTURE, YAWS + 1, YAWS + SEARCHES)
    ranked = sorted((cost, tuple(place)) for cost, place in zip(costs, starts))
    places = [np.array(place) for _, place in ranked[:STARTS]]
    searched = side_by_side(lambda one: _search(small, one, targets[MIDDLE], 1.0, progress), places, device=device)
    _, best = min(searched, key=lambda item: item[0])
    progress.report(Stage.PICTURE, YAWS + 2, YAWS + SEARCHES)
    _, best = _search(small, best, targets[FINE], 0.4, progress)
    progress.report(Stage.PICTURE, YAWS + 3, YAWS + SEARCHES)
    overlap, error = _agreement(small.draw(_camera(small.points, best), FINE), targets[FINE])
    return PictureCamera(_camera(small.points, best), overlap, error)


def judged_camera(asset: Drawable, picture: NDArray[np.uint8], camera: Cameras) -> PictureCamera:
    """A known camera of `picture` [S, S, 4] uint8, with how well the two agree."""
    wanted = target(picture, FINE).to(asset.points.device)
    return PictureCamera(camera, *_agreement(asset.draw(camera, FINE), wanted))


def estimate_roughly(asset: Drawable, picture: NDArray[np.uint8], *, progress: Progress | None = None) -> PictureCamera:
    """What `estimate_camera` finds, from a third of the pictures, which are small: enough to compare, not to paint."""
    progress = Progress(cancel=progress.cancel if progress else None)  # too short to be told of
    small, fine = (target(picture, size).to(asset.points.device) for size in (COARSE, FINE))
    first = _look_around(asset, small, ROUGH_YAWS, progress)[0]
    _, best = _search(asset, first, small, 1.0, progress)
    camera = _camera(asset.points, best)
    return PictureCamera(camera, *_agreement(asset.draw(camera, FINE), fine))


def turns_to_front(
    front: str, mesh: Mesh, picture: NDArray[np.uint8] | None, *, progress: Progress | None = None
) -> tuple[int, tuple[str, ...]]:
    """Quarter turns of a mesh in the unit cube that `front` states in degrees, and remarks for the user.

    "auto" is what `front_turn` finds in the framed picture [S, S, 4]: none without a picture, and none, with a remark,
    where it finds nothing.
    """
    if front != "auto" or picture is None:
        return 0 if front == "auto" else int(front) // 90, ()
    turns = front_turn(mesh, picture, progress=progress)
    return (0, (FRONT_NOT_FOUND,)) if turns is None else (turns, ())


def front_turn(mesh: Mesh, picture: NDArray[np.uint8], *, progress: Progress | None = None) -> int | None:
    """Quarter turns of `mesh` about the vertical, counter-clockwise from above, that bring the camera of `picture`
    [S, S, 4] within 45 degrees of the front (-y); None where the outlines agree from no side.

    Only the coarse search, and only outlines: the picture may have other colours. Where the front fits nearly as well
    as the best side (most things look alike from the front and from behind), the front it is.
    """
    progress = Progress(cancel=progress.cancel if progress else None)  # too short to be told of
    asset = ColoredMesh(Mesh(mesh.vertices, mesh.faces, torch.ones_like(mesh.vertices)))
    white = picture.copy()
    white[..., :3] = 255
    wanted = target(white, COARSE).to(asset.points.device)
    costs: dict[int, float] = {}
    for place in _look_around(asset, wanted, YAWS, progress, behind=0.0):
        quarter = round((float(place[0]) / math.pi - 1) * 2) % 4
        if quarter not in costs:  # the best places come first
            costs[quarter] = _cost(asset, place, wanted, progress, behind=0.0)
    best = min(costs, key=lambda quarter: costs[quarter])
    if 1 - costs[best] < HOPELESS:
        return None
    return best if costs[0] - costs[best] > FRONT_MARGIN else 0


def _look_around(
    asset: Drawable, target: Tensor, yaws: int, progress: Progress, *, more: int = 0, behind: float = BEHIND
) -> list[NDArray[np.float64]]:
    """Places all around, the best first; so many `more` steps follow; behind: see `_cost`."""
    middle_fov = math.log(math.tan(math.radians(35) / 2))

    def at_yaw(number: int) -> list[tuple[float, NDArray[np.float64]]]:
        yaw = 2 * math.pi * number / yaws
        places = [np.array([yaw, math.radians(pitch), middle_fov, 0, 0, 0, 0]) for pitch in PITCHES_DEGREES]
        return [(_cost(asset, place, target, progress, behind=behind), place) for place in places]

    found: list[tuple[float, NDArray[np.float64]]] = []
    for number, some in enumerate(side_by_side(at_yaw, range(yaws), device=asset.points.device), 1):
        found += some
        progress.report(Stage.PICTURE, number, yaws + more)
    found.sort(key=lambda item: item[0])
    return [place for _, place in found]


def _search(
    asset: Drawable, start: NDArray[np.float64], target: Tensor, scale: float, progress: Progress
) -> tuple[float, NDArray[np.float64]]:
    """The least cost near `start` and where it lies; `scale` of the first steps."""
    simplex = np.concatenate([start[None], start + scale * np.diag(STEPS)])
    found = minimize(
        lambda place: _cost(asset, place, target, progress),
        start,
        method="Nelder-Mead",
        options={
            "initial_simplex": simplex,
            "maxfev": EVALUATIONS[target.shape[-1]],
            "adaptive": True,
            "xatol": 1e-4,
            "fatol": 1e-5,
        },
    )
    return float(found.fun), found.x


def _cost(
    asset: Drawable, place: NDArray[np.float64], target: Tensor, progress: Progress, *, behind: float = BEHIND
) -> float:
    """How badly the picture fits from a place; `behind` is what a place behind the asset costs more."""
    progress.cancel.raise_if_cancelled()
    if abs(place[1]) > 1.5 or not -3 < place[2] < 0.2 or abs(place[3]) > 0.35 or abs(place[4]) > 0.5:
        return 10.0
    overlap, error = _agreement(asset.draw(_camera(asset.points, place), target.shape[-1]), target)
    return 1 - overlap + COLOR_WEIGHT * error + (behind if math.cos(place[0]) > 1e-6 else 0.0)  # yaw pi is in front


def _camera(points: Tensor, place: NDArray[np.float64]) -> Cameras:
    """The camera at a place of the search, framed about the projected points as a picture is about its object."""
    yaw, pitch, log_tangent, roll, log_scale, right, down = (float(value) for value in place)
    distance = 0.8 / math.sin(math.atan(math.exp(log_tangent)))
    toward = torch.tensor(
        [math.sin(yaw) * math.cos(pitch), math.cos(yaw) * math.cos(pitch), math.sin(pitch)], dtype=torch.float64
    )
    eye = (distance * toward)[None]
    extrinsics = look_at(eye, torch.zeros_like(eye), torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64))
    turn = torch.eye(4, dtype=torch.float64)
    turn[:2, :2] = torch.tensor([[math.cos(roll), -math.sin(roll)], [math.sin(roll), math.cos(roll)]])
    extrinsics = (turn @ extrinsics).float().to(points.device)
    local = points @ extrinsics[0, :3, :3].T + extrinsics[0, :3, 3]
    flat = local[:, :2] / local[:, 2:].clamp_min(0.05)
    low, high = flat.amin(0).tolist(), flat.amax(0).tolist()
    focal = math.exp(log_scale) / (MARGIN * max(high[0] - low[0], high[1] - low[1], 1e-6))
    x, y = (low[0] + high[0]) / 2, (low[1] + high[1]) / 2
    intrinsics = torch.tensor([[[focal, 0, 0.5 + right - focal * x], [0, focal, 0.5 + down - focal * y], [0, 0, 1]]])
    return Cameras(extrinsics, intrinsics.to(points.device))


def _agreement(image: Tensor, target: Tensor) -> tuple[float, float]:
    """Overlap of the outlines and colour error where both are, of pictures [4, S, S] (colour times coverage)."""
    both = torch.minimum(image[3], target[3])
    overlap = both.sum() / torch.maximum(image[3], target[3]).sum().clamp_min(1e-6)
    weight = (both > 0.9).float()
    count = weight.sum().clamp_min(1)
    shown, wanted = image[:3] * weight, target[:3] * weight
    gain = ((shown * wanted).sum((1, 2)) / shown.square().sum((1, 2)).clamp_min(1e-6)).clamp(0.5, 2)
    error = ((gain[:, None, None] * shown - wanted).square().sum() / (3 * count)).sqrt()
    return torch.stack([overlap, error]).tolist()  # type: ignore[return-value]


def target(picture: NDArray[np.uint8], size: int) -> Tensor:
    """Colour times coverage and coverage [4, size, size] of a straight RGBA picture."""
    values = torch.from_numpy(picture).permute(2, 0, 1).float() / 255
    return _reduced(torch.cat([values[:3] * values[3:], values[3:]]), size)


def _reduced(image: Tensor, size: int) -> Tensor:
    """Means [k, size, size] of an image [k, S, S]; a smaller one is enlarged."""
    return torch.nn.functional.interpolate(
        image[None], size=(size, size), mode="bilinear", antialias=True, align_corners=False
    )[0]
