"""The same asset becomes the same bytes on a GPU: in every program, and every time in one."""

import hashlib
import math
import subprocess
import sys

import pytest
import torch

from benchmarks.export_scene import build_scene
from tests.contract.sources import ROOT
from tests.unit.export.test_picture_blend import framed, photograph
from trellis.export.chain import ExportChain, FileSources
from trellis.export.glb import glb_bytes
from trellis.export.options import FileOptions
from trellis.geometry.cameras import orbit_cameras

PROGRAM = "from tests.backends.test_export_gpu import write_digests; write_digests()"
GPU = torch.device("cuda")
TIMES = 2


def write_digests() -> None:
    """Export a vessel with the picture of it, redder than it is, `TIMES` times in each texture mode."""
    scene = build_scene(16, device=GPU)
    camera = orbit_cameras([math.pi + 0.5], [0.35], radius=0.8 / math.sin(math.radians(16)), fov_degrees=32.0)
    picture = photograph(scene.mesh, framed(camera, build_scene(16).mesh).to(GPU))
    picture[..., 1:3] = picture[..., 1:3] * 0.7
    for mode in ("fast", "best"):
        options = FileOptions(simplify=0.9, texture_mode=mode, normal_map=True)
        for _ in range(TIMES):
            asset = ExportChain(FileSources(scene.gaussians, scene.mesh, picture), options).textured
            assert not asset.notes  # the picture was laid on, which changes all other colours too
            sys.stdout.write(f"{mode} {hashlib.sha256(glb_bytes(asset)).hexdigest()}\n")


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_every_program_writes_the_same_bytes() -> None:
    printed = []
    for _ in range(2):
        run = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=280)
        assert run.returncode == 0, run.stderr[-3000:]
        printed += run.stdout.splitlines()
    assert len(printed) == 4 * TIMES and len(set(printed)) == 2, printed
