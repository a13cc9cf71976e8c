"""Batches: every picture gets its turn and its line in the manifest, whatever happens to the others."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.unit.app.process_fakes import Control
from trellis.app.batch import DONE, FAILED, MANIFEST_FILE, WAITING, WORK_FOLDER, Batch, BatchItem, find_pictures
from trellis.app.executor import Executor
from trellis.app.presets import PRESETS
from trellis.app.request import GenerationRequest, read_request
from trellis.app.worker_process import PipelineSource, WorkerProcess
from trellis.errors import Cancelled, InvalidInputError
from trellis.progress import CancelToken, StepInfo

Make = Callable[..., Batch]


@pytest.fixture
def control(tmp_path: Path) -> Control:
    folder = tmp_path / "control"
    folder.mkdir()
    return Control(folder)


@pytest.fixture
def options(control: Control) -> dict[str, str]:
    """What the pipeline is opened with."""
    return {"folder": str(control.file.parent), "model": "fake"}


@pytest.fixture
def process(options: dict[str, str]) -> Iterator[WorkerProcess]:
    process = WorkerProcess(PipelineSource("tests.unit.app.process_fakes:open_pipeline", options), patience=2)
    yield process
    process.close()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "사진 & more"
    folder.mkdir()
    for index, name in enumerate(("a.png", "b.jpg", "c.png")):
        Image.new("RGB", (16, 16), (index * 40, 0, 0)).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture
def make(pictures: Path, tmp_path: Path, process: WorkerProcess) -> Make:
    def make(items: list[BatchItem] | None = None, **request: object) -> Batch:
        items = items or find_pictures([pictures], tmp_path / "out")
        chosen = GenerationRequest(formats=("glb",), **request)
        return Batch(
            items, tmp_path / "out", request=chosen, model="fake", executor=Executor([process]), writers=Executor([])
        )

    return make


def run(batch: Batch) -> list[str]:
    return [batch.carry_out(item).state for item in batch.remaining()]


def stop_at(stage: str, cancel: CancelToken) -> Callable[[StepInfo], None]:
    return lambda info: cancel.cancel() if info.stage == stage else None


def read(batch: Batch) -> dict:
    return json.loads(batch.manifest.read_text(encoding="utf-8"))


def test_every_picture_becomes_an_asset_of_its_name(make: Make, tmp_path: Path) -> None:
    batch = make(seed=7)
    assert read(batch)["counts"] == {DONE: 0, FAILED: 0, WAITING: 3}
    assert run(batch) == [DONE] * 3
    record = read(batch)
    assert record["counts"] == {DONE: 3, FAILED: 0, WAITING: 0} and record["request"]["seed"] == 7
    assert [asset["name"] for asset in record["assets"]] == ["a", "b", "c"]
    for asset in record["assets"]:
        made = tmp_path / "out" / asset["files"]["glb"]["path"]
        assert made == tmp_path / "out" / f"{asset['name']}.glb"
        assert made.stat().st_size == asset["files"]["glb"]["bytes"] > 0
    assert {path.name for path in (tmp_path / "out").iterdir()} - {WORK_FOLDER} == {
        "a.glb",
        "b.glb",
        "c.glb",
        MANIFEST_FILE,
    }


def test_what_is_done_is_not_made_again(make: Make, control: Control, pictures: Path, tmp_path: Path) -> None:
    run(make())
    assert make().remaining() == []
    Image.new("RGB", (16, 16), "blue").save(pictures / "b.jpg")
    (tmp_path / "out" / "c.glb").unlink()
    assert [item.name for item in make().remaining()] == ["b", "c"]
    assert len(make(seed=1).remaining()) == 3
    made = control.lines().count("structure 1")
    assert run(make()) == [DONE, DONE]
    assert control.lines().count("structure 1") == made + 2
    assert make().remaining() == []


@pytest.mark.parametrize("fault", ["input", "error", "memory", "exit", "kill", "segfault"])
def test_one_bad_picture_never_stops_the_others(fault: str, make: Make, control: Control) -> None:
    batch = make()
    first, second, third = batch.remaining()
    assert batch.carry_out(first).state == DONE
    control.set(stage="latent", step=2, fault=fault)
    entry = batch.carry_out(second)
    assert entry.state == FAILED and entry.message and "Traceback" not in entry.message
    control.set()
    assert batch.carry_out(third).state == DONE
    assert [asset["state"] for asset in read(batch)["assets"]] == [DONE, FAILED, DONE]
    assert read(batch)["assets"][1]["message"] == entry.message
    again = make()
    assert [item.name for item in again.remaining()] == ["b"]
    assert run(again) == [DONE]


def test_a_picture_that_is_gone_fails_alone(make: Make, pictures: Path) -> None:
    batch = make()
    (pictures / "a.png").unlink()
    assert run(batch) == [FAILED, DONE, DONE]
    assert "a.png" in read(batch)["assets"][0]["message"]


def test_a_cancelled_batch_goes_on_without_sampling_again(make: Make, control: Control) -> None:
    control.set(stage="texture", step=2, fault="wait")
    batch = make()
    cancel = CancelToken()
    with pytest.raises(Cancelled):
        batch.carry_out(batch.remaining()[0], on_step=stop_at("texture", cancel), cancel=cancel)
    assert read(batch)["assets"][0]["state"] == WAITING
    sampled = control.lines().count("structure 1")
    control.set()
    again = make()
    assert again.carry_out(again.remaining()[0]).state == DONE
    assert control.lines().count("structure 1") == sampled == 1


def test_another_request_never_takes_what_an_interrupted_one_left(make: Make, control: Control, tmp_path: Path) -> None:
    control.set(stage="texture", step=2, fault="wait")
    batch = make(seed=3)
    cancel = CancelToken()
    with pytest.raises(Cancelled):
        batch.carry_out(batch.remaining()[0], on_step=stop_at("texture", cancel), cancel=cancel)
    control.set()
    again = make(seed=4)
    assert again.carry_out(again.remaining()[0]).state == DONE
    assert (tmp_path / "out" / "a.glb").read_bytes().startswith(b"glTF 4")


def test_entries_of_other_pictures_stay(make: Make, pictures: Path) -> None:
    batch = make()
    run(batch)
    other = make([BatchItem(pictures / "a.png", "other")])
    assert run(other) == [DONE]
    assert [asset["name"] for asset in read(other)["assets"]] == ["a", "b", "c", "other"]
    assert [entry.name for entry in other.entries] == ["other"]


@pytest.mark.parametrize(
    "content", ["", "{}", '{"format": "another"}', '{"format": "trellis batch 1", "assets": [{}]}']
)
def test_a_manifest_that_is_none_is_left_alone(content: str, make: Make, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / MANIFEST_FILE).write_text(content)
    with pytest.raises(InvalidInputError, match="another folder"):
        make()
    assert (tmp_path / "out" / MANIFEST_FILE).read_text() == content


def test_names_below_folders_and_of_a_list(tmp_path: Path) -> None:
    results = tmp_path / "pictures" / "out"
    for name in ("a.png", "A.jpg", "sub/a.png", "sub/deep/b.webp", ".hidden/x.png", "out/map.png", "text.txt"):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    flat = find_pictures([tmp_path / "pictures"], results)
    assert [item.picture.name for item in flat] == ["A.jpg", "a.png"]
    assert len({item.name.casefold() for item in flat}) == 2 and all(i.name.lower().startswith("a_") for i in flat)
    deep = find_pictures([tmp_path / "pictures"], results, recursive=True)
    assert [item.name for item in deep][2:] == ["sub/a", "sub/deep/b"] and len(deep) == 4
    listed = find_pictures([tmp_path / "pictures/text.txt", tmp_path / "pictures/sub/a.png"], results)
    assert [item.name for item in listed] == ["text", "a"]  # a file that is named is taken as it is


def test_photographs_of_phones_are_pictures(tmp_path: Path) -> None:
    (tmp_path / "IMG_1.HEIC").touch()
    assert [item.name for item in find_pictures([tmp_path], tmp_path / "out")] == ["IMG_1"]


def test_sources_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="missing"):
        find_pictures([tmp_path / "missing"], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInputError, match="No picture"):
        find_pictures([tmp_path / "empty"], tmp_path / "out")
    with pytest.raises(InvalidInputError, match="another folder"):
        find_pictures([tmp_path / "empty"], tmp_path / "empty")


def test_the_manifest_says_how_each_asset_was_made(
    options: dict[str, str], process: WorkerProcess, pictures: Path, tmp_path: Path, control: Control
) -> None:
    options["preset"] = "auto"  # which turns out to be "minimal"
    items = find_pictures([pictures], tmp_path / "out")[:1]
    request = read_request({"preset": "auto", "formats": ["glb"]})

    def start() -> Batch:
        return Batch(
            items, tmp_path / "out", request=request, model="fake", executor=Executor([process]), writers=Executor([])
        )

    batch = start()
    assert run(batch) == [DONE]
    [asset] = read(batch)["assets"]
    assert asset["plan"]["preset"] == "minimal"
    assert asset["plan"]["memory_plan"] == dataclasses.asdict(PRESETS["minimal"].plan)
    assert asset["request"]["preview_size"] == 256 and "video of 60 frames, 256 px" in control.lines()
    assert read_request(asset["request"]).formats == ("glb",)
    assert start().remaining() == [] and read(batch)["assets"] == [asset]
