"""What belongs to one family of models stays with it."""

import ast
import subprocess
import sys
from pathlib import Path

from tests.contract.sources import ROOT, imported_modules, nodes, python_files, where

# The TRELLIS family's own: what reads and writes its description file, and the training of its networks.
OWN = ("trellis/models/pipeline_config.py", "trellis/families/trellis_family.py", "trellis/training/")
# What is there for every family.
SHARED = ("trellis/families", "trellis/app")


def documentation(path: Path) -> set[ast.AST]:
    """The texts that stand by themselves."""
    return {node.value for node in nodes(path) if isinstance(node, ast.Expr)}


def test_only_its_family_asks_for_a_description_file() -> None:
    found, own = [], []
    for path in python_files("trellis", "docker", "benchmarks", "installer"):
        texts = documentation(path)
        named = [
            where(path, node)
            for node in nodes(path)
            if (isinstance(node, ast.Constant) and "pipeline.json" in str(node.value) and node not in texts)
            or (isinstance(node, (ast.Name, ast.alias)) and "PIPELINE_FILE" in ast.unparse(node))
        ]
        (own if path.relative_to(ROOT).as_posix().startswith(OWN) else found).extend(named)
    assert found == [] and len(own) > 5


def test_what_every_family_uses_knows_none() -> None:
    """The registry alone names families; they are opened by their openers."""
    private = {"trellis.pipeline", "trellis.families.trellis_family", "trellis.models.pipeline_config"}
    for path in python_files(*SHARED):
        name = path.relative_to(ROOT).as_posix()
        if name not in (*OWN, "trellis/families/registry.py"):
            found = {module for module in imported_modules(path) for known in private if module.startswith(known)}
            assert not found, (name, found)


def test_asking_for_models_needs_no_networks() -> None:
    code = (
        "import sys, trellis.app.model_choices, trellis.families.acquire as a, trellis.runtime as r\n"
        "trellis.app.model_choices.offered_models('nano', r.ModelFiles(offline=True)); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "False"
