"""How each number of a file of shape models (`hunyuan-golden.json`, `.npz`) is computed again by this library."""

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from tests.parity.compare import Check, UnknownCaseError, missing
from trellis.conditioning.shape_encoder import ShapeEncoder
from trellis.conditioning.shape_picture import EncoderSizes, PictureRecipe, frame_for_shape, object_on_square
from trellis.models.vecset_decoder import VecsetDecoder, point_waves
from trellis.models.vecset_flow import VecsetFlow
from trellis.models.vecset_sizes import DecoderSizes, FlowSizes
from trellis.nn.vecset import time_wave
from trellis.progress import Progress
from trellis.representations.implicit_surface import node_points
from trellis.sampling.vecset import sample_shape, shape_times, shape_velocity

ENCODER_PREFIX = "conditioner.main_image_encoder.model."
GUIDANCE = 5.0
GRIDS = {"flow": None, "turbo": 100}  # the consistency schedule's `pcm_timesteps`
TOLERANCE = 5e-6  # of the largest value; a wrong epsilon of a norm is 8e-5 off
LOOSER = {"vae_grid_8": 2e-5, "turbo_grid_8": 2e-5, "sampled_turbo": 2e-5, "sampled_flow": 1e-4}


def tolerance_of(case: str) -> float:
    """The largest error of a case, relative to its largest value."""
    return next((limit for name, limit in LOOSER.items() if case.startswith(name)), TOLERANCE)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(key: str, shape: list[int], salt: str) -> Tensor:
    """The weight of a published key, by the rule of the file."""
    x = torch.randn(shape, generator=seeded(zlib.crc32((salt + key).encode())))
    last = key.rpartition(".")[2]
    if last in ("scale", "lambda1") or (last == "weight" and len(shape) == 1):
        return 1 + 0.1 * x
    if len(shape) == 1:
        return 0.1 * x
    return x / x[0].numel() ** 0.5 if last == "weight" else 0.02 * x


@dataclass(frozen=True)
class ShapeReferences:
    """A file of references: what it says of the networks, and its arrays."""

    content: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]

    @classmethod
    def read(cls, path: Path) -> "ShapeReferences":
        with np.load(path.with_suffix(".npz")) as arrays:
            return cls(json.loads(path.read_text(encoding="utf-8")), dict(arrays))

    def tensor(self, name: str) -> Tensor:
        return torch.from_numpy(self.arrays[name])

    def noise(self, name: str, seed: int) -> Tensor:
        """Normal numbers of the shape of an array."""
        return torch.randn(self.arrays[name].shape, generator=seeded(seed))

    def weights(self, section: str, prefix: str) -> dict[str, Tensor]:
        """The weights of a network by their keys without `prefix`."""
        keys, salt = self.content["keys"][section], self.content["about"]["salt"]
        return {key.removeprefix(prefix): drawn(key, shape, salt) for key, shape in keys.items()}

    def _filled(self, model: nn.Module, section: str, prefix: str) -> Any:
        model.load_state_dict(self.weights(section, prefix))  # strictly
        return model.eval()

    def flow(self, *, guided: bool) -> VecsetFlow:
        dit = self.content["configs"]["dit"]
        sizes = FlowSizes(
            **{name: dit[name] for name in FlowSizes.__dataclass_fields__ if name in dit}, guidance_embed=guided
        )
        return self._filled(VecsetFlow(sizes), "model with guidance" if guided else "model", "model.")

    def decoder_sizes(self, *, turbo: bool) -> DecoderSizes:
        values = self.content["configs"]["vae"] | (self.content["configs"]["turbo"] if turbo else {})
        return DecoderSizes(**{name: values[name] for name in DecoderSizes.__dataclass_fields__ if name in values})

    def decoder(self, *, turbo: bool) -> VecsetDecoder:
        model = VecsetDecoder(self.decoder_sizes(turbo=turbo))
        return self._filled(model, *(("turbo vae file", "") if turbo else ("vae", "vae.")))

    @cached_property
    def encoder(self) -> ShapeEncoder:
        dino = self.content["configs"]["dino"]
        sizes = EncoderSizes(**{name: dino[name] for name in EncoderSizes.__dataclass_fields__ if name in dino})
        model, weights = ShapeEncoder(sizes), self.weights("conditioner", ENCODER_PREFIX)
        model.backbone.load_state_dict(weights)
        return model.eval()

    @cached_property
    def framed(self) -> Tensor:
        """The picture as the encoder's input [1, 3, 512, 512] in 0..1."""
        return pixels(frame_for_shape(self.arrays["picture"], PictureRecipe()))

    @cached_property
    def tokens(self) -> Tensor:
        return self.encoder(self.framed)


def pixels(picture: np.ndarray) -> Tensor:
    """uint8 [H, W, 3] as [1, 3, H, W] in 0..1."""
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255


def _mask(refs: ShapeReferences) -> Tensor:
    """The alpha of the framed picture, which the networks do not see."""
    alpha = object_on_square(refs.arrays["picture"], PictureRecipe())[..., 3]
    size = (PictureRecipe().size,) * 2
    return pixels(cv2.resize(alpha, size, interpolation=cv2.INTER_NEAREST)[..., None]) * 2 - 1


