"""The decoder of a Hunyuan3D-2 shape model: a latent of vectors, then the occupancy logit of any point."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trellis.models.network import Torso
from trellis.models.vecset_sizes import DecoderSizes
from trellis.nn.attention import Attention
from trellis.nn.blocks import BLOCK_EPS, HEAD_EPS
from trellis.nn.inference import row_norm
from trellis.nn.norm import LayerNorm
from trellis.nn.vecset import ExactMlp, LatentBlock, LayerNorms
from trellis.ops.attention import packed_attention
from trellis.ops.norms import add_and_normalize
from trellis.ops.segments import Segments

# Work space of a point in half precision, measured: of the full decoders and of the turbo ones.
POINT_BYTES, TURBO_POINT_BYTES = 18 << 10, 4403


def point_waves(points: Tensor, count: int) -> Tensor:
    """[p, sin(2^k p), cos(2^k p)] of points [n, 3] for k < count, axis by axis: float32 [n, 3 + 6 count]."""
    frequencies = 2.0 ** torch.arange(count, dtype=torch.float32, device=points.device)
    angles = (points.float()[..., None] * frequencies).flatten(-2)
    return torch.cat([points.float(), angles.sin(), angles.cos()], -1)


@dataclass(frozen=True)
class LatentContext:
    """What points need of a latent: keys and values [L, H, D]."""

    keys: Tensor
    values: Tensor


class PointAttention(Attention):
    """Points attend to the vectors of a latent; keys and values lie together head by head."""

    def __init__(self, width: int, heads: int, *, normed: bool) -> None:
        super().__init__(heads)
        self.c_q = nn.Linear(width, width, bias=False)
        self.c_kv = nn.Linear(width, 2 * width, bias=False)
        self.c_proj = nn.Linear(width, width)
        self.attention = LayerNorms(width // heads) if normed else None

    def prepare(self, h: Tensor) -> LatentContext:
        """Keys and values of the normalised vectors h [L, C]."""
        keys, values = self.c_kv(h).unflatten(-1, (self.heads, 2, -1)).unbind(-2)
        if self.attention is not None:
            keys = self.attention.k_norm(keys)
        return LatentContext(keys.contiguous(), values.contiguous())

    def forward(self, h: Tensor, context: LatentContext) -> Tensor:
        q = self.c_q(h).unflatten(-1, (self.heads, -1))
        if self.attention is not None:
            q = self.attention.q_norm(q)
        points, vectors = Segments((len(q),), q.device), Segments((len(context.keys),), q.device)
        out = packed_attention(
            q, context.keys, v=context.values, q_segments=points, k_segments=vectors, backend=self.backend
        )
        return self.c_proj(out.flatten(1))


class PointBlock(nn.Module):
    """Attention of points to a latent, and an MLP."""

    def __init__(self, width: int, heads: int, *, ratio: int, normed: bool) -> None:
        super().__init__()
        self.attn = PointAttention(width, heads, normed=normed)
        self.ln_1 = LayerNorm(width, eps=BLOCK_EPS, affine=True)
        self.ln_2 = LayerNorm(width, eps=BLOCK_EPS, affine=True)
        self.ln_3 = LayerNorm(width, eps=BLOCK_EPS, affine=True)
        self.mlp = ExactMlp(width, ratio)

    def forward(self, x: Tensor, context: LatentContext) -> Tensor:
        """x [n, C], in place."""
        h = add_and_normalize(x, self.attn(row_norm(self.ln_1)(x), context), norm=row_norm(self.ln_3))
        return x.add_(self.mlp(h))


class PointDecoder(nn.Module):
    """Logits of points; a turbo decoder has fewer channels here, and neither norms of heads nor a last one."""

    def __init__(self, config: DecoderSizes) -> None:
        super().__init__()
        narrower = config.geo_decoder_downsample_ratio
        width, heads = config.width // narrower, config.heads // narrower
        self.count = config.num_freqs
        self.query_proj = nn.Linear(3 + 6 * config.num_freqs, width)
        self.latents_proj = nn.Linear(config.width, width) if config.is_turbo else None
        ratio = config.geo_decoder_mlp_expand_ratio
        self.cross_attn_decoder = PointBlock(width, heads, ratio=ratio, normed=not config.is_turbo)
        self.ln_post = LayerNorm(width, eps=HEAD_EPS, affine=True) if config.geo_decoder_ln_post else None
        self.output_proj = nn.Linear(width, 1)

    def prepare(self, latent: Tensor) -> LatentContext:
        """What every point needs of a decoded latent [L, C]."""
        if self.latents_proj is not None:
            latent = self.latents_proj(latent)
        return self.cross_attn_decoder.attn.prepare(self.cross_attn_decoder.ln_2(latent))

    def forward(self, points: Tensor, context: LatentContext) -> Tensor:
        x = self.query_proj(point_waves(points, self.count)).to(context.keys.dtype)
        x = self.cross_attn_decoder(x, context)
        if self.ln_post is not None:
            x = self.ln_post(x)
        return F.linear(x.float(), self.output_proj.weight, self.output_proj.bias)[:, 0]


class VecsetDecoder(Torso):
    """Occupancy logits, above 0 inside; source: docs/developer/hunyuan-facts.md, section 3. Without a gradient."""

    TORSO = ("transformer", "geo_decoder.cross_attn_decoder", "geo_decoder.latents_proj")

    def __init__(self, config: DecoderSizes) -> None:
        super().__init__()
        self.config = config
        self.post_kl = nn.Linear(config.embed_dim, config.width)
        blocks = (LatentBlock(config.width, config.heads) for _ in range(config.num_decoder_layers))
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(blocks)})
        self.geo_decoder = PointDecoder(config)

    @property
    def point_bytes(self) -> int:
        """Work space of one point in half precision."""
        return TURBO_POINT_BYTES if self.config.is_turbo else POINT_BYTES

    def decode(self, latent: Tensor) -> Tensor:
        """Vectors [L, C] of one latent [L, c], which was divided by the scale factor."""
        x = self.post_kl(latent.float()).to(self.torso_dtype)
        for block in self.transformer.resblocks:  # type: ignore[union-attr]
            x = block(x)
        return x

    def prepare(self, vectors: Tensor) -> LatentContext:
        """What `logits` needs of decoded vectors [L, C]: made once for all points."""
        return self.geo_decoder.prepare(vectors)

    def logits(self, points: Tensor, context: LatentContext) -> Tensor:
        """Float32 [n] at points [n, 3] in [-1.01, 1.01]^3, y up, front +z."""
        return self.geo_decoder(points, context)
