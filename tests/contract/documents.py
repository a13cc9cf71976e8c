"""What the documents hold: commands, links, headings and names of files."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from tests.contract.sources import ROOT

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
LINK = re.compile(r"\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
PROGRAM_FILE = re.compile(r"(?<![\w./~-])(?:[\w-]+/)+\w+\.(?:py|sh|bat)\b")
# A span of text is a command if it begins like one; a command's name alone is none.
COMMAND = re.compile(r"(?:\w+=\S+ )*(?:\./run\.sh|run\.bat|python3?|pytest|make|blender|docker|curl) \S")


def documents() -> list[Path]:
    return [ROOT / "README.md", ROOT / "installer" / "windows" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return [text for kind, text in FENCE.findall(path.read_text(encoding="utf-8")) if kind == language]


def commands(path: Path) -> Iterator[list[str]]:
    """The words of every command: lines of `sh` blocks, spans that begin like one, run.bat's lines of a transcript."""
    for block in blocks(path, "sh"):
        yield from filter(None, (shlex.split(line, comments=True) for line in block.replace("\\\n", " ").splitlines()))
    for block in blocks(path, ""):
        lines = re.findall(r"^> (run\.bat\b.*?)(?: {2,}\(.*)?$", block, re.MULTILINE)
        yield from (shlex.split(line, posix=False) for line in lines)
    for span in SPAN.findall(without_blocks(path)):
        text = " ".join(span.split())
        if COMMAND.match(text):
            yield shlex.split(text, comments=True)


def without_blocks(path: Path) -> str:
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """The names by which links reach a document's headings."""
    titles = HEADING.findall(without_blocks(path))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
