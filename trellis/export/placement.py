"""Where files put what they hold: its place and size in the world, its origin, and its size in metres."""

import math
from dataclasses import replace

import numpy as np
import torch

from trellis.errors import InvalidInputError
from trellis.export.options import REAL_SIZES
from trellis.geometry.cameras import Cameras
from trellis.geometry.rotations import quaternion_multiply
from trellis.geometry.similarity import IDENTITY, Similarity, quarter_turned
from trellis.representations import GaussianCloud, Mesh, TexturedMesh


def placed(
    textured: TexturedMesh, *, pivot: str, real_size: float | None, to_world: Similarity = IDENTITY
) -> TexturedMesh:
    """The mesh as files hold it: moved by `to_world`, with its longest side `real_size` metres long, and the origin at
    its `pivot`.

    pivot: "center" leaves the origin where it is, "base" puts it on the floor below the middle of the mesh. The camera
    of the input picture moves along, so that it sees the same. Raises InvalidInputError for a size outside REAL_SIZES
    and for a mesh without extent.
    """
    textured = _moved(textured, to_world)
    if pivot == "center" and real_size is None:
        return textured
    low, high = textured.vertices.min(axis=0).astype(np.float64), textured.vertices.max(axis=0).astype(np.float64)
    extent = float((high - low).max())
    scale = 1.0
    if real_size is not None:
        if not REAL_SIZES[0] <= real_size <= REAL_SIZES[1] or extent <= 0:
            raise InvalidInputError(f"A mesh of extent {extent:g} cannot be made {real_size:g} m long.")
        scale = real_size / extent
    origin = np.zeros(3) if pivot == "center" else np.array([*((low + high) / 2)[:2], low[2]])
    x, y, z = (-scale * origin).tolist()
    return _moved(textured, Similarity(scale, (x, y, z)))


def placed_mesh(mesh: Mesh, to_world: Similarity) -> Mesh:
    """A mesh moved by `to_world`."""
    return mesh if to_world == IDENTITY else replace(mesh, vertices=to_world.apply(mesh.vertices))


def placed_gaussians(gaussians: GaussianCloud, to_world: Similarity) -> GaussianCloud:
    """Gaussians moved by `to_world`, turned and scaled with it."""
    if to_world == IDENTITY:
        return gaussians
    half = to_world.turns * math.pi / 4
    turn = gaussians.rotations.new_tensor([math.cos(half), 0.0, 0.0, math.sin(half)])
    return replace(
        gaussians,
        positions=to_world.apply(gaussians.positions),
        scales=gaussians.scales * to_world.scale,
        rotations=quaternion_multiply(turn.expand_as(gaussians.rotations), gaussians.rotations),
    )


def _moved(textured: TexturedMesh, move: Similarity) -> TexturedMesh:
    if move == IDENTITY:
        return textured
    vertices = move.apply(torch.from_numpy(textured.vertices).double())
    normals = quarter_turned(torch.from_numpy(textured.normals), move.turns)
    camera = textured.picture_camera
    return replace(
        textured,
        vertices=vertices.numpy().astype(np.float32),
        normals=normals.numpy(),
        picture_camera=None if camera is None else _moved_camera(camera, move),
    )


def _moved_camera(camera: Cameras, move: Similarity) -> Cameras:
    """The camera that sees of the moved point what `camera` sees of the point."""
    extrinsics = camera.extrinsics.double()
    # Rows of the rotation are the camera's axes: they turn as directions do.
    rotation = quarter_turned(extrinsics[:, :3, :3], move.turns)
    shift = torch.tensor(move.shift, dtype=torch.float64, device=extrinsics.device)
    moved = extrinsics.clone()
    moved[:, :3, :3] = rotation
    moved[:, :3, 3] = move.scale * extrinsics[:, :3, 3] - rotation @ shift
    return replace(camera, extrinsics=moved.to(camera.extrinsics.dtype))
