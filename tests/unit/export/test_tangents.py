"""Tangents run along u, at right angles to the normal, with the sign that points up in the texture."""

import numpy as np
import pytest

from tests.unit.export.textured_samples import SIDES, textured_box
from trellis.export.tangents import vertex_tangents


def test_a_box_has_the_directions_it_was_made_with() -> None:
    box = textured_box()
    tangents = vertex_tangents(box.vertices, box.normals, uvs=box.uvs, faces=box.faces)
    assert tangents.shape == (24, 4) and tangents.dtype == np.float32
    for side, (normal, along_u, along_v) in enumerate(SIDES):
        for tangent in tangents[4 * side : 4 * side + 4]:
            assert np.allclose(tangent[:3], along_u, atol=1e-6)
            assert np.allclose(tangent[3] * np.cross(normal, tangent[:3]), -np.array(along_v), atol=1e-6)


def test_a_mirrored_texture_turns_the_sign() -> None:
    box = textured_box()
    mirrored = box.uvs * [-1, 1] + [1, 0]
    plain = vertex_tangents(box.vertices, box.normals, uvs=box.uvs, faces=box.faces)
    turned = vertex_tangents(box.vertices, box.normals, uvs=mirrored, faces=box.faces)
    assert np.allclose(turned, -plain, atol=1e-6)


@pytest.mark.parametrize("uvs", [np.zeros((24, 2)), np.ones((24, 2)) * np.linspace(0, 1, 24)[:, None]])
def test_without_a_direction_of_the_texture_tangents_still_fit(uvs: np.ndarray) -> None:
    box = textured_box()
    tangents = vertex_tangents(box.vertices, box.normals, uvs=uvs, faces=box.faces)
    assert np.allclose(np.linalg.norm(tangents[:, :3], axis=1), 1, atol=1e-6)
    assert np.abs((tangents[:, :3] * box.normals).sum(axis=1)).max() < 1e-6
    assert set(tangents[:, 3].tolist()) <= {1.0, -1.0}
