"""The input picture on the texture: its own pixels where its camera saw the surface well, fading out elsewhere.

Before that the whole texture takes on the picture's colours, so that what it shows does not stand out as a patch.
"""

import logging

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.export.bake import Texels, dilated, unwrapped_mesh
from trellis.export.color_transfer import transferred
from trellis.export.likeness import likeness
from trellis.export.picture_camera import (
    MAX_COLOR_ERROR,
    MIN_OVERLAP,
    MIN_OVERLAP_FOR_COLORS,
    ColoredMesh,
    Drawable,
    estimate_camera,
    judged_camera,
)
from trellis.export.projection import Sight, look, pixel_cosines, seen_texels, smooth_pixels
from trellis.export.unwrap import Unwrapped
from trellis.geometry.cameras import Cameras
from trellis.progress import Progress
from trellis.representations import Mesh

logger = logging.getLogger(__name__)

# Full weight above the larger cosine, none below the smaller one.
COSINES = (0.3, 0.65)
# Distances from the nearest outline, as parts of the picture's side: cut-outs are least sure there.
BORDER = (0.004, 0.02)
OPAQUE = 0.95


def check_picture(picture: NDArray[np.uint8]) -> None:
    """Raise InvalidInputError unless `picture` is a square RGBA picture [S, S, 4] uint8 that shows something."""
    if picture.ndim != 3 or picture.shape[0] != picture.shape[1] or picture.shape[2] != 4 or picture.dtype != np.uint8:
        raise InvalidInputError(
            f"The picture to blend in must be square RGBA, uint8 [S, S, 4], not {picture.dtype} {list(picture.shape)}."
        )
    if len(picture) < 16 or not (picture[..., 3] > 127).any():
        raise InvalidInputError("The picture to blend in shows nothing; it needs 16 x 16 pixels and an opaque object.")


def blended_texture(
    texture: Tensor,
    texels: Texels,
    unwrapped: Unwrapped,
    *,
    picture: NDArray[np.uint8],
    camera: Cameras | None = None,
    progress: Progress,
) -> tuple[Tensor, Cameras | None, float, tuple[str, ...]]:
    """`texture` [S, S, 3] with `picture` [P, P, 4] over it, the camera of the picture, the likeness of the two before
    (`trellis.export.likeness`), and remarks for the user. camera: that of the picture, if it is known.

    Unchanged, with no camera and a remark, when the camera cannot be found with confidence.
    """
    device = texels.points.device
    surface = unwrapped_mesh(unwrapped, device)
    uvs = torch.from_numpy(unwrapped.uvs.astype(np.float32)).to(device)
    asset = ColoredMesh(surface, uvs, texture)
    before = texture.reshape(-1, 3)[texels.index]
    after, found, alike, notes = blended_colors(
        before, texels, surface, asset, picture=picture, camera=camera, progress=progress
    )
    # The texels around the surface change like the nearest one on it.
    return (texture + dilated(texels, after - before)).clamp(0, 1), found, alike, notes


def blended_colors(
    colors: Tensor,
    texels: Texels,
    surface: Mesh,
    asset: Drawable,
    *,
    picture: NDArray[np.uint8],
    camera: Cameras | None = None,
    progress: Progress,
) -> tuple[Tensor, Cameras | None, float, tuple[str, ...]]:
    """As `blended_texture`, for the `colors` [n, 3] of points of a `surface` that `asset` draws in them."""
    with torch.no_grad():
        if camera is None:
            found = estimate_camera(asset, picture, progress=progress)
        else:
            found = judged_camera(asset, picture, camera.to(colors.device))
        alike = likeness(asset, picture, found.camera)
        logger.info("Camera of the picture: overlap %.3f, colour error %.3f", found.overlap, found.color_error)
        if not found.knows_colors:
            note = (
                "The input picture was not laid on the texture, because it does not match the asset from any side: "
                f"their outlines overlap by {found.overlap:.0%} (needed {MIN_OVERLAP_FOR_COLORS:.0%}), their colours "
                f"differ by {found.color_error:.0%} (allowed {MAX_COLOR_ERROR:.0%}).",
            )
            return colors, None, alike, note
        result = laid_on(
            colors, texels, surface, picture=picture, camera=found.camera, lay_pixels=found.confident
        )  # fmt: skip
    if found.confident:
        return result, found.camera, alike, ()
    note = (
        "The texture takes its colours from the input picture but not its details, because their outlines overlap by "
        f"only {found.overlap:.0%} (needed {MIN_OVERLAP:.0%}).",
    )
    return result, found.camera, alike, note


def laid_on(
    colors: Tensor,
    texels: Texels,
    surface: Mesh,
    *,
    picture: NDArray[np.uint8],
    camera: Cameras,
    lay_pixels: bool = True,
    carry_over: bool = True,
) -> Tensor:
    """`colors` [n, 3] in [0, 1] of `texels` with the pixels of `picture` [P, P, 4], taken by `camera`, over them.

    The weight is 1 where the picture sees the surface steeply and away from outlines, falls smoothly to 0 towards
    grazing views and outlines (of the picture's object and of the mesh's own parts), and is 0 where the surface is
    hidden or the picture is empty. With `carry_over` all other colours change as those seen do (`color_transfer`);
    without `lay_pixels` that is all that happens.
    """
    values = torch.from_numpy(picture).to(colors.device).permute(2, 0, 1).float() / 255
    sight = look(surface, camera, torch.cat([values[:3] * values[3:], values[3:]]))
    seen = seen_texels(texels, sight)
    reach = _outline_distance(sight, surface)[None, None]
    grid = (seen.pixels / sight.size * 2 - 1)[None, None]
    distance = torch.nn.functional.grid_sample(reach, grid, align_corners=False)[0, 0, 0] / sight.size
    weight = seen.clear * _smooth_step(seen.cosine, COSINES) * _smooth_step(distance, BORDER)
    after = colors
    if carry_over:
        after = transferred(colors, texels.points, seen=seen.index, target=seen.colors, weight=weight)
    if lay_pixels:
        after = after.index_add(0, seen.index, weight[:, None] * (seen.colors - after[seen.index]))
    return after


def _outline_distance(sight: Sight, surface: Mesh) -> Tensor:
    """Distance [P, P] in pixels from the nearest pixel that is thin in the picture or an outline of the mesh."""
    inside = smooth_pixels(sight, pixel_cosines(sight, surface)) & (sight.picture[3] > OPAQUE)
    inside[0], inside[-1], inside[:, 0], inside[:, -1] = False, False, False, False
    distance = distance_transform_edt(inside.cpu().numpy()).astype(np.float32)
    return torch.from_numpy(distance).to(sight.picture.device)


def _smooth_step(values: Tensor, limits: tuple[float, float]) -> Tensor:
    """0 below the first limit, 1 above the second, smooth between."""
    part = ((values - limits[0]) / (limits[1] - limits[0])).clamp(0, 1)
    return part * part * (3 - 2 * part)
