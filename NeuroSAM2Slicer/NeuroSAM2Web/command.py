"""`neurosam2 app`: the app in a browser, on this computer. What it needs is looked for before anything heavy is imported.

Whether this machine can draw slice views is found out before VTK is imported, too: VTK would end the process where it cannot.
"""

import argparse
import ctypes
import ctypes.util
import importlib.util
import os
import sys
from pathlib import Path

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import ConfigError, DataError

WINDOW, OFF_SCREEN = "VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow"
"""The environment variable by which VTK is told how to draw, and the way that needs no display."""
LIBRARIES = "libegl1 libgl1-mesa-dri"
DEVICE_PLATFORM = 0x313F
"""EGL_PLATFORM_DEVICE_EXT."""
MAX_DEVICES = 16


def missing_libraries() -> str:
    """A sentence that says what to install; empty where slice views can be drawn."""
    if _has_display() or WINDOW in os.environ or _draws_off_screen():
        return ""
    return (
        f"slice views cannot be drawn here; on Debian or Ubuntu: apt-get install {LIBRARIES}; "
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


PACKAGES = ("slicer", "vtkmodules", "trame", "trame_client", "trame_vuetify", "nilearn", "nrrd", "defusedxml", "psutil")
PORT = 8742


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "app",
        help="segment and train in a browser, without Slicer",
        description="Opens the app in a browser on this computer. It answers nobody else; from another computer, come through a "
        "tunnel, such as `ssh -L 8742:127.0.0.1:8742 this-machine`, and open the address that is printed here.",
    )
    parser.add_argument(
        "image", type=Path, nargs="?", help="what to open: .nii, .nii.gz, .nrrd or .mrb (default: a brain to try)"
    )
    parser.add_argument(
        "--port", type=int, help=f"port to listen on; 0 for any (default: {PORT}, or any where it is taken)"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="where the app may read and write, besides the image's folder and the current one; may be given several times",
    )
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serves until it is told to stop; see `add_parser`."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"the app needs packages that are not installed: {', '.join(missing)}",
            hint='in the source folder: pip install ".[app]"',
        )

    if problem := missing_libraries():
        raise ConfigError(problem)
    use_offscreen_rendering()
    if args.image is not None and disk.is_folder(args.image):
        raise DataError(
            f"{args.image} is a folder; expected a file",
            hint="--folder names a folder that may be used; a DICOM series in it is opened in the app",
        )
    if args.image is not None and not disk.is_file(args.image):
        raise DataError(
            f"there is no file {args.image}", hint="check the path; a relative one starts from the current folder"
        )
    for folder in args.folder:
        if not disk.is_folder(folder):
            raise DataError(f"there is no folder {folder}", hint="give --folder one that exists")
    image = None if args.image is None else args.image.resolve()

    os.environ["TRAME_ARGS"] = "--no-ws-compress"  # pictures are compressed; what our command line says is not trame's
    from NeuroSAM2Web.app import AppOptions
    from NeuroSAM2Web.app import run as serve
    from NeuroSAM2Web.server.guard import choose_port

    serve(
        AppOptions(
            image=image,
            port=choose_port(args.port, PORT),
            folders=tuple(args.folder),
            opens_browser=not args.no_browser and _can_open_browser(),
        ),
        lambda address: print(f"NeuroSAM2 is at {address}", flush=True),
    )
    return 0


def _can_open_browser() -> bool:
    """A browser would have a window; one that runs in the terminal is no help."""
    return sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
