"""Fetching models from a hub: resumed, checked, from the first place that has them, used offline afterwards."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.models.hub_server import FakeHub, serving
from trellis.errors import Cancelled, CheckpointError, InvalidInputError
from trellis.models import acquire, download, list_models, resolve_model
from trellis.models.acquire import NAMES, RECORD_FILE, U2NET, get_model
from trellis.models.download import RemoteFile, partial_path
from trellis.models.hub import NANO_FOLDER
from trellis.progress import CancelToken, Progress, StepInfo
from trellis.runtime import Runtime

MODEL = "TRELLIS-image-large"
FIRST, SECOND = "microsoft/TRELLIS-image-large", "jetx/TRELLIS-image-large"
ENCODER = "facebook/dinov2-with-registers-large"
BIG = "ckpts/slat_flow_model.safetensors"


def weights(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def pipeline_files() -> dict[str, bytes]:
    """A published model of the right shape: the embedded model's description, networks of random bytes."""
    description = json.loads((NANO_FOLDER / "pipeline.json").read_text(encoding="utf-8"))
    files = {"README.md": b"about", "pipeline.json": json.dumps(description).encode()}
    for number, stem in enumerate(description["args"]["models"].values()):
        files[f"{stem}.json"] = json.dumps({"name": stem}).encode()
        files[f"{stem}.safetensors"] = weights(number, 5_000_000 if stem + ".safetensors" == BIG else 3000)
    return files


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setattr(acquire, "PUBLISHED", {MODEL: acquire.PUBLISHED[MODEL]})
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    encoder = {"config.json": b"{}", "model.safetensors": weights(99, 4000), "pytorch_model.bin": weights(98, 4000)}
    with serving(FakeHub({SECOND: pipeline_files(), ENCODER: encoder})) as running:
        yield running


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    return Runtime(model_folder=tmp_path / "models")


def fetch(hub: FakeHub, runtime: Runtime, progress: Progress | None = None) -> list[Path]:
    return get_model(MODEL, runtime=runtime, endpoint=hub.address + "/", progress=progress)


def test_a_model_and_what_it_needs_from_the_second_place(hub: FakeHub, runtime: Runtime) -> None:
    told: list[StepInfo] = []
    assert runtime.model_folder is not None
    model, encoder = fetch(hub, runtime, Progress(told.append))
    assert (model, encoder) == (runtime.model_folder / MODEL, runtime.model_folder / ENCODER)
    for path, content in hub.repositories[SECOND].items():
        assert (model / path).exists() == (path != "README.md"), path
        assert path == "README.md" or (model / path).read_bytes() == content
    assert sorted(file.name for file in encoder.iterdir()) == ["config.json", "model.safetensors", RECORD_FILE]
    assert json.loads((model / RECORD_FILE).read_text())["repository"] == SECOND
    assert not list(runtime.model_folder.rglob("*.part")) and not list(runtime.model_folder.rglob("*.new"))
    steps = [info for info in told if info.stage.endswith(MODEL)]
    assert steps[-1].step == steps[-1].total == 5 and [s.step for s in steps] == sorted(s.step for s in steps)


def test_it_is_used_without_a_network_afterwards(hub: FakeHub, runtime: Runtime) -> None:
    fetch(hub, runtime)
    offline = Runtime(offline=True, model_folder=runtime.model_folder)
    location = resolve_model(f"microsoft/{MODEL}", runtime=offline)
    for role in location.config.models:
        assert all(path.is_file() for path in location.network(role))
    entries = {entry.name: entry for entry in list_models(offline)}
    assert entries[FIRST].location == location.folder
    with pytest.raises(CheckpointError, match="offline"):
        get_model(MODEL, runtime=offline, endpoint=hub.address)


def test_nothing_is_fetched_twice(hub: FakeHub, runtime: Runtime) -> None:
    fetch(hub, runtime)
    sent = hub.sent
    fetch(hub, runtime)
    assert hub.sent - sent == len(hub.repositories[SECOND]["pipeline.json"])


def test_a_broken_connection_is_resumed(hub: FakeHub, runtime: Runtime) -> None:
    sizes = sum(len(content) for path, content in hub.repositories[SECOND].items() if path != "README.md")
    hub.cut = [10**9, 10**9, 100]  # in the first large file
    model, _ = fetch(hub, runtime)
    assert [value for _, value in hub.asked if value] == ["bytes=100-"]
    assert hub.sent == sizes + 2 + 4000
    assert (model / BIG).read_bytes() == hub.repositories[SECOND][BIG]


