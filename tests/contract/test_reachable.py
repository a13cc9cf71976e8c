"""Everything in `trellis` is entered by a command, the page, the interface or training."""

import ast
import re
from collections import Counter
from pathlib import Path

from tests.contract.sources import ROOT, needed_files, nodes, python_files, syntax_tree

PROGRAMS = (
    "trellis/__init__.py",  # from Python
    "trellis/__main__.py",
    "gradio_main.py",
    "train.py",
    "dataset_toolkits/published.py",
    "docker/reconstruct.py",
    "trellis/app/worker.py",
    "trellis/app/picture_worker.py",
    "trellis/app/view_worker.py",
    "trellis/export/native_worker.py",
    "trellis/training/nano.py",
    "trellis/training/assemble.py",
    "trellis/training/evaluate.py",
    "trellis/training/furniture.py",
    "trellis/training/practice.py",
    "trellis/training/evaluate_retexture.py",
    "trellis/training/evaluate_edits.py",
    "trellis/training/worst.py",
    "trellis/training/procedural/examples.py",
)
NOT_YET_NAMES = {"on_device"}  # a network lent by itself is for callers from Python


def used_names(paths: list[Path]) -> Counter[str]:
    """How often each name is used in files: as a name, an attribute, an import or a word of a text."""
    used: Counter[str] = Counter()
    for path in paths:
        for node in nodes(path):
            if isinstance(node, ast.Name):
                used[node.id] += 1
            elif isinstance(node, ast.Attribute):
                used[node.attr] += 1
            elif isinstance(node, ast.ImportFrom) and path.name != "__init__.py":
                used.update(alias.name for alias in node.names)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and ":" in node.value:
                used.update(re.findall(r":(\w+)", node.value))  # "module:function"
    return used


def defined_names(path: Path) -> list[str]:
    """The functions and classes of a file and the methods of its classes, without what Python or pydantic call."""
    found = []
    for node in syntax_tree(path).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and not node.decorator_list:
            found.append(node.name)
        if isinstance(node, ast.ClassDef):
            found += [
                method.name
                for method in node.body
                if isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef)) and not method.name.startswith("__")
                if not any(ast.unparse(call).startswith("model_validator(") for call in method.decorator_list)
            ]
    return found


def entered_files() -> set[str]:
    """What the programs import, and what those files name in texts (modules that are imported by name)."""
    programs = set(PROGRAMS)
    while True:
        needed = needed_files(*sorted(programs))
        named = {
            word.replace(".", "/") + ".py"
            for name in needed
            for node in nodes(ROOT / name)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
            for word in re.findall(r"trellis(?:\.\w+)+", node.value)
        }
        more = {name for name in named if (ROOT / name).is_file()} - programs
        if not more:
            return needed
        programs |= more


def test_every_file_is_entered() -> None:
    needed = entered_files()
    files = [path.relative_to(ROOT).as_posix() for path in python_files("trellis")]
    assert len(needed) > 200
    assert [name for name in files if name not in needed] == []


def test_every_function_and_class_is_used() -> None:
    programs = [
        *python_files("trellis", "docker", "extensions", "benchmarks", "dataset_toolkits"),
        ROOT / "gradio_main.py",
    ]
    used = used_names([*programs, ROOT / "train.py"])
    unused = [
        f"{path.relative_to(ROOT).as_posix()}: {name}"
        for path in python_files("trellis")
        for name in defined_names(path)
        if used[name] == 0 and name not in NOT_YET_NAMES
    ]
    assert unused == []
