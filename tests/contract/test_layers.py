"""Lower layers never import higher ones, siblings not each other, and the installer only the standard library."""

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.contract.sources import ROOT, imported_modules, module_name, python_files

# From the lowest to the highest; the members of one row do not import each other (the first row's may).
LAYERS = (
    ("errors", "stages", "progress", "runtime", "atomic", "late_import", "options"),
    ("geometry",),
    ("ops",),
    ("sparse",),
    ("nn",),
    ("models", "conditioning", "sampling", "representations"),
    ("families",),
    ("rendering",),
    ("export", "encoding"),
    ("memory", "kept"),
    ("asset", "conditions"),
    ("model_stages", "shape_stages"),
    ("editing", "retexturing"),
    ("opening",),
    ("pipeline",),
    ("shape_pipeline",),
    ("dataset",),
    ("training",),
    ("app",),
    ("cli",),
)
LEVEL = {name: level for level, row in enumerate(LAYERS) for name in row}
TOP = ("trellis", "trellis.__main__")  # the package's front door and `python -m trellis` may import anything


def part(module: str) -> str | None:
    """The layer's name of a module of the library, None for a module of something else."""
    names = module.split(".")
    return names[1] if names[0] == "trellis" and len(names) > 1 and names[1] in LEVEL else None


def broken_rules(importer: str, imported: str) -> str | None:
    """Say which rule an import breaks, if any."""
    lower, higher = part(importer), part(imported)
    if lower is None or higher is None or lower == higher:
        return None
    if LEVEL[higher] > LEVEL[lower]:
        return f"{importer} (layer {lower}) imports {imported} of the higher layer {higher}"
    if LEVEL[higher] == LEVEL[lower] and LEVEL[lower] > 0:
        return f"{importer} imports its sibling {imported}"
    return None


def test_layers() -> None:
    files = python_files("trellis")
    assert len(files) > 50
    found = [
        rule
        for path in files
        if module_name(path) not in TOP
        for imported in imported_modules(path)
        if (rule := broken_rules(module_name(path), imported))
    ]
    assert found == []


def import_graph() -> dict[str, set[str]]:
    """The files of the library that each imports, for types alone and inside functions too."""
    modules = {module_name(path): path for path in python_files("trellis")}
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        found = {full if full in modules else full.rpartition(".")[0] for full in imported_modules(path)}
        graph[name] = (found & modules.keys()) - {name}
    return graph


def test_files_import_each_other_in_no_circle() -> None:
    graph = import_graph()
    assert len(list(TopologicalSorter(graph).static_order())) == len(graph) > 200  # or CycleError, which names it


def test_every_module_has_a_layer() -> None:
    names = {module_name(path).split(".")[1] for path in python_files("trellis") if path.parent != ROOT / "trellis"}
    names |= {path.stem for path in (ROOT / "trellis").glob("*.py")} - {"__init__", "__main__"}
    assert names <= set(LEVEL)


def test_page_and_interface_do_not_import_each_other() -> None:
    for one, other in (("ui", "api"), ("api", "ui")):
        for path in python_files(f"trellis/app/{one}"):
            assert not [name for name in imported_modules(path) if name.startswith(f"trellis.app.{other}")], path


def test_installer_needs_only_the_standard_library() -> None:
    files = python_files("installer")
    assert len(files) > 5
    for path in files:
        tops = {name.split(".")[0] for name in imported_modules(path)}
        assert tops <= set(sys.stdlib_module_names) | {"installer"}, path


def test_nothing_of_the_program_imports_tests_or_the_installer() -> None:
    for path in python_files("trellis", "extensions"):
        assert not {name.split(".")[0] for name in imported_modules(path)} & {"tests", "installer", "benchmarks"}, path


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("trellis.nn.blocks", "trellis.sparse.tensor", True),
        ("trellis.runtime", "trellis.errors", True),
        ("trellis.models.structure_flow", "trellis.sampling.euler", False),
        ("trellis.geometry.cameras", "trellis.ops", False),
        ("trellis.pipeline", "trellis.app.engine", False),
        ("trellis.rendering.mesh", "trellis.representations.mesh", True),
        ("trellis.rendering.mesh", "trellis.export.glb", False),
        ("trellis.encoding.load", "trellis.export.glb", False),
        ("trellis.training.data", "trellis.encoding.load", True),
        ("trellis.families.location", "huggingface_hub", True),
    ],
)
def test_the_rule_itself(importer: str, imported: str, allowed: bool) -> None:
    assert (broken_rules(importer, imported) is None) == allowed


def test_relative_imports_are_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.contract.sources.ROOT", tmp_path)
    path = tmp_path / "trellis" / "nn" / "blocks.py"
    path.parent.mkdir(parents=True)
    path.write_text("from ..models import flow\nfrom . import norm\nimport numpy\n")
    assert imported_modules(path) == ("trellis.models.flow", "trellis.nn.norm", "numpy")
    assert isinstance(ast.parse(path.read_text()), ast.Module)
