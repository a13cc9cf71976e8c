"""The Warp kernels become GPU code, which needs no GPU to find out."""

from pathlib import Path
from types import ModuleType

import pytest
import torch
import warp as wp

from trellis.ops import warp_device
from trellis.ops.closest_point import warp_backend as closest_point
from trellis.ops.edge_collapse import warp_kernels as edge_collapse
from trellis.ops.rasterize import prepare, warp_fields, warp_gaussians, warp_meshes, warp_projection, warp_triangles
from trellis.ops.visibility import warp_backend as visibility
from trellis.ops.winding_number import warp_backend as winding_number

DRAWING = [warp_fields, warp_gaussians, warp_meshes, warp_projection, warp_triangles]
MEASURING = [closest_point, edge_collapse, visibility, winding_number]


@pytest.mark.parametrize("module", DRAWING + MEASURING, ids=lambda module: module.__name__)
def test_kernels_compile_for_the_oldest_supported_gpu(module: ModuleType, tmp_path: Path) -> None:
    warp_device.start()
    wp.compile_aot_module(module, arch=75, module_dir=tmp_path, use_ptx=True)
    (code,) = tmp_path.glob("*.ptx")
    assert b".entry" in code.read_bytes()


def test_kernels_are_prepared_before_the_first_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    load = wp.load_module

    def counted(module: ModuleType, **options: object) -> None:
        loaded.append(module.__name__)
        load(module, **options)

    monkeypatch.setattr(wp, "load_module", counted)
    prepare(torch.device("cpu"))
    assert sorted(loaded) == [module.__name__ for module in DRAWING]
    before = list(loaded)
    prepare(torch.device("meta"))  # nothing that Warp draws on
    assert loaded == before
