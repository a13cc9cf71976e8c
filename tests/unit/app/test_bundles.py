"""Archives of result files: called like the job inside, and still one model."""

import zipfile
from pathlib import Path

import pytest
import trimesh

from tests.unit.export.textured_samples import EXTENTS, textured_box
from trellis.app.bundles import bundle_file
from trellis.app.jobs import Job
from trellis.app.request import GenerationRequest
from trellis.export.obj import write_obj


@pytest.mark.parametrize(
    ("name", "inside"), [("mug", "mug"), ("빨간 컵", "빨간_컵"), ("../../up/x", "x"), ("", "asset")]
)
def test_files_are_called_like_the_job_and_find_each_other(name: str, inside: str, tmp_path: Path) -> None:
    files = write_obj(textured_box(normal_map=True), tmp_path / "asset.obj")
    job = Job(folder=tmp_path, model="nano", name=name, request=GenerationRequest(), files=files)
    path = bundle_file(job, "obj")
    assert path is not None and path == bundle_file(job, "obj")
    with zipfile.ZipFile(path) as archive:
        names = {f"{inside}.obj", f"{inside}.mtl", f"{inside}_base_color.png", f"{inside}_normal.png"}
        assert set(archive.namelist()) == names
        archive.extractall(tmp_path / "out")
    mesh = trimesh.load(tmp_path / "out" / f"{inside}.obj", force="mesh", process=False)
    assert sorted(mesh.extents) == pytest.approx(sorted(EXTENTS), abs=1e-5)
    assert mesh.visual.material.image.size == (64, 64)
    material = (tmp_path / "out" / f"{inside}.mtl").read_text(encoding="utf-8")
    assert f"norm {inside}_normal.png" in material and ("asset" in material) == (inside == "asset")
    other, everything = bundle_file(job.changed(name="other"), "obj"), bundle_file(job, "all")
    assert sorted(tmp_path.glob("*.zip")) == sorted([other, everything])  # of an earlier name there is none any more


def test_the_pictures_of_several_materials_come_along(tmp_path: Path) -> None:
    contents = {
        "obj": ("asset.obj", b"mtllib asset.mtl\n"),
        "mtl": ("asset.mtl", b"map_Kd -s 1 1 1 asset_base_color_2.png\nmap_Bump -bm 0.5 map_1_wood.png\n"),
        "base_color": ("asset_base_color.png", b"1"),
        "base_color_2": ("asset_base_color_2.png", b"2"),
        "map_1": ("map_1_wood.png", b"3"),
        "glb": ("asset.glb", b"4"),
    }
    files = {kind: tmp_path / name for kind, (name, _) in contents.items()}
    for kind, (_, content) in contents.items():
        files[kind].write_bytes(content)
    path = bundle_file(Job(folder=tmp_path, model="nano", name="mug", request=GenerationRequest(), files=files), "obj")
    assert path is not None
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == [
            "map_1_wood.png", "mug.mtl", "mug.obj", "mug_base_color.png", "mug_base_color_2.png",
        ]  # fmt: skip
        library = archive.read("mug.mtl").decode()
    assert library == "map_Kd -s 1 1 1 mug_base_color_2.png\nmap_Bump -bm 0.5 map_1_wood.png\n"
