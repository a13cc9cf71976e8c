"""Shapes that the embedded model was trained on as a data folder: what training and evaluation find there."""

import logging
from pathlib import Path

import pytest
import torch

from trellis.dataset.check import check_folder
from trellis.dataset.layout import CONDITIONED, LATENT, STRUCTURE, VOXELIZED
from trellis.dataset.prepare import encoding_model, model_columns
from trellis.families.trellis_family import NANO_FOLDER
from trellis.opening import open_model
from trellis.runtime import Runtime
from trellis.training import metrics
from trellis.training.folder_data import find_objects, read_latent, read_occupancy, read_structure
from trellis.training.generate import BatchGenerator
from trellis.training.practice import main

RUNTIME = Runtime(device=torch.device("cpu"), offline=True)


def test_a_folder_of_what_the_model_knows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert main(["--output_dir", str(tmp_path / "a"), "--count", "3", "--num_views", "2", "--device", "cpu"]) == 0
    columns = model_columns(encoding_model(open_model("nano", runtime=RUNTIME)))
    needed = [VOXELIZED, CONDITIONED, columns[LATENT], columns[STRUCTURE]]
    assert check_folder(tmp_path / "a").faults == []
    objects, notes = find_objects([tmp_path / "a"], needed, least_score=0, most_voxels=None)
    assert len(objects) == 3 and len({source.voxels for source in objects}) == 3 and len(notes) == 1
    networks = BatchGenerator(NANO_FOLDER, RUNTIME.device).networks
    for source in objects:
        truth = read_occupancy(source, 32)
        with torch.inference_mode():
            found = networks["sparse_structure_decoder"](read_structure(source, columns[STRUCTURE])[None])[:, 0] > 0
        assert metrics.voxel_iou(found, truth).item() > 0.9
        coords, feats = read_latent(source, columns[LATENT])
        assert (
            len(coords) == source.voxels == int(truth.sum()) and feats.shape == (source.voxels, 8) and feats.std() > 0
        )
        assert len(list(source.folder.path(CONDITIONED, source.sha).glob("*.webp"))) == 2


@pytest.mark.parametrize("words", [["--count", "0"], ["--num_views", "0"]])
def test_nothing_is_refused(words: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert main(["--output_dir", str(tmp_path), *words]) == 1 and "at least one" in caplog.text
