"""Every kind of GLB passes the Khronos glTF validator with no error, warning or hint; the validator does find faults.

`./run.sh test` installs the validator where npm is; elsewhere these tests are skipped.
"""

import dataclasses
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.unit.export.shapes import sphere, textured_mesh
from tests.unit.export.textured_samples import textured_box
from tests.unit.export.validator import VALIDATOR, WITHOUT_VALIDATOR, issues_of
from trellis.export.glb import glb_bytes
from trellis.representations import TexturedMesh

pytestmark = pytest.mark.skipif(not VALIDATOR, reason=WITHOUT_VALIDATOR)


def large(mesh: TexturedMesh) -> TexturedMesh:
    """More vertices than 16 bits number."""
    repeats, count = 65536 // len(mesh.vertices) + 1, len(mesh.vertices)
    return dataclasses.replace(
        mesh,
        **{name: np.tile(getattr(mesh, name), (repeats, 1)) for name in ("vertices", "normals", "uvs")},
        faces=np.concatenate([mesh.faces + np.int32(i * count) for i in range(repeats)]),
    )


@pytest.mark.parametrize("texture_format", ["png", "webp"])
@pytest.mark.parametrize("normal_map", [False, True])
@pytest.mark.parametrize("double_sided", [False, True])
def test_every_option_is_valid(texture_format: str, normal_map: bool, double_sided: bool, tmp_path: Path) -> None:
    box = textured_box(normal_map=normal_map, double_sided=double_sided)
    issues = issues_of(glb_bytes(box, texture_format=texture_format), tmp_path)
    assert issues["messages"] == []


def test_a_large_mesh_is_valid(tmp_path: Path) -> None:
    assert issues_of(glb_bytes(large(textured_box(normal_map=True))), tmp_path)["messages"] == []


@pytest.mark.parametrize("normal_map", [False, True])
def test_an_unwrapped_and_baked_mesh_is_valid(normal_map: bool, tmp_path: Path) -> None:
    made = textured_mesh(sphere(4), faces=1500, normal_map=normal_map)
    assert (made.normal_map is not None) == normal_map
    assert issues_of(glb_bytes(made), tmp_path)["messages"] == []


def test_faults_are_found(tmp_path: Path) -> None:
    box = textured_box()
    data = glb_bytes(dataclasses.replace(box, faces=box.faces + np.int32(100)))
    assert {message["code"] for message in issues_of(data, tmp_path)["messages"]} >= {"ACCESSOR_INDEX_OOB"}
    cut = bytearray(glb_bytes(box))
    cut[8:12] = struct.pack("<I", len(cut) + 4)
    assert issues_of(bytes(cut), tmp_path)["numErrors"] > 0
    odd = dataclasses.replace(box, texture=np.zeros((60, 60, 3), dtype=np.uint8))
    assert [m["code"] for m in issues_of(glb_bytes(odd), tmp_path)["messages"]] == ["IMAGE_NPOT_DIMENSIONS"]
