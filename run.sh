#!/usr/bin/env bash
# Start the program; creates or repairs its Python environment first. Works from any folder; paths that you pass
# are relative to the folder you are in. Only what must run before there is a Python is written here: the commands
# are in installer/commands.py.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
VENV="$ROOT/.venv"
STATE="$ROOT/.state"
PY="$VENV/bin/python"

# The tool that makes the environment: one file of the Python package index, known by its hash.
UV_VERSION=0.13.9
UV_FILE="uv-$UV_VERSION-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
UV_SHA256=d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19
UV_FOLDER=https://files.pythonhosted.org/packages/3d/aa/26d64642d808de4a652579ef950d7cd2d37f080a8babf9c67c6b75fc4c3f
UV_URL="${TRELLIS_UV_URL:-$UV_FOLDER/$UV_FILE}"

# Everything that uv fetches stays in this folder. Certificates that the system trusts are trusted.
export UV_CACHE_DIR="${UV_CACHE_DIR:-$STATE/uv-cache}" UV_PYTHON_INSTALL_DIR="${UV_PYTHON_INSTALL_DIR:-$STATE/python}"
export UV_PYTHON_INSTALL_BIN=0 UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}"

# find_uv COMMAND...: sets UV, to one that is here, one in a folder of packages (setup --offline DIR), or a fetched one
find_uv() {
    local candidate
    for candidate in "${TRELLIS_UV:-}" "$STATE/uv/uv" "$STATE/uv/bin/uv" uv; do
        if [[ "$("$candidate" --version 2>/dev/null)" == "uv $UV_VERSION"* ]]; then
            export UV="$candidate"
            return
        fi
    done
    mkdir -p "$STATE/uv"
    if [ "${1:-} ${2:-}" = "setup --offline" ] && [ -f "${3:-}/$UV_FILE" ]; then
        cp "$3/$UV_FILE" "$STATE/uv/$UV_FILE"
    fi
    echo "Fetching uv, which makes the program's Python environment in this folder; nothing else is changed."
    if unpack_uv 2>/dev/null; then
        export UV="$STATE/uv/uv"
    elif python3 -m pip install --quiet --target "$STATE/uv" "uv==$UV_VERSION" 2>/dev/null; then
        export UV="$STATE/uv/bin/uv"
    else
        echo "uv $UV_VERSION could not be fetched. Check the network or the proxy (HTTPS_PROXY) and start again, or" >&2
        echo "install that version (pip install uv==$UV_VERSION), or set TRELLIS_UV to its path." >&2
        exit 1
    fi
}

unpack_uv() (
    [ "$(uname -sm)" = "Linux x86_64" ] && cd "$STATE/uv" || return 1
    [ -f "$UV_FILE" ] || curl -fsSL --retry 5 --connect-timeout 20 --output "$UV_FILE" "$UV_URL" || true
    echo "$UV_SHA256  $UV_FILE" | sha256sum --check --status || { rm -f "$UV_FILE"; return 1; }
    unzip -qo "$UV_FILE" -d unpacked || python3 -m zipfile -e "$UV_FILE" unpacked || return 1
    mv unpacked/*/scripts/uv uv && chmod +x uv && rm -rf "$UV_FILE" unpacked
)

# An environment whose Python does not start (it was moved, or the system's has gone) gets a new one and keeps its packages;
# so does one of a 32-bit build, for which there is no torch.
make_environment() {
    "$PY" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12) or sys.maxsize < 2**32)' 2>/dev/null && return
    "$UV" venv --quiet --relocatable --allow-existing --python "${UV_PYTHON:->=3.11,<3.13}" "$VENV" && return
    echo "Python 3.11 or 3.12 is needed, was not found and could not be fetched. Install it, or set UV_PYTHON to its path." >&2
    exit 1
}

if [ "${1:-}" = uninstall ]; then
    if [ "${2:-}" != "--yes" ]; then
        echo "This removes the program's Python environment, its downloads and logs from $ROOT."
        echo "Models, results and the program's own files stay."
        read -r -p "Remove them? [y/N] " answer
        [ "$answer" = y ] || { echo "Nothing was removed."; exit 1; }
    fi
    rm -rf "$VENV" "$STATE"
    echo "Removed. To remove the rest, delete the folder."
    exit
fi

export PYTHONPATH="$ROOT"  # alone: what other programs put there would come before our packages
unset PYTHONHOME PYTHONDONTWRITEBYTECODE  # compiling torch's sources again at every start takes ten seconds
# Waiting threads sleep instead of spinning: with other programs on the same cores, generating is twice as fast.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}"
if ! "$PY" -P -S -m installer ready "$@" 2>/dev/null; then
    find_uv "$@"
    make_environment
    "$PY" -P -m installer prepare "$@"
fi
exec "$PY" -P -m installer "$@"
