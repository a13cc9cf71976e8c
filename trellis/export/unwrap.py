"""Texture coordinates: charts that lie flat, packed into a square, made in a child program that can be killed."""

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trellis.errors import InvalidInputError
from trellis.export.native import NativeCrashError, run_native
from trellis.export.normals import corner_normals
from trellis.export.surface import Floats, Ints, Surface, vertex_normals
from trellis.progress import Progress

logger = logging.getLogger(__name__)

PADDING = 4  # texels between charts
CHART_AREA = 1 / 24  # the largest chart as a fraction of the surface
JITTER = 1e-4  # of the diagonal of the surface


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


def unwrap(surface: Surface, size: int, *, method: str = "builtin", progress: Progress | None = None) -> Unwrapped:
    """Give `surface` texture coordinates for a square texture of `size` texels; the same input gives the same charts.

    method: `builtin` (seconds even for a million faces) or `xatlas` (minutes from 100,000 faces on).
    Charts do not overlap. xatlas grows its atlas until they fit; its result is scaled back to the square, so that the
    padding may end a little below the asked one. Raises InvalidInputError for an empty surface, Cancelled within a
    second of the wish.
    """
    if not len(surface.faces):
        raise InvalidInputError("The mesh is empty, so there is nothing to unwrap; try another seed or picture.")
    centre, scale = surface.vertices.mean(axis=0), max(surface.diagonal(), 1e-12)
    arrays = {
        "vertices": (surface.vertices - centre) / scale,
        "faces": surface.faces.astype(np.int32),
        "resolution": np.array(size),
        "padding": np.array(PADDING),
        "chart_area": np.array(CHART_AREA),
    }
    if method == "xatlas":
        arrays["normals"] = vertex_normals(surface).astype(np.float32)
    result = _run(method, arrays, progress or Progress())
    uvs = result["uvs"] / result["size"].max()
    corners = corner_normals(surface)
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
