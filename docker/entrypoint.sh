#!/bin/sh
# What the container does: serve (default), generate, batch, models, doctor, reconstruct, or any other command.
set -eu

COMMAND="${1:-serve}"
[ $# -gt 0 ] && shift

# A folder that is mounted over /data may belong to somebody else: said now, not after minutes of work.
if ! [ -w /data ]; then
    echo "The folder for results (/data) cannot be written by user $(id -u): give it to that user, or start the" >&2
    echo "container as its owner (TRELLIS_UID and TRELLIS_GID of compose.yaml)." >&2
    exit 1
fi

# Model and memory preset of the settings; an option on the command line comes after them and wins.
case "$COMMAND" in
    serve | generate | batch | doctor | reconstruct)
        set -- ${TRELLIS_MODEL:+--model "$TRELLIS_MODEL"} ${TRELLIS_PRESET:+--preset "$TRELLIS_PRESET"} "$@" ;;
esac

case "$COMMAND" in
    serve)
        # Inside the container every address counts as foreign; who may come in is decided where the port is published
        # (compose.yaml: this computer alone) or by a token.
        if [ -n "${TRELLIS_TOKEN:-}" ]; then
            set -- --token-file /tmp/token "$@"
            (umask 077 && printf '%s' "$TRELLIS_TOKEN" > /tmp/token)
        else
            set -- --trust-lan "$@"
        fi
        exec python /app/gradio_main.py --no-browser --host 0.0.0.0 --port 7960 --output /data/jobs "$@" ;;
    generate | batch | models | doctor)
        exec python -P -m trellis "$COMMAND" "$@" ;;
    reconstruct)
        exec python -P /app/docker/reconstruct.py "$@" ;;
    *)
        exec "$COMMAND" "$@" ;;
esac
