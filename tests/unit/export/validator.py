"""The Khronos glTF validator, where the tests' set-up has installed it."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from installer.checks import find_gltf_validator
from tests.contract.sources import ROOT

VALIDATOR = os.environ.get("TRELLIS_TEST_GLTF_VALIDATOR") or find_gltf_validator(ROOT)
WITHOUT_VALIDATOR = "the glTF validator is not installed; it needs Node.js and npm (./run.sh test installs it)"


def issues_of(data: bytes, folder: Path) -> dict[str, Any]:
    """What the validator has to say about a GLB file: counts by severity, and `messages`."""
    path = folder / "object.glb"
    path.write_bytes(data)
    node = shutil.which("node")
    assert node and VALIDATOR
    script = Path(__file__).with_name("gltf_validator.mjs")
    done = subprocess.run([node, script, VALIDATOR, path], capture_output=True, text=True, timeout=300, check=True)
    report = json.loads(done.stdout)
    assert (report["mime"], report["version"]) == ("model/gltf-binary", "2.0")
    issues: dict[str, Any] = report["issues"]
    return issues
