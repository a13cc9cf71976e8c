"""Triangle meshes: with attributes of their vertices, and with a texture."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trellis.geometry.cameras import Cameras


@dataclass(frozen=True)
class Mesh:
    """vertices [V, 3] float32 in the world; faces [F, 3] int32, counter-clockwise seen from outside.

    attributes [V, k] float32 in [0, 1] or None: channels 0..2 are the colour, 3..5 (if present) the encoded normal.
    """

    vertices: Tensor
    faces: Tensor
    attributes: Tensor | None = None

    @property
    def colors(self) -> Tensor | None:
        """Vertex colours [V, 3] in [0, 1], or None."""
        return None if self.attributes is None else self.attributes[:, :3]

    def to(self, device: torch.device) -> "Mesh":
        """The same mesh on another device."""
        attributes = None if self.attributes is None else self.attributes.to(device)
        return Mesh(self.vertices.to(device), self.faces.to(device), attributes)


@dataclass(frozen=True)
class TexturedMesh:
    """A mesh as files carry it, still in the world frame (z-up).

    vertices [V, 3], normals [V, 3] (unit), uvs [V, 2] (origin top left) float32; faces [F, 3] int32, counter-clockwise
    seen from outside; texture [S, S, 3] uint8, sRGB; normal_map [S, S, 3] uint8, tangent space as glTF has it, or None;
    picture_camera: where the input picture was taken from, framed as the networks saw it (one), if that was found;
    likeness: that of the texture to the picture laid over it, before that (`trellis.export.likeness`), if there is one;
    notes: what the user should know.
    """

    vertices: NDArray[np.float32]
    normals: NDArray[np.float32]
    uvs: NDArray[np.float32]
    faces: NDArray[np.int32]
    texture: NDArray[np.uint8]
    double_sided: bool = False
    normal_map: NDArray[np.uint8] | None = None
    picture_camera: Cameras | None = None
    likeness: float | None = None
    notes: tuple[str, ...] = ()
