"""Volumes, their geometry, slices, intensities and files: NumPy only."""

from NeuroSAM2Core.volume.intensity import (
    CT_WINDOWS,
    IntensityWindow,
    crop_window,
    ct_window,
    is_constant,
    padding_mark,
    percentile_window,
)
from NeuroSAM2Core.volume.plane import (
    DEFAULT_CLEANUP,
    Axis,
    Direction,
    MaskCleanup,
    SliceMask,
    SlicePlane,
    SliceStack,
    pack_mask,
    resolve_axis,
    unpack_mask,
)
from NeuroSAM2Core.volume.volume import Volume

__all__ = [
    "CT_WINDOWS",
    "DEFAULT_CLEANUP",
    "Axis",
    "Direction",
    "IntensityWindow",
    "MaskCleanup",
    "SliceMask",
    "SlicePlane",
    "SliceStack",
    "Volume",
    "crop_window",
    "ct_window",
    "is_constant",
    "pack_mask",
    "padding_mark",
    "percentile_window",
    "resolve_axis",
    "unpack_mask",
]
