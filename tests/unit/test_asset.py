"""An asset: its options by name, the picture for its texture, and the file that keeps all of it without loss."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.clouds import random_cloud
from tests.unit.export.shapes import sphere
from trellis.asset import SMALLEST_PICTURE, Asset
from trellis.conditioning import PreparedImage
from trellis.errors import InvalidInputError
from trellis.geometry.similarity import Similarity
from trellis.representations import RadianceField

TO_CUBE = Similarity(0.3, (1.5, -2.0, 0.1), 3)


def prepared(side: int = 120) -> PreparedImage:
    pixels = np.zeros((200, 160, 4), dtype=np.uint8)
    pixels[60:140, 40:120] = (200, 90, 30, 255)
    pixels[100:140, 40:120, 2] = 250
    middle = (80, 100)
    box = (middle[0] - side // 2, middle[1] - side // 2, middle[0] + side // 2, middle[1] + side // 2)
    framed = np.full((70, 70, 3), 7, dtype=np.uint8)
    return PreparedImage(Image.fromarray(pixels), framed, box, "alpha", ("A note of the picture.",))


def asset(*, whole: bool = True, side: int = 120) -> Asset:
    rng = torch.Generator().manual_seed(0)
    field = RadianceField(
        positions=torch.rand(5, 3, generator=rng),
        trivec=torch.rand(5, 2, 3, 4, generator=rng),
        density=torch.rand(5, 2, generator=rng),
        features_dc=torch.rand(5, 2, 3, generator=rng),
        resolution=16,
    )
    return Asset(
        gaussians=random_cloud(50),
        mesh=sphere(2) if whole else None,
        radiance_field=field if whole else None,
        coords=torch.arange(12, dtype=torch.int32).reshape(4, 3),
        latent=torch.randn(4, 8, generator=rng).half(),
        resolution=16,
        prepared=(prepared(side),),
        notes=("One note.", "Another: ü"),
        to_cube=TO_CUBE,
        texture_source="mesh",
    )


@pytest.mark.parametrize("whole", [True, False])
def test_what_is_stored_comes_back_bit_by_bit(whole: bool, tmp_path: Path) -> None:
    before = asset(whole=whole)
    after = Asset.load(before.store(tmp_path / "new" / "kept.safetensors"))
    for name in ("gaussians", "mesh", "radiance_field"):
        left, right = getattr(before, name), getattr(after, name)
        assert (left is None) == (right is None)
        if left is None:
            continue
        for key, value in vars(left).items():
            other = getattr(right, key)
            same = torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other
            assert same and type(value) is type(other), f"{name}.{key}"
    assert torch.equal(before.coords, after.coords) and before.coords.dtype == after.coords.dtype
    assert torch.equal(before.latent, after.latent) and after.latent.dtype == torch.float16
    assert (after.resolution, after.notes, after.to_cube, after.texture_source) == (16, before.notes, TO_CUBE, "mesh")
    [picture], [original] = after.prepared, before.prepared
    assert np.array_equal(np.asarray(picture.cutout), np.asarray(original.cutout))
    assert np.array_equal(picture.pixels, original.pixels)
    assert (picture.box, picture.background, picture.notes) == (original.box, original.background, original.notes)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["kept.safetensors"]


def test_files_of_a_kept_asset_are_the_same_bytes(tmp_path: Path) -> None:
    before = asset()
    after = Asset.load(before.store(tmp_path / "kept"))
    options = {"formats": ("glb", "splat", "stl"), "texture_size": 512, "simplify": 0.5, "seed": 4}
    one, two = before.save(tmp_path / "one", **options), after.save(tmp_path / "two", **options)
    assert {kind: path.read_bytes() for kind, path in one.items()} == {k: p.read_bytes() for k, p in two.items()}


def test_the_radiance_field_has_a_file_that_is_read_again_and_a_video(tmp_path: Path) -> None:
    before = asset()
    options = {"formats": ("radiance_field", "mp4"), "preview_content": ("radiance_field",)}
    files = before.save(tmp_path, preview_size=256, preview_frames=2, **options)
    after = Asset.load(files["radiance_field"])
    assert after.gaussians is None and after.mesh is None and after.prepared == ()
    assert before.radiance_field is not None and after.radiance_field is not None
    for key, value in vars(before.radiance_field).items():
        other = getattr(after.radiance_field, key)
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other
    again = after.save(tmp_path / "again", preview_size=256, preview_frames=2, **options)
    assert again["mp4"].read_bytes() == files["mp4"].read_bytes()
    assert again["radiance_field"].read_bytes() == files["radiance_field"].read_bytes()
    with pytest.raises(InvalidInputError, match="no radiance field: generate a new one"):
        asset(whole=False).save(tmp_path / "none", **options)


def test_bad_files_are_named(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "noise").write_bytes(b"nothing of the kind")
    whole = asset(whole=False).store(tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-10])
    for name in ("absent", "other.safetensors", "noise", "cut"):
        with pytest.raises(InvalidInputError, match=name):
            Asset.load(tmp_path / name)


@pytest.mark.parametrize("side", [120, 6])
def test_the_picture_is_the_framed_cut_out(side: int) -> None:
    picture = asset(side=side).picture
    assert picture is not None
    assert picture.shape == (max(side, SMALLEST_PICTURE) if side < SMALLEST_PICTURE else side,) * 2 + (4,)
    if side == 120:
        source = np.asarray(prepared().cutout)
        assert np.array_equal(picture, source[40:160, 20:140])
    else:
        assert (picture[..., 3] == 255).all()


def test_an_unknown_option_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"'texture'.*texture_size"):
        asset().save(tmp_path, texture=3)
    assert list(tmp_path.iterdir()) == []


def test_lists_are_as_good_as_tuples_and_remarks_are_heard(tmp_path: Path) -> None:
    written = asset().save(tmp_path, name="a", formats=["ply", "splat"], on_note=pytest.fail)
    assert [path.name for path in written.values()] == ["a.ply", "a.splat"]
