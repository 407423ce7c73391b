"""Lesions, drawn into a label map where a clip is cut from: a core, maybe a rim, maybe oedema around."""

import numpy as np
from jaxtyping import Float, UInt8

from NeuroSAM2Core.synth.anatomy.grid import draw_noise
from NeuroSAM2Core.synth.anatomy.labels import BRAIN, ID, is_in

LARGE_MM = 8.0
"""From this radius on a lesion is always also drawn into grey matter."""


def add_lesion(
    labels: UInt8[np.ndarray, "t h w"], centre: Float[np.ndarray, "3"], radius_mm: float, rng: np.random.Generator
) -> None:
    """Adds a blob with a rough surface to the brain in a part of a label map; in place.

    Args:
        labels: At 1 mm.
        centre: In voxels; it may lie outside of the part.
        radius_mm: Mean radius.
        rng: Draws shape and composition.
    """
    reach = int(radius_mm * 2.4) + 3
    box = tuple(
        slice(max(0, int(c) - reach), max(0, min(n, int(c) + reach + 1)))
        for c, n in zip(centre, labels.shape, strict=True)
    )
    part = labels[box]
    if 0 in part.shape:
        return
    lines = [np.arange(s.start, s.stop, dtype=np.float32) - c for s, c in zip(box, centre, strict=True)]
    grid = np.meshgrid(*lines, indexing="ij", sparse=True)
    stretch = rng.uniform(0.75, 1.3, 3)
    radius = np.sqrt(sum((g / f) ** 2 for g, f in zip(grid, stretch, strict=True))) / radius_mm
    shape = (part.shape[0], part.shape[1], part.shape[2])
    radius = radius + rng.uniform(0.1, 0.45) * draw_noise(rng, max(2.0, 0.7 * radius_mm), shape)
    white = is_in(part, "white matter", "corpus callosum")
    where = is_in(part, *BRAIN) if rng.random() < 0.5 or radius_mm > LARGE_MM else white
    if rng.random() < 0.35:
        part[(radius < 1 + rng.uniform(0.3, 1.0)) & white] = ID["oedema"]
    has_rim = rng.random() < 0.4
    part[(radius < 1) & where] = ID["lesion rim"] if has_rim else ID["lesion core"]
    if has_rim:
        part[(radius < rng.uniform(0.5, 0.85)) & where] = ID["lesion core"]
