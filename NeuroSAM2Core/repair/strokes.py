"""What a brush covers: a disc or a ball along a path. The inside of an outline is `LassoPrompt.mask`'s.

A pixel is covered if its centre is. Places are pixels, centres at integers.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Place = tuple[float, float]
"""Row and column."""


def paint_disc(
    path: Sequence[Place], radius_mm: float, shape: tuple[int, int], spacing_mm: tuple[float, float]
) -> Mask:
    """The pixels of a slice that a disc covers on its way; at least those that the path itself goes through."""
    mask = np.zeros(shape, bool)
    squared, box = _squared_distance(path, shape, spacing_mm, radius_mm)
    mask[box] = squared <= max(radius_mm, max(spacing_mm) / 2) ** 2 + 1e-9
    return mask


def paint_ball(
    path: Sequence[Place], radius_mm: float, shape: tuple[int, int], spacing_mm: tuple[float, float], slice_mm: float
) -> dict[int, Mask]:
    """What a ball covers on its way along a slice: masks by the number of slices above (positive) or below it."""
    squared, box = _squared_distance(path, shape, spacing_mm, radius_mm)
    masks = {}
    for offset in range(-math.floor(radius_mm / slice_mm), math.floor(radius_mm / slice_mm) + 1):
        mask = np.zeros(shape, bool)
        least = max(spacing_mm) / 2 if offset == 0 else 0.0
        mask[box] = squared <= max(radius_mm**2 - (offset * slice_mm) ** 2, least**2) + 1e-9
        masks[offset] = mask
    return masks


def _squared_distance(
    path: Sequence[Place], shape: tuple[int, int], spacing_mm: tuple[float, float], reach_mm: float
) -> tuple[NDArray[np.float64], tuple[slice, slice]]:
    """Square millimetres from pixels to a path, and the box of the pixels that are near it."""
    places = np.asarray(path, float).reshape(-1, 2)
    spacing = np.asarray(spacing_mm, float)
    margin = np.ceil(reach_mm / spacing) + 1
    low = np.clip(np.floor(places.min(axis=0) - margin), 0, shape).astype(int)
    high = np.clip(np.ceil(places.max(axis=0) + margin) + 1, 0, shape).astype(int)
    box = slice(low[0], high[0]), slice(low[1], high[1])
    rows, cols = np.mgrid[box]
    pixels = np.stack((rows, cols), axis=-1) * spacing
    squared = np.full(pixels.shape[:-1], np.inf)
    points = places * spacing
    for start, end in zip(points, points[1:] if len(points) > 1 else points, strict=False):
        way = end - start
        length = float(way @ way)
        along = np.clip((pixels - start) @ way / length, 0, 1) if length else np.zeros(squared.shape)
        nearest = pixels - start - along[..., None] * way
        np.minimum(squared, (nearest**2).sum(axis=-1), out=squared)
    return squared, box
