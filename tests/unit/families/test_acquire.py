"""Fetching models from a hub: resumed, checked, from the first place that has them, used offline afterwards."""

import dataclasses
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
from huggingface_hub import file_download

from tests.unit.families.hub_server import FakeHub, serving
from trellis.errors import Cancelled, FetchError, InvalidInputError
from trellis.families import download, registry
from trellis.families.acquire import U2NET, get_model, known_names, obtain_model
from trellis.families.catalogue import list_models, resolve_model
from trellis.families.download import RemoteFile, partial_path
from trellis.families.trellis_family import NANO_FOLDER, PUBLISHED, TRELLIS, network_stem
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
    description["args"]["image_cond_model"] = "dinov2_vitl14_reg"
    files = {"README.md": b"about", "pipeline.json": json.dumps(description).encode()}
    for number, stem in enumerate(description["args"]["models"].values()):
        files[f"{stem}.json"] = json.dumps({"name": stem}).encode()
        files[f"{stem}.safetensors"] = weights(number, 5_000_000 if stem + ".safetensors" == BIG else 3000)
    return files


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    one = dataclasses.replace(TRELLIS, published={MODEL: PUBLISHED[MODEL]})
    monkeypatch.setattr(registry, "FAMILIES", (one,))
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(file_download.constants, "DOWNLOAD_CHUNK_SIZE", 10 << 20)
    encoder = {"config.json": b"{}", "model.safetensors": weights(99, 4000), "pytorch_model.bin": weights(98, 4000)}
    with serving(FakeHub({SECOND: pipeline_files(), ENCODER: encoder})) as running:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", running.address)
        yield running


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    return Runtime(model_folder=tmp_path / "models")


def before_the_large_file(hub: FakeHub) -> list[str]:
    """Files of networks that are fetched before the large one."""
    paths = [path for path in hub.repositories[SECOND] if path.startswith("ckpts/")]
    return paths[: paths.index(BIG)]


def fetch(runtime: Runtime, progress: Progress | None = None) -> list[Path]:
    return get_model(MODEL, runtime=runtime, progress=progress)


def test_a_model_and_what_it_needs_from_the_second_place(hub: FakeHub, runtime: Runtime) -> None:
    told: list[StepInfo] = []
    assert runtime.model_folder is not None
    model, encoder = fetch(runtime, Progress(told.append))
    assert (model, encoder) == (runtime.model_folder / MODEL, runtime.model_folder / ENCODER)
    for path, content in hub.repositories[SECOND].items():
        assert (model / path).exists() == (path != "README.md"), path
        assert path == "README.md" or (model / path).read_bytes() == content
    assert sorted(file.name for file in encoder.iterdir()) == ["config.json", "model.safetensors"]
    assert not list(runtime.model_folder.rglob("*.part")) and not list(runtime.model_folder.rglob("*.new"))
    steps = [info for info in told if info.subject == MODEL]
    assert steps[-1].step == steps[-1].total == 5 and [s.step for s in steps] == sorted(s.step for s in steps)


def test_it_is_used_without_a_network_afterwards(hub: FakeHub, runtime: Runtime) -> None:
    fetch(runtime)
    offline = Runtime(offline=True, model_folder=runtime.model_folder)
    location = resolve_model(f"microsoft/{MODEL}", runtime=offline)
    assert len(location.describe().files) == len(hub.repositories[SECOND]) - 2  # all but README and description
    assert all(location.needed(file).is_file() for file in location.describe().files)
    entries = {entry.name: entry for entry in list_models(offline)}
    assert entries[FIRST].location == location.folder
    with pytest.raises(FetchError, match="offline"):
        get_model(MODEL, runtime=offline)


def test_nothing_is_fetched_twice(hub: FakeHub, runtime: Runtime) -> None:
    fetch(runtime)
    sent = hub.sent
    fetch(runtime)
    assert hub.sent - sent == len(hub.repositories[SECOND]["pipeline.json"])


