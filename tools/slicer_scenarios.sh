#!/bin/sh
# Runs the scenarios of Testing/Slicer in a real 3D Slicer: SLICER=/path/to/Slicer sh tools/slicer_scenarios.sh [--out FOLDER]
set -eu
ROOT="$(cd "$(dirname "$0")/.." && pwd)"
SLICER="${SLICER:-Slicer}"
if ! command -v "$SLICER" >/dev/null; then
    echo "slicer_scenarios: there is no program $SLICER; say where Slicer is: SLICER=/path/to/Slicer" >&2
    exit 2
fi
if [ -z "${DISPLAY:-}" ] && command -v xvfb-run >/dev/null; then
    exec xvfb-run --auto-servernum --server-args="-screen 0 1600x1200x24" sh "$ROOT/tools/slicer_scenarios.sh" "$@"
fi
exec "$SLICER" --no-splash --testing --python-script "$ROOT/Testing/Slicer/run.py" "$@"
