"""One seed gives one asset, a cancelled run leaves nothing, and networks go when they are told to."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.e2e.conftest import FAST, MODEL, STEPS, Result, make_asset
from tests.unit.export.shapes import sphere
from trellis import ImageTo3D, Runtime
from trellis.errors import Cancelled
from trellis.memory import MemoryPlan, ModelHost, _Network
from trellis.progress import Progress, StepInfo


def test_the_seed_decides_every_byte(pipeline: ImageTo3D, picture: Path, result: Result, tmp_path: Path) -> None:
    again = make_asset(pipeline, picture, seed=1).save(tmp_path / "same", **FAST)
    for kind in ("glb", "ply"):
        assert again[kind].read_bytes() == result.files[kind].read_bytes(), kind
    other = pipeline(picture, seed=2, structure_steps=STEPS, latent_steps=STEPS, representations=("gaussians",))
    files = other.save(tmp_path / "other", formats=["ply"], **FAST)
    assert files["ply"].read_bytes() != result.files["ply"].read_bytes()


class Recorder:
    """Notes every step, and wishes for the end of the work at the step number `stop_at` (from 1)."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.steps: list[StepInfo] = []
        self.stop_at = stop_at
        self.progress = Progress(self.note)

    def note(self, step: StepInfo) -> None:
        self.steps.append(step)
        if len(self.steps) == self.stop_at:
            self.progress.cancel.cancel()


def generate(pipeline: ImageTo3D, picture: Path, progress: Progress) -> None:
    pipeline(picture, structure_steps=2, latent_steps=2, progress=progress)


def test_a_generation_can_be_cancelled_at_every_step(pipeline: ImageTo3D, picture: Path) -> None:
    whole = Recorder()
    generate(pipeline, picture, whole.progress)
    assert {step.stage for step in whole.steps} == {"prepare", "encode", "structure", "latent", "decode"}
    assert len(whole.steps) == 1 + 1 + 2 + 2 + 2
    for number in range(1, len(whole.steps)):
        stopped = Recorder(number)
        with pytest.raises(Cancelled):
            generate(pipeline, picture, stopped.progress)
        assert stopped.steps == whole.steps[:number]


def differing(steps: Sequence[StepInfo]) -> list[int]:
    """Numbers (from 1) of all steps, of a stage's many like steps (the views of a texture) only the ends and middle."""
    return [
        number
        for number, step in enumerate(steps, start=1)
        if step.total <= 8 or step.step in (1, step.total // 2, step.total)
    ]


def test_saving_can_be_cancelled_at_every_step_and_leaves_no_file(result: Result, tmp_path: Path) -> None:
    cloud = result.asset.gaussians
    assert cloud is not None
    tensors = {name: value for name, value in vars(cloud).items() if isinstance(value, torch.Tensor)}
    few = replace(cloud, **{name: value[::50] for name, value in tensors.items()})
    asset = replace(result.asset, mesh=sphere(2), gaussians=few)  # small: it is saved many times
    whole = Recorder()
    asset.save(tmp_path / "whole", progress=whole.progress, **FAST)
    assert {step.stage for step in whole.steps} >= {"export", "preview"}
    assert len(list((tmp_path / "whole").iterdir())) == 3
    folder = tmp_path / "stopped"
    for number in differing(whole.steps[:-1]):
        stopped = Recorder(number)
        with pytest.raises(Cancelled):
            asset.save(folder, progress=stopped.progress, **FAST)
        assert stopped.steps == whole.steps[:number]
        assert list(folder.rglob("*")) == []


def test_a_cancelled_save_keeps_an_older_result(result: Result, tmp_path: Path) -> None:
    older = {tmp_path / f"asset.{kind}": kind.encode() for kind in ("glb", "ply", "mp4")}
    for path, content in older.items():
        path.write_bytes(content)
    with pytest.raises(Cancelled):
        result.asset.save(tmp_path, progress=Recorder(3).progress, **FAST)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*")} == older


class Moves:
    """Which networks were lent and where each was moved to, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, host: ModelHost) -> None:
        self.moves: dict[str, list[str]] = {}
        move = _Network.move

        def record(network: _Network, device: torch.device) -> None:
            role = next(role for role, known in host._networks.items() if known is network)
            self.moves.setdefault(role, []).append(str(device))
            move(network, device)

        monkeypatch.setattr(_Network, "move", record)


def offloading(device: str) -> ImageTo3D:
    runtime = Runtime(device=torch.device(device), offline=True)
    return ImageTo3D.from_pretrained(MODEL, runtime=runtime, plan=MemoryPlan(residency="offload"))


def test_offload_takes_every_network_back_after_its_use(
    picture: Path, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = offloading("cpu:0")
    moves = Moves(monkeypatch, pipeline.host).moves
    asset = make_asset(pipeline, picture, seed=1)
    assert len(moves) == 6  # image encoder, two flows, structure decoder, Gaussian and mesh decoder
    assert all(places == ["cpu:0", "cpu"] for places in moves.values())
    assert torch.equal(asset.coords, result.asset.coords) and torch.equal(asset.latent, result.asset.latent)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_offload_leaves_nothing_on_the_gpu(picture: Path) -> None:
    pipeline = offloading("cuda")
    before = torch.cuda.memory_allocated()
    asset = make_asset(pipeline, picture, seed=1)
    assert asset.gaussians is not None and asset.latent.is_cuda
    for network in pipeline.host._networks.values():
        assert {tensor.device.type for tensor in network.model.state_dict().values()} == {"cpu"}
    del asset
    assert torch.cuda.memory_allocated() - before < 2**20
