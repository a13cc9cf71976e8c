"""What opening a model and making an asset must not import: each costs a start part of a second."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_pipeline_imports_nothing_that_one_operation_alone_needs() -> None:
    late = ("warp", "scipy", "trimesh", "transformers", "torch._dynamo", "trellis.export.bake", "trellis.editing.edit")
    code = (
        "import sys, trellis.app.generation, trellis.opening, trellis.pipeline; "
        f"print([name for name in {late!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
