"""The system libraries that drawing off screen needs. VTK ends the process where they are missing, so they are looked for first."""

import ctypes.util
import importlib.util

LIBRARIES = {
    "EGL": "libegl1 libgl1-mesa-dri",
    "GL": "libgl1",
    "glib-2.0": "libglib2.0-0",
    "xkbcommon": "libxkbcommon0",
    "dbus-1": "libdbus-1-3",
    "fontconfig": "libfontconfig1",
}
"""Library and the Debian packages that bring it."""
PACKAGES = {"PySide6": "pyside6-essentials", "slicer": "slicer-core"}


def what_is_missing() -> str:
    """A sentence that names what the host lacks and how to get it; empty where it lacks nothing."""
    missing = [packages for library, packages in LIBRARIES.items() if ctypes.util.find_library(library) is None]
    python = [package for module, package in PACKAGES.items() if importlib.util.find_spec(module) is None]
    how = []
    if missing:
        how.append(f"apt-get install {' '.join(missing)}")
    if python:
        how.append(f"pip install {' '.join(python)}")
    return f"the panels are not tested: {' and '.join(how)}" if how else ""