@pytest.mark.parametrize("reset", [False, True])
def test_a_broken_connection_is_resumed(reset: bool, hub: FakeHub, runtime: Runtime) -> None:
    hub.reset = reset
    sizes = sum(len(content) for path, content in hub.repositories[SECOND].items() if path != "README.md")
    hub.cut = [10**9] * (1 + len(before_the_large_file(hub))) + [3_000_000]
    model, _ = fetch(runtime)
    [resumed] = [value for path, value in hub.asked if value]
    kept = int(resumed.removeprefix("bytes=").removesuffix("-"))
    assert 1_000_000 < kept <= 3_000_000  # a piece that was not whole is lost
    assert hub.sent == sizes + 2 + 4000 + (3_000_000 - kept)
    assert (model / BIG).read_bytes() == hub.repositories[SECOND][BIG]


def test_a_server_that_knows_no_ranges_sends_the_file_again(hub: FakeHub, runtime: Runtime) -> None:
    hub.refuse_ranges = True
    told: list[StepInfo] = []
    hub.cut = [10**9] * (1 + len(before_the_large_file(hub))) + [3_000_000]
    model, _ = fetch(runtime, Progress(told.append))
    assert any(value for _, value in hub.asked)
    assert [info.step for info in told if info.subject == MODEL][-1] == 5
    for path, content in hub.repositories[SECOND].items():
        assert path == "README.md" or (model / path).read_bytes() == content


def test_cancelled_and_gone_on_with(hub: FakeHub, runtime: Runtime) -> None:
    token = CancelToken()

    def listener(info: StepInfo) -> None:
        if info.step >= 2:
            token.cancel()

    with pytest.raises(Cancelled):
        fetch(runtime, Progress(listener, token))
    assert runtime.model_folder is not None
    part = partial_path(runtime.model_folder / MODEL / BIG)
    kept = part.stat().st_size
    assert 2_000_000 <= kept < 5_000_000
    assert MODEL not in {
        e.name.split("/")[-1] for e in list_models(Runtime(model_folder=runtime.model_folder)) if e.location
    }
    model, _ = fetch(runtime)
    assert f"bytes={kept}-" in [value for _, value in hub.asked]
    assert (model / BIG).read_bytes() == hub.repositories[SECOND][BIG]


@pytest.mark.parametrize("path", [BIG, "ckpts/slat_flow_model.json"])
def test_damaged_bytes_are_thrown_away(path: str, hub: FakeHub, runtime: Runtime) -> None:
    hub.corrupt = {path}
    with pytest.raises(FetchError, match="damaged"):
        fetch(runtime)
    assert runtime.model_folder is not None
    assert not (runtime.model_folder / MODEL / path).exists()
    assert not partial_path(runtime.model_folder / MODEL / path).exists()
    assert not (runtime.model_folder / MODEL / "pipeline.json").exists()
    hub.corrupt = set()
    fetch(runtime)


def test_a_file_that_was_damaged_on_the_disk_is_replaced(hub: FakeHub, runtime: Runtime) -> None:
    model, _ = fetch(runtime)
    (model / BIG).write_bytes(bytes(5_000_000))
    fetch(runtime)
    assert (model / BIG).read_bytes() == hub.repositories[SECOND][BIG]


def test_too_little_space_is_said_before_anything_large(
    hub: FakeHub, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(Path.cwd())._replace(free=download.SPARE + 1_000_000)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda place: usage)
    with pytest.raises(FetchError, match="Make room"):
        fetch(runtime)
    assert hub.sent == len(hub.repositories[SECOND]["pipeline.json"])


def test_a_network_of_another_repository(hub: FakeHub, runtime: Runtime) -> None:
    files = hub.repositories[SECOND]
    description = json.loads(files["pipeline.json"])
    stem = description["args"]["models"]["slat_decoder_gs"]
    description["args"]["models"]["slat_decoder_gs"] = f"someone/else/{stem}"
    files["pipeline.json"] = json.dumps(description).encode()
    hub.repositories["someone/else"] = {f"{stem}{end}": files.pop(f"{stem}{end}") for end in (".json", ".safetensors")}
    fetch(runtime)
    location = resolve_model(MODEL, runtime=Runtime(offline=True, model_folder=runtime.model_folder))
    network = network_stem(location, "slat_decoder_gs")
    assert network.with_suffix(".safetensors").read_bytes() == hub.repositories["someone/else"][f"{stem}.safetensors"]


def test_no_place_has_it(hub: FakeHub, runtime: Runtime) -> None:
    del hub.repositories[SECOND]
    with pytest.raises(FetchError) as caught:
        fetch(runtime)
    assert FIRST in str(caught.value) and SECOND in str(caught.value) and "mirror" in str(caught.value)


