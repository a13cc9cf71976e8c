"""How a shape model is shown a picture: its encoder, and the recipe by which a cut-out becomes the encoder's input."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EncoderSizes:
    """The DINOv2 that reads pictures of `image_size` pixels, and how many of one object it takes."""

    hidden_size: int = 1536
    num_hidden_layers: int = 40
    num_attention_heads: int = 24
    mlp_ratio: int = 4
    image_size: int = 518
    patch_size: int = 14
    most_pictures: int = 1


@dataclass(frozen=True)
class PictureRecipe:
    """Side of the framed picture in pixels, and the margin about the object as a share of it."""

    size: int = 512
    border_ratio: float = 0.15
