"""USDZ: the archive's rules by the bytes, the scene by USD's own reader and validators."""

import io
import struct
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.unit.export.textured_samples import textured_box, y_up
from trellis.errors import InvalidInputError
from trellis.export.usdz import aligned_archive, usdz_bytes, write_usdz
from trellis.representations import TexturedMesh


def content_starts(data: bytes) -> dict[str, int]:
    """Where the content of every file of the zip begins, read from the local headers."""
    starts = {}
    for entry in zipfile.ZipFile(io.BytesIO(data)).infolist():
        name, extra = struct.unpack_from("<HH", data, entry.header_offset + 26)
        starts[entry.filename] = entry.header_offset + 30 + name + extra
    return starts


def test_the_archive_keeps_the_rules_of_the_format():
    box = textured_box(normal_map=True)
    data = usdz_bytes(box)
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.testzip() is None
    names = [entry.filename for entry in archive.infolist()]
    assert names == ["object.usda", "textures/base_color.png", "textures/normal.png"]  # the scene comes first
    for entry in archive.infolist():
        assert entry.compress_type == zipfile.ZIP_STORED and entry.flag_bits == 0
        assert entry.file_size == entry.compress_size
    for name, start in content_starts(data).items():
        assert start % 64 == 0
        assert data[start : start + 8] == archive.read(name)[:8]
    picture = Image.open(io.BytesIO(archive.read("textures/base_color.png")))
    assert np.array_equal(np.asarray(picture), box.texture)
    assert usdz_bytes(box) == data


@pytest.mark.parametrize("length", range(1, 70))
def test_every_length_of_a_name_is_aligned(length):
    data = aligned_archive({"a" * length: b"first", "b": b"second", "c" * length: b""})
    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None
    assert all(start % 64 == 0 for start in content_starts(data).values())


def test_usd_reads_the_scene(tmp_path):
    from pxr import Usd, UsdGeom, UsdShade

    box = textured_box(normal_map=True, double_sided=True)
    stage = Usd.Stage.Open(str(write_usdz(box, tmp_path / "box.usdz")))
    assert stage.GetDefaultPrim().GetPath() == "/Object"
    assert UsdGeom.GetStageUpAxis(stage) == "Y" and UsdGeom.GetStageMetersPerUnit(stage) == 1
    mesh = UsdGeom.Mesh(stage.GetPrimAtPath("/Object/Surface"))
    assert np.allclose(mesh.GetPointsAttr().Get(), y_up(box.vertices), atol=1e-5)
    assert np.allclose(mesh.GetNormalsAttr().Get(), y_up(box.normals), atol=1e-5)
    assert np.array_equal(np.array(mesh.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3), box.faces)
    assert set(mesh.GetFaceVertexCountsAttr().Get()) == {3} and mesh.GetDoubleSidedAttr().Get()
    coordinates = UsdGeom.PrimvarsAPI(mesh).GetPrimvar("st").Get()
    assert np.allclose(np.array(coordinates) * [1, -1] + [0, 1], box.uvs, atol=1e-5)  # USD's t points up
    bounds = UsdGeom.BBoxCache(Usd.TimeCode.Default(), ["default"]).ComputeWorldBound(mesh.GetPrim())
    assert bounds.ComputeAlignedRange().GetMin()[1] == pytest.approx(0, abs=1e-6)  # it stands on the floor
    material, _ = UsdShade.MaterialBindingAPI(mesh).ComputeBoundMaterial()
    surface, _, _ = material.ComputeSurfaceSource()
    assert surface.GetIdAttr().Get() == "UsdPreviewSurface" and surface.GetInput("metallic").Get() == 0
    for name, file in (("diffuseColor", "base_color"), ("normal", "normal")):
        texture = UsdShade.Shader(surface.GetInput(name).GetConnectedSources()[0][0].source)
        assert texture.GetInput("file").Get().resolvedPath.endswith(f"[textures/{file}.png]")


@pytest.mark.parametrize("normal_map", [False, True])
def test_usd_finds_no_fault(tmp_path, normal_map):
    from pxr import Usd, UsdValidation

    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    assert len(validators) > 15
    stage = Usd.Stage.Open(str(write_usdz(textured_box(normal_map=normal_map), tmp_path / "box.usdz")))
    faults = UsdValidation.ValidationContext(validators).Validate(stage)
    assert [fault.GetMessage() for fault in faults] == []


def test_an_empty_mesh_is_refused(tmp_path):
    box = textured_box()
    empty = TexturedMesh(box.vertices, box.normals, box.uvs, box.faces[:0], box.texture)
    with pytest.raises(InvalidInputError, match="empty"):
        write_usdz(empty, tmp_path / "a.usdz")
    assert list(tmp_path.iterdir()) == []
