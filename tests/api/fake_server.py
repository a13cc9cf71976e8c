"""A server of its own process, on fake generations: `python -m tests.api.fake_server FOLDER PORT`."""

import sys
from pathlib import Path

import uvicorn

from tests.unit.app.engines import fake_source, start_workers
from tests.unit.app.waiting import PATIENCE
from trellis.app.api.application import create_api
from trellis.app.api.settings import ApiSettings
from trellis.app.logs import configure_logging
from trellis.app.picture_reader import PictureReader


def main() -> None:
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    configure_logging()
    engine = start_workers([fake_source(folder)], folder / "jobs")
    engine.pictures = PictureReader(engine.uploads, time_limit=PATIENCE)  # a machine under load is slow
    try:
        uvicorn.run(create_api(engine, ApiSettings()), port=port, log_level="warning", access_log=False)
    finally:
        engine.close()


if __name__ == "__main__":
    main()
