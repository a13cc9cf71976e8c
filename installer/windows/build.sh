#!/usr/bin/env bash
# Makes dist/TRELLIS.exe (the launcher) and dist/TRELLIS-desktop-setup.exe on Linux (`make windows`).
#
# Needs makensis (Debian: nsis), pip, git, and a Windows Python 3.11 with Tcl/Tk that runs under wine:
#   WINDOWS_RUN      what runs a Windows command line in the current folder (default: wine cmd /c)
#   WINDOWS_PYTHON   that Python (default: C:\Python311\python.exe)
#   HOST_PYTHON      a Python with pip (default: python3)
# Nothing is installed into either Python. A launcher that is newer than its sources is not made again.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)"
HERE="$ROOT/installer/windows"
BUILD="$ROOT/build/windows"
DIST="$ROOT/dist"
RUN="${WINDOWS_RUN:-wine cmd /c}"
WINDOWS_PYTHON="${WINDOWS_PYTHON:-C:\\Python311\\python.exe}"
HOST_PYTHON="${HOST_PYTHON:-python3}"
VERSION="$(sed -n 's/^version = "\(.*\)"$/\1/p' "$ROOT/pyproject.toml")"
MOST_LAUNCHER=15000000 MOST_SETUP=60000000

need() {
    command -v "$1" >/dev/null || { echo "$1 is missing: $2" >&2; exit 1; }
}

# The tools: PyInstaller's Windows wheels, unpacked beside the build.
fetch_pyinstaller() {
    if ! [ -f "$BUILD/tools/.complete" ]; then
        rm -rf "$BUILD/tools"
        "$HOST_PYTHON" -m pip install --quiet --target "$BUILD/tools" --platform win_amd64 --python-version 3.11 \
            --only-binary :all: --no-deps -r "$HERE/requirements.txt"
        touch "$BUILD/tools/.complete"
    fi
}

build_launcher() {
    if [ -f "$DIST/TRELLIS.exe" ] && [ -z "$(find "$ROOT"/installer/launcher*.py "$HERE"/launcher.spec \
        "$HERE"/version.txt "$ROOT"/assets/icon.ico -newer "$DIST/TRELLIS.exe")" ]; then
        return
    fi
    fetch_pyinstaller
    # in the tree's own folder, so that the recipe finds its sources by the same relative path on both sides
    printf '@echo off\r\nset PYTHONPATH=build\\windows\\tools\r\nset PYTHONDONTWRITEBYTECODE=1\r\n"%s" -m PyInstaller --noconfirm --log-level WARN --distpath dist --workpath build\\windows\\work installer\\windows\\launcher.spec\r\n' \
        "$WINDOWS_PYTHON" > "$BUILD/launcher.bat"
    rm -f "$DIST/TRELLIS.exe"
    (cd "$ROOT" && $RUN 'build\windows\launcher.bat')
    [ -f "$DIST/TRELLIS.exe" ] || { echo "PyInstaller made no launcher" >&2; exit 1; }
    chmod 644 "$DIST/TRELLIS.exe"
}

# What is installed: the files of the program that are under version control, and the launcher.
stage() {
    rm -rf "$BUILD/stage"
    mkdir -p "$BUILD/stage"
    (cd "$ROOT" && git ls-files -z -- LICENSE THIRD_PARTY_NOTICES.md README.md run.bat gradio_main.py train.py \
        'requirements*.txt' pyproject.toml assets configs docs extensions installer trellis ':!:trellis/app/ui/viewer' \
        ':!:installer/windows' ':!:docs/images/contact_sheet.png' | xargs -0 cp --parents -t "$BUILD/stage")
    cp "$DIST/TRELLIS.exe" "$BUILD/stage/"
}

# Deletes what `stage` holds and what Python made beside it, then the folders that are empty.
write_removal() {
    (
        cd "$BUILD/stage"
        find . -type f -printf '%P\n' | sort | sed 's|/|\\|g; s|.*|Delete "$INSTDIR\\&"|'
        find . -mindepth 1 -type d -printf '%P\n' | sort -r | sed 's|/|\\|g' |
            sed 's|.*|RMDir /r "$INSTDIR\\&\\__pycache__"\nRMDir "$INSTDIR\\&"|'
        echo 'RMDir /r "$INSTDIR\__pycache__"'
    ) > "$BUILD/files.nsh"
}

check_size() {
    local size
    size="$(stat -c %s "$1")"
    echo "$1: $size bytes (at most $2)"
    [ "$size" -le "$2" ] || { echo "$1 is too large" >&2; exit 1; }
}

need makensis "apt-get install nsis"
need git "apt-get install git"
mkdir -p "$BUILD" "$DIST"
build_launcher
check_size "$DIST/TRELLIS.exe" "$MOST_LAUNCHER"
stage
write_removal
makensis -V2 -NOCD -DSTAGE="$BUILD/stage" -DFILES="$BUILD/files.nsh" -DVERSION="$VERSION" -DHERE="$HERE" \
    -DSIZE_KB="$(du -sk "$BUILD/stage" | cut -f1)" -DOUTPUT="$DIST/TRELLIS-desktop-setup.exe" "$HERE/setup.nsi"
check_size "$DIST/TRELLIS-desktop-setup.exe" "$MOST_SETUP"
