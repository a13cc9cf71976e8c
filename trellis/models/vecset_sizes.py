"""Sizes of the networks of a Hunyuan3D-2 shape model, whose latent is a set of vectors without a place."""

from dataclasses import dataclass

WEIGHTS_FILE = "model.fp16.safetensors"  # of a whole model, and of a decoder alone


@dataclass(frozen=True)
class FlowSizes:
    """The flow: widths of latent, condition and tokens; heads; blocks of two kinds; guidance as an input."""

    in_channels: int
    context_in_dim: int
    hidden_size: int
    num_heads: int
    depth: int
    depth_single_blocks: int
    mlp_ratio: float = 4.0
    guidance_embed: bool = False


@dataclass(frozen=True)
class DecoderSizes:
    """The decoder: a latent of `num_latents` tokens, its transformer, and the block that answers points.

    The last three are 2, 1 and False of the turbo decoders. A sampled latent is divided by `scale_factor`.
    """

    num_latents: int
    embed_dim: int
    width: int
    heads: int
    num_decoder_layers: int
    scale_factor: float
    num_freqs: int = 8
    geo_decoder_downsample_ratio: int = 1
    geo_decoder_mlp_expand_ratio: int = 4
    geo_decoder_ln_post: bool = True

    @property
    def is_turbo(self) -> bool:
        return self.geo_decoder_downsample_ratio > 1
