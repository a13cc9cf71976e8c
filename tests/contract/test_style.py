"""Rules of the house that ruff does not know."""

import ast
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.contract.sources import ROOT, nodes, product_files, python_files, where

BANNED_NAMES = {"utils", "util", "common", "misc", "helpers", "helper"}
LONGEST_FILE = 450  # "under about 400 lines"
LONGEST_FUNCTION = 65  # "under about 50 lines"
ENVIRONMENT = {"environ", "getenv", "putenv", "environb"}
RUNTIME = ROOT / "trellis" / "runtime.py"
CAPTURES = ROOT / "trellis" / "ops" / "captures.py"
PRINTING = {
    ROOT / "trellis" / name for name in ("cli.py", "app/dataset_command.py", "app/edit_commands.py", "app/terminal.py")
}
Nodes = Sequence[ast.AST]


def prints(nodes: Nodes) -> list[ast.AST]:
    return [
        node
        for node in nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]


def environment_uses(nodes: Nodes) -> list[ast.AST]:
    found: list[ast.AST] = []
    for node in nodes:
        if isinstance(node, ast.Attribute) and node.attr in ENVIRONMENT:
            found.append(node)
        if isinstance(node, ast.ImportFrom) and node.module == "os" and {a.name for a in node.names} & ENVIRONMENT:
            found.append(node)
    return found


def accelerators(nodes: Nodes) -> list[ast.AST]:
    """Where code works on one accelerator alone: `torch.cuda`, `tensor.cuda()`, a device of that name as a string."""
    return [
        node
        for node in nodes
        if (isinstance(node, ast.Attribute) and node.attr == "cuda")
        or (isinstance(node, ast.Constant) and re.fullmatch(r"(cuda|mps)(:\d+)?", str(node.value)))
    ]


def broad_handlers(nodes: Nodes) -> list[ast.AST]:
    """Bare handlers and handlers of Exception or BaseException that do not raise again."""
    found: list[ast.AST] = []
    for node in nodes:
        if not isinstance(node, ast.ExceptHandler):
            continue
        types = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        broad = any(t is None or (isinstance(t, ast.Name) and t.id in ("Exception", "BaseException")) for t in types)
        if broad and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node)):
            found.append(node)
    return found


CHECKS = {
    "print": prints,
    "the environment": environment_uses,
    "an accelerator": accelerators,
    "a broad exception handler": broad_handlers,
}
BAD = {
    "print": "print(1)",
    "the environment": "import os\nx = os.environ['A']",
    "an accelerator": "x = tensor.to('cuda:0')",
    "a broad exception handler": "try:\n    x()\nexcept Exception:\n    pass",
}


def is_exempt(path: Path, rule: str) -> bool:
    if rule == "print":
        return path in PRINTING
    if rule == "an accelerator":
        return path in (RUNTIME, CAPTURES)
    return rule == "the environment" and path == RUNTIME


@pytest.mark.parametrize("rule", CHECKS)
def test_library_keeps_the_rule(rule: str) -> None:
    files = [path for path in python_files("trellis", "extensions") if not is_exempt(path, rule)]
    assert len(files) > 50
    assert [where(path, node) for path in files for node in CHECKS[rule](nodes(path))] == []


@pytest.mark.parametrize("rule", CHECKS)
def test_the_check_finds_what_it_looks_for(rule: str) -> None:
    assert CHECKS[rule](list(ast.walk(ast.parse(BAD[rule]))))
    assert not CHECKS[rule](list(ast.walk(ast.parse('"""cuda, print(1), os.environ"""\nx = 1\n'))))


def test_programs_and_installer_have_no_broad_handlers() -> None:
    assert [where(path, node) for path in product_files() for node in broad_handlers(nodes(path))] == []


def test_no_star_imports() -> None:
    stars = [
        where(path, node)
        for path in product_files()
        for node in nodes(path)
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
    ]
    assert stars == []


def test_file_names() -> None:
    banned = [path for path in [*product_files(), *python_files("tests")] if path.stem in BANNED_NAMES]
    assert banned == []


def test_files_and_functions_are_short() -> None:
    long: list[str] = []
    for path in product_files():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > LONGEST_FILE:
            long.append(f"{path.relative_to(ROOT)}: {lines} lines")
        for node in nodes(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    long.append(f"{where(path, node)} {node.name}: {length} lines")
    assert long == []


def test_committed_files_name_no_machine_paths() -> None:
    """Nobody's home directory, and no place of one machine, in a text file of the repository."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    places = ["/" + name + "/" for name in ("root", "work", "tmp/dev")]
    text_files = (".py", ".md", ".toml", ".txt", ".sh", ".bat", ".json", ".cfg", ".yaml", ".yml")
    found = []
    for name in listing.stdout.decode().split("\0"):
        path = ROOT / name
        if not name.endswith(text_files) or not path.is_file() or path == Path(__file__):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{name}: {place}" for place in places if place in text]
    assert found == []
