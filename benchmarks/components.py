"""Cleaning masks on the CPU, beside the libraries that do it; CPU seconds, as all of them use one thread."""

import time
from collections.abc import Callable

import cc3d
import fill_voids
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.report import HEAD, as_table, beside
from NeuroSAM2Core.components import cpu
from NeuroSAM2Core.components.cpu import fill_holes, label_parts, largest_component

SHAPE = (256, 512, 512)
REPEATS = 5


def measure() -> str:
    """The table of this file."""
    rows = []
    for name, mask in masks().items():
        bytes_ = mask.view(np.uint8)
        tasks: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "26-connected parts (cc3d)": (
                lambda m=bytes_: cc3d.connected_components(m, connectivity=26),
                lambda m=mask: label_parts(m, 26),
            ),
            "largest part (cc3d)": (
                lambda m=bytes_: cc3d.largest_k(m, k=1, connectivity=26),
                lambda m=mask: largest_component(m),
            ),
            "all holes (fill_voids)": (lambda m=mask: fill_voids.fill(m), lambda m=mask: fill_holes(m)),
            "all holes (SciPy)": (lambda m=mask: ndimage.binary_fill_holes(m), lambda m=mask: fill_holes(m)),
        }
        for what, (theirs, ours) in tasks.items():
            rows.append(row(f"{what}, {name}", theirs, ours, must="" if "parts" in what else "1.0x"))
        rows.append(row(f"largest part (SciPy alone), {name}", lambda m=mask: largest_by_scipy(m), without_cc3d(mask)))
    return as_table(HEAD, rows)


def masks() -> dict[str, NDArray[np.bool_]]:
    """An ellipsoid of 200 x 400 x 400 voxels, and the same with 120,000 voxels turned over."""
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    clean = ((z - 128) / 100) ** 2 + ((y - 256) / 200) ** 2 + ((x - 256) / 200) ** 2 < 1
    noisy = clean.copy()
    noisy.ravel()[np.random.default_rng(0).choice(noisy.size, 120_000, replace=False)] ^= True
    return {"clean": clean, "noisy": noisy}


def row(what: str, theirs: Callable[[], object], ours: Callable[[], object], *, must: str = "1.0x") -> tuple[str, ...]:
    """Both in turn, several times; the fastest of each, as other work on the machine only ever adds."""
    pairs = [(cpu_seconds(theirs), cpu_seconds(ours)) for _ in range(REPEATS)]
    a, b = (1000 * min(times) for times in zip(*pairs, strict=True))
    done = beside(what, a, b, target=must)
    print(*done, sep=" | ", flush=True)
    return done


def cpu_seconds(act: Callable[[], object]) -> float:
    """Of this process."""
    started = time.process_time()
    act()
    return time.process_time() - started


def largest_by_scipy(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """As one would write it."""
    labels, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    return labels == np.bincount(labels.ravel())[1:].argmax() + 1


def without_cc3d(mask: NDArray[np.bool_]) -> Callable[[], object]:
    """Our largest part where cc3d is not installed."""

    def act() -> object:
        installed, cpu._cc3d = cpu._cc3d, lambda: None
        try:
            return largest_component(mask)
        finally:
            cpu._cc3d = installed

    return act
