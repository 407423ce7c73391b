"""A stand-in for Slicer's application in which the real module files and their real `.ui` files run.

MRML, its logics and the slice views are Slicer's own (`slicer-core`); Qt is PySide6 speaking PythonQt's dialect (`dialect`); the qMRML and
ctk widgets are small Python classes that offer nothing but what the real ones offer (`widget_table`). What runs here runs in Slicer; what
only Slicer can show is listed in Testing/README.md.
"""

from pathlib import Path

import slicer

BASE_CLASSES = Path(__file__).parent / "base_classes"
if str(BASE_CLASSES) not in slicer.__path__:  # in Slicer they are there before any module of ours
    slicer.__path__.append(str(BASE_CLASSES))
