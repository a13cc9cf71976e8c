"""What of a data folder is trained on: which objects, their pictures and texts, and draws that steps alone decide."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.training import tiny_data
from tests.training.tiny_data import latent_flow, structure_flow
from tests.unit.test_text_pipeline import write_clip
from trellis.dataset.layout import CONDITIONED, LATENT, STRUCTURE, VOXELIZED
from trellis.dataset.records import CAPTIONS
from trellis.errors import InvalidInputError
from trellis.runtime import Runtime
from trellis.training.conditions import PictureCondition, TextCondition
from trellis.training.folder_data import find_objects, held_out_part, read_occupancy, read_picture, read_pictures
from trellis.training.processes import Processes
from trellis.training.released_config import PictureArgs, parse_released
from trellis.training.run import RunOptions, train_released
from trellis.training.stages.released import Surroundings, create_released

CPU = torch.device("cpu")
RUNTIME = Runtime(device=CPU, offline=True)
STRUCTURES, LATENTS = STRUCTURE + tiny_data.STRUCTURE_MODEL, LATENT + tiny_data.LATENT_MODEL


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data.make_data(tmp_path_factory.mktemp("data"), range(6))


def draws(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_low_scores_and_large_objects_are_left_out_and_counted(data: Path) -> None:
    """Scores are 3 to 7, and none; sizes rise."""
    objects, notes = find_objects([data], [VOXELIZED, CAPTIONS], least_score=4.5, most_voxels=None)
    assert len(objects) == 4
    assert notes == ["2 objects have a score below 4.5.", "1 objects have no aesthetic_score; they are taken."]
    sizes = sorted(source.voxels for source in objects)
    fewer, notes = find_objects([data], [LATENTS], least_score=0, most_voxels=sizes[-2])
    assert max(source.voxels for source in fewer) == sizes[-2] and "more than" in notes[0]
    assert [source.sha for source in objects] == sorted(source.sha for source in objects)


def test_a_wrong_value_is_told_with_its_object(tmp_path: Path) -> None:
    data = tiny_data.make_data(tmp_path, range(2))
    table = (data / "metadata.csv").read_text()
    (data / "metadata.csv").write_text(table.replace(",3,", ",good,", 1))
    with pytest.raises(InvalidInputError, match=r"metadata\.csv has a wrong value for [0-9a-f]{64}: .*good"):
        find_objects([data], [LATENTS], least_score=0, most_voxels=None)


def test_the_same_object_in_two_folders_counts_once(data: Path, tmp_path: Path) -> None:
    more = tiny_data.make_data(tmp_path, range(4, 8))
    objects, _ = find_objects([data, more], [LATENTS], least_score=0, most_voxels=None)
    assert len(objects) == 8


def test_a_folder_that_adds_nothing_is_refused(data: Path, tmp_path: Path) -> None:
    """Latents of another encoder are no latents here: with half of the objects gone nobody would notice."""
    other = tiny_data.make_data(tmp_path / "other", range(8, 10), latent="another")
    with pytest.raises(InvalidInputError, match=r"No object of \S*other can be .*2 objects lack .*another"):
        find_objects([data, other], [LATENTS], least_score=0, most_voxels=None)


def test_held_out_objects_are_those_with_low_shas(data: Path) -> None:
    objects, _ = find_objects([data], [LATENTS], least_score=0, most_voxels=None)
    trained, held = held_out_part(objects, 0.5)
    assert len(trained) + len(held) == 6 and held and max(x.sha for x in held) < "8" <= min(x.sha for x in trained)
    assert held_out_part(objects, 0.0) == (objects, [])


def test_pictures_are_framed_by_all_that_is_seen(data: Path, tmp_path: Path) -> None:
    source = find_objects([data], [CONDITIONED], least_score=0, most_voxels=None)[0][0]
    pictures = read_pictures(source, views=3, draws=draws(0), read=partial(read_picture, size=32))
    assert pictures.shape == (3, 3, 32, 32) and pictures.dtype == torch.uint8
    heights = (pictures.amax(1) > 40).any(2).sum(1)
    assert int(heights.min()) >= 25 and int(heights.max()) <= 29  # 32 / 1.2, of what is 37 to 40 of 64 high
    one = tiny_data.make_data(tmp_path, [0])
    source = find_objects([one], [CONDITIONED], least_score=0, most_voxels=None)[0][0]
    faint = np.zeros((64, 64, 4), np.uint8)
    faint[16:48, 16:48] = [255, 255, 255, 8]  # as glass is drawn
    for path in source.folder.path(CONDITIONED, source.sha).glob("*.png"):
        Image.fromarray(faint).save(path)
    assert read_pictures(source, views=1, draws=draws(0), read=partial(read_picture, size=32)).any()
    with pytest.raises(InvalidInputError, match="condition_views is 4"):
        read_pictures(source, views=4, draws=draws(0), read=partial(read_picture, size=32))
    path = next(source.folder.path(CONDITIONED, source.sha).glob("*.png"))
    faint[..., :3], faint[16:48, 16:48, 3] = 0, 255  # a black thing is something
    Image.fromarray(faint).save(path)
    assert len(read_pictures(source, views=3, draws=draws(0), read=partial(read_picture, size=32))) == 3
    Image.fromarray(np.zeros_like(faint)).save(path)  # a thin sheet from its edge
    found = [read_pictures(source, views=2, draws=draws(i), read=partial(read_picture, size=32)) for i in range(8)]
    assert all(picture.any() for pictures in found for picture in pictures)
    with pytest.raises(InvalidInputError, match="2 pictures of something, condition_views is 3"):
        read_pictures(source, views=3, draws=draws(0), read=partial(read_picture, size=32))
    path.write_bytes(b"torn")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_pictures(source, views=3, draws=draws(0), read=partial(read_picture, size=32))


def test_several_views_are_one_condition_and_none_is_zeros(data: Path, encoder: dict[str, Any]) -> None:
    sources = find_objects([data], [CONDITIONED], least_score=0, most_voxels=None)[0][:2]
    lengths = []
    for views in (1, 2):
        condition = PictureCondition(PictureArgs(image_size=32, condition_views=views), encoder, RUNTIME, CPU)
        tokens = condition.tokens([condition.read(source, draws(1)) for source in sources], [False, True])
        lengths.append(tokens.shape[1])
        assert tokens[0].any() and not tokens[1].any()
        assert tokens.shape == (2, lengths[0] * views, tiny_data.WIDTH)


def test_texts_and_the_empty_text(data: Path, tmp_path: Path) -> None:
    write_clip(tmp_path / "clip")
    source = find_objects([data], [CAPTIONS], least_score=0, most_voxels=None)[0][0]
    condition = TextCondition(str(tmp_path / "clip"), RUNTIME, CPU)
    text = condition.read(source, draws(0))
    assert text == "a thing"
    said, dropped = condition.tokens([text, text], [False, True])
    assert torch.equal(dropped, condition.tokens([""], [False])[0]) and not torch.allclose(said, dropped)
    values = structure_flow({})
    values["dataset"] = {
        "name": "TextConditionedSparseStructureLatent",
        "args": {"latent_model": tiny_data.STRUCTURE_MODEL, "min_aesthetic_score": 0},
    }
    del values["trainer"]["args"]["image_cond_model"]
    values["trainer"]["name"] = "TextConditionedFlowMatchingCFGTrainer"
    values["trainer"]["args"]["text_cond_model"] = str(tmp_path / "clip")
    assert train_released(values, tmp_path / "run", [data], RUNTIME, RunOptions())
    assert (tmp_path / "run" / "denoiser.safetensors").is_file()


def test_draws_follow_from_step_and_index_alone(data: Path, encoder: dict[str, Any]) -> None:
    around = Surroundings(CPU, Processes(), None, RUNTIME, [data])
    stage: Any = create_released(parse_released(latent_flow(encoder)), around)
    again: Any = create_released(parse_released(latent_flow(encoder)), around)
    source = stage.objects[0]
    first, same = stage._sample(source, 3, 1), again._sample(source, 3, 1)
    assert torch.equal(first.noise, same.noise) and first.t == same.t and first.dropped == same.dropped
    assert torch.equal(first.condition, same.condition)
    for step, index in ((3, 2), (4, 1)):
        other = stage._sample(source, step, index)
        assert not torch.equal(first.noise, other.noise) and first.t != other.t
    assert abs(float(first.x0.mean())) < 1 and 0.5 < float(first.x0.std()) < 1.5  # by the stats.json beside them
    dropped = [stage._sample(source, step, 0).dropped for step in range(200)]
    assert 5 < sum(dropped) < 40


def test_voxels_of_another_grid_are_refused(data: Path) -> None:
    source = find_objects([data], [VOXELIZED], least_score=0, most_voxels=None)[0][0]
    assert int(read_occupancy(source, tiny_data.SIDE).sum()) == source.voxels
    with pytest.raises(InvalidInputError, match="no voxels of a grid of 16"):
        read_occupancy(source, 16)


def test_a_try_reads_everything_and_trains_nothing(data: Path, encoder: dict[str, Any], tmp_path: Path) -> None:
    assert train_released(structure_flow(encoder), tmp_path, [data], RUNTIME, RunOptions(tryrun=True))
    assert [path.name for path in tmp_path.iterdir()] == ["denoiser_model_summary.txt"]
    assert "blocks.0.self_attn.to_qkv.weight [96, 32] trained" in (tmp_path / "denoiser_model_summary.txt").read_text()
    assert train_released(structure_flow(encoder), tmp_path, [data], RUNTIME, RunOptions(profile=True))
    assert len(json.loads((tmp_path / "profile.json").read_text())["traceEvents"]) > 100
