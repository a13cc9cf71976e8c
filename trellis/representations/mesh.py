"""Triangle mesh with per-vertex attributes."""

from dataclasses import dataclass

import torch
from torch import Tensor


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
