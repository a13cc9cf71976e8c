"""Every kind of picture file: read correctly, or refused with a sentence that helps."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trellis.conditioning import load_picture, prepare_image
from trellis.errors import InvalidInputError

HEIC = Path(__file__).parent / "data" / "disc.heic"


def encoded(picture: Image.Image, file_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, file_format, **options)
    return stream.getvalue()


def disc(size: int = 96, color: tuple[int, int, int] = (200, 40, 30)) -> Image.Image:
    y, x = np.mgrid[0:size, 0:size]
    inside = (x - size / 2) ** 2 + (y - size / 2) ** 2 < (size / 3) ** 2
    return Image.fromarray(np.where(inside[..., None], np.array(color), 245).astype(np.uint8))


def test_exif_rotation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rows run from right to left
    picture, _ = load_picture(encoded(Image.new("RGB", (40, 20)), "JPEG", exif=exif))
    assert picture.size == (20, 40)


def test_cmyk_becomes_rgb() -> None:
    picture, _ = load_picture(encoded(disc().convert("CMYK"), "JPEG", quality=95))
    assert picture.mode == "RGB"
    assert np.abs(np.asarray(picture)[48, 48].astype(int) - (200, 40, 30)).max() < 30


def test_sixteen_bit_grey_keeps_its_range() -> None:
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    picture, _ = load_picture(encoded(Image.fromarray(ramp), "PNG"))
    values = np.asarray(picture)[..., 0]
    assert values.min() == 0 and values.max() == 255 and 120 < values.mean() < 135


@pytest.mark.parametrize("bits", [16, 24, 31, 32])
def test_thirty_two_bit_grey_keeps_its_range(bits: int) -> None:
    ramp = np.linspace(0, 2**bits - 1, 64 * 64).reshape(64, 64).astype(np.uint32)
    picture, _ = load_picture(encoded(Image.fromarray(ramp.view(np.int32)), "TIFF"))
    values = np.asarray(picture)[..., 0]
    assert values.min() == 0 and values.max() == 255 and 120 < values.mean() < 135


def test_the_transparent_grey_of_sixteen_bits_becomes_alpha() -> None:
    values = np.full((32, 32), 40000, np.uint16)
    values[8:24, 8:24] = 20000
    loaded, _ = load_picture(encoded(Image.fromarray(values), "PNG", transparency=40000))
    assert loaded.mode == "RGBA"
    assert loaded.getpixel((0, 0))[3] == 0 and loaded.getpixel((16, 16)) == (78, 78, 78, 255)


def test_palette_transparency_becomes_alpha() -> None:
    picture = Image.new("P", (32, 32), 0)
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.paste(1, (8, 8, 24, 24))
    loaded, _ = load_picture(encoded(picture, "PNG", transparency=0))
    assert loaded.mode == "RGBA"
    assert loaded.getpixel((0, 0))[3] == 0 and loaded.getpixel((16, 16)) == (0, 255, 0, 255)


def test_an_animation_gives_its_first_frame_and_says_so() -> None:
    frames = [Image.new("RGB", (32, 32), color) for color in ("red", "blue", "lime")]
    picture, notes = load_picture(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert picture.convert("RGB").getpixel((3, 3)) == (255, 0, 0)
    assert "animation" in notes[0]


def test_large_pictures_are_reduced_to_1024() -> None:
    assert load_picture(Image.new("RGB", (3000, 1500)))[0].size == (1024, 512)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"not a picture", "cannot be read"),
        (b"", "cannot be read"),
        (encoded(disc(), "PNG")[:200], "cannot be read"),
        (encoded(Image.new("RGB", (1, 1)), "PNG"), "too small"),
    ],
)
def test_unusable_bytes_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        load_picture(data)


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (20000, 20000)).save(path)
    with pytest.raises(
        InvalidInputError, match=r"too large \(more than 179 megapixels\); reduce it below 50 megapixels"
    ):
        load_picture(path, max_pixels=50_000_000)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"no picture file .*nowhere\.png"):
        load_picture(tmp_path / "nowhere.png")


def test_own_alpha_is_kept_and_plain_backgrounds_are_removed() -> None:
    plain = prepare_image(disc(256), size=128)
    assert plain.background == "grabcut" and plain.notes
    y, x = np.mgrid[0:256, 0:256]
    truth = (x - 128) ** 2 + (y - 128) ** 2 < (256 / 3) ** 2
    found = np.asarray(plain.cutout.getchannel("A")) > 127
    assert (truth & found).sum() / (truth | found).sum() > 0.98

    with_alpha = disc(256).convert("RGBA")
    with_alpha.putalpha(Image.fromarray((truth * 255).astype(np.uint8)))
    kept = prepare_image(with_alpha, size=128)
    assert kept.background == "alpha" and not kept.notes
    assert kept.pixels.shape == (128, 128, 3) and kept.pixels.std() > 20


def test_a_picture_of_one_colour_has_no_object() -> None:
    with pytest.raises(InvalidInputError, match="No object stands out"):
        prepare_image(Image.new("RGB", (200, 200), (10, 120, 30)))


def test_unknown_background_mode_lists_the_known_ones() -> None:
    with pytest.raises(InvalidInputError, match="auto, alpha, rembg, grabcut"):
        prepare_image(disc(), background="magic")


def test_what_is_no_picture_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)  # as before the first picture of that kind
    with pytest.raises(InvalidInputError, match=r"cannot be read as a picture \(PNG.*\): it is of no such format\.$"):
        load_picture(b"hello")


def test_heic_is_read() -> None:
    """A red ellipse, written by pillow-heif 1.8.1."""
    picture, notes = load_picture(HEIC)
    assert picture.mode == "RGB" and picture.size == (160, 120) and notes == ()
    assert np.abs(np.array(picture.getpixel((80, 60)), int) - (200, 40, 30)).max() < 8
    assert min(picture.getpixel((5, 5))) > 220  # type: ignore[type-var, arg-type]
    with pytest.raises(InvalidInputError, match="160 x 120 is too large"):
        load_picture(HEIC.read_bytes(), max_pixels=1000)
    for half in (400, 1500):
        with pytest.raises(InvalidInputError, match="cannot be read as a picture"):
            load_picture(HEIC.read_bytes()[:half])


def test_heic_without_its_library_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)  # importing it fails
    with pytest.raises(InvalidInputError, match=r"disc\.heic is a HEIC picture.*save it as JPEG or PNG"):
        load_picture(HEIC)
