"""From a picture file to condition tokens: reading, background removal, framing, DINOv2 features."""

from typing import TYPE_CHECKING

from trellis.late_import import importer

if TYPE_CHECKING:
    from trellis.conditioning.framing import PreparedImage, frame_object
    from trellis.conditioning.image_encoder import ImageEncoder, encoder_image_size, stack_pictures
    from trellis.conditioning.matting import BACKGROUND_MODES, cut_out
    from trellis.conditioning.pictures import load_picture, prepare_image
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
_PLACES = {
    "BACKGROUND_MODES": "matting",
    "ImageEncoder": "image_encoder",
    "PreparedImage": "framing",
    "TextEncoder": "text_encoder",
    "cut_out": "matting",
    "encoder_image_size": "image_encoder",
    "frame_object": "framing",
    "load_picture": "pictures",
    "prepare_image": "pictures",
    "stack_pictures": "image_encoder",
}

# The server's own process imports neither torch nor OpenCV, and asks here for sizes alone.
__getattr__ = importer(__name__, _PLACES)
