"""Offline background removal: OpenCV's GrabCut seeded by a smooth model of the border's colour.

The background is taken to be what the border of the picture shows, varying smoothly; a pixel is object where its
colour leaves that model, a mere darkening of the background (a shadow) counting little.
"""

import cv2
import numpy as np

from trellis.conditioning.marks import ADD, REMOVE, Box
from trellis.errors import InvalidInputError

WORKING_SIDE = 512  # GrabCut runs at this size; the mask is scaled back smoothly
BORDER = 0.04  # share of the side that is taken as background
SHADOW_WEIGHT = 0.2  # how much darker-than-background counts against lighter or otherwise coloured
DARKEST_SHADOW = 0.4  # a shadow leaves at least this share of the light
GRABCUT_ROUNDS = 4
MIN_AREA = 0.002  # smallest object as a share of the picture
NOTHING_FOUND = (
    "No object stands out from the background of the picture. Use a picture of one object on a plain background, or "
    "one with a transparent background."
)
NOTHING_IN_BOX = "Nothing in the box stands out from what is around it. Draw it anew, or brush over the object."


def estimate_alpha(color: np.ndarray, *, box: Box | None = None, strokes: np.ndarray | None = None) -> np.ndarray:
    """Alpha uint8 [H, W] of the object in an RGB picture uint8 [H, W, 3].

    With a `box` (shares of the picture's sides) the object is within it, and the border's colour counts no more.
    `strokes` [H, W] of ADD, REMOVE and 0 are sure. Raises InvalidInputError when nothing stands out.
    """
    height, width = color.shape[:2]
    scale = min(1.0, WORKING_SIDE / max(height, width))
    small_size = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = cv2.resize(color, small_size, interpolation=cv2.INTER_AREA)
    seed = _seed(*_distance_from_background(small)) if box is None else _seed_of_box(small, box)
    if strokes is not None:
        drawn = cv2.resize(strokes, small_size, interpolation=cv2.INTER_NEAREST)
        seed[drawn == ADD], seed[drawn == REMOVE] = cv2.GC_FGD, cv2.GC_BGD
    mask = _keep_large_blobs(_run_grabcut(small, seed))
    if mask.mean() < MIN_AREA:
        raise InvalidInputError(NOTHING_FOUND if box is None else NOTHING_IN_BOX)
    soft = cv2.GaussianBlur(mask.astype(np.float32) * 255, (0, 0), 0.7)
    return cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def _border_mask(height: int, width: int) -> np.ndarray:
    thickness = max(2, round(BORDER * min(height, width)))
    mask = np.ones((height, width), bool)
    mask[thickness:-thickness, thickness:-thickness] = False
    return mask


def _distance_from_background(color: np.ndarray) -> tuple[np.ndarray, float]:
    """Distance [H, W] of each pixel from the background model in Lab units, and the border's own noise."""
    lab = cv2.cvtColor(color.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    height, width = lab.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = 2 * x / max(1, width - 1) - 1, 2 * y / max(1, height - 1) - 1
    basis = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=-1)
    border = _border_mask(height, width)
    rows, values = basis[border], lab[border]
    keep = np.ones(len(rows), bool)
    coefficients = np.zeros((basis.shape[-1], 3), np.float32)
    for _ in range(4):  # trimmed least squares: an object that touches the border must not bend the model
        coefficients = np.linalg.lstsq(rows[keep], values[keep], rcond=None)[0]
        residual = np.linalg.norm(values - rows @ coefficients, axis=1)
        keep = residual <= max(2.0, 2.5 * float(np.median(residual)))
    noise = float(np.percentile(np.linalg.norm(values - rows @ coefficients, axis=1)[keep], 90))
    return _shadow_aware_distance(color, lab, basis @ coefficients), noise


def _shadow_aware_distance(color: np.ndarray, lab: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Lab distance [H, W] of a picture from `background` [H, W, 3], a shadow on it counting by SHADOW_WEIGHT.

    A shadow scales all channels of the background by one factor; what that factor does not explain counts in full.
    """
    plain = cv2.cvtColor(background.astype(np.float32), cv2.COLOR_LAB2RGB).clip(0, 1)
    picture = color.astype(np.float32) / 255
    factor = (picture * plain).sum(-1) / np.maximum((plain * plain).sum(-1), 1e-6)
    shaded = plain * factor.clip(DARKEST_SHADOW, 1)[..., None]
    shaded_lab = cv2.cvtColor(shaded, cv2.COLOR_RGB2LAB)
    darkening = background[..., 0] - shaded_lab[..., 0]
    return np.linalg.norm(lab - shaded_lab, axis=-1) + SHADOW_WEIGHT * darkening.clip(0)


def _seed(distance: np.ndarray, noise: float) -> np.ndarray:
    """GrabCut's initial mask: sure and probable object and background."""
    near = max(4.0, 2.0 * noise)
    smooth = cv2.GaussianBlur(distance, (0, 0), 1.0)
    seed = np.where(smooth > 1.5 * near, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    sure = cv2.erode((smooth > 3.5 * near).astype(np.uint8), np.ones((3, 3), np.uint8))
    seed[sure > 0] = cv2.GC_FGD
    background = (smooth < near).astype(np.uint8)
    _, labels = cv2.connectedComponents(background, connectivity=4)
    border = _border_mask(*distance.shape)
    outside = np.isin(labels, np.unique(labels[border & (background > 0)])) & (background > 0)
    seed[cv2.erode(outside.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=1) > 0] = cv2.GC_BGD
    return seed


def _seed_of_box(color: np.ndarray, box: Box) -> np.ndarray:
    """GrabCut's initial mask of a box: probably object within, surely background outside and at the very border."""
    height, width = color.shape[:2]
    seed = np.full((height, width), cv2.GC_BGD, np.uint8)
    left, top, right, bottom = (round(share * side) for share, side in zip(box, (width, height) * 2, strict=True))
    seed[max(1, top) : min(height - 1, bottom), max(1, left) : min(width - 1, right)] = cv2.GC_PR_FGD
    return seed


def _run_grabcut(color: np.ndarray, seed: np.ndarray) -> np.ndarray:
    foreground = np.isin(seed, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if not foreground.any() or foreground.all():
        return foreground
    cv2.setRNGSeed(0)  # its mixture models start from k-means; the same picture must give the same mask
    models = np.zeros((1, 65)), np.zeros((1, 65))
    picture = np.ascontiguousarray(color[..., ::-1])
    result, _, _ = cv2.grabCut(picture, seed.copy(), (0, 0, 0, 0), *models, GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
    return np.isin(result, (cv2.GC_FGD, cv2.GC_PR_FGD))


def _keep_large_blobs(mask: np.ndarray) -> np.ndarray:
    """Drop specks and parts far smaller than the largest one; close pinholes."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    if count <= 1:
        return closed > 0
    areas = statistics[1:, cv2.CC_STAT_AREA]
    large = 1 + np.nonzero(areas >= max(0.05 * areas.max(), MIN_AREA * mask.size))[0]
    return np.isin(labels, large)
