"""Several result files as one download: an OBJ with its material and pictures, or everything."""

import shutil
import zipfile
from pathlib import Path

from trellis.app.jobs import Job
from trellis.app.storage import storing
from trellis.atomic import written_aside
from trellis.errors import InvalidInputError

# Kinds of files by bundle; the files themselves refer to each other by name.
BUNDLES: dict[str, tuple[str, ...] | None] = {
    "obj": ("obj", "mtl", "base_color", "normal_map"),
    "all": None,  # every file
}
COMPRESSIBLE = (".obj", ".mtl", ".stl", ".ply")


def bundled_files(view: Job, bundle: str) -> list[Path]:
    """The job's files that belong to `bundle`; raises InvalidInputError for an unknown one."""
    if bundle not in BUNDLES:
        raise InvalidInputError(f"Unknown bundle {bundle!r}; choose one of {', '.join(BUNDLES)}.")
    kinds = BUNDLES[bundle]
    return [path for kind, path in view.files.items() if kinds is None or kind in kinds]


def bundle_file(view: Job, bundle: str) -> Path | None:
    """The zip archive of a bundle, made beside the files at the first call; None without its files.

    Raises StorageError.
    """
    files = bundled_files(view, bundle)
    if not files or (BUNDLES[bundle] is not None and bundle not in view.files):
        return None
    archive_path = files[0].with_name(f"{bundle}_files.zip")
    if not archive_path.is_file():
        with storing(archive_path.parent), written_aside(archive_path) as aside, zipfile.ZipFile(aside, "w") as archive:
            for path in files:
                packed = path.suffix in COMPRESSIBLE
                archive.write(path, path.name, zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED)
        if not files[0].is_file():  # the job was deleted meanwhile, and its folder made again
            shutil.rmtree(archive_path.parent, ignore_errors=True)
            return None
    return archive_path
