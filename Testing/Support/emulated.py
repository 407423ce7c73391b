"""The CUDA kernels on an emulated device: compiled by the host's compiler, called through ctypes."""

import ctypes
import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from NeuroSAM2Core.components.cpu import ComponentFilter, dims_of

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "cuda_ext" / "csrc"
COLUMNS = 8


class _Request(ctypes.Structure):
    _fields_ = (
        ("mask", ctypes.c_void_p),
        ("sizes", ctypes.c_int64 * 4),
        ("strides", ctypes.c_int64 * 4),
        ("connectivity", ctypes.c_int),
        ("is_background", ctypes.c_bool),
        ("is_wide", ctypes.c_bool),
    )


class _Rule(ctypes.Structure):
    _fields_ = (
        ("min_size", ctypes.c_uint64),
        ("max_size", ctypes.c_uint64),
        ("is_enclosed", ctypes.c_bool),
        ("keeps_largest", ctypes.c_bool),
    )


def compiler() -> str | None:
    """A C++ compiler that knows ucontext, if this machine has one."""
    return (
        next((found for name in ("g++", "clang++") if (found := shutil.which(name))), None)
        if os.name == "posix"
        else None
    )


def build() -> Path:
    """The emulation as a shared library; kept in cuda_ext/build for as long as its sources stay as they are."""
    command = [compiler() or "g++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-shared", "-fPIC"]
    command += ["-fsanitize=undefined", "-fno-sanitize-recover=all"]  # indices outside shared arrays, overflows, shifts
    texts = [path.read_bytes() for path in sorted(SOURCES.glob("*.h"))] + [(SOURCES / "emulate.cpp").read_bytes()]
    known = hashlib.sha256(b"".join([*texts, " ".join(command).encode()])).hexdigest()[:16]
    library = ROOT / "cuda_ext" / "build" / f"emulate-{known}.so"
    if not library.exists():
        library.parent.mkdir(exist_ok=True)
        unfinished = library.with_suffix(f".{os.getpid()}")
        subprocess.run([*command, str(SOURCES / "emulate.cpp"), "-o", str(unfinished)], check=True)
        unfinished.replace(library)
    return library


@dataclass(frozen=True, kw_only=True, slots=True)
class EmulatedDevice:
    """Runs the kernels; every call draws another order of blocks and threads.

    Args:
        library: From `build`.
        switch_probability: That another thread goes on at an access that may race; 0 lets every thread finish first.
        is_wide: 64-bit indices whatever the size.
    """

    library: ctypes.CDLL
    switch_probability: float = 0.0
    is_wide: bool = False

    def label(self, mask, connectivity, *, seed=0):
        """Labels of a batch of masks (..., spatial dimensions)."""
        request, _folded = self._request(mask, connectivity)
        out = np.full(mask.shape, -1, np.int64 if self.is_wide else np.int32)
        self._call("emulate_label", ctypes.byref(request), *self._dice(seed), self._pointer(out))
        return out

    def keep(self, mask, connectivity, rule: ComponentFilter, *, is_background=False, seed=0):
        """The parts that a rule keeps; of the background, added to the mask."""
        request, _folded = self._request(mask, connectivity, is_background=is_background)
        out = np.full(mask.shape, 7, np.uint8)
        c_rule = _Rule(rule.min_size, rule.max_size, rule.is_enclosed, rule.keeps_largest)
        self._call("emulate_keep", ctypes.byref(request), ctypes.byref(c_rule), *self._dice(seed), self._pointer(out))
        assert set(np.unique(out)) <= {0, 1}
        return out.astype(bool)

    def tabulate(self, labels, dims, *, rows, seed=0):
        """The table (N, rows, columns) of consecutive labels (N, spatial dimensions)."""
        labels = np.ascontiguousarray(labels, np.int64 if self.is_wide else np.int32)
        sizes = (ctypes.c_int64 * 4)(len(labels), *((1,) if dims == 2 else ()), *labels.shape[1:])
        table = np.zeros((len(labels), rows, COLUMNS), np.uint64)
        table[:, :, 2:5] = np.iinfo(np.int64).max
        args = (sizes, int(dims == 3), int(self.is_wide), self._pointer(labels), ctypes.c_int64(rows))
        self._call("emulate_tabulate", *args, *self._dice(seed), self._pointer(table))
        return table

    def needs_wide(self, sizes):
        """Whether a device would choose 64-bit indices."""
        return bool(self.library.needs_wide((ctypes.c_int64 * 4)(*sizes)))

    def _request(self, mask, connectivity, *, is_background=False):
        dims = dims_of(connectivity)
        folded = mask.reshape(-1, *mask.shape[-dims:]) if mask.ndim != dims else mask[None]
        if dims == 2:
            folded = folded[:, None]
        pointer = folded.__array_interface__["data"][0]
        return _Request(pointer, folded.shape, folded.strides, connectivity, is_background, self.is_wide), folded

    def _dice(self, seed):
        return ctypes.c_uint64(seed), ctypes.c_double(self.switch_probability)

    def _call(self, name, *args):
        assert getattr(self.library, name)(*args) == 1, "something was written outside the workspace"

    @staticmethod
    def _pointer(array):
        return ctypes.c_void_p(array.ctypes.data)
