"""Whether this machine can draw slice views, found out before VTK is imported: VTK would end the process where it cannot."""

import ctypes
import ctypes.util
import os
import sys

WINDOW, OFF_SCREEN = "VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow"
"""The environment variable by which VTK is told how to draw, and the way that needs no display."""
PACKAGES = "libegl1 libgl1-mesa-dri"
DEVICE_PLATFORM = 0x313F
"""EGL_PLATFORM_DEVICE_EXT."""
MAX_DEVICES = 16


def missing_libraries() -> str:
    """A sentence that says what to install; empty where slice views can be drawn."""
    if _has_display() or WINDOW in os.environ or _draws_off_screen():
        return ""
    return (
        f"slice views cannot be drawn here; on Debian or Ubuntu: apt-get install {PACKAGES}; "
        "on other systems: install Mesa's EGL library and its software renderer"
    )


def use_offscreen_rendering() -> None:
    """Where there is no display, VTK is told not to look for one; it would complain on every start."""
    if not _has_display():
        os.environ.setdefault(WINDOW, OFF_SCREEN)


def _has_display() -> bool:
    """Or needs none: VTK looks for an X server on Linux only."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY"))


def _draws_off_screen() -> bool:
    """EGL has a device that starts; the same road as VTK takes."""
    name = ctypes.util.find_library("EGL")
    if name is None:
        return False
    egl = ctypes.CDLL(name)
    egl.eglGetProcAddress.restype = ctypes.c_void_p
    find_devices, open_device = map(egl.eglGetProcAddress, (b"eglQueryDevicesEXT", b"eglGetPlatformDisplayEXT"))
    if not find_devices or not open_device:
        return False
    handle, number = ctypes.c_void_p, ctypes.c_int
    query = ctypes.CFUNCTYPE(ctypes.c_uint, number, handle, ctypes.POINTER(number))(find_devices)
    display_of = ctypes.CFUNCTYPE(handle, ctypes.c_uint, handle, handle)(open_device)
    egl.eglInitialize.argtypes = [handle, handle, handle]
    egl.eglTerminate.argtypes = [handle]
    devices, count = (handle * MAX_DEVICES)(), number(0)
    query(MAX_DEVICES, devices, ctypes.byref(count))
    for device in devices[: count.value]:
        display = display_of(DEVICE_PLATFORM, device, None)
        if display and egl.eglInitialize(display, None, None):
            egl.eglTerminate(display)
            return True
    return False
