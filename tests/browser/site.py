"""A page over a fake pipeline that writes real files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.unit.app.engines import start_engine
from tests.unit.app.fakes import FakePipeline
from trellis.app.engine import UPLOADS
from trellis.app.jobs import JobState
from trellis.app.model_choices import ModelChoice
from trellis.app.ui.page import create_page
from trellis.app.ui.web import create_app
from trellis.runtime import ModelFiles

COLORS = ((214, 69, 65), (63, 140, 203), (88, 164, 92))


class Site:
    """A served page with its engine and fake pipeline."""

    def __init__(
        self,
        folder: Path,
        pictures: list[Path],
        models: Sequence[ModelChoice] = (),
        files: ModelFiles | None = None,
    ) -> None:
        self.pipeline = FakePipeline(step_seconds=0.1)
        self.setups: list[dict[str, Any]] = []
        self.folder = folder
        self.engine = start_engine(
            self._load,
            folder,
            model="nano",
            models=[choice.name for choice in models],
            texts=[choice.name for choice in models if choice.takes_text],
            to_fetch=[choice.name for choice in models if choice.fetch_bytes],
        )
        page = create_page(self.engine, examples=pictures, machine="CPU · float32", models=models, files=files)
        self.app = create_app(self.engine, page, examples=pictures)
        self.address = ""

    def _load(self, **setup: Any) -> FakePipeline:
        self.setups.append(setup)
        return self.pipeline

    @property
    def job_folders(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if path.name != UPLOADS)

    def states(self) -> list[JobState]:
        return [self.engine.view(folder.name).state for folder in self.job_folders]