def _views(refs: ShapeReferences) -> Tensor:
    """Tokens of the picture as front and of its mirror image as back."""
    both = torch.cat([refs.framed, refs.framed.flip(-1)])
    return refs.encoder(both, (0, 2))


def _velocity(refs: ShapeReferences, *, guided: bool) -> Tensor:
    x, tokens = refs.tensor("latent_in"), refs.tokens
    if guided:
        return refs.flow(guided=True)(x[:1], 0.25, tokens, guidance=GUIDANCE)
    return refs.flow(guided=False)(x, 0.25, torch.cat([tokens, torch.zeros_like(tokens)]))


def _sampled(refs: ShapeReferences, name: str) -> Tensor:
    """`sampled_KIND_N_steps_guidance_G_seed_S`."""
    _, kind, steps, _, _, strength, _, seed = name.split("_")
    guidance, tokens = float(strength), refs.tokens
    noise = refs.noise(name, int(seed))
    distilled = kind == "turbo"
    velocity = shape_velocity(
        refs.flow(guided=distilled), tokens, guidance=guidance, distilled=distilled, together=True
    )
    return sample_shape(velocity, noise, times=shape_times(int(steps), GRIDS[kind]), progress=Progress())


def _times(name: str) -> Tensor:
    """`sigmas_KIND_N`; the published ones of a flow repeat the last."""
    _, kind, steps = name.split("_")
    times = shape_times(int(steps), GRIDS[kind])
    return torch.tensor([*times, 1.0] if kind == "flow" else times)


def _decoded(refs: ShapeReferences, part: str, *, turbo: bool) -> Tensor:
    decoder = refs.decoder(turbo=turbo)
    sampled = next(name for name in refs.arrays if name.startswith("sampled_flow"))
    vectors = decoder.decode(refs.tensor(sampled)[0] / decoder.config.scale_factor)
    if part == "decoded_latent":
        return vectors[None]
    context = decoder.prepare(vectors)
    if part == "logits":
        return decoder.logits(refs.tensor("queries")[0], context)[None, :, None]
    resolution = int(part.removeprefix("grid_"))
    side = resolution + 1
    nodes = node_points(torch.arange(side**3), resolution=resolution, side=side)
    return decoder.logits(nodes, context).view(1, side, side, side)


def computed(refs: ShapeReferences, name: str) -> Tensor:
    """The array of a file, computed again; raises UnknownCaseError for one without a recipe."""
    turbo = name.startswith("turbo_")
    if name.startswith("sigmas_"):
        return _times(name)
    if name.startswith("sampled_"):
        return _sampled(refs, name)
    if name.startswith(("vae_", "turbo_")):
        part = name.partition("_")[2]
        if part == "fourier":
            return point_waves(refs.tensor("queries")[0], refs.decoder_sizes(turbo=turbo).num_freqs)[None]
        return _decoded(refs, part, turbo=turbo)
    recipes: dict[str, Callable[[], Tensor]] = {
        "picture": lambda: refs.tensor("picture"),
        "prepared_every_8": lambda: (refs.framed * 2 - 1)[..., ::8, ::8],
        "mask_every_8": lambda: _mask(refs)[..., ::8, ::8],
        "tokens_first_64": lambda: refs.tokens[:, :64],
        "views_0_2_first_8_and_1370": lambda: _views(refs)[:, [*range(8), *range(1370, 1378)]],
        "latent_in": lambda: refs.noise("latent_in", 7),
        "time_embedding_256_of_0_0.25_1": lambda: time_wave(torch.tensor([0, 0.25, 1])),
        "velocity_t0.25_condition_and_zeros": lambda: _velocity(refs, guided=False),
        "velocity_guidance5_t0.25": lambda: _velocity(refs, guided=True),
        "noise_seed_1": lambda: torch.randn(
            refs.arrays["noise_seed_1"].shape, generator=torch.Generator().manual_seed(1)
        ),
        "queries": lambda: (
            torch.rand(refs.arrays["queries"].shape, generator=torch.Generator().manual_seed(3)) * 2.02 - 1.01
        ),
    }
    if name not in recipes:
        raise UnknownCaseError(f"no recipe for {name}")
    return recipes[name]()


def check(refs: ShapeReferences, name: str) -> Check:
    """Compare one array with what this library computes."""
    expected, got = refs.tensor(name), computed(refs, name)
    if got.shape != expected.shape:
        return missing(name, f"shape {list(got.shape)}, expected {list(expected.shape)}")
    error = (got.double() - expected.double()).abs().max() / expected.double().abs().max().clamp_min(1e-30)
    return Check(name, error.item(), tolerance_of(name))


def check_statistics(refs: ShapeReferences) -> list[Check]:
    """Shape, mean and deviation of all tokens, and the shape of two views."""
    shape, mean, std = refs.content["tokens"]
    if list(refs.tokens.shape) != shape or list(_views(refs).shape) != refs.content["views"]:
        return [missing("tokens", "another shape")]
    values = refs.tokens.double()
    errors = (abs(values.mean().item() - mean), abs(values.std().item() - std))
    return [Check(f"tokens, {what}", error, TOLERANCE) for what, error in zip(("mean", "deviation"), errors)]
