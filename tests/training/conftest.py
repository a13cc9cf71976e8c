from pathlib import Path

import pytest

from tests.training.tiny import tiny_model, tiny_runs


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All stages of a tiny model, trained for a few steps; not to be written to."""
    return tiny_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def model(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny assembled model; not to be written to."""
    return tiny_model(runs, tmp_path_factory.mktemp("models") / "tiny")
