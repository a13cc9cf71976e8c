"""Time and memory of the shape models, stage by stage: `python -m benchmarks.hunyuan --device cuda --output DIR`.

Networks of the published sizes with random weights (fixed seeds) run in full; the surface is that of a fixed object
whatever they say. Every model under every preset and memory limit: the stages alone, shape and texture in one, and
the GLB. One JSON file, `hunyuan.json`.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.editing import object_picture
from benchmarks.measures import measured
from benchmarks.released import SCALES, random_pipeline, signed_distance
from trellis.app.presets import TABLES
from trellis.asset import Asset
from trellis.atomic import write_bytes
from trellis.conditioning import prepare_image
from trellis.conditioning.shape_encoder import ShapeEncoder
from trellis.conditioning.shape_picture import EncoderSizes, PictureRecipe
from trellis.families.hunyuan_config import HunyuanConfig
from trellis.memory import MemoryPlan, ModelHost
from trellis.models.vecset_decoder import LatentContext, VecsetDecoder
from trellis.models.vecset_flow import VecsetFlow
from trellis.models.vecset_sizes import DecoderSizes, FlowSizes
from trellis.pipeline import TrellisPipeline
from trellis.progress import Progress
from trellis.runtime import Runtime, device_name, limit_memory, release_cached_memory, total_bytes, used_bytes
from trellis.shape_pipeline import SURFACE_RESOLUTION, ShapePipeline
from trellis.shape_stages import DECODER, ENCODER, FLOW

GIB = 1 << 30
SHARPNESS = 60.0  # of the object's logits: below 0.95 within 2 cells of 64


TABLE_OF = {"mini-turbo": "hunyuan-mini-turbo", "2-turbo": "hunyuan-turbo", "plain": "hunyuan"}
MODELS = tuple(TABLE_OF)


def config_of(model: str, scale: str) -> HunyuanConfig:
    """The published sizes of a model, with the turbo decoder where it is a turbo model."""
    turbo, mini, tiny = model.endswith("turbo"), model.startswith("mini"), scale == "tiny"
    width, heads, layers = (64, 2, 2) if tiny else (1024, 16, 16)
    blocks = (1, 1) if tiny else (8, 16) if mini else (16, 32)
    encoder = EncoderSizes(48, 1, 4, image_size=42) if tiny else EncoderSizes()
    fast = {"geo_decoder_downsample_ratio": 2, "geo_decoder_mlp_expand_ratio": 1, "geo_decoder_ln_post": False}
    return HunyuanConfig(
        flow=FlowSizes(64, encoder.hidden_size, width, heads, *blocks, guidance_embed=turbo),
        decoder=DecoderSizes(512 if mini else 3072, 64, width, heads, layers, 1.0, **(fast if turbo else {})),  # type: ignore[arg-type]
        encoder=encoder,
        picture=PictureRecipe(),
        pcm_timesteps=100 if turbo else None,
    )


class SceneDecoder(VecsetDecoder):
    """Its network runs, and the logits are the object's whatever it says: random weights make none."""

    def logits(self, points: Tensor, context: LatentContext) -> Tensor:
        """Those of the object at points [n, 3]."""
        distances = signed_distance(points / 2.02)
        return torch.tanh(-SHARPNESS * distances) + 1e-6 * torch.tanh(super().logits(points, context))


def drawn(make: Callable[[], nn.Module], runtime: Runtime, seed: int) -> nn.Module:
    """A network with random weights, drawn on the device, its gains 1 and offsets 0; it ends on the CPU."""
    with torch.device("meta"):
        model: Any = make()
    model.set_precision(runtime.dtype)
    model.to_empty(device=runtime.device)
    generator = torch.Generator(runtime.device).manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif parameter.ndim < 2:
                parameter.fill_(1)
            else:
                values = torch.randn(parameter.shape, generator=generator, device=parameter.device)
                parameter.copy_(values * parameter[0].numel() ** -0.5)
    if hasattr(model, "set_attention"):
        model.set_attention(runtime.attention)
    return model.eval().to("cpu")


def random_shape_pipeline(model: str, runtime: Runtime, *, scale: str, plan: MemoryPlan) -> ShapePipeline:
    """A shape model of random weights."""
    config = config_of(model, scale)
    loaders: Mapping[str, Callable[[], nn.Module]] = {
        ENCODER: lambda: drawn(lambda: ShapeEncoder(config.encoder), runtime, 1),
        FLOW: lambda: drawn(lambda: VecsetFlow(config.flow), runtime, 2),
        DECODER: lambda: drawn(lambda: SceneDecoder(config.decoder), runtime, 3),
    }
    return ShapePipeline(model, config, host=ModelHost(loaders, device=runtime.device, plan=plan), runtime=runtime)


