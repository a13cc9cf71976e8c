"""The offline background removal on backgrounds of rising difficulty, each with a strong shadow."""

import numpy as np
import pytest

from trellis.conditioning.grabcut import estimate_alpha

SIDE = 400
Y, X = np.mgrid[0:SIDE, 0:SIDE]
BACKGROUNDS = {
    "white": np.full((SIDE, SIDE, 3), 250.0),
    "grey gradient": np.repeat((120.0 * (0.7 + 0.3 * Y / SIDE))[..., None], 3, -1),
    "coloured gradient": np.stack([100 + 100 * X / SIDE, 150 + 0 * X, 200 - 80 * Y / SIDE], -1),
    "similar colour": np.full((SIDE, SIDE, 3), (200.0, 120.0, 60.0)),
    "noisy": 90 + np.random.default_rng(0).normal(0, 8, (SIDE, SIDE, 3)),
    "dark": np.full((SIDE, SIDE, 3), 15.0),
}


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_object_with_a_hole_is_found_and_its_shadow_is_not(name: str) -> None:
    head = (X - 200) ** 2 + (Y - 190) ** 2 < 100**2
    stem = (abs(X - 200) < 40) & (abs(Y - 280) < 60)
    hole = (X - 200) ** 2 + (Y - 170) ** 2 < 27**2
    truth = (head | stem) & ~hole
    color = np.where((X > 200)[..., None], (230, 180, 60), (180, 60, 40)) * (0.6 + 0.4 * X / SIDE)[..., None]
    shadow = 1 - 0.45 * np.exp(-(((X - 200) / 113) ** 2 + ((Y - 347) / 20) ** 2))
    picture = np.where(truth[..., None], color, BACKGROUNDS[name] * shadow[..., None]).clip(0, 255).astype(np.uint8)
    found = estimate_alpha(picture) > 127
    assert (truth & found).sum() / (truth | found).sum() > 0.97
