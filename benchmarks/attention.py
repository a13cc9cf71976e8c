"""Time of every attention back end on the shapes of the released networks: `python -m benchmarks.attention`.

Prints milliseconds, TFLOP/s and the error against float32, and what a first call with a new length costs.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trellis.atomic import write_bytes
from trellis.errors import TrellisError
from trellis.ops.attention import BACKENDS, packed_attention
from trellis.ops.segments import Segments
from trellis.runtime import Runtime, device_name, synchronize

# name -> lengths of queries and of keys, heads (of width 64)
SHAPES = {
    "structure self": ((4096,), (4096,), 16),
    "structure self, both": ((4096, 4096), (4096, 4096), 16),
    "structure cross": ((4096,), (1374,), 16),
    "latent self": ((5787,), (5787,), 16),
    "latent self, both": ((5787, 5787), (5787, 5787), 16),
    "windows": (tuple(range(20, 180)), tuple(range(20, 180)), 12),
}
WIDTH = 64
REPEATS = 20


def attend(tensors: Sequence[Tensor], lengths: tuple[tuple[int, ...], tuple[int, ...]], backend: str) -> Tensor:
    q, k, v = tensors
    q_segments = Segments(lengths[0], q.device)
    k_segments = q_segments if lengths[0] == lengths[1] else Segments(lengths[1], q.device)
    return packed_attention(q, k, v=v, q_segments=q_segments, k_segments=k_segments, backend=backend)


def seconds(run: Callable[[], Tensor], device: torch.device) -> float:
    synchronize(device)
    started = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - started


def measure(shape: str, backend: str, runtime: Runtime) -> dict[str, Any]:
    """Seconds of `REPEATS` calls and of the first, and the error relative to the largest value."""
    q_lengths, k_lengths, heads = SHAPES[shape]
    generator = torch.Generator().manual_seed(0)
    counts = [sum(q_lengths), sum(k_lengths), sum(k_lengths)]
    tensors = [torch.randn(n, heads, WIDTH, generator=generator).to(runtime.device, runtime.dtype) for n in counts]

    def run() -> Tensor:
        return attend(tensors, (q_lengths, k_lengths), backend)

    first = seconds(run, runtime.device)
    times = [seconds(run, runtime.device) for _ in range(REPEATS)]
    exact = attend([t.float() for t in tensors], (q_lengths, k_lengths), "sdpa")
    error = float((run().float() - exact).abs().max() / exact.abs().max())
    work = 4 * WIDTH * heads * sum(a * b for a, b in zip(q_lengths, k_lengths))
    median = statistics.median(times)
    print(
        f"{shape:22} {backend:10} {median * 1e3:8.3f} ms {work / median / 1e12:7.1f} TFLOP/s"
        f"  first call {first * 1e3:8.1f} ms  error {error:.1e}",
        flush=True,
    )
    return {"shape": shape, "backend": backend, "seconds": times, "first": first, "error": error}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attention", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=("float16", "bfloat16", "float32"), default="float16")
    parser.add_argument("--output", type=Path, metavar="DIR")
    options = parser.parse_args(arguments)
    runtime = Runtime.detect(device=options.device, precision=options.precision)
    print(f"{options.precision} on {device_name(runtime.device)}, median of {REPEATS}")
    rows = []
    for shape in SHAPES:
        for backend in BACKENDS:
            try:
                rows.append(measure(shape, backend, runtime))
            except (TrellisError, RuntimeError) as error:  # not installed; no kernel for this card
                print(f"{shape:22} {backend:10} {str(error).splitlines()[0]}")
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        record = {"device": device_name(runtime.device), "precision": options.precision, "rows": rows}
        write_bytes(options.output / "attention.json", (json.dumps(record, indent=2) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
