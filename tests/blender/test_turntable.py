"""The Blender script with a real Blender: import, shading, turntable, scene."""

import json
import shutil
import subprocess
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import pytest
import trimesh
from PIL import Image

from tests.contract.sources import ROOT

SCRIPT = ROOT / "extensions" / "blender" / "turntable.py"
BLENDER = shutil.which("blender")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BLENDER is None, reason="Blender is not here")]
FRAMES = 4
ASK = """
import bpy, json
mesh = next(item for item in bpy.data.objects if item.type == "MESH").data
material = mesh.materials[0]
node = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
print("FACTS", json.dumps({
    "smooth": all(face.use_smooth for face in mesh.polygons),
    "custom": mesh.has_custom_normals,
    "roughness": node.inputs["Roughness"].default_value,
    "packed": all(image.packed_file for image in bpy.data.images if image.type == "IMAGE"),
    "textures": sum(image.type == "IMAGE" for image in bpy.data.images),
    "frames": bpy.context.scene.frame_end,
}))
"""


def blender(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert BLENDER is not None
    command = [BLENDER, "--background", "--factory-startup", "--python-exit-code", "1", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def turntable(*arguments: str) -> subprocess.CompletedProcess[str]:
    return blender("--python", str(SCRIPT), "--", *arguments)


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A box whose front (+z in the file) is red, all else blue, in a folder with a space and Korean letters."""
    mesh = trimesh.creation.box((1, 0.8, 0.6))
    mesh.unmerge_vertices()
    front = mesh.face_normals[:, 2] > 0.9
    picture = Image.new("RGB", (2, 1), (20, 40, 200))
    picture.putpixel((0, 0), (220, 30, 30))
    uvs = np.repeat(np.where(front, 0.25, 0.75), 3)
    mesh.visual = trimesh.visual.TextureVisuals(
        uv=np.stack([uvs, np.full_like(uvs, 0.5)], axis=1),
        material=trimesh.visual.material.PBRMaterial(baseColorTexture=picture, metallicFactor=0.0, roughnessFactor=0.8),
    )
    folder = tmp_path / "결과 1"
    folder.mkdir()
    mesh.export(folder / "box.glb")
    return folder


def redness(picture: np.ndarray) -> float:
    middle = picture[24:40, 24:40, :3].astype(float).mean(axis=(0, 1))
    return float(middle[0] - middle[2])


def test_turntable_of_a_folder(box: Path) -> None:
    output = box / "blender"
    options = ["--frames", str(FRAMES), "--size", "64", "--samples", "2", "--shading", "smooth", "--roughness", "0.3"]
    result = turntable(str(box), "--output", str(output), *options)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 of 1 done" in result.stdout
    still = np.asarray(Image.open(output / "box.png"))
    assert still.shape == (64, 64, 4) and redness(still) > 60  # the front first
    assert np.abs(still[:4, :, :3].astype(int) - 230).max() <= 3  # grey 0.9 behind it
    frames = [np.asarray(frame) for frame in imageio.get_reader(output / "box.mp4")]
    assert len(frames) == FRAMES
    assert redness(frames[0]) > 60 and all(redness(frame) < -40 for frame in frames[1:])
    asked = blender(str(output / "box.blend"), "--python-expr", ASK)
    facts = json.loads(next(line for line in asked.stdout.splitlines() if line.startswith("FACTS "))[6:])
    assert facts == {
        "smooth": True,
        "custom": False,
        "roughness": pytest.approx(0.3),
        "packed": True,
        "textures": 1,
        "frames": FRAMES,
    }


def test_pictures_without_background(box: Path, tmp_path: Path) -> None:
    options = ["--frames", "2", "--size", "32", "--samples", "1", "--transparent"]
    result = turntable(str(box / "box.glb"), "--output", str(tmp_path / "o"), *options)
    assert result.returncode == 0, result.stdout
    pictures = sorted((tmp_path / "o" / "box").iterdir())
    assert [path.name for path in pictures] == ["0001.png", "0002.png"]
    alpha = np.asarray(Image.open(pictures[0]))[..., 3]
    assert alpha[0, 0] == 0 and alpha[16, 16] == 255


def test_what_cannot_be_used_is_said(box: Path, tmp_path: Path) -> None:
    (box / "broken.glb").write_bytes(b"no glTF")
    result = turntable(str(box), "--output", str(tmp_path), "--frames", "1", "--size", "16", "--samples", "1")
    assert result.returncode == 1 and "1 of 2 done" in result.stdout
    assert (tmp_path / "box.mp4").is_file()
    (tmp_path / "empty").mkdir()
    assert turntable(str(tmp_path / "empty")).returncode == 2
    assert turntable(str(box), "--size", "5").returncode == 2
