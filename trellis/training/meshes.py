"""Mesh files as training and its measurements read them: none that a licence keeps out of it."""

from pathlib import Path

from trellis.encoding.load import load_mesh
from trellis.encoding.source_mesh import SourceMesh
from trellis.errors import LicenceError
from trellis.families.registry import licences


def training_mesh(path: str | Path) -> SourceMesh:
    """A mesh file as `load_mesh` reads it; raises LicenceError where a model made it whose licence forbids this use."""
    mesh = load_mesh(path)
    forbidding = [licence for licence in licences().values() if licence.notice == mesh.notice]
    if forbidding:
        raise LicenceError(
            f"{Path(path).name} says {mesh.notice!r}: the {forbidding[0].title} forbids to train or improve another "
            "model with it. Take it out of the data."
        )
    return mesh
