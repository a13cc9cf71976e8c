#!/bin/sh
# What compose takes for a setting, `setting.sh NAME DEFAULT`: of the environment, else of the file .env, else DEFAULT.
set -eu

NAME="$1"
DEFAULT="$2"

# Of .env: the last line of that name, without quotes or a comment after it, and with the home folder written out.
in_file() {
    [ -f .env ] || return 0
    VALUE=$(tr -d '\r' < .env \
        | sed -nE "s/^[[:space:]]*(export[[:space:]]+)?$NAME[[:space:]]*=[[:space:]]*//p" | tail -n 1 \
        | sed -E -e "s/^'([^']*)'.*/\1/" -e t -e 's/^"([^"]*)".*/\1/' -e t -e 's/(^|[[:space:]]+)#.*//' \
            -e 's/[[:space:]]+$//')
    case "$VALUE" in
        '~/'* | '$HOME/'* | '${HOME}/'*) VALUE="$HOME/${VALUE#*/}" ;;
    esac
    printf '%s\n' "$VALUE"
}

VALUE=$(printenv "$NAME" || in_file)
printf '%s\n' "${VALUE:-$DEFAULT}"
