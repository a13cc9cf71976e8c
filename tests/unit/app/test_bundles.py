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
