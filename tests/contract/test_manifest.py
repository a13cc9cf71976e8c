"""Every released network, made on the meta device, matches its checkpoint key for key, shape for shape."""

import json
from pathlib import Path

import pytest
import torch

from trellis.models import create_model

MANIFEST = json.loads((Path(__file__).parents[1] / "parity/data/manifest.json").read_text())


@pytest.mark.parametrize("name", MANIFEST)
def test_network_matches_released_checkpoint(name):
    entry = MANIFEST[name]
    with torch.device("meta"):
        model = create_model(entry["class"], entry["args"])
    ours = {key: [str(t.dtype).removeprefix("torch."), list(t.shape)] for key, t in model.state_dict().items()}
    assert ours == entry["state_dict"]
    assert sum(t.numel() for t in model.parameters()) == entry["parameters"]
    assert sum(t.numel() * t.element_size() for t in model.state_dict().values()) == entry["tensor_bytes"]


@pytest.mark.parametrize("name", MANIFEST)
def test_arguments_survive_a_round_trip(name):
    entry = MANIFEST[name]
    with torch.device("meta"):
        model = create_model("Elastic" + entry["class"], entry["args"])
    assert type(model.config).from_args(model.config.to_args()) == model.config
