"""Several result files as one download: an OBJ with its material and pictures, or everything."""

import hashlib
import re
import shutil
import zipfile
from contextlib import suppress
from pathlib import Path

from trellis.app.generation import RESULT_NAME
from trellis.app.jobs import Job
from trellis.app.storage import storing
from trellis.atomic import written_aside
from trellis.errors import InvalidInputError

NUMBER = re.compile(r"_\d+$")  # of several files of a kind
# Kinds of files by bundle; the files themselves refer to each other by name.
BUNDLES: dict[str, tuple[str, ...] | None] = {
    "obj": ("obj", "mtl", "base_color", "normal_map", "map"),
    "all": None,  # every file
}
COMPRESSIBLE = (".obj", ".mtl", ".stl", ".ply")
REFERRING = (".obj", ".mtl")  # files with lines that begin with one of REFERENCES and the name of another file
REFERENCES = (b"mtllib", b"map_Kd", b"norm")


def bundled_files(view: Job, bundle: str) -> list[Path]:
    """The job's files that belong to `bundle`; raises InvalidInputError for an unknown one."""
    if bundle not in BUNDLES:
        raise InvalidInputError(f"Unknown bundle {bundle!r}; choose one of {', '.join(BUNDLES)}.")
    kinds = BUNDLES[bundle]
    return [path for kind, path in view.files.items() if kinds is None or NUMBER.sub("", kind) in kinds]


def bundle_file(view: Job, bundle: str) -> Path | None:
    """The zip archive of a bundle, made beside the files at the first call; None without its files.

    Its files are called like the job, with their endings, and refer to each other so. Raises StorageError.
    """
    files = bundled_files(view, bundle)
    if not files or (BUNDLES[bundle] is not None and bundle not in view.files):
        return None
    name = "_".join(Path(view.name).name.split()) or RESULT_NAME  # readers of material libraries stop at white space
    archive_path = files[0].with_name(f"{bundle}_files_{hashlib.sha256(name.encode()).hexdigest()[:8]}.zip")
    if not archive_path.is_file():
        for older in archive_path.parent.glob(f"{bundle}_files_*.zip"):  # of the job's earlier names
            with suppress(OSError):
                older.unlink()
        with storing(archive_path.parent), written_aside(archive_path) as aside, zipfile.ZipFile(aside, "w") as archive:
            for path in files:
                packed = path.suffix in COMPRESSIBLE
                kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
                own = path.name.startswith(RESULT_NAME)  # others came along with a mesh file
                inside = name + path.name.removeprefix(RESULT_NAME) if own else path.name
                if path.suffix not in REFERRING:
                    archive.write(path, inside, kind)
                    continue
                entry = zipfile.ZipInfo.from_file(path, inside)
                entry.compress_type = kind
                with path.open("rb") as source, archive.open(entry, "w") as target:
                    target.writelines(_renamed(line, name) for line in source)
        if not files[0].is_file():  # the job was deleted meanwhile, and its folder made again
            shutil.rmtree(archive_path.parent, ignore_errors=True)
            return None
    return archive_path


def _renamed(line: bytes, name: str) -> bytes:
    """A line of an OBJ or MTL file; one that names another file of the asset then names that of the bundle."""
    before, space, last = line.rpartition(b" ")
    if line.split(b" ", 1)[0] in REFERENCES and last.startswith(RESULT_NAME.encode()):
        return before + space + name.encode() + last.removeprefix(RESULT_NAME.encode())
    return line
