"""From a picture file to condition tokens: reading, background removal, framing, DINOv2 features."""

from typing import TYPE_CHECKING

from trellis.conditioning.framing import PreparedImage, frame_object
from trellis.conditioning.matting import BACKGROUND_MODES, cut_out
from trellis.conditioning.pictures import load_picture, prepare_image
from trellis.late_import import importer

if TYPE_CHECKING:
    from trellis.conditioning.image_encoder import ImageEncoder, encoder_image_size, stack_pictures
    from trellis.conditioning.text_encoder import TextEncoder

__all__ = [
    "BACKGROUND_MODES",
    "ImageEncoder",
    "PreparedImage",
    "TextEncoder",
    "cut_out",
    "encoder_image_size",
    "frame_object",
    "load_picture",
    "prepare_image",
    "stack_pictures",
]
_ENCODERS = {
    "ImageEncoder": "image_encoder",
    "TextEncoder": "text_encoder",
    "encoder_image_size": "image_encoder",
    "stack_pictures": "image_encoder",
}

# What needs torch: the server's own process only cuts pictures out.
__getattr__ = importer(__name__, _ENCODERS)
