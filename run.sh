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
  models     which models are here and which can be fetched
  serve      page and API without opening a browser
  train      train the embedded model
  test       lint, types and tests (with arguments: only pytest, with them)
  setup      install or repair only:  run.sh setup [--dry-run] [--repair] [--yes]
  exec       any command inside the environment:  run.sh exec python script.py
  help       this text
EOF
}

find_python() {
    local candidate
    for candidate in ${TRELLIS_PYTHON:+"$TRELLIS_PYTHON"} python3.11 python3.12 python3; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' \
            >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    echo "Python 3.11 or 3.12 is needed and was not found (on Debian and Ubuntu with its venv package:" >&2
    echo "apt install python3.11 python3.11-venv). Or set TRELLIS_PYTHON to its path." >&2
    exit 1
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
    generate | models)
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
