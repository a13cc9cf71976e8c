"""Blender as the renderer: what it draws is what the program's own renderer draws, and programs that are none."""

import os
import sys
from pathlib import Path

import pytest
import torch

from tests.unit.encoding.test_round_trip import painted_box, write_glb
from trellis.dataset.blender import Blender
from trellis.dataset.cameras import condition_cameras
from trellis.dataset.pictures import studio_pictures
from trellis.encoding.load import load_mesh
from trellis.encoding.source_mesh import normalize_mesh
from trellis.errors import InvalidInputError, MissingDependencyError

MODELS = Path(__file__).parent / "models"
PYTHON = os.environ.get("BPY_PYTHON", "")  # one that has Blender as a module


@pytest.mark.skipif(not PYTHON, reason="BPY_PYTHON names no Python with Blender")
def test_pictures_of_both_renderers(tmp_path: Path) -> None:
    path = tmp_path / "box.glb"
    write_glb(painted_box(), path)
    cameras = condition_cameras(2, "ab" * 32)
    blender = Blender.find(PYTHON)
    found = torch.stack(list(blender.draw(path, cameras, size=128, side=0.95, samples=8))).float() / 255
    placed = normalize_mesh(load_mesh(path), side=0.95).mesh
    expected = torch.stack(list(studio_pictures(placed, cameras, size=128))).float() / 255
    both = torch.minimum(found[..., 3], expected[..., 3])
    assert both.sum() / torch.maximum(found[..., 3], expected[..., 3]).sum() > 0.95
    assert (found - expected)[..., :3][both > 0.9].abs().mean() < 0.04 and both.sum() > 2 * 500
    assert blender.version.startswith("Blender ")


def test_what_blender_says_of_a_file_is_told(tmp_path: Path) -> None:
    program = tmp_path / "blender"
    program.write_text('#!/bin/sh\n[ $# = 7 ] && echo "Blender 9.9" || { echo "Error: odd file" >&2; exit 1; }\n')
    program.chmod(0o755)
    blender = Blender.find(str(program))
    assert blender.version == "Blender 9.9"
    with pytest.raises(InvalidInputError, match=r"cannot draw crate\.obj: Error: odd file"):
        next(blender.draw(MODELS / "crate" / "crate.obj", condition_cameras(1, "ab"), size=64, side=1.0))


@pytest.mark.parametrize("program", ["no-such-program", sys.executable])
def test_other_programs_are_refused(program: str) -> None:
    with pytest.raises(MissingDependencyError, match="neither Blender nor a Python with its module bpy"):
        Blender.find(program)
