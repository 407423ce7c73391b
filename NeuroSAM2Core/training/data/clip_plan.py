"""Samples the slices and objects of a clip: integers only, from a passed generator."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.training.config.data import SamplingConfig


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """A clip before it is cut."""

    slices: tuple[int, ...]
    """In the order of the clip; the last one of the volume is repeated where it is too short."""
    objects: tuple[int, ...]
    """All seen on the first slice; later they may be gone."""


def plan_clip(areas: NDArray[np.int64], sampling: SamplingConfig, rng: np.random.Generator) -> ClipPlan:
    """Draws an object, a slice to start on where it is seen, and a gap and direction for which the volume is large enough if it can.

    Args:
        areas: Pixels of every object (from 1) on every slice, (objects, slices).
        sampling: The shape of the clip.
        rng: Decides.
    """
    first = int(rng.integers(len(areas)))
    start = int(rng.choice(np.flatnonzero(_is_seen(areas[first], sampling.min_pixels))))
    others = [n for n in range(len(areas)) if n != first and _is_seen(areas[n], sampling.min_pixels)[start]]
    chosen = [first, *rng.permutation(others).tolist()][: sampling.max_objects]
    above, below = areas.shape[1] - 1 - start, start
    widest = max(above, below) // max(1, sampling.slices - 1)
    gap = int(rng.integers(1, max(1, min(sampling.max_gap, widest)) + 1))
    reach = gap * (sampling.slices - 1)
    is_down = bool(rng.random() < sampling.reverse)
    if (below if is_down else above) < reach <= (above if is_down else below):
        is_down = not is_down
    stride = -gap if is_down else gap
    rows = np.clip(start + stride * np.arange(sampling.slices), 0, areas.shape[1] - 1)
    return ClipPlan(tuple(rows.tolist()), tuple(int(n) + 1 for n in chosen))


def _is_seen(areas: NDArray[np.int64], min_pixels: int) -> NDArray[np.bool_]:
    return np.asarray(areas >= min(min_pixels, int(areas.max())))
