"""The benchmark of a generation runs, writes what it measured, and its networks have the released shapes."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import generation
from benchmarks.released import MANIFEST, NETWORKS, VOXELS, make_scene, random_network

CPU = torch.device("cpu")


def test_stages_are_measured_and_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--device", "cpu", "--scale", "tiny", "--repeats", "2", "--precision", "bfloat16"]
    stages = ["gaussian decoder", "flexicubes", "image encoder"]
    assert generation.main([*arguments, "--stages", *stages, "--output", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "generation.json").read_text())
    [result] = record["results"]
    assert result["precision"] == "bfloat16" and result["plan"]["residency"] == "keep"
    assert [row["stage"] for row in result["rows"]] == stages
    assert all(len(row["seconds"]) == 2 and min(row["seconds"]) > 0 for row in result["rows"])
    printed = capsys.readouterr().out
    assert "faces" in printed and "x published" in printed and "NOT FINITE" not in printed


def test_networks_are_those_of_the_manifest_and_the_same_at_every_call() -> None:
    released = json.loads(MANIFEST.read_text())
    model = random_network("slat_decoder_rf", scale="released", dtype=torch.float16, device=CPU)
    assert sum(p.numel() for p in model.parameters()) == released[NETWORKS["slat_decoder_rf"]]["parameters"]
    assert model.torso_dtype == torch.float16
    one, other = (random_network("slat_flow_model", scale="tiny", dtype=torch.float32, device=CPU) for _ in range(2))
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values()):
        assert torch.equal(a, b) and torch.isfinite(a).all(), name
    assert one.out_layer.weight.std() > 0.01


def test_the_object_has_the_published_size() -> None:
    scene = make_scene(scale="released", device=CPU)
    assert scene.voxels.shape == (VOXELS, 4) and scene.condition.shape == (1, 1374, 1024)
    assert scene.distances.shape == (64 * VOXELS, 8)
    assert (scene.distances < 0).any() and (scene.distances > 0).any()
    assert len(scene.voxels.unique(dim=0)) == VOXELS
