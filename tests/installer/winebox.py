"""A Windows-like box (wine with a real Windows Python) in which run.bat is run; see `find`."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.contract.sources import ROOT

STUBS = Path(__file__).parent / "stubs"
PYTHON = "C:\\Python311"
OVERRIDES = "mscoree=;mshtml=;ucrtbase=n,b;certutil.exe=n,b"  # as the box has them, and a stub before wine's own
OWN = ".own"  # ends the name of a program of wine's while a stub is in its place
COMPILER = "x86_64-w64-mingw32-gcc"
# Left out of a copy of the program: what it makes itself, and what is not the program.
NOT_THE_PROGRAM = (".git", ".venv", ".state", ".*_cache", "__pycache__", "out", "outputs", "runs", "models_", "tests")


@dataclass(frozen=True)
class Winebox:
    """The box's script, its folder, and the folder that is seen as Z:\\host in it."""

    script: Path
    box: Path
    host: Path

    @property
    def drive_c(self) -> Path:
        return self.box / "root" / "root" / "pfx" / "drive_c"

    @property
    def system(self) -> Path:
        return self.drive_c / "windows" / "system32"

    def batch(
        self, folder: str, lines: str, *, path: str, timeout: float, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run lines of a batch file in a folder below `host`; `path` are folders that come first on the PATH."""
        text = "@echo off\r\n" + lines.replace("\n", "\r\n") + "\r\n"
        (self.host / folder / "test-commands.bat").write_text(text, encoding="ascii", newline="")
        settings = {"WINEPATH": path, "WINEDLLOVERRIDES": OVERRIDES, **(env or {})}
        exports = " ".join(f"export {name}='{value}';" for name, value in settings.items())
        command = f"cd '{folder}' && {exports} wine cmd /c test-commands.bat </dev/null"
        return subprocess.run(
            [str(self.script), "run", command],
            cwd=self.host,
            env={**os.environ, "WINEBOX": str(self.box)},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )

    def wait_for_the_end(self) -> None:
        """Return when no program of the box runs: its server knows one folder as Z:\\host only."""
        command = [str(self.script), "run", "wineserver -k; wineserver -w"]
        env = {**os.environ, "WINEBOX": str(self.box)}
        subprocess.run(command, cwd=self.host, env=env, timeout=60, check=False)

    def put_program(self, folder: str) -> Path:
        """Copy the program into a new folder below `host`."""
        place = self.host / folder
        shutil.copytree(ROOT, place, ignore=shutil.ignore_patterns(*NOT_THE_PROGRAM), symlinks=True)
        return place

    def put_stubs(self) -> Path:
        """Put programs that wine lacks where Windows has them; C:\\stubs has an empty folder for what they 'download'.

        Beside it are other programs of the same names, as Git for Windows brings some: they do nothing of use.
        """
        self.take_stubs()
        stubs = self.drive_c / "stubs"
        (stubs / "files").mkdir(parents=True)
        program = stubs / "stub.exe"
        options = ["-O2", "-s", "-municode", "-static"]
        subprocess.run([COMPILER, *options, "-o", str(program), str(STUBS / "stub.c")], check=True, timeout=60)
        for file in STUBS.glob("*.py"):
            shutil.copy(file, stubs)
            place = self.system / f"{file.stem}.exe"
            if place.exists():  # wine's own, which does little
                place.rename(place.with_suffix(OWN))
            shutil.copy(program, place)
            shutil.copy(self.system / "hostname.exe", stubs / f"{file.stem}.exe")
        return stubs

    def take_stubs(self) -> None:
        """Make the box as it was before `put_stubs`."""
        if not (self.drive_c / "stubs").exists():
            return
        for file in STUBS.glob("*.py"):
            place = self.system / f"{file.stem}.exe"
            place.unlink(missing_ok=True)
            if (own := place.with_suffix(OWN)).exists():
                own.rename(place)
        shutil.rmtree(self.drive_c / "stubs")


def find(host: Path) -> Winebox | str:
    """Return the box, or why there is none.

    TRELLIS_TEST_WINEBOX names the script (else ../shared/tools/winebox/winebox), WINEBOX the folder of the built box
    (else ~/.cache/winebox); `winebox build` makes it.
    """
    script = Path(os.environ.get("TRELLIS_TEST_WINEBOX") or ROOT.parent / "shared" / "tools" / "winebox" / "winebox")
    box = Path(os.environ.get("WINEBOX") or Path.home() / ".cache" / "winebox")
    if not script.is_file():
        return "there is no script winebox (TRELLIS_TEST_WINEBOX)"
    if not (box / "root" / ".ready").exists():
        return f"the wine box is not built: {script.name} build (needs root, mmdebstrap and mingw)"
    if os.geteuid() != 0:
        return "the wine box needs root"
    if shutil.which(COMPILER) is None:
        return f"{COMPILER} is not installed"
    return Winebox(script, box, host)
