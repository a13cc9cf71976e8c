"""Real meshes as data: variants of one, their turn among the families, and which models only measure."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trellis.dataset.layout import VOXELIZED
from trellis.dataset.local import file_sha
from trellis.dataset.records import KEY, PLACE
from trellis.errors import InvalidInputError
from trellis.training.config import DataConfig, TrainConfig
from trellis.training.data import MESHES, chunk_place, sample_chunk, training_families, without
from trellis.training.furniture import FREE, is_held_out, main
from trellis.training.held_out import FINE, KNOWN, LEFT_OUT, held_out_sets
from trellis.training.mesh_data import VIEWS, mesh_chunk
from trellis.training.pool import chunk_path
from trellis.training.procedural import HELD_OUT_SEEDS, VOXEL_FEATURES
from trellis.training.procedural.generic import KINDS
from trellis.training.stages import flow_data

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[2]
CRATE = ROOT / "tests" / "unit" / "dataset" / "models" / "crate" / "crate.obj"


def test_variants_of_a_mesh(tmp_path: Path) -> None:
    """VIEWS + 2 places of a chunk hold two variants, with the features of their voxels; a seed gives them again."""
    table = f"{KEY},{PLACE},{VOXELIZED}\n{'0' * 64},{CRATE},True\n{'1' * 64},damaged.obj,\n"
    (tmp_path / "metadata.csv").write_text(table)
    shape = {"chunk": VIEWS + 2, "detailed": VIEWS + 1, "pictures": 1, "picture_size": 24, "resolution": 8}
    config = DataConfig(**shape, meshes=str(tmp_path))
    chunk, again = (mesh_chunk(config, 5, CPU, samples=1, photographs=0.5) for _ in range(2))
    assert all(torch.equal(chunk[key], again[key]) for key in chunk)
    dense, pictures, features = chunk["dense"], chunk["pictures"], chunk["voxel_features"]
    assert dense.shape == (VIEWS + 2, 8, 8, 8) and pictures.shape == (VIEWS + 2, 1, 3, 24, 24)
    assert torch.equal(dense[0], dense[VIEWS - 1]) and not torch.equal(dense[0], dense[VIEWS])
    assert features.shape == (int(dense[: VIEWS + 1].sum()), VOXEL_FEATURES.size)
    last = features[int(dense[: VIEWS - 1].sum()) : int(dense[:VIEWS].sum())]
    assert torch.equal(features[: int(dense[0].sum())], last)
    assert len({picture.numpy().tobytes() for picture in pictures}) == VIEWS + 2, "each is seen from elsewhere"
    assert all(int(picture.max()) > 40 for picture in pictures)


def test_meshes_take_turns_and_kinds_are_left_out() -> None:
    config = DataConfig(families=("mug", "letter", "sign"), chunk=2, meshes="somewhere")
    turns = [("mug", 0), ("letter", 0), ("sign", 0), (MESHES, 0), ("mug", 1)]
    assert [chunk_place(config, number) for number in range(5)] == turns
    with pytest.raises(InvalidInputError, match=r"data\.meshes"):
        sample_chunk(config, 3, CPU)
    left = without(config, ["letters", MESHES])
    assert training_families(left) == ["mug"] and not left.meshes
    assert torch.equal(sample_chunk(left, 1, CPU).seeds, sample_chunk(config, 4, CPU).seeds), "other kinds do not count"
    assert chunk_path(Path(), left, 1) == chunk_path(Path(), config, 4) != chunk_path(Path(), left, 0)
    assert chunk_path(Path(), config, 3) != chunk_path(Path(), replace(config, meshes="elsewhere"), 3)
    assert training_families(without(config, ["families"])) == ["letter", "sign"]
    assert set(KINDS["stacks"]).isdisjoint(training_families(without(DataConfig(), ["stacks"])))
    with pytest.raises(InvalidInputError, match="submarine"):
        training_families(without(config, ["submarine"]))


def test_chunks_of_meshes_are_begun_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They take longest: of two processes each begins with one, and all chunks are made once."""
    data = DataConfig(objects=16, families=("mug", "sign", "letter"), chunk=2, meshes="somewhere")
    config = TrainConfig(stage="flows", models={}, data=data)
    made: list[int] = []
    monkeypatch.setattr(flow_data, "source_chunks", lambda *args, **options: made.append)
    for part in range(2):
        flow_data.make_source_chunks(config, tmp_path, part=part, parts=2, device=CPU)
    assert made[0] == 3 and made[4] == 7 and sorted(made) == list(range(8))


def test_held_out_sets_are_fixed_and_no_configuration_trains_on_the_families_left_out() -> None:
    sets = list(held_out_sets(known=200, left_out=20, fine=40))
    assert [(one.group, len(one.seeds)) for one in sets] == [
        ("held_out", 200), *[("left_out_family", 20)] * 5, ("fine_patterns", 40)
    ]  # fmt: skip
    assert all(int(one.seeds.min()) >= HELD_OUT_SEEDS.start for one in sets)
    assert sets[0].programs == KNOWN and [one.programs for one in sets[1:6]] == [(name,) for name in LEFT_OUT]
    assert sets[6].programs == (FINE,) and int(sets[1].seeds[0]) == HELD_OUT_SEEDS.start + (1 << 20)
    for path in (ROOT / "configs" / "nano").rglob("*.json"):
        values = json.loads(path.read_text())
        assert "stage" not in values or set(LEFT_OUT) <= set(values["data"]["hold_out"]), path


def library(path: Path, models: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in models.items():
            archive.writestr(f"things/{name}/{name}.obj", text)


def test_furniture_is_sorted_by_hash_and_licence(tmp_path: Path) -> None:
    """Held-out models of both libraries are for tests; of the others only CC0 ones are known, the truck never."""
    texts = {f"m{index}": f"v 0 0 {index}\nv 1 0 0\nv 0 1 0\nf 1 2 3\n" for index in range(30)}
    package, single = tmp_path / "package", tmp_path / "one.obj"
    package.mkdir()
    held = set()
    for name, text in texts.items():
        single.write_text(text)
        if is_held_out(file_sha(single)):
            held.add(name)
    assert held and len(held) < len(texts)
    kept = next(text for name, text in texts.items() if name not in held)
    library(package / FREE, texts | {"truck": kept})
    library(package / "Scopia.sh3f", texts)
    assert main(["--package", str(package), "--output", str(tmp_path / "out")]) == 0
    found = {kind: {path.stem for path in (tmp_path / "out" / kind).rglob("*.obj")} for kind in ("known", "test")}
    assert found == {"known": set(texts) - held, "test": held}
    assert {path.name for path in (tmp_path / "out" / "test").iterdir()} == {Path(FREE).stem, "Scopia"}
    assert main(["--package", str(tmp_path), "--output", str(tmp_path / "out")]) == 1
