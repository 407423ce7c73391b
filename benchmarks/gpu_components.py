"""The CUDA kernels on a GPU: built in place, tested, sanitized, timed. Part of `make gpu`.

Usage: python -m benchmarks.gpu_components

Needs PyTorch with CUDA, nvcc, SciPy and pytest; CuPy, cc3d and compute-sanitizer are used where they are (`make gpu` installs them).
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from benchmarks.gpu_tools import find_program
from benchmarks.report import as_table, publish
from NeuroSAM2Core.components import device

ROOT = Path(__file__).resolve().parents[1]
SHAPES = {"512 x 512": (512, 512), "256 of 512 x 512": (256, 512, 512), "256 x 512 x 512": (256, 512, 512)}
WARM, REPEATS = 3, 10
SLOW_MS = 200
COPY_BYTES = 1 << 30
SANITIZER_S = 60
DEVICE = "cuda"
TESTS_S = 120
LABEL_BYTES, MASK_BYTES = 5, 2
"""Per voxel, what must move: one byte is read, four of a label or one of a mask are written."""
REFERENCE_BYTES = {"labels": 10, "holes up to 64": 26}
"""Per pixel, the least that the passes published for the reference's 2-D algorithm move, each reading and writing what it needs once.

It begins a label per 2 x 2 pixels (1), merges, for which it reads the mask and those labels (2), shortens paths (1) and writes labels of
four bytes (6 with what it reads). Areas take an array set to zero (4), a pass over the labels (4) and one that gathers (8).
"""


def main() -> int:
    """Builds, tests, sanitizes and measures, or says why not."""
    if not torch.cuda.is_available():
        print("gpu_components: skipped, this machine has no CUDA device that PyTorch can use")
        return 0
    reason = build()
    if reason:
        print(f"gpu_components: skipped, {reason}")
        return 1
    failed = run_tests() or sanitize()
    publish("gpu components", "python -m benchmarks.gpu_components", table())
    return failed


def build() -> str:
    """Builds the kernels for this GPU unless they are there; why it failed, or nothing."""
    if not device.is_extension_active():
        major, minor = torch.cuda.get_device_capability()
        environment = {"TORCH_CUDA_ARCH_LIST": f"{major}.{minor}", "MAX_JOBS": "8", **os.environ}
        command = [sys.executable, "setup.py", "build_ext", "--inplace"]
        subprocess.run(command, cwd=ROOT / "cuda_ext", env=environment, check=False)
        device.why_inactive.cache_clear()
    return device.why_inactive()


def run_tests() -> int:
    """Testing/Gpu without the project's conftest, which asks for more packages."""
    command = [sys.executable, "-m", "pytest", "--noconftest", "-q", "Testing/Gpu/test_device_components.py"]
    try:
        return subprocess.run(command, cwd=ROOT, check=False, timeout=TESTS_S).returncode
    except subprocess.TimeoutExpired:
        print(f"gpu_components: the tests were not through after {TESTS_S} s")
        return 1


def sanitize() -> int:
    """memcheck and racecheck of every operator on small masks."""
    sanitizer = find_program("compute-sanitizer")
    if sanitizer is None:
        print("gpu_components: compute-sanitizer is not installed; not run")
        return 0
    failed = 0
    for tool in ("memcheck", "racecheck"):
        command = [sanitizer, "--tool", tool, "--error-exitcode", "1", sys.executable, "-m", "benchmarks.sanitized"]
        try:
            code = subprocess.run(command, cwd=ROOT, check=False, timeout=SANITIZER_S).returncode
            output = "found something" if code else "is clean"
        except subprocess.TimeoutExpired:
            code, output = 1, f"was not through after {SANITIZER_S} s"
        failed |= code
        print(f"gpu_components: {tool} {output}", flush=True)
    return failed


