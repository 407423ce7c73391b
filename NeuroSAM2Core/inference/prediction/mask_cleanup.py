"""Converts hole and island sizes from mm to pixels and voxels. Pure."""

import math
from dataclasses import replace

import numpy as np

from NeuroSAM2Core.inference.options import EngineOptions
from NeuroSAM2Core.volume import Axis, MaskCleanup
from NeuroSAM2Core.volume.cleanup import ball, ball_of_disc, disc


def slice_options(
    options: EngineOptions, cleanup: MaskCleanup, spacing_mm: tuple[float, float, float], axis: Axis
) -> EngineOptions:
    """The clean-up options for the slices along an axis; the engine's defaults where nothing is set.

    Args:
        options: The engine's choices.
        cleanup: The person's.
        spacing_mm: Of the volume along i, j, k.
        axis: That slices are stacked along.
    """
    pixel_mm2 = float(np.prod(spacing_mm)) / dict(zip(Axis, spacing_mm, strict=True))[axis]
    holes, islands = options.max_hole_area, options.min_island_area
    if cleanup.hole_mm is not None:
        holes = largest_below(disc(cleanup.hole_mm, pixel_mm2))
    if cleanup.island_mm is not None:
        islands = math.ceil(disc(cleanup.island_mm, pixel_mm2))
    return replace(options, max_hole_area=holes, min_island_area=islands)


def volume_options(
    options: EngineOptions, cleanup: MaskCleanup, spacing_mm: tuple[float, float, float]
) -> EngineOptions:
    """The clean-up options for a volume: balls as wide as the discs on its slices."""
    voxel_mm3 = float(np.prod(spacing_mm))
    area, holes = options.max_hole_area, None
    if cleanup.hole_mm is not None:
        holes = largest_below(ball(cleanup.hole_mm, voxel_mm3))
    elif area is not None:
        holes = math.floor(ball_of_disc(area))
    if cleanup.island_mm is not None:
        islands = math.ceil(ball(cleanup.island_mm, voxel_mm3))
    else:
        islands = math.ceil(ball_of_disc(options.min_island_area))
    return replace(options, max_hole_volume=holes, min_island_volume=islands)


def largest_below(size: float) -> int:
    """The largest whole number that is smaller than a size; 0 where there is none."""
    return max(0, math.ceil(size) - 1)
