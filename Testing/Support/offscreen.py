"""Whether this machine can draw without a display. Looked at before VTK is imported: it would crash where it cannot."""

import ctypes.util
import sys

NEEDED = {"EGL": "libegl1", "GL": "libgl1"}
ALSO = "libgl1-mesa-dri"


def missing_libraries() -> str:
    """A sentence that names what to install; empty where nothing is missing."""
    if sys.platform != "linux":
        return ""
    missing = [package for library, package in NEEDED.items() if ctypes.util.find_library(library) is None]
    if not missing:
        return ""
    return f"slice views cannot be drawn here: on Debian, apt-get install {' '.join([*missing, ALSO])}"
