"""How long a mesh takes to become voxels, surface samples and encoder input.

`python -m benchmarks.encoding --device cpu --output DIR` prints a table and writes DIR/encoding.json.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from trellis.encoding.local_features import local_features
from trellis.encoding.sampling import sample_surface
from trellis.encoding.solid import SolidField
from trellis.encoding.source_mesh import SourceMesh
from trellis.encoding.voxelize import voxelize
from trellis.representations import Mesh


def wavy_sphere(faces: int) -> SourceMesh:
    """A closed surface with about `faces` faces: a sphere with waves, coloured, in the unit cube."""
    rings = max(4, round(math.sqrt(faces / 4)))
    around = 2 * rings
    theta = torch.arange(1, rings)[:, None] * math.pi / rings
    phi = torch.arange(around)[None] * 2 * math.pi / around
    radius = 0.4 + 0.05 * torch.sin(5 * theta) * torch.cos(7 * phi)
    points = radius[..., None] * torch.stack(
        [theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos().expand_as(radius)], -1
    )
    poles = torch.tensor([[0.0, 0.0, 0.4], [0.0, 0.0, -0.4]])
    vertices = torch.cat([points.reshape(-1, 3), poles])
    ring, turn = torch.meshgrid(torch.arange(rings - 2), torch.arange(around), indexing="ij")
    a, b = ring * around + turn, ring * around + (turn + 1) % around
    c, d = a + around, b + around
    top, bottom = len(vertices) - 2, len(vertices) - 1
    first, last = torch.arange(around), (rings - 2) * around + torch.arange(around)
    after = (torch.arange(around) + 1) % around
    faces_ = torch.cat(
        [
            torch.stack([a, c, b], -1).reshape(-1, 3),
            torch.stack([b, c, d], -1).reshape(-1, 3),
            torch.stack([torch.full_like(first, top), first, after], -1),
            torch.stack([torch.full_like(last, bottom), (rings - 2) * around + after, last], -1),
        ]
    )
    return SourceMesh.from_mesh(Mesh(vertices, faces_, (vertices + 0.5).clamp(0, 1)))


def timed(work: Callable[[], Any], device: torch.device, *, repeats: int) -> tuple[float, Any]:
    """Seconds of the fastest of `repeats` runs after one to warm up, and the last result."""
    best, result = math.inf, work()
    for _ in range(repeats):
        torch.accelerator.synchronize() if device.type != "cpu" else None
        start = time.perf_counter()
        result = work()
        torch.accelerator.synchronize() if device.type != "cpu" else None
        best = min(best, time.perf_counter() - start)
    return best, result


def measure(faces: int, device: torch.device, *, repeats: int) -> list[dict[str, Any]]:
    """One row a task."""
    mesh = wavy_sphere(faces).to(device)
    rows = []

    def row(task: str, work: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        seconds, result = timed(work, device, repeats=repeats)
        rows.append({"task": task, "faces": len(mesh.faces), "results": size(result), "seconds": seconds})
        return result

    for resolution in (32, 64, 256):
        row(f"voxelize {resolution}^3", lambda r=resolution: voxelize(mesh, r), len)  # type: ignore[misc]
    generator = torch.Generator().manual_seed(0)
    row("100,000 samples", lambda: sample_surface(mesh, 100_000, generator=generator), lambda found: len(found.points))
    field = row("solid for 32^3", lambda: SolidField.create(mesh, resolution=32), lambda found: len(found.mesh.faces))
    row("encoder input 32^3", lambda: local_features(field), lambda found: len(found.coords))
    return rows


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--faces", type=int, nargs="+", default=[20_000, 500_000])
    parser.add_argument("--repeats", type=int, default=2)
    parsed = parser.parse_args()
    device = torch.device(parsed.device)
    rows = [row for faces in parsed.faces for row in measure(faces, device, repeats=parsed.repeats)]
    for row in rows:
        print(f"{row['task']:22} {row['faces']:>9,} faces {row['results']:>9,} results {row['seconds']:9.3f} s")
    parsed.output.mkdir(parents=True, exist_ok=True)
    (parsed.output / "encoding.json").write_text(json.dumps({"device": str(device), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
