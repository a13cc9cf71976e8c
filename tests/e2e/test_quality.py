"""Does the asset look like its picture? Known to fail with the present weights of trellis-nano (docs/nano.md).

`strict`: once weights follow the picture these tests pass, the suite says so, and the marks have to go.
"""

import numpy as np
import pytest

from tests.e2e.conftest import EXAMPLES
from trellis import ImageTo3D
from trellis.geometry.cameras import orbit_cameras
from trellis.rendering import render_mesh

FRONT = np.pi
UNDERTRAINED = pytest.mark.xfail(reason="trellis-nano is undertrained: it hardly follows the picture", strict=True)


@UNDERTRAINED
def test_a_yellow_mug_becomes_a_yellow_mug(pipeline: ImageTo3D) -> None:
    asset = pipeline(EXAMPLES / "mug.png", seed=1, structure_steps=12, latent_steps=12, representations=("mesh",))
    assert asset.mesh is not None and asset.mesh.colors is not None
    cutout = np.asarray(asset.prepared[0].cutout).astype(float) / 255
    wanted = cutout[cutout[..., 3] > 0.9][:, :3].mean(0)
    found = asset.mesh.colors.mean(0).numpy()
    assert wanted[:2].min() - wanted[2] > 0.2  # the picture's mug is yellow
    assert found[:2].min() - found[2] > 0.15


@UNDERTRAINED
def test_an_aeroplane_is_wide_and_low(pipeline: ImageTo3D) -> None:
    asset = pipeline(EXAMPLES / "aeroplane.png", seed=1, structure_steps=12, latent_steps=2, representations=("mesh",))
    assert asset.mesh is not None
    size = asset.mesh.vertices.amax(0) - asset.mesh.vertices.amin(0)
    assert size[2] < 0.6 * max(size[0], size[1])


def test_the_asset_is_one_solid_thing_in_the_middle(pipeline: ImageTo3D) -> None:
    asset = pipeline(EXAMPLES / "snowman.png", seed=1, structure_steps=12, latent_steps=4, representations=("mesh",))
    assert asset.mesh is not None
    cameras = orbit_cameras([FRONT, FRONT + np.pi / 2], [0.2, 0.2])
    mask = render_mesh(asset.mesh, cameras, size=96, supersampling=1).mask
    share = mask.flatten(1).mean(1)
    assert (share > 0.02).all() and (share < 0.6).all()
    rows = mask[0].amax(1).nonzero().squeeze(1)
    assert len(rows) == rows.max() - rows.min() + 1  # nothing floats above or below
