"""From a picture file to condition tokens: reading, background removal, framing, DINOv2 features."""

from typing import TYPE_CHECKING

from trellis.late_import import importer

if TYPE_CHECKING:
    from trellis.conditioning.framing import PreparedImage, frame_object
    from trellis.conditioning.image_encoder import ImageEncoder, encoder_image_size, stack_pictures
    from trellis.conditioning.matting import cut_out
    from trellis.conditioning.pictures import load_picture, prepare_image
    from trellis.conditioning.text_encoder import TextEncoder

# The server's own process imports neither torch nor OpenCV, and asks here for sizes alone.
__getattr__ = importer(
    __name__,
    {
        "framing": ["PreparedImage", "frame_object"],
        "image_encoder": ["ImageEncoder", "encoder_image_size", "stack_pictures"],
        "matting": ["cut_out"],
        "pictures": ["load_picture", "prepare_image"],
        "text_encoder": ["TextEncoder"],
    },
)
