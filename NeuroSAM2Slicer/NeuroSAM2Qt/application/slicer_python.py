"""The interpreter that runs programs beside Slicer."""

import shutil
import sys


def slicer_python() -> str:
    """PythonSlicer, which Slicer puts on its path; elsewhere the interpreter that runs this."""
    return shutil.which("PythonSlicer") or sys.executable
