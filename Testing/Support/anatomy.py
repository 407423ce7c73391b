"""Heads small enough for tests: a few ellipsoids under the names of real structures, so that no published label map is needed."""

from pathlib import Path

import numpy as np

from NeuroSAM2Core.synth.anatomy.heads import Head
from NeuroSAM2Core.synth.anatomy.labels import ID

SHAPE = (96, 112, 96)
MIDDLE = np.array(SHAPE) / 2


def ellipsoid(offset: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
    """Where an ellipsoid is, its centre given from the middle of the map; voxels, (k, j, i)."""
    grid = np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij")
    terms = zip(grid, MIDDLE, offset, radii, strict=True)
    return sum(((g - m - o) / r) ** 2 for g, m, o, r in terms) < 1


def small_labels(seed: int = 0) -> np.ndarray:
    """A label map (K, J, I) with a scalp, a skull, a brain and six nuclei; the same for the same number."""
    rng = np.random.default_rng((5, seed))
    labels = np.zeros(SHAPE, np.uint8)
    left = np.broadcast_to(np.arange(SHAPE[2]) < MIDDLE[2], SHAPE)
    size = rng.uniform(0.9, 1.0)
    for name, radius in (("skin", 46), ("skull", 43), ("CSF", 39)):
        labels[ellipsoid((0, 0, 0), (radius * size, 1.15 * radius * size, radius * size))] = ID[name]
    for name, radius in (("cortex", 37), ("white matter", 32)):
        inside = ellipsoid((0, 0, 0), (radius * size, 1.15 * radius * size, radius * size))
        labels[inside & left], labels[inside & ~left] = ID[f"{name} L"], ID[f"{name} R"]
    for side, sign in (("L", -1), ("R", 1)):
        labels[ellipsoid((0, -4, sign * 8), (7, 9, 6))] = ID[f"thalamus {side}"]
        labels[ellipsoid((0, 8, sign * 18), (8, 12, 5))] = ID[f"putamen {side}"]
        labels[ellipsoid((-8, -4, sign * 20), (4, 10, 4))] = ID[f"hippocampus {side}"]
        labels[ellipsoid((11, 0, sign * 6), (4, 18, 4))] = ID[f"lateral ventricle {side}"]
    return labels


def small_bank(folder: Path, count: int = 2) -> Path:
    """A bank of small heads as files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Head.of(small_labels(number), "nobody").save(folder, number)
    return folder
