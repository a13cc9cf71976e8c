"""The step extract_feature of a data folder, with the published arguments; see docs/guide/dataset.md."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trellis.app.dataset_command import run_step

if __name__ == "__main__":
    sys.exit(run_step("extract_feature"))
