"""What other files cost is scaled from files that were made here."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.export.textured_samples import textured_box
from trellis.app.estimate import estimate_files, read_contents
from trellis.app.jobs import Job, JobState
from trellis.app.request import GenerationRequest
from trellis.export.glb import write_glb

SPENT = {"structure": 9.0, "export": 1.0, "texture": 2.0, "preview": 4.0}


def shown(folder: Path, **values: Any) -> Job:
    path = write_glb(textured_box(), folder / "asset.glb")
    request = GenerationRequest(**{"formats": ("glb", "mp4"), "blend_picture": False, "simplify": 0.0} | values)
    job = Job(folder=folder, model="m", request=request, state=JobState.DONE, files={"glb": path}, spent=SPENT)
    return job


def test_the_header_of_a_glb_says_what_it_holds(tmp_path: Path) -> None:
    path = write_glb(textured_box(), tmp_path / "asset.glb")
    contents = read_contents(path)
    assert contents is not None and contents.faces == 12
    assert contents.surface + contents.pictures == path.stat().st_size and contents.pictures > 50
    (tmp_path / "other.glb").write_bytes(b"no model at all, but of some length")
    assert read_contents(tmp_path / "other.glb") is None and read_contents(tmp_path / "none.glb") is None


def test_the_same_files_cost_what_they_cost(tmp_path: Path) -> None:
    job = shown(tmp_path)
    estimate = estimate_files(job, job.request.with_files({**job.request.stated_files, "formats": ("glb",)}), [])
    assert estimate is not None and estimate.seconds == 3.0  # what the asset took is not part of it
    assert estimate.bytes == job.files["glb"].stat().st_size


def test_a_larger_texture_takes_longer_and_more_room(tmp_path: Path) -> None:
    job = shown(tmp_path)
    small, large = (estimate_files(job, job.request.with_files({"texture_size": size}), []) for size in (1024, 4096))
    assert small is not None and large is not None and small.seconds is not None and large.seconds is not None
    assert large.seconds - small.seconds == pytest.approx(2.0 * 7.5)  # the texture alone
    assert large.bytes > small.bytes


def test_faces_count_and_what_the_job_has_not_had_is_learned_from_others(tmp_path: Path) -> None:
    job = shown(tmp_path)
    contents = read_contents(job.files["glb"])
    assert contents is not None
    half = estimate_files(job, job.request.with_files({"simplify": 0.5, "formats": ("glb",)}), [])
    assert half is not None and half.bytes == pytest.approx(contents.pictures + contents.surface / 2, abs=1)
    wanted = job.request.with_files({"normal_map": True, "formats": ("glb",)})
    other = job.changed(spent={"normal_map": 5.0})
    alone, learned = estimate_files(job, wanted, []), estimate_files(job, wanted, [other])
    assert alone is not None and learned is not None and learned.seconds is not None
    assert learned.seconds == pytest.approx((alone.seconds or 0) + 5.0)
    assert estimate_files(job.changed(files={}), wanted, []) is None
