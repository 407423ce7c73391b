#!/bin/sh
# Runs the MRML tests on the newest slicer-core in place of the pinned one, so that what changes in Slicer is known early.
set -eu
VENV="${VENV:-.venv}"
FOLDER="${FOLDER:-$VENV/newest-slicer}"
if [ ! -d "$FOLDER/vtkmodules" ]; then
    "$VENV/bin/pip" install --quiet --target "$FOLDER" --no-deps slicer-core
    vtk=$(sed -n 's/^Requires-Dist: //p' "$FOLDER"/slicer_core-*.dist-info/METADATA | grep '^vtk')
    "$VENV/bin/pip" install --quiet --target "$FOLDER" --no-deps "$vtk"
fi
export PYTHONPATH="$FOLDER"
"$VENV/bin/python" -c "import slicer, vtk; print('slicer-core from', slicer.__file__, 'with VTK', vtk.vtkVersion().GetVTKVersion())"
"$VENV/bin/python" -m pytest Testing/Lib "$@"
