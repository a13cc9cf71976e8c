"""A folder of wheels for machines without a network: gathered where there is one, checked by hash elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import unquote

from installer import requirements
from installer.environment import Uv
from installer.errors import InstallError
from installer.plan import Plan
from installer.state import GROUPS

LISTING = "trellis-wheels.txt"  # exact versions with their hashes; written last
AGAIN = "Make the folder again with: setup --download FOLDER"


def _header(root: Path, build: str) -> str:
    return f"# build {build}, requirements {requirements.files_hash(*(root / name for name in GROUPS['main']))}\n"


def download(uv: Uv, plan: Plan, root: Path, folder: Path) -> None:
    """Put every package of a plan into `folder`, and uv; can be interrupted and started again. Raises InstallError."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LISTING).unlink(missing_ok=True)
    listing, overrides = folder / "listing.part", folder / "overrides.part"
    overrides.write_text("".join(f"{line}\n" for line in (plan.torch, *plan.replacements)), encoding="utf-8")
    version = uv.ask("--version").stdout.split()[1]
    files = [str(root / name) for name in GROUPS["main"]]
    options = ["--quiet", "--no-annotate", "--no-header", "--generate-hashes", "--only-binary", ":all:", *plan.options]
    options += ["--python", sys.executable, "--overrides", str(overrides), "--output-file", str(listing)]
    uv.run("pip", "compile", *options, *files)
    pip = [*uv.PIP, "download", "--dest", str(folder), "--no-deps", "--only-binary", ":all:"]
    index = ["--extra-index-url", plan.index] if plan.index else []
    uv.run(*pip, *index, "-r", str(listing))
    uv.run(*pip, "--quiet", f"uv=={version}")
    text = _header(root, plan.build) + listing.read_text(encoding="utf-8")
    if " @ " in plan.torch:  # the place of a wheel on this machine
        text = text.replace(plan.torch, "torch==" + unquote(plan.torch).rpartition("/")[2].split("-")[1])
    for part in (listing, overrides):
        part.unlink()
    listing.write_text(text, encoding="utf-8")
    listing.replace(folder / LISTING)
    sizes = [path.stat().st_size for path in folder.glob("*.whl")]
    print(f"{len(sizes)} files, {sum(sizes) / 1e6:.0f} MB. Install from them with: setup --offline {folder}")


def read_build(root: Path, folder: Path) -> str:
    """Return the build of torch that a folder holds; raises InstallError where it is not of this program's version."""
    try:
        header = (folder / LISTING).read_text(encoding="utf-8").partition("\n")[0] + "\n"
    except OSError as error:
        raise InstallError(f"{folder} is no complete folder of packages: {LISTING} is missing. {AGAIN}") from error
    build = header.removeprefix("# build ").partition(",")[0]
    if header != _header(root, build):
        raise InstallError(f"{folder} is of another version of the program. {AGAIN}")
    return build
