"""A tiny Hunyuan3D-2 model in the published layout, coloured by the embedded TRELLIS model, through the queue."""

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import trimesh

from tests.contract.sources import ROOT
from tests.tiny_shape_model import description, networks, write_model
from tests.unit.app.engines import start_engine
from tests.unit.app.waiting import wait_until
from trellis.app.engine import Engine
from trellis.app.jobs import Job, JobState
from trellis.app.machine_options import open_pipeline
from trellis.app.request import GenerationRequest
from trellis.asset import Asset
from trellis.families.hunyuan_family import LICENCE
from trellis.families.licences import accept_licence
from trellis.runtime import ModelFiles

MUG = ROOT / "assets" / "example_image" / "mug.png"
STEPS = {"structure_steps": 2, "latent_steps": 2}
SMALL = STEPS | {"surface_resolution": 64, "texture_size": 512, "faces": 2000, "seed": 1}


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("TRELLIS_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    content = description(kind="turbo")
    write_model(tmp_path / "models" / "tiny", content, networks(content))
    accept_licence(LICENCE.name, ModelFiles(model_folder=tmp_path / "models"))
    load = partial(open_pipeline, device="cpu", offline=True)
    engine = start_engine(load, tmp_path / "jobs", model="nano", models=["tiny"])
    yield engine
    engine.close()


def carried_out(engine: Engine, request: GenerationRequest) -> Job:
    job_id = engine.submit(request, [MUG], model="tiny")
    while not engine.view(job_id).state.final:  # however slow the machine is; pytest has a limit of its own
        time.sleep(0.05)
    job = engine.view(job_id)
    assert job.state is JobState.DONE, job.message
    return job


def texture_of(path: Path) -> np.ndarray:
    scene = trimesh.load(path, force="mesh")
    assert len(scene.faces) > 500
    return np.asarray(scene.visual.material.baseColorTexture.convert("RGB"))


def notice_of(path: Path) -> str:
    data = path.read_bytes()
    document = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    return str(document["asset"]["extras"]["notice"])


def test_a_picture_becomes_a_textured_glb_that_says_whose_it_is(engine: Engine) -> None:
    job = carried_out(engine, GenerationRequest(**SMALL, formats=("glb", "ply"), blend_picture=False))
    assert set(job.files) == {"glb", "ply"}
    pixels = texture_of(job.files["glb"])
    assert pixels.shape == (512, 512, 3) and pixels.reshape(-1, 3).std(0).max() > 4  # no one colour
    assert notice_of(job.files["glb"]) == job.notice == LICENCE.notice
    record = json.loads((job.folder / "result.json").read_text(encoding="utf-8"))
    assert record["notice"] == LICENCE.notice and Asset.load(job.kept_file).notice == LICENCE.notice

    grey = carried_out(
        engine, GenerationRequest(**SMALL, texture_model="none", formats=("glb", "ply"), preset="minimal")
    )
    assert set(grey.files) == {"glb"} and any(note.startswith("ply: left out") for note in grey.notes)
    assert grey.request.to_dict()["preset"] == "minimal" and notice_of(grey.files["glb"]) == LICENCE.notice


def test_options_of_another_family_are_a_sentence(engine: Engine) -> None:
    for values, model, words in (
        ({"surface_resolution": 128}, "nano", "nano takes no surface_resolution"),
        ({"views": ("front",)}, "tiny", "tiny takes no views"),
        (
            {"texture_model": "tiny"},
            "tiny",
            "tiny is no TRELLIS model for pictures",
        ),
    ):
        job_id = engine.submit(GenerationRequest(**values), [MUG], model=model)
        wait_until(lambda job_id=job_id: engine.view(job_id).state.final)
        assert words in engine.view(job_id).message
