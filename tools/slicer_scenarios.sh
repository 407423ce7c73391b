#!/bin/sh
# Runs the scenarios of Testing/Slicer in a real 3D Slicer: SLICER=/path/to/Slicer sh tools/slicer_scenarios.sh
set -eu
cd "$(dirname "$0")/.."
ROOT="$(pwd)"
SLICER="${SLICER:-Slicer}"
if ! command -v "$SLICER" >/dev/null; then
    echo "slicer_scenarios: there is no program $SLICER; say where Slicer is: SLICER=/path/to/Slicer" >&2
    exit 2
fi
if [ -z "${DISPLAY:-}" ] && command -v xvfb-run >/dev/null; then
    exec xvfb-run --auto-servernum --server-args="-screen 0 1600x1200x24" sh "$0"
fi
for scenarios in SegmentScenarios TrainScenarios; do
    "$SLICER" --no-splash --testing \
        --additional-module-paths "$ROOT/NeuroSAM2Slicer/NeuroSAM2Segment" "$ROOT/NeuroSAM2Slicer/NeuroSAM2Train" \
        --python-code "import slicer.testing as t; t.runUnitTest(['$ROOT/Testing/Slicer'], '$scenarios')"
done
