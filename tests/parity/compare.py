"""Comparison of computed values with reference numbers: every number of a reference is checked or reported."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# Describe how a reference was made; they hold no result.
RECIPE_KEYS = {"cls", "args", "inputs", "recipe", "dims", "param_names", "of", "velocity", "neg_cond", "coords"}


class UnknownCaseError(Exception):
    """A case whose recipe this runner does not know."""


@dataclass(frozen=True)
class Tolerance:
    """Largest error of values, and of mean and std; relative to abs_max (floats of a list: to their largest)."""

    values: float = 1e-5
    statistics: float = 1e-5
    absolute: bool = False


@dataclass(frozen=True)
class Check:
    """One compared reference: `error` may be at most `limit`; it is infinite when nothing can be compared."""

    path: str
    error: float
    limit: float
    note: str = ""

    @property
    def ok(self) -> bool:
        return self.error <= self.limit  # False for nan


def missing(path: str, note: str) -> Check:
    return Check(path, float("inf"), 0.0, note)


def compare(expected: Any, computed: Any, tolerance: Tolerance, path: str = "") -> Iterator[Check]:
    """Walk a reference and yield a check for each leaf; a leaf without a computed counterpart is a miss."""
    if isinstance(expected, Mapping) and "values" in expected and "at" in expected:
        yield _compare_summary(expected, computed, tolerance, path)
    elif isinstance(expected, Mapping) and "num_vertices" in expected:
        yield from _compare_mesh(expected, computed, tolerance, path)
    elif isinstance(expected, Mapping):
        yield from _compare_children(expected, computed, tolerance, path)
    elif isinstance(expected, list) and expected and isinstance(expected[0], Mapping):
        if not isinstance(computed, list) or len(computed) != len(expected):
            yield missing(path, f"expected {len(expected)} entries")
            return
        for index, entry in enumerate(expected):
            yield from compare(entry, computed[index], tolerance, f"{path}[{index}]")
    else:
        yield _compare_plain(expected, computed, tolerance, path)


def _compare_children(expected: Mapping, computed: Any, tolerance: Tolerance, path: str) -> Iterator[Check]:
    keys = [key for key in expected if key not in RECIPE_KEYS]
    if not keys:
        yield missing(path, "the reference holds no number")
    for key in keys:
        child = f"{path}.{key}" if path else key
        if not isinstance(computed, Mapping) or key not in computed:
            yield missing(child, "nothing computed for it")
        else:
            yield from compare(expected[key], computed[key], tolerance, child)


def _compare_summary(expected: Mapping, computed: Any, tolerance: Tolerance, path: str) -> Check:
    if not isinstance(computed, Tensor):
        return missing(path, "no tensor computed")
    if list(computed.shape) != expected["shape"]:
        return missing(path, f"shape {list(computed.shape)}, expected {expected['shape']}")
    flat = computed.detach().float().reshape(-1)
    wanted = torch.tensor(expected["values"], dtype=torch.float64)
    points = (flat[torch.tensor(expected["at"])].double() - wanted).abs().max().item()
    statistics = max(
        abs(flat.double().mean().item() - expected["mean"]),
        abs(flat.double().std(unbiased=False).item() - expected["std"]),
    )
    peak = abs(flat.abs().max().item() - expected["abs_max"])
    unit = 1.0 if tolerance.absolute else max(expected["abs_max"], 1e-30)
    # Scaled so that one figure tells: statistics may have a limit of their own.
    error = max(points, peak, statistics * tolerance.values / tolerance.statistics) / unit
    return Check(path, error if flat.isfinite().all() else float("nan"), tolerance.values)


def mesh_invariants(vertices: Tensor, faces: Tensor, attributes: Tensor) -> dict[str, Any]:
    """Order-free figures of a mesh, in float64; `vertex_std` divides by n - 1."""
    points = vertices.detach().double()
    a, b, c = points[faces.long()].unbind(1)
    return {
        "num_vertices": len(vertices),
        "num_faces": len(faces),
        "vertex_mean": points.mean(0),
        "vertex_std": points.std(0),
        "area": torch.linalg.cross(b - a, c - a).norm(dim=1).sum() / 2,
        "signed_volume": (a * torch.linalg.cross(b, c)).sum() / 6,
        "attr_mean": attributes.detach().double().mean(0),
    }


def _compare_mesh(expected: Mapping, computed: Any, tolerance: Tolerance, path: str) -> Iterator[Check]:
    """Counts exact, the rest relative; 1% of the object's size bounds figures that nearly cancel from below."""
    size = max(expected["vertex_std"])
    floors = {"vertex_mean": 0.01 * size, "signed_volume": 0.01 * expected["area"] * size / 3}
    for key, value in expected.items():
        child = f"{path}.{key}"
        if not isinstance(computed, Mapping) or key not in computed:
            yield missing(child, "nothing computed for it")
        elif isinstance(value, int):
            yield Check(child, abs(computed[key] - value), 0.0, f"{computed[key]}, expected {value}")
        else:
            wanted = torch.tensor(value, dtype=torch.float64)
            unit = max(wanted.abs().max().item(), floors.get(key, 1e-30))
            yield Check(child, ((computed[key] - wanted).abs().max() / unit).item(), tolerance.values)


def _compare_plain(expected: Any, computed: Any, tolerance: Tolerance, path: str) -> Check:
    """Integers, strings and lists of them exactly; floats within the tolerance of the largest."""
    if isinstance(expected, (int, str)) or (isinstance(expected, list) and _is_exact(expected)):
        computed = computed.tolist() if isinstance(computed, Tensor) else computed
        return Check(
            path, 0.0 if computed == expected else float("inf"), 0.0, "" if computed == expected else "differs"
        )
    wanted = torch.tensor(expected, dtype=torch.float64)
    got = torch.as_tensor(computed, dtype=torch.float64)
    if got.shape != wanted.shape:
        return missing(path, f"shape {list(got.shape)}, expected {list(wanted.shape)}")
    unit = 1.0 if tolerance.absolute else max(wanted.abs().max().item(), 1e-30)
    return Check(path, ((got - wanted).abs().max() / unit).item(), tolerance.values)


def _is_exact(values: list) -> bool:
    return all(_is_exact(v) if isinstance(v, list) else isinstance(v, (int, str)) for v in values)