@dataclass
class Bench:
    """One model under one preset, with the model that colours its shapes."""

    shape: ShapePipeline
    texture: TrellisPipeline
    steps: int
    surface: int  # cells along the cube
    texture_size: int
    repeats: int
    export: bool

    def stages(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        """What is measured, in order; a stage alone is given what the one before it made."""
        shape, progress, picture = self.shape, Progress(), object_picture()
        prepared = [prepare_image(picture)]
        tokens = shape.encode(prepared, (), progress)
        generator = torch.Generator().manual_seed(0)

        def sample() -> Tensor:
            return shape.sample(
                tokens, steps=self.steps, guidance=5.0, generator=generator.manual_seed(0), progress=progress
            )

        latent = sample()
        options: dict[str, Any] = {"structure_steps": self.steps, "surface_resolution": self.surface}
        yield "picture encoder", lambda: shape.encode(prepared, (), progress)
        yield f"flow, {self.steps} steps", sample
        yield f"surface {self.surface}", lambda: shape.decode(latent, self.surface, progress)
        yield "shape", lambda: shape([picture], representations=("mesh",), **options)
        yield "shape and texture", lambda: shape([picture], texture=self.texture, **options)
        if self.export:
            asset = shape([picture], texture=self.texture, **options)
            yield "GLB", lambda: self.files(asset)

    def files(self, asset: Asset) -> None:
        self.shape.host.leave_room()  # as a job does
        with tempfile.TemporaryDirectory() as folder:
            asset.save(folder, formats=("glb",), texture_size=self.texture_size)

    def measure(self) -> Iterator[dict[str, Any]]:
        """Run every stage once to warm up, then `repeats` times; prints and gives its row."""
        device = self.shape.runtime.device
        for name, work in self.stages():
            work()
            notes = self.shape.host.take_notes()
            seconds, peak, before = measured(work, device, 1 if name == "GLB" else self.repeats)
            told, used = [*notes, *self.shape.host.take_notes()], used_bytes(device)
            print(
                f"  {name:20} {statistics.median(seconds):8.3f} s  peak {peak / GIB:6.3f} GiB "
                f"(before {before / GIB:6.3f}, device {used / GIB:6.2f})  {'; '.join(told)}",
                flush=True,
            )
            row: dict[str, Any] = {"stage": name, "seconds": seconds, "peak": peak, "before": before, "used": used}
            row["notes"] = told
            yield row


def set_limit(device: torch.device, limit: float) -> None:
    """Let this program take so many GiB of a GPU, 0: all of it."""
    release_cached_memory(device)
    total = total_bytes(device)
    if total is not None:
        limit_memory(device, int(limit * GIB) if limit else total)


def figures(model: str, preset_name: str, limit: float | None, options: argparse.Namespace) -> dict[str, Any]:
    """One model under one preset and memory limit: by default what the preset says that it needs."""
    runtime = Runtime.detect(device=options.device, precision=options.precision, offline=True)
    preset = TABLES[TABLE_OF[model]][preset_name]
    limit = preset.needs / GIB if limit is None else limit
    set_limit(runtime.device, limit)
    plan, request = preset.plan_on(runtime), preset.request
    set_limit(runtime.device, 0)  # random weights are drawn on the device, which real ones are not
    print(f"\n{model}, {preset_name}, limit {limit} GiB, on {device_name(runtime.device)}, {plan}", flush=True)
    shape = random_shape_pipeline(model, runtime, scale=options.scale, plan=plan)
    steps, latent_steps = (request.get(f"{stage}_steps") for stage in ("structure", "latent"))
    texture = random_pipeline(runtime, scale=options.scale, plan=plan, steps=options.latent_steps or latent_steps)  # type: ignore[arg-type]
    shape.host.adopt(texture.host, texture.host.roles)  # as the pipeline does: one host lends all
    texture.host = shape.host
    for role in shape.host.roles:
        with shape.host.on_device(role):  # loads it
            pass
    set_limit(runtime.device, limit)
    bench = Bench(
        shape,
        texture,
        steps=int(str(steps or shape.config.steps)),
        surface=int(str(request.get("surface_resolution", SURFACE_RESOLUTION))),
        texture_size=int(str(request["texture_size"])),
        repeats=options.repeats,
        export=not options.no_files,
    )
    with torch.inference_mode():
        rows = list(bench.measure())
    return {"model": model, "preset": preset_name, "limit": limit, "steps": bench.steps, "rows": rows}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hunyuan", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="float16")
    parser.add_argument("--model", choices=MODELS, nargs="+", default=list(MODELS))
    parser.add_argument("--preset", choices=list(TABLES[TABLE_OF[MODELS[0]]]), nargs="+", default=["fastest"])
    parser.add_argument(
        "--memory-limit", type=float, nargs="+", metavar="GIB", help="of the card (what the preset needs); 0: none"
    )
    parser.add_argument("--latent-steps", type=int, help="of the texture's flow, instead of the released 25")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-files", action="store_true", help="leave the GLB out")
    parser.add_argument("--scale", choices=SCALES, default="released", help="tiny: to try the benchmark itself")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where hunyuan.json goes")
    options = parser.parse_args(arguments)
    results = []
    for limit in options.memory_limit or [None]:
        for preset in options.preset:
            for model in options.model:
                results.append(figures(model, preset, limit, options))
                if options.output is not None:  # what is measured is kept, whatever becomes of the next one
                    write_bytes(options.output / "hunyuan.json", (json.dumps(results) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
