#!/usr/bin/env bash
# Start the program; creates or repairs its Python environment first. Works from any folder; paths that you pass
# are relative to the folder you are in.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
VENV="$ROOT/.venv"
PY="$VENV/bin/python"

usage() {
    cat <<'EOF'
usage: run.sh [COMMAND] [ARGUMENTS...]

  ui         the page in the browser (default)
  generate   pictures to 3D assets:  run.sh generate PICTURE... --output DIR
  batch      a folder of pictures to 3D assets, going on where it stopped
  models     which models are here; run.sh models get NAME fetches one
  serve      page and API without opening a browser
  train      train the embedded model
  test       lint, types and tests (with arguments: only pytest, with them)
  doctor     what this machine has, what is installed and what would be used
  setup      install or repair only:  run.sh setup [--dry-run] [--repair] [--yes] [--extra NAME]
             [--download DIR] [--offline DIR]
  update     the newest version of the program (where git fetched it) and of its packages
  uninstall  remove the environment; models and results stay
  exec       any command inside the environment:  run.sh exec python script.py
  help       this text
EOF
}

# The tool that fetches Python where there is none: one file of the Python package index, known by its hash.
UV_VERSION=0.13.9
UV_FILE="uv-$UV_VERSION-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
UV_SHA256=d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19
UV_FOLDER=https://files.pythonhosted.org/packages/3d/aa/26d64642d808de4a652579ef950d7cd2d37f080a8babf9c67c6b75fc4c3f
UV_URL="${TRELLIS_UV_URL:-$UV_FOLDER/$UV_FILE}"

usable() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1
}

find_python() {
    local candidate
    for candidate in ${TRELLIS_PYTHON:+"$TRELLIS_PYTHON"} python3.11 python3.12 python3 \
        "$ROOT"/.state/python/cpython-3*/bin/python3; do
        if usable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    if fetch_python >&2; then
        for candidate in "$ROOT"/.state/python/cpython-3*/bin/python3; do
            if usable "$candidate"; then
                echo "$candidate"
                return
            fi
        done
    fi
    echo "Python 3.11 or 3.12 is needed and was not found (on Debian and Ubuntu with its venv package:" >&2
    echo "apt install python3.11 python3.11-venv). Or set TRELLIS_PYTHON to its path." >&2
    exit 1
}

# fetch_python: into .state/python, with uv; fails where this machine is not the one uv's file is for, or lacks a tool
fetch_python() {
    local uv="${TRELLIS_UV:-$ROOT/.state/uv/uv}"
    local part="$ROOT/.state/uv/$UV_FILE.part"
    if ! [ -x "$uv" ]; then
        command -v curl sha256sum uname mkdir >/dev/null || return 1
        [ "$(uname -sm)" = "Linux x86_64" ] || return 1
        echo "No Python 3.11 or 3.12 is installed. Fetching one into this folder; nothing else is changed."
        mkdir -p "$ROOT/.state/uv" || return 1
        curl --fail --location --silent --show-error --retry 5 --connect-timeout 20 --continue-at - \
            --output "$part" "$UV_URL" || true
        echo "$UV_SHA256  $part" | sha256sum --check --status || { rm -f "$part"; return 1; }
        { unzip -qoj "$part" '*/scripts/uv' -d "$ROOT/.state/uv" || unpack_uv "$part"; } 2>/dev/null || return 1
        chmod +x "$uv" && rm -f "$part"
    fi
    echo "Fetching Python 3.11 (about 30 MB) ..."
    UV_PYTHON_INSTALL_DIR="$ROOT/.state/python" UV_CACHE_DIR="$ROOT/.state/uv-cache" \
        "$uv" python install 3.11 --no-bin --no-config
}

# unpack_uv FILE: with any Python, also one that is too old or lacks its venv package
unpack_uv() {
    python3 -c 'import sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
[name] = [name for name in archive.namelist() if name.endswith("/scripts/uv")]
open(sys.argv[2], "wb").write(archive.read(name))' "$1" "$ROOT/.state/uv/uv"
}

# installer ARGUMENTS...: with the system's Python, which the environment is made from
installer() {
    local python
    python="$(find_python)"
    PYTHONPATH="$ROOT" PYTHONDONTWRITEBYTECODE=1 "$python" -P -m installer "$@"
}

# ensure GROUP: nothing but one short check if everything is installed
ensure() {
    if ! { [ -x "$PY" ] && PYTHONPATH="$ROOT" "$PY" -P -S -m installer check --group "$1" 2>/dev/null; }; then
        installer install --group "$1"
    fi
}

enter() {
    export VIRTUAL_ENV="$VENV" PATH="$VENV/bin:$PATH" PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"
    unset PYTHONHOME
    # Waiting threads sleep instead of spinning: with other programs on the same cores, generating is twice as fast.
    export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}"
}

COMMAND="${1:-ui}"
[ $# -gt 0 ] && shift

case "$COMMAND" in
    ui)
        ensure main; enter
        exec "$PY" "$ROOT/gradio_main.py" "$@" ;;
    serve)
        ensure main; enter
        exec "$PY" "$ROOT/gradio_main.py" --no-browser "$@" ;;
    generate | batch | models)
        ensure main; enter
        exec "$PY" -P -m trellis "$COMMAND" "$@" ;;
    train)
        ensure main; enter
        exec "$PY" "$ROOT/train.py" "$@" ;;
    test)
        ensure dev; enter
        exec "$PY" -P -m installer test "$@" ;;
    setup)
        PYTHON="$(find_python)"  # replaces this shell, so that whoever stops the command stops the installation
        PYTHONPATH="$ROOT" PYTHONDONTWRITEBYTECODE=1 exec "$PYTHON" -P -m installer install "$@" ;;
    doctor | update)
        installer "$COMMAND" "$@" ;;
    uninstall)
        if [ "${1:-}" != "--yes" ]; then
            echo "This removes the program's Python environment, its downloads and logs from $ROOT."
            echo "Models, results and the program's own files stay."
            read -r -p "Remove them? [y/N] " answer
            [ "$answer" = y ] || { echo "Nothing was removed."; exit 1; }
        fi
        rm -rf "$VENV" "$ROOT/.state"
        echo "Removed. To remove the rest, delete the folder." ;;
    exec)
        if [ $# -eq 0 ]; then
            echo "run.sh exec: a command is missing" >&2
            exit 2
        fi
        ensure main; enter
        exec "$@" ;;
    help | -h | --help)
        usage ;;
    *)
        echo "run.sh: unknown command '$COMMAND'" >&2
        usage >&2
        exit 2 ;;
esac
