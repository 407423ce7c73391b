"""The interpreter that runs programs beside Slicer."""

import slicer
from NeuroSAM2MRML.engine_choice import python_beside


def own_python() -> str:
    """PythonSlicer, beside Slicer's own program."""
    return python_beside(slicer.app.applicationFilePath())
