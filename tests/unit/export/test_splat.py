""".splat records, unpacked one by one, and the way back."""

import struct

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from trellis.errors import InvalidInputError
from trellis.export.splat import load_splat, write_splat
from trellis.representations import GaussianCloud


def cloud(count: int = 200) -> GaussianCloud:
    rng = torch.Generator().manual_seed(3)
    return GaussianCloud(
        positions=torch.rand(count, 3, generator=rng) - 0.5,
        features_dc=torch.rand(count, 3, generator=rng) * 3 - 1.5,
        scales=torch.rand(count, 3, generator=rng) * 0.01 + 0.0009,
        rotations=torch.nn.functional.normalize(torch.randn(count, 4, generator=rng), dim=1),
        opacities=torch.rand(count, 1, generator=rng),
    )


def by_visibility(gaussians: GaussianCloud) -> np.ndarray:
    weight = gaussians.scales.double().prod(dim=1) * gaussians.opacities[:, 0].double()
    return np.argsort(-weight.numpy(), kind="stable")


def test_records_are_turned_y_down_and_sorted_by_visibility(tmp_path):
    gaussians = cloud()
    data = write_splat(gaussians, tmp_path / "a.splat").read_bytes()
    assert len(data) == 32 * len(gaussians)
    frame = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])  # (x, y, z) -> (x, -z, y)
    for place, number in enumerate(by_visibility(gaussians)):
        values = struct.unpack_from("<6f8B", data, 32 * place)
        assert np.allclose(values[:3], frame @ gaussians.positions[number].numpy(), atol=1e-6)
        assert np.allclose(values[3:6], gaussians.scales[number], atol=1e-7)
        color = np.clip(0.5 + 0.28209479 * gaussians.features_dc[number].numpy(), 0, 1) * 255
        assert np.abs(np.array(values[6:9]) - color).max() <= 0.51
        assert values[9] == pytest.approx(float(gaussians.opacities[number]) * 255, abs=0.51)
        turned = Rotation.from_quat((np.array(values[10:14]) - 128) / 128, scalar_first=True).as_matrix()
        before = Rotation.from_quat(gaussians.rotations[number].numpy(), scalar_first=True).as_matrix()
        assert np.allclose(turned, frame @ before, atol=0.03)


def test_round_trip(tmp_path):
    gaussians = cloud()
    order = torch.from_numpy(by_visibility(gaussians))
    back = load_splat(write_splat(gaussians, tmp_path / "a.splat"), filter_2d=0.3)
    assert torch.allclose(back.positions, gaussians.positions[order], atol=1e-5)
    assert torch.allclose(back.scales, gaussians.scales[order], atol=1e-5)
    assert torch.allclose(back.opacities, gaussians.opacities[order], atol=0.51 / 255)
    assert torch.allclose(back.colors, gaussians.colors[order].clamp(0, 1), atol=0.51 / 255)
    assert (back.rotations * gaussians.rotations[order]).sum(dim=1).abs().min() > 0.999
    assert back.filter_2d == 0.3


def test_bad_files_are_named(tmp_path):
    with pytest.raises(InvalidInputError, match=r"none\.splat"):
        load_splat(tmp_path / "none.splat")
    (tmp_path / "cut.splat").write_bytes(bytes(33))
    with pytest.raises(InvalidInputError, match=r"cut\.splat.*32 bytes"):
        load_splat(tmp_path / "cut.splat")
