"""Background removal on the CPU: the picture's own alpha, else rembg's network u2net, else an offline GrabCut."""

import numpy as np
from PIL import Image

from trellis.conditioning.marks import ADD, REMOVE, Marks
from trellis.errors import STARTER, InvalidInputError
from trellis.runtime import ModelFiles, matting_model_path

U2NET_SIDE = 320  # pixels of the network's square input
IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the pictures that it learned from
BACKGROUND_MODES = ("auto", "alpha", "rembg", "grabcut", "whole")
FETCH_IT = f"“{STARTER} models get u2net”"
GRABCUT_NOTE = (
    "The background was removed by the built-in GrabCut, which suits plain backgrounds; "
    f"for photographs fetch the network u2net once ({FETCH_IT}) or use a picture with a transparent background."
)


def cut_out(
    picture: Image.Image, *, background: str, runtime: ModelFiles, marks: Marks | None = None
) -> tuple[Image.Image, str, str | None]:
    """Separate the object of an RGB or RGBA picture: (RGBA picture, method used, remark for the user or None).

    `background`: "alpha" keeps the picture's own transparency; "rembg" uses its network u2net; "grabcut" the built-in
    method; "auto" the first of these that is here; "whole" removes nothing. What is drawn (`marks`) comes first: the
    picture is cropped, a box starts the built-in method, and strokes hold whatever the method finds. Raises
    InvalidInputError for another value, for a picture without transparency under "alpha", where nothing stands out,
    and under "rembg" where the network is missing or damaged.
    """
    if background not in BACKGROUND_MODES:
        raise InvalidInputError(f"Unknown background mode {background!r}; choose one of {', '.join(BACKGROUND_MODES)}.")
    if marks is None:
        return _cut_out(picture, background, runtime, Marks())
    picture, marks = marks.cropped(picture)
    if marks.box is not None:
        background = "grabcut"
    cutout, method, _ = _cut_out(picture, background, runtime, marks)
    return _with_strokes(picture, cutout, marks.strokes), method, None


def _cut_out(
    picture: Image.Image, background: str, runtime: ModelFiles, marks: Marks
) -> tuple[Image.Image, str, str | None]:
    has_alpha = picture.mode == "RGBA" and np.asarray(picture.getchannel("A")).min() < 255
    if background == "whole":
        return picture.convert("RGBA"), "whole", None
    if background == "alpha" and not has_alpha:
        raise InvalidInputError("The picture has no transparent pixel; choose another background mode than 'alpha'.")
    if background == "alpha" or (background == "auto" and has_alpha):
        return picture, "alpha", None
    color = picture.convert("RGB")
    if background == "rembg" or (background == "auto" and matting_model_path().is_file()):
        return _remove_with_u2net(color, runtime), "rembg", None
    from trellis.conditioning.grabcut import estimate_alpha  # OpenCV, which pictures with transparency need not

    alpha = estimate_alpha(np.asarray(color), box=marks.box, strokes=marks.strokes)
    return _with_alpha(color, alpha), "grabcut", GRABCUT_NOTE


def _with_strokes(picture: Image.Image, cutout: Image.Image, strokes: np.ndarray | None) -> Image.Image:
    """The cut-out of a picture with strokes [H, W] of its size drawn into its alpha."""
    if strokes is None:
        return cutout
    alpha = np.asarray(cutout.getchannel("A")).copy()
    alpha[strokes == ADD], alpha[strokes == REMOVE] = 255, 0
    # u2net blackens what it removes, and a stroke may bring that back.
    return _with_alpha(picture.convert("RGB"), alpha)


def _with_alpha(color: Image.Image, alpha: np.ndarray) -> Image.Image:
    result = color.convert("RGBA")
    result.putalpha(Image.fromarray(alpha))
    return result


def _remove_with_u2net(color: Image.Image, runtime: ModelFiles) -> Image.Image:
    """Cut out as `rembg.remove` does with u2net, without rembg: importing that compiles for most of a minute.

    The network sees the picture in a square of U2NET_SIDE; its first output, stretched to 0..1, is the mask, by which
    the colours are multiplied too. Source: rembg 2.0 (MIT), sessions/base.py and sessions/u2net.py.
    """
    import onnxruntime  # imported late: pictures with transparency need it not
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidProtobuf

    path = matting_model_path()
    if not path.is_file():
        way = "put it there" if runtime.offline else f"fetch it once with {FETCH_IT}"
        reason = ", which may not be fetched in offline mode" if runtime.offline else ""
        raise InvalidInputError(f"rembg needs its network {path}{reason}: {way}, or choose 'grabcut'.")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except (Fail, InvalidArgument, InvalidProtobuf) as error:
        raise InvalidInputError(f"{path} is damaged: delete it and fetch it again with {FETCH_IT}.") from error
    pixels = np.asarray(color.resize((U2NET_SIDE, U2NET_SIDE), Image.Resampling.LANCZOS))
    scaled = (pixels / max(pixels.max(), 1e-6) - IMAGE_MEAN) / IMAGE_STD
    batch = scaled.transpose(2, 0, 1)[None].astype(np.float32)
    saliency = session.run(None, {session.get_inputs()[0].name: batch})[0][0, 0]
    lowest, highest = saliency.min(), saliency.max()
    alpha = ((saliency - lowest) / max(highest - lowest, 1e-6)).clip(0, 1) * 255
    mask = Image.fromarray(alpha.astype(np.uint8)).resize(color.size, Image.Resampling.LANCZOS)
    return Image.composite(color.convert("RGBA"), Image.new("RGBA", color.size), mask)
