""".splat records, unpacked one by one."""

import struct

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.clouds import random_cloud
from trellis.export.splat import write_splat
from trellis.representations import GaussianCloud


def by_visibility(gaussians: GaussianCloud) -> np.ndarray:
    weight = gaussians.scales.double().prod(dim=1) * gaussians.opacities[:, 0].double()
    return np.argsort(-weight.numpy(), kind="stable")


def test_records_are_turned_y_down_and_sorted_by_visibility(tmp_path):
    gaussians = random_cloud(200)
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
