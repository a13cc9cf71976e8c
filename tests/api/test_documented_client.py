"""The examples of the guide's page on REST, as they stand there, on a server with a fake pipeline."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.conftest import Server
from tests.contract.documents import blocks
from tests.contract.sources import ROOT

PAGE = ROOT / "docs" / "guide" / "rest.md"
ADDRESS = "http://127.0.0.1:7960"
LINES = [line.split("  #")[0] for block in blocks(PAGE, "sh") for line in block.splitlines() if line.startswith("curl")]


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run in a folder that has the examples where the repository has them."""
    (folder / "assets").mkdir(exist_ok=True)
    if not (folder / "assets" / "example_image").exists():
        shutil.copytree(ROOT / "assets" / "example_image", folder / "assets" / "example_image")
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_python(server: Server, tmp_path: Path) -> None:
    [text] = blocks(PAGE, "python")
    assert ADDRESS in text
    result = run([sys.executable, "-c", text.replace(ADDRESS, f"http://127.0.0.1:{server.port}")], tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "asset.glb").stat().st_size > 0 and (tmp_path / "asset.ply").is_file()
    assert "done 100%" in result.stdout and "glb asset.glb" in result.stdout


def test_python_says_what_is_wrong(server: Server, tmp_path: Path) -> None:
    [text] = blocks(PAGE, "python")
    wrong = text.replace(ADDRESS, f"http://127.0.0.1:{server.port}").replace('"quality": "draft"', '"quality": "none"')
    result = run([sys.executable, "-c", wrong], tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("quality must be one of")


@pytest.mark.skipif(os.name == "nt" or shutil.which("curl") is None, reason="curl is not here")
def test_curl(server: Server, tmp_path: Path) -> None:
    """From the submission to the deletion, in the order of the page; `JOB` is the id of the first answer."""
    assert len(LINES) == 7
    job, answers = "", {}
    # Other files are asked for while the asset is there: before the job is deleted.
    for line in sorted(LINES, key=lambda line: "-X DELETE" in line):
        if "/files/" in line:
            finished = answers["events"]
            assert '"state":"done"' in finished and "asset.glb" in finished
        command = line.replace(ADDRESS, f"http://127.0.0.1:{server.port}").replace("/JOB", f"/{job}")
        result = run(
            ["sh", "-c", command.replace("curl ", "curl --fail-with-body --silent --show-error ", 1)], tmp_path
        )
        assert result.returncode == 0, (line, result.stdout, result.stderr)
        answers[re.sub(r".*/", "", line.strip())] = result.stdout
        job = job or json.loads(result.stdout)["id"]
    assert (tmp_path / "asset.glb").is_file()
    assert json.loads(answers["files"])["state"] in ("queued", "running", "done")
