"""Texture coordinates: charts that lie flat, packed into a square, made in a child program that can be killed."""

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trellis.errors import InvalidInputError
from trellis.export.native import NativeCrashError, run_native
from trellis.export.normals import CREASE_DEGREES, check_crease, corner_normals
from trellis.export.options import UNWRAP_METHODS
from trellis.export.surface import Floats, Ints, Surface, vertex_normals
from trellis.progress import Progress

logger = logging.getLogger(__name__)

JITTER = 1e-4  # of the diagonal of the surface


@dataclass(frozen=True)
class UnwrapOptions:
    """How the surface is cut and laid flat.

    padding: texels between charts; method: `builtin` (seconds even for a million faces) or `xatlas` (minutes
    from 100,000 faces on); chart_area: the largest chart as a fraction of the surface; crease_degrees: edges between
    faces that differ by more are sharp. Of `builtin` alone: max_stretch, the L2 stretch above which a chart is taken
    apart (1 is none), and iterations of flattening.
    """

    padding: int = 4
    method: str = "builtin"
    chart_area: float = 1 / 24
    crease_degrees: float = CREASE_DEGREES
    max_stretch: float = 1.3
    iterations: int = 6

    def __post_init__(self) -> None:
        if not 0 <= self.padding <= 64 or not 1 <= self.iterations <= 100:
            raise InvalidInputError("padding must be 0..64 texels and iterations 1..100.")
        if self.method not in UNWRAP_METHODS:
            raise InvalidInputError(
                f"Unknown way to unwrap {self.method!r}; choose one of {', '.join(UNWRAP_METHODS)}."
            )
        if not 0 < self.chart_area <= 1:
            raise InvalidInputError(f"chart_area must be in (0, 1], not {self.chart_area}.")
        if not 1.05 <= self.max_stretch <= 10:
            raise InvalidInputError(f"max_stretch must be 1.05..10, not {self.max_stretch}.")
        check_crease(self.crease_degrees)


@dataclass(frozen=True)
class Unwrapped:
    """A surface cut along chart borders and creases.

    vertices [N, 3] world; normals [N, 3] unit, smooth across chart borders and split along creases; uvs [N, 2] in
    [0, 1], origin at the top left of the texture; faces [F, 3] in the order of the source; vertex_map [N] numbers the
    source vertex.
    charts: how many; utilisation: fraction of the square that faces cover.
    """

    vertices: Floats
    normals: Floats
    uvs: Floats
    faces: Ints
    vertex_map: Ints
    charts: int
    utilisation: float


def unwrap(
    surface: Surface, size: int, *, options: UnwrapOptions | None = None, progress: Progress | None = None
) -> Unwrapped:
    """Give `surface` texture coordinates for a square texture of `size` texels; the same input gives the same charts.

    Charts do not overlap. xatlas grows its atlas until they fit; its result is scaled back to the square, so that the
    padding may end a little below the asked one. Raises InvalidInputError for an empty surface, Cancelled within a
    second of the wish.
    """
    options = options or UnwrapOptions()
    if not len(surface.faces):
        raise InvalidInputError("The mesh is empty, so there is nothing to unwrap; try another seed or picture.")
    centre, scale = surface.vertices.mean(axis=0), max(surface.diagonal(), 1e-12)
    arrays = {
        "vertices": (surface.vertices - centre) / scale,
        "faces": surface.faces.astype(np.int32),
        "resolution": np.array(size),
        "padding": np.array(options.padding),
        "chart_area": np.array(options.chart_area),
        "max_stretch": np.array(options.max_stretch),
        "iterations": np.array(options.iterations),
    }
    if options.method == "xatlas":
        arrays["normals"] = vertex_normals(surface).astype(np.float32)
    result = _run(options.method, arrays, progress or Progress())
    uvs = result["uvs"] / result["size"].max()
    corners = corner_normals(surface, crease_degrees=options.crease_degrees)
    cut, group, faces = _split_vertices(result["faces"].astype(np.int64), corners.groups)
    source, uvs = result["vertex_map"][cut], uvs[cut]
    return Unwrapped(
        vertices=surface.vertices[source],
        normals=corners.normals[group],
        uvs=uvs,
        faces=faces,
        vertex_map=source,
        charts=int(result["charts"]),
        utilisation=float(_areas(uvs[faces]).sum()),
    )


def _split_vertices(faces: Ints, groups: Ints) -> tuple[Ints, Ints, Ints]:
    """One vertex for every pair of a vertex and a smoothing group of its corners [F, 3].

    Returns the old number [n] and the group [n] of the new vertices, and the faces [F, 3] on them.
    """
    pairs = np.stack([faces.reshape(-1), groups.reshape(-1)], axis=1)
    keys = pairs[:, 0] * (groups.max(initial=0) + 1) + pairs[:, 1]
    _, first, number = np.unique(keys, return_index=True, return_inverse=True)
    return pairs[first, 0], pairs[first, 1], number.reshape(faces.shape)


def _run(method: str, arrays: dict[str, NDArray], progress: Progress) -> dict[str, NDArray]:
    """Run the child, once more with slightly moved vertices if it dies.

    xatlas 0.0.11 dies on some exactly regular meshes (a sphere of 81,920 equal faces). The moved vertices shape the
    charts only; the noise comes from a fixed seed.
    """
    try:
        return run_native(method, arrays, progress=progress)
    except NativeCrashError as error:
        logger.warning("Unwrapping failed (%s); trying again with slightly moved vertices.", error)
    noise = np.random.default_rng(0).standard_normal(arrays["vertices"].shape)
    return run_native(method, {**arrays, "vertices": arrays["vertices"] + JITTER * noise}, progress=progress)


def _areas(corners: Floats) -> Floats:
    """Areas [F] of flat triangles [F, 3, 2]."""
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return 0.5 * np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