def test_a_server_that_knows_no_ranges_sends_the_file_again(hub: FakeHub, runtime: Runtime) -> None:
    hub.refuse_ranges = True
    hub.cut = [10**9, 10**9, 100]
    model, _ = fetch(hub, runtime)
    for path, content in hub.repositories[SECOND].items():
        assert path == "README.md" or (model / path).read_bytes() == content


def test_cancelled_and_gone_on_with(hub: FakeHub, runtime: Runtime) -> None:
    token = CancelToken()

    def listener(info: StepInfo) -> None:
        if info.step >= 2:
            token.cancel()

    with pytest.raises(Cancelled):
        fetch(hub, runtime, Progress(listener, token))
    assert runtime.model_folder is not None
    part = partial_path(runtime.model_folder / MODEL / BIG)
    kept = part.stat().st_size
    assert 2_000_000 <= kept < 5_000_000
    assert MODEL not in {
        e.name.split("/")[-1] for e in list_models(Runtime(model_folder=runtime.model_folder)) if e.location
    }
    model, _ = fetch(hub, runtime)
    assert f"bytes={kept}-" in [value for _, value in hub.asked]
    assert (model / BIG).read_bytes() == hub.repositories[SECOND][BIG]


@pytest.mark.parametrize("path", [BIG, "ckpts/slat_flow_model.json"])
def test_damaged_bytes_are_thrown_away(path: str, hub: FakeHub, runtime: Runtime) -> None:
    hub.corrupt = {path}
    with pytest.raises(CheckpointError, match="damaged"):
        fetch(hub, runtime)
    assert runtime.model_folder is not None
    assert not (runtime.model_folder / MODEL / path).exists()
    assert not partial_path(runtime.model_folder / MODEL / path).exists()
    assert not (runtime.model_folder / MODEL / "pipeline.json").exists()
    hub.corrupt = set()
    fetch(hub, runtime)


def test_a_file_that_was_damaged_on_the_disk_is_replaced(hub: FakeHub, runtime: Runtime) -> None:
    model, _ = fetch(hub, runtime)
    (model / BIG).write_bytes(bytes(5_000_000))
    fetch(hub, runtime)
    assert (model / BIG).read_bytes() == hub.repositories[SECOND][BIG]


def test_too_little_space_is_said_before_anything_large(
    hub: FakeHub, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(Path.cwd())._replace(free=download.SPARE + 1_000_000)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda place: usage)
    with pytest.raises(CheckpointError, match="Make room"):
        fetch(hub, runtime)
    assert hub.sent == len(hub.repositories[SECOND]["pipeline.json"])


def test_a_network_of_another_repository(hub: FakeHub, runtime: Runtime) -> None:
    files = hub.repositories[SECOND]
    description = json.loads(files["pipeline.json"])
    stem = description["args"]["models"]["slat_decoder_gs"]
    description["args"]["models"]["slat_decoder_gs"] = f"someone/else/{stem}"
    files["pipeline.json"] = json.dumps(description).encode()
    hub.repositories["someone/else"] = {f"{stem}{end}": files.pop(f"{stem}{end}") for end in (".json", ".safetensors")}
    fetch(hub, runtime)
    location = resolve_model(MODEL, runtime=Runtime(offline=True, model_folder=runtime.model_folder))
    _, network = location.network("slat_decoder_gs")
    assert network.read_bytes() == hub.repositories["someone/else"][f"{stem}.safetensors"]


def test_no_place_has_it(hub: FakeHub, runtime: Runtime) -> None:
    del hub.repositories[SECOND]
    with pytest.raises(CheckpointError) as caught:
        fetch(hub, runtime)
    assert FIRST in str(caught.value) and SECOND in str(caught.value) and "mirror" in str(caught.value)


def test_unknown_name(runtime: Runtime) -> None:
    with pytest.raises(InvalidInputError) as caught:
        get_model("TRELLIS-huge", runtime=runtime)
    assert all(name in str(caught.value) for name in NAMES)


def test_u2net_goes_to_where_rembg_looks(
    hub: FakeHub, runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "matting"))
    content = hub.repositories[ENCODER]["model.safetensors"]
    url = f"{hub.address}/{ENCODER}/resolve/abc/model.safetensors"
    get_model(U2NET, runtime=runtime, u2net=RemoteFile("u2net.onnx", url, len(content)))
    assert (tmp_path / "matting" / "u2net.onnx").read_bytes() == content