def table() -> str:
    """Times of this device, the CPU's and CuPy's, and how far from what memory allows."""
    bandwidth = copy_bandwidth()
    rows = []
    for name, shape in SHAPES.items():
        dims = 3 if name == "256 x 512 x 512" else 2
        for kind, mask in masks(shape).items():
            tensor = torch.from_numpy(mask).to(DEVICE)
            corners = 26 if dims == 3 else 8
            rows.append(
                row(
                    f"{name}, {kind}: labels",
                    device_ms(lambda t=tensor, c=corners: device.label_components(t, c)),
                    cpu_ms(lambda m=mask, d=dims: label_on_cpu(m, d)),
                    cupy_ms(mask, dims),
                    LABEL_BYTES * mask.size / bandwidth,
                    REFERENCE_BYTES["labels"] / LABEL_BYTES if dims == 2 else None,
                )
            )
            for what, act in cleanup(dims).items():
                here = device_ms(lambda t=tensor, a=act: a(t))
                there = cpu_ms(lambda m=mask, a=act: a(torch.from_numpy(m)))
                theirs = REFERENCE_BYTES[what] / MASK_BYTES if dims == 2 and what in REFERENCE_BYTES else None
                floor_s = MASK_BYTES * mask.size / bandwidth
                rows.append(row(f"{name}, {kind}: {what}", here, there, None, floor_s, theirs))
    head = ("what", "here", "CPU", "CuPy", "CPU / here", "floor", "here / floor", "reference / floor, at least")
    library = "cc3d" if find_spec("cc3d") else "SciPy"
    output = f"A copy on the device moves {bandwidth / 1e9:.0f} GB/s. CPU is {library}, in `components.device` for all but labels."
    return f"{output}\n\n" + as_table(head, rows)


def cleanup(dims: int) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """What the engine does to masks."""
    return {
        "holes up to 64": lambda t: device.fill_holes(t, dims=dims, max_area=64),
        "islands below 16": lambda t: device.remove_islands(t, dims=dims, min_size=16),
        "largest part": lambda t: device.largest_component(t, dims=dims),
    }


def masks(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """A blob, the same with noise, and noise alone at a density where most parts are tangled."""
    grid = np.ogrid[tuple(slice(n) for n in shape)]
    clean = sum(((g - n / 2) / (0.4 * n)) ** 2 for g, n in zip(grid, shape, strict=True)) < 1
    random = np.random.default_rng(0)
    return {"clean": clean, "noisy": clean ^ (random.random(shape) < 0.002), "noise": random.random(shape) < 0.3}


def row(
    what: str, here: float, cpu: float, cupy: float | None, floor_s: float, reference: float | None
) -> tuple[str, ...]:
    """One line of the table; milliseconds but for the floor and the reference's share of it."""
    output = "" if cupy is None else f"{cupy:.2f} ms"
    done = (
        what,
        f"{here:.3f} ms",
        f"{cpu:.1f} ms",
        output,
        f"{cpu / here:.0f}x",
        f"{1000 * floor_s:.3f} ms",
        f"{here / 1000 / floor_s:.1f}",
        "" if reference is None else f"{reference:.0f}",
    )
    print(*done, sep=" | ", flush=True)
    return done


def copy_bandwidth() -> float:
    """Bytes read and written per second by a copy on the device."""
    source = torch.zeros(COPY_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * COPY_BYTES / (device_ms(lambda: target.copy_(source)) / 1000)


def device_ms(act: Callable[[], object]) -> float:
    """The median time of a call on the device, between two events."""
    for _ in range(WARM):
        act()
    times = []
    for _ in range(REPEATS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        act()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times)


def cpu_ms(act: Callable[[], object]) -> float:
    """Wall time of one call after a warm one; slow calls are not repeated."""
    times = []
    for _ in range(2):
        started = time.perf_counter()
        act()
        times.append(1000 * (time.perf_counter() - started))
        if times[-1] > SLOW_MS:
            break
    return min(times)


def label_on_cpu(mask: np.ndarray, dims: int) -> None:
    """cc3d where it is installed, else SciPy; images of a batch one by one."""
    images = mask if mask.ndim > dims else mask[None]
    if find_spec("cc3d"):
        from cc3d import connected_components

        for image in images:
            connected_components(image.view(np.uint8), connectivity=26 if dims == 3 else 8)
    else:
        for image in images:
            ndimage.label(image, np.ones((3,) * dims))


def cupy_ms(mask: np.ndarray, dims: int) -> float | None:
    """CuPy's labels of the same mask; None without CuPy."""
    if not find_spec("cupy"):
        return None
    import cupy
    from cupyx.scipy.ndimage import label

    images = cupy.asarray(mask if mask.ndim > dims else mask[None])
    structure = cupy.ones((3,) * dims)

    def act() -> None:
        for image in images:
            label(image, structure)
        cupy.cuda.Device().synchronize()

    act()
    started = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - started)


if __name__ == "__main__":
    sys.exit(main())
