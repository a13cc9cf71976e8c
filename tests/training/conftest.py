from pathlib import Path
from typing import Any

import pytest

from tests.training import tiny_data
from tests.training.tiny import tiny_model, tiny_runs


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All stages of a tiny model, trained for a few steps; not to be written to."""
    return tiny_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def model(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny assembled model; not to be written to."""
    return tiny_model(runs, tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Arguments of a tiny image encoder."""
    return tiny_data.make_encoder(tmp_path_factory.mktemp("encoder"))
