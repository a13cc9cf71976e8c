"""Does the asset of the embedded model look like its picture?"""

import colorsys
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import trimesh

from tests.e2e.conftest import EXAMPLES
from trellis import ImageTo3D, Runtime
from trellis.app.likeness import LIMIT
from trellis.asset import Asset
from trellis.conditioning import prepare_image
from trellis.geometry.cameras import orbit_cameras
from trellis.rendering.mesh import render_mesh

FRONT = np.pi


@pytest.fixture(scope="module")
def mug(pipeline: ImageTo3D) -> Asset:
    asset = pipeline(EXAMPLES / "mug.png", seed=1, structure_steps=4, latent_steps=4)
    cutout = np.asarray(asset.prepared[0].cutout).astype(float) / 255
    wanted = cutout[cutout[..., 3] > 0.9][:, :3].mean(0)
    assert wanted[0] - wanted[1:].max() > 0.2  # the picture's mug is brown
    return asset


def test_the_networks_keep_the_hue_of_brown(mug: Asset) -> None:
    assert _hue_error(mug) < 15


@pytest.mark.parametrize("name", ["chair", "car", "teapot"])  # green, blue, purple
def test_the_networks_keep_the_hue(pipeline: ImageTo3D, name: str) -> None:
    steps = {"structure_steps": 4, "latent_steps": 4}  # as good as twelve for the mean colour
    assert _hue_error(pipeline(EXAMPLES / f"{name}.png", seed=1, representations=("mesh",), **steps)) < 15


def _hue_error(asset: Asset) -> float:
    """Degrees between the hues of the surface and of the picture."""
    assert asset.mesh is not None and asset.mesh.colors is not None
    cutout = np.asarray(asset.prepared[0].cutout).reshape(-1, 4) / 255
    wanted, found = _main_hue(cutout[cutout[:, 3] > 0.9, :3]), _main_hue(asset.mesh.colors.numpy())
    return abs((found - wanted + 180) % 360 - 180)


def _main_hue(colors: np.ndarray) -> float:
    """Degrees: the hue of the mean of the saturated half of some colours [N, 3]."""
    chroma = colors.max(1) - colors.min(1)
    return 360 * colorsys.rgb_to_hsv(*colors[chroma >= np.median(chroma)].mean(0))[0]


def test_the_file_holds_a_brown_mug(mug: Asset, tmp_path: Path) -> None:
    files = mug.save(tmp_path, name="mug", formats=("glb",), faces=3000, texture_size=512)
    shape = trimesh.load(files["glb"], force="mesh")
    texture = np.asarray(shape.visual.material.baseColorTexture.convert("RGB")).astype(float) / 255
    uvs = shape.visual.uv[shape.faces].mean(1)
    side = len(texture)
    column, row = (uvs[:, 0] * side).astype(int), ((1 - uvs[:, 1]) * side).astype(int)
    colors = texture[row.clip(0, side - 1), column.clip(0, side - 1)]
    # All around, also where the picture does not see it.
    outside = np.linalg.norm(shape.triangles_center[:, [0, 2]], axis=1) > 0.25
    found = np.average(colors[outside], axis=0, weights=shape.area_faces[outside])
    assert found[0] - found[1:].max() > 0.12


def test_an_asset_is_like_its_own_picture_and_not_like_another(mug: Asset, tmp_path: Path) -> None:
    heard: list[float] = []
    other = prepare_image(EXAMPLES / "cactus.png", size=128, background="auto", runtime=Runtime(offline=True))
    for prepared in (mug.prepared, (other,)):
        mug = dataclasses.replace(mug, prepared=prepared)
        for formats in (("stl",), ("glb",)):
            mug.save(tmp_path, on_likeness=heard.append, formats=formats, faces=3000, texture_size=512)
    assert min(heard[:2]) > LIMIT + 0.2 and max(heard[2:]) < LIMIT


def test_an_aeroplane_is_wide_and_low(pipeline: ImageTo3D) -> None:
    asset = pipeline(EXAMPLES / "aeroplane.png", seed=1, structure_steps=4, latent_steps=2, representations=("mesh",))
    assert asset.mesh is not None
    size = asset.mesh.vertices.amax(0) - asset.mesh.vertices.amin(0)
    assert size[2] < 0.6 * max(size[0], size[1])


def test_the_asset_is_one_solid_thing_in_the_middle(pipeline: ImageTo3D) -> None:
    asset = pipeline(EXAMPLES / "snowman.png", seed=1, structure_steps=4, latent_steps=2, representations=("mesh",))
    assert asset.mesh is not None
    cameras = orbit_cameras([FRONT, FRONT + np.pi / 2], [0.2, 0.2])
    mask = render_mesh(asset.mesh, cameras, size=96, supersampling=1).mask
    share = mask.flatten(1).mean(1)
    assert (share > 0.02).all() and (share < 0.6).all()
    rows = mask[0].amax(1).nonzero().squeeze(1)
    assert len(rows) == rows.max() - rows.min() + 1  # nothing floats above or below
