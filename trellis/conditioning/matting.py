"""Background removal on the CPU: the picture's own alpha, else rembg, else an offline GrabCut."""

import numpy as np
from PIL import Image

from trellis.errors import InvalidInputError, MissingDependencyError
from trellis.runtime import ModelFiles, matting_model_path

BACKGROUND_MODES = ("auto", "alpha", "rembg", "grabcut")
GRABCUT_NOTE = (
    "The background was removed by the built-in GrabCut, which suits plain backgrounds; "
    "for photographs fetch the network u2net once (“models get u2net”) or use a picture with a transparent background."
)


def cut_out(picture: Image.Image, *, background: str, runtime: ModelFiles) -> tuple[Image.Image, str, str | None]:
    """Separate the object of an RGB or RGBA picture: (RGBA picture, method used, remark for the user or None).

    `background`: "alpha" keeps the picture's own transparency; "rembg" uses u2net (fetched when missing and allowed);
    "grabcut" the built-in method; "auto" the first of these that is available without a download. Raises
    InvalidInputError for another value or a picture without transparency under "alpha".
    """
    if background not in BACKGROUND_MODES:
        raise InvalidInputError(f"Unknown background mode {background!r}; choose one of {', '.join(BACKGROUND_MODES)}.")
    has_alpha = picture.mode == "RGBA" and np.asarray(picture.getchannel("A")).min() < 255
    if background == "alpha" and not has_alpha:
        raise InvalidInputError("The picture has no transparent pixel; choose another background mode than 'alpha'.")
    if background == "alpha" or (background == "auto" and has_alpha):
        return picture, "alpha", None
    color = picture.convert("RGB")
    if background == "rembg" or (background == "auto" and matting_model_path().is_file() and _rembg_installed()):
        return _remove_with_rembg(color, runtime), "rembg", None
    from trellis.conditioning.grabcut import estimate_alpha  # OpenCV, which pictures with transparency need not

    return _with_alpha(color, estimate_alpha(np.asarray(color))), "grabcut", GRABCUT_NOTE


def _with_alpha(color: Image.Image, alpha: np.ndarray) -> Image.Image:
    result = color.convert("RGBA")
    result.putalpha(Image.fromarray(alpha))
    return result


def _rembg_installed() -> bool:
    from importlib.util import find_spec

    return find_spec("rembg") is not None


def _remove_with_rembg(color: Image.Image, runtime: ModelFiles) -> Image.Image:
    if not matting_model_path().is_file() and runtime.offline:
        raise InvalidInputError(
            f"rembg needs its model file {matting_model_path()}, which may not be fetched in offline mode; "
            "put it there or choose the background mode 'grabcut'."
        )
    try:
        import rembg  # imported late: its first import compiles for a minute
    except ImportError as error:
        raise MissingDependencyError("Background mode 'rembg' needs the package rembg: pip install rembg.") from error
    session = rembg.new_session("u2net", providers=["CPUExecutionProvider"])
    return rembg.remove(color, session=session).convert("RGBA")
