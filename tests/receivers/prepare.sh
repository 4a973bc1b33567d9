#!/bin/sh
# Makes a Python environment in the folder $1 with what the receivers need, unless it is there; prints its
# interpreter. Fails with one line that says what to install.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
environment=$1
made="$environment/made-for"
wanted=$(cat "$here/requirements.txt")
if [ "$(cat "$made" 2>/dev/null)" != "$wanted" ]; then
    command -v python3 >/dev/null 2>&1 || { echo "the receivers in Python need: python3 python3-venv" >&2; exit 1; }
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    if ! { rm -rf "$environment" && python3 -m venv "$environment"; } >"$log" 2>&1; then
        echo "the receivers in Python need: python3-venv ($(tail -n 1 "$log"))" >&2
        exit 1
    fi
    if ! "$environment/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt" >"$log" 2>&1; then
        echo "the receivers in Python need the package $wanted from PyPI: $(tail -n 1 "$log")" >&2
        exit 1
    fi
    printf '%s\n' "$wanted" >"$made"
fi
echo "$environment/bin/python"
