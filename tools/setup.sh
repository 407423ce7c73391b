#!/bin/sh
# Makes the virtual environment that all the other entries use. Needs Python 3.11 or later with venv, and a package index.
# With the word "app": without what only the tests need.
set -eu
PYTHON="${PYTHON:-python3}"
VENV="${VENV:-.venv}"

if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "setup: Python 3.11 or later is needed; say which with: make PYTHON=/path/to/python3.11 ..." >&2
    exit 1
fi
if ! "$PYTHON" -c 'import ensurepip' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -q && apt-get install -y -q python3-venv
    else
        echo "setup: Python's venv module is missing; on Debian: sudo apt-get install python3-venv" >&2
        exit 1
    fi
fi
# What drawing slice views and panels without a display needs; without it those tests are skipped, and say so.
DRAWING="libegl1 libgl1 libgl1-mesa-dri libglib2.0-0 libxkbcommon0 libdbus-1-3 libfontconfig1"
is_missing() { ! ldconfig -p 2>/dev/null | grep -q "$1"; }
if [ "$(uname)" = Linux ] && { is_missing libEGL.so.1 || is_missing libxkbcommon.so.0 || is_missing libfontconfig.so.1; }; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -q && apt-get install -y -q $DRAWING
    else
        echo "setup: slice views and panels cannot be drawn here; on Debian: sudo apt-get install $DRAWING" >&2
    fi
fi
# What the tests of the browser app drive; without it they are skipped, and say so.
BROWSER="chromium fonts-dejavu-core"
if [ "${1:-}" != app ] && [ "$(uname)" = Linux ] && ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null && ! command -v google-chrome >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -q && apt-get install -y -q --no-install-recommends $BROWSER || echo "setup: no Chromium; the app's browser tests are skipped" >&2
    else
        echo "setup: the app's tests need a browser; on Debian: sudo apt-get install $BROWSER" >&2
    fi
fi
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
"$VENV/bin/python" tools/install.py "$@"
