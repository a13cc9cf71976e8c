"""The source files of the repository as syntax trees, for the tests that check the rules of the house."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("trellis", "installer", "extensions")
PROGRAMS = ("gradio_main.py", "train.py")


@cache
def syntax_tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """All nodes of a file's tree; to walk it takes longer than what most rules look for."""
    return tuple(ast.walk(syntax_tree(path)))


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def product_files() -> list[Path]:
    """All Python files of the program itself: the packages and the two programs at the top."""
    return python_files(*PACKAGES) + [ROOT / name for name in PROGRAMS if (ROOT / name).exists()]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imported_modules(path: Path) -> tuple[str, ...]:
    """Every module a file imports, also inside functions, with relative imports made absolute."""
    return tuple(_imported_modules(path))


def _imported_modules(path: Path) -> Iterator[str]:
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def needed_files(*programs: str) -> set[str]:
    """The files of the repository that programs import, directly and through each other; paths with slashes."""
    found: set[Path] = set()
    left = [ROOT / name for name in programs]
    while left:
        path = left.pop()
        if path in found:
            continue
        found.add(path)
        for module in imported_modules(path):
            parts = module.split(".")
            for length in range(1, len(parts) + 1):
                place = ROOT.joinpath(*parts[:length])
                left += [file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()]
    return {path.relative_to(ROOT).as_posix() for path in found}


def where(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', '?')}"