def test_unknown_name(runtime: Runtime) -> None:
    with pytest.raises(InvalidInputError) as caught:
        get_model("TRELLIS-huge", runtime=runtime)
    assert all(name in str(caught.value) for name in known_names())


def test_u2net_goes_to_where_rembg_looks(
    hub: FakeHub, runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "matting"))
    content = hub.repositories[ENCODER]["model.safetensors"]
    url = f"{hub.address}/{ENCODER}/resolve/abc/model.safetensors"
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    get_model(U2NET, runtime=runtime, u2net=RemoteFile(url, len(content), ("md5", digest)))
    assert (tmp_path / "matting" / "u2net.onnx").read_bytes() == content


def test_a_server_that_is_busy_is_asked_again(hub: FakeHub, runtime: Runtime) -> None:
    hub.busy = 2
    fetch(runtime)
    hub.busy = 3
    assert runtime.model_folder is not None
    shutil.rmtree(runtime.model_folder)
    with pytest.raises(FetchError, match=r"503.*start again"):
        fetch(runtime)


def test_no_network(hub: FakeHub, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        FetchError, match=r"cannot be had. The hub [^;]*cannot be reached:[^;]*HTTPS_PROXY[^;]*HF_ENDPOINT"
    ):
        fetch(runtime)


def test_any_model_of_the_hub_with_an_encoder_of_its_own(hub: FakeHub, runtime: Runtime) -> None:
    files = dict(hub.repositories[SECOND])
    description = json.loads(files["pipeline.json"])
    description["args"]["image_cond_model"] = {"path": "encoders/image", "image_size": 64}
    files["pipeline.json"] = json.dumps(description).encode()
    files["encoders/image/config.json"] = b"{}"
    hub.repositories["somebody/else"] = files
    location = obtain_model("somebody/else", runtime=runtime)
    assert runtime.model_folder is not None
    assert location.local == location.folder == runtime.model_folder / "somebody" / "else"
    assert (location.folder / "encoders" / "image" / "config.json").read_bytes() == b"{}"
    assert not (location.folder / "README.md").exists() and not (runtime.model_folder / ENCODER).exists()
    asked = len(hub.asked)
    assert obtain_model("somebody/else", runtime=runtime) == location and len(hub.asked) == asked


def test_what_another_program_left_in_the_cache_is_used(hub: FakeHub, runtime: Runtime, tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "models--jetx--TRELLIS-image-large"
    for path, content in {f"snapshots/abc/{path}": it for path, it in hub.repositories[SECOND].items()}.items():
        (cache / path).parent.mkdir(parents=True, exist_ok=True)
        (cache / path).write_bytes(content)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("abc")
    location = obtain_model(MODEL, runtime=runtime)
    assert location.folder == cache / "snapshots" / "abc" and hub.asked == []
    (cache / "snapshots" / "abc" / BIG).unlink()
    assert obtain_model(MODEL, runtime=runtime).folder != location.folder


def test_nothing_is_written_outside_of_the_models(hub: FakeHub, runtime: Runtime) -> None:
    files = hub.repositories[SECOND]
    description = json.loads(files["pipeline.json"])
    description["args"]["models"]["slat_decoder_gs"] = "../../stolen"
    files["pipeline.json"] = json.dumps(description).encode()
    files |= {"../../stolen.json": b"{}", "../../stolen.safetensors": b"?"}
    with pytest.raises(FetchError, match=r"no \.\./\.\./stolen.json"):
        fetch(runtime)


def test_the_command_takes_a_mirror_and_stays_offline(hub: FakeHub, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "trellis", "models", "get", "DINOv2"]
    online = {key: value for key, value in os.environ.items() if key not in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")}
    environment = online | {
        "HF_ENDPOINT": hub.address + "/",
        "TRELLIS_MODELS": str(tmp_path / "there"),
        "HF_HOME": str(tmp_path),
    }
    offline = subprocess.run(
        command, env=environment | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, timeout=120
    )
    assert offline.returncode == 1 and "offline mode" in offline.stderr and not hub.asked
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    content = (tmp_path / "there" / ENCODER / "model.safetensors").read_bytes()
    assert content == hub.repositories[ENCODER]["model.safetensors"]
