"""Documents keep their word: commands start, links lead somewhere, the files that they name are there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import create_autospec

import pytest

from tests.contract import command_starter
from tests.contract.documents import HEADING, LINK, PROGRAM_FILE, anchors, blocks, commands, documents
from tests.contract.sources import ROOT, python_files
from tests.unit.test_asset import asset
from trellis import ImageTo3D

STARTERS = ("./run.sh", "run.bat")
OTHERS = ("make", "blender", "docker", "curl")  # that people have themselves
EXAMPLE_SCRIPT = "script.py"  # the reader's own
CITED = re.compile(r"(docs/[\w/-]+\.md)(?:, section (\d+))?")
JOURNAL = ROOT / "docs" / "journal"  # what was, not what is
ids = [path.relative_to(ROOT).as_posix() for path in documents()]


def without_settings(words: list[str]) -> list[str]:
    """A command without the variables that are set before it."""
    while re.match(r"\w+=", words[0]):
        words = words[1:]
    return words


def all_commands() -> list[list[str]]:
    return [without_settings(words) for path in documents() for words in commands(path)]


def test_commands_start() -> None:
    found = [words for words in all_commands() if words[0] in STARTERS or "reconstruct" in words[2:]]
    assert {words[1] for words in found if len(words) > 1} >= {"generate", "batch", "serve", "models", "train", "exec"}
    started = [words for words in found if words[1:2] not in (["test"], ["COMMAND"]) and EXAMPLE_SCRIPT not in words]
    # The bare name of a command speaks of it: what it needs is left out.
    started = [[*words, "--help"] if words[1:] in (["generate"], ["batch"]) else words for words in started]
    result = subprocess.run(
        [sys.executable, "-P", str(Path(command_starter.__file__))],
        input=json.dumps(started),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == {}


def test_python_example_uses_what_is_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As it stands, on a pipeline that only checks how it is called and on files that are not made."""
    [text] = blocks(ROOT / "docs" / "guide" / "command-line.md", "python")
    pipeline = create_autospec(ImageTo3D, instance=True)
    pipeline.return_value = asset()
    monkeypatch.setattr(ImageTo3D, "from_pretrained", create_autospec(ImageTo3D.from_pretrained, return_value=pipeline))
    named = lambda *_, options, **__: dict.fromkeys(options.formats, "written")  # noqa: E731
    monkeypatch.setattr("trellis.export.files.write_files", named)
    exec(text)
    assert capsys.readouterr().out.splitlines()[1:] == ["glb written", "ply written", "mp4 written"]
    [text] = blocks(ROOT / "docs" / "guide" / "editing.md", "python")
    exec(text)
    assert pipeline.edit.call_count == 2 and pipeline.edit.return_value.store.called


def test_files_that_commands_take_are_there() -> None:
    given = [word for words in all_commands() for word in words if re.match(r"(assets|configs|tests)/", word)]
    assert len(given) > 10
    assert [name for name in given if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", documents(), ids=ids)
def test_programs_run_inside_the_environment(path: Path) -> None:
    """A fresh clone has no torch outside of it: `./run.sh exec python ...`, never `python ...`."""
    found = [without_settings(words) for words in commands(path)]
    assert [words for words in found if words[0] not in (*STARTERS, *OTHERS) and words[:2] != ["python", "-c"]] == []
    unmarked = [block for block in blocks(path, "") if re.search(r"^\./run\.sh", block, re.MULTILINE)]
    assert unmarked == [], "commands stand in blocks of the language sh"


def test_other_programs_find_what_they_are_given() -> None:
    targets = set(re.findall(r"^([\w ]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    known = {name for line in targets for name in line.split()}
    for words in all_commands():
        if words[0] == "make":
            assert words[1] in known, words
        elif words[0] == "blender":
            assert (ROOT / words[words.index("--python") + 1]).is_file(), words


@pytest.mark.parametrize("path", documents(), ids=ids)
def test_links_lead_somewhere(path: Path) -> None:
    for link in LINK.findall(path.read_text(encoding="utf-8")):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("path", [p for p in documents() if JOURNAL not in p.parents], ids=str)
def test_named_files_are_there(path: Path) -> None:
    """By their place in the repository, or in the package."""
    for name in PROGRAM_FILE.findall(path.read_text(encoding="utf-8")):
        if "NAME" not in name:
            assert (ROOT / name).is_file() or (ROOT / "trellis" / name).is_file(), name


def test_every_document_is_in_the_list() -> None:
    listed = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    names = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert [name for name in names if name != "README.md" and f"({name})" not in listed] == []


def test_what_programs_cite_is_there() -> None:
    cited = 0
    for path in python_files("trellis", "extensions", "installer", "benchmarks"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r'\bspec (?:"|section)', text), f"{path}: cite a page of docs/"
        for page, section in CITED.findall(" ".join(text.split())):
            assert (ROOT / page).is_file(), f"{path}: {page}"
            titles = HEADING.findall((ROOT / page).read_text(encoding="utf-8"))
            assert not section or any(title.startswith(f"{section}. ") for title in titles), f"{path}: {section}"
            cited += bool(section)
    assert cited > 20
