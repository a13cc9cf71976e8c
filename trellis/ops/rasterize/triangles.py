"""Triangle rasterisation: which face covers each sample of an image, where on the face, and how far away."""

from dataclasses import dataclass

from torch import Tensor

from trellis.errors import InvalidInputError
from trellis.ops.rasterize import kaolin_adapter, nvdiffrast_adapter, reference
from trellis.ops.rasterize.backends import TRIANGLE_BACKENDS, choose_backend

_DRAW = {
    "reference": reference.rasterize_triangles,
    "nvdiffrast": nvdiffrast_adapter.rasterize_triangles,
    "kaolin": kaolin_adapter.rasterize_triangles,
}


@dataclass(frozen=True)
class TriangleSamples:
    """What covers every sample of an image.

    face_id [H, W] int32, -1 where nothing is; barycentric [H, W, 3] float32 weights of the face's three corners, sum 1
    (0 on the background); depth [H, W] float32 in units of the third coordinate (0 on the background).
    """

    face_id: Tensor
    barycentric: Tensor
    depth: Tensor

    @property
    def mask(self) -> Tensor:
        """Bool [H, W]: a face is there."""
        return self.face_id >= 0


def rasterize_triangles(
    points: Tensor,
    faces: Tensor,
    *,
    size: int | tuple[int, int],
    perspective: bool = True,
    near: float = 1e-4,
    backend: str = "auto",
) -> TriangleSamples:
    """Find the nearest triangle at every sample of an image of `size` = H = W, or (H, W).

    points [V, 3] float32: x to the right and y downwards in pixels, and depth. Sample (row i, column j) lies at
    (x, y) = (j + 0.5, i + 0.5): an image spans [0, W] x [0, H]. faces [F, 3] int32 or int64; both windings are drawn.
    perspective=True: depth is the camera's z > 0, barycentrics are perspective-correct, faces that reach nearer than
    `near` are left out. perspective=False: everything is linear in the image and depth may have any sign; for texture
    space pass uv * (W, H) with depth 0.
    The smallest depth wins, then the lowest face index; samples exactly on an edge belong to both faces, so that meshes
    have no cracks. Barycentrics and depth are differentiable in `points` on the reference back end and the adapters.
    Raises InvalidInputError for wrong shapes or an unknown back end.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if points.ndim != 2 or points.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        raise InvalidInputError(
            f"Triangles need points [V, 3] and faces [F, 3], not {list(points.shape)} and {list(faces.shape)}."
        )
    if height < 1 or width < 1:
        raise InvalidInputError(f"An image needs at least one pixel, not {height} x {width}.")
    draw = _DRAW.get(choose_backend(backend, points, among=TRIANGLE_BACKENDS))
    if draw is None:
        # Imported at the call: Warp takes half a second to load.
        from trellis.ops.rasterize import warp_triangles

        draw = warp_triangles.rasterize_triangles
    lowest = near if perspective else -float("inf")
    return TriangleSamples(*draw(points.float(), faces, height, width, perspective=perspective, near=lowest))


def interpolate_attributes(
    samples: TriangleSamples, faces: Tensor, attributes: Tensor, *, backend: str = "auto"
) -> Tensor:
    """Values [H, W, k] float32 of per-vertex `attributes` [V, k] at the samples, 0 on the background.

    Differentiable in the attributes and barycentrics on the reference back end.
    Raises InvalidInputError for an unknown back end.
    """
    attributes = attributes.float()
    if choose_backend(backend, attributes, samples.barycentric, among=TRIANGLE_BACKENDS) == "warp":
        # Imported at the call: Warp takes half a second to load.
        from trellis.ops.rasterize import warp_triangles

        return warp_triangles.interpolate_attributes(samples.face_id, samples.barycentric, faces, attributes)
    return reference.interpolate_attributes(samples.face_id, samples.barycentric, faces, attributes)
