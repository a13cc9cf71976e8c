"""A small world for run.sh and the real uv: empty wheels, indexes in folders, and a program that needs them."""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.contract.sources import ROOT

UV = ROOT / ".state" / "uv"
FOLDER = "새 폴더 & go!"


def find_uv() -> str | None:
    """The uv that run.sh has brought for this program, or the one that TRELLIS_UV names."""
    places = [os.environ.get("TRELLIS_UV", ""), str(UV / "uv"), str(UV / "bin" / "uv")]
    return next((place for place in places if place and Path(place).is_file()), None)


def put_wheel(folder: Path, name: str, version: str, *, needs: Sequence[str] = (), files: Sequence[str] = ()) -> Path:
    """Write a wheel for any machine whose module says its version."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{name.replace('-', '_')}-{version}"
    path = folder / f"{stem}-py3-none-any.whl"
    info = f"{stem}.dist-info"
    requires = "".join(f"Requires-Dist: {need}\n" for need in needs)
    contents = {
        f"{name.replace('-', '_')}/__init__.py": f'__version__ = "{version}"\n',
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **dict.fromkeys(files, "#!/bin/sh\n"),
    }
    record = ""
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in contents.items():
            archive.writestr(file, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{file},sha256={digest},{len(text)}\n"
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return path


@dataclass(frozen=True)
class World:
    """`root` is the program's folder; `index` holds wheels as the package index does, `torch` as PyTorch's does."""

    root: Path
    uv: str

    @property
    def place(self) -> Path:
        return self.root.parent

    def offer(self, index: str, name: str, version: str, *, needs: Sequence[str] = ()) -> Path:
        """Put a wheel into the index of that name."""
        return self.offer_file(index, name, put_wheel(self.place / "files", name, version, needs=needs))

    def offer_file(self, index: str, name: str, wheel: Path) -> Path:
        folder = self.place / index / name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(wheel, folder)
        links = "".join(f'<a href="{file.name.replace("+", "%2B")}">{file.name}</a>\n' for file in folder.glob("*.whl"))
        (folder / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>")
        return folder / wheel.name

    def environment(self, **more: str) -> dict[str, str]:
        """No network; pip's own configuration names the package index."""
        names = ("PATH", "LANG", "LC_ALL", "TMPDIR")
        configuration = self.place / "pip.conf"
        configuration.write_text(f"[global]\nindex-url = {(self.place / 'index').as_uri()}\n")
        return {
            **{name: os.environ[name] for name in names if name in os.environ},
            "HOME": str(self.place),
            "PIP_CONFIG_FILE": str(configuration),
            "TRELLIS_UV": self.uv,
            "TRELLIS_TORCH_INDEX": "http://127.0.0.1:9/whl",  # nothing answers there
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_PYTHON": os.path.realpath(sys.executable),
            **more,
        }

    def run(self, *arguments: str, root: Path | None = None, **more: str) -> tuple[int, str]:
        """Exit status and output of run.sh."""
        result = subprocess.run(
            ["bash", str((root or self.root) / "run.sh"), *arguments],
            cwd=self.place,
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return result.returncode, result.stdout

    def version(self, module: str, *, root: Path | None = None) -> str | None:
        """What a module of the environment says of itself, None where it is not there."""
        found = list(((root or self.root) / ".venv" / "lib").glob(f"python3.*/site-packages/{module}/__init__.py"))
        return found[0].read_text().split('"')[1] if found else None


def make_world(place: Path, uv: str) -> World:
    """A program that needs torch and two packages, and an index whose torch brings CUDA packages, as on Linux."""
    world = World(place / FOLDER, uv)
    world.root.mkdir(parents=True)
    shutil.copy(ROOT / "run.sh", world.root)
    shutil.copytree(
        ROOT / "installer", world.root / "installer", ignore=shutil.ignore_patterns("__pycache__", "windows")
    )
    (world.root / "requirements_1.txt").write_text("torch==2.13.0\n")
    (world.root / "requirements_2.txt").write_text("apple==1.0\nwarp-lang==1.19.0\n")
    (world.root / "requirements_cluster.txt").write_text("ray==1.0\n")
    (world.root / "trellis").mkdir()
    (world.root / "trellis" / "__main__.py").write_text("import sys, torch, apple; print('made', sys.argv[1:])\n")
    world.offer("index", "torch", "2.13.0", needs=["nvidia-cublas"])
    world.offer("index", "nvidia-cublas", "13.0")
    world.offer("index", "apple", "1.0", needs=["torch"])
    for version in ("1.17.0", "1.19.0"):
        world.offer("index", "warp-lang", version)
    return world
