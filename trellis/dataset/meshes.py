"""Mesh files as data and training read them: none that a licence keeps out of it."""

from pathlib import Path

from trellis.encoding.load import load_mesh
from trellis.encoding.source_mesh import SourceMesh
from trellis.errors import LicenceError
from trellis.families.registry import licences


def training_mesh(path: str | Path) -> SourceMesh:
    """A mesh file as `load_mesh` reads it; raises LicenceError where a model made it whose licence forbids this use."""
    mesh = load_mesh(path)
    refuse_marked(mesh.notice, Path(path))
    return mesh


def refuse_marked(notice: str, path: Path) -> None:
    """Raise LicenceError for a file with the notice of a model whose licence forbids to train with what it makes."""
    forbidding = [licence for licence in licences().values() if licence.notice == notice]
    if forbidding:
        raise LicenceError(
            f"{path.name} says {notice!r}: the {forbidding[0].title} forbids to train or improve models with it. "
            "Take it out of the data."
        )
