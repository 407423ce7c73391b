"""Repairs of masks by hand: parts, holes, outlines, and slices between others. NumPy masks in, masks out; sizes in mm."""

from NeuroSAM2Core.repair.between import fill_between
from NeuroSAM2Core.repair.outlines import MAX_MM, close_gaps, grow, open_bridges, shrink, smooth
from NeuroSAM2Core.repair.parts import part_at, remove_small_parts, split_parts
from NeuroSAM2Core.repair.strokes import paint_ball, paint_disc

__all__ = [
    "MAX_MM",
    "close_gaps",
    "fill_between",
    "grow",
    "open_bridges",
    "paint_ball",
    "paint_disc",
    "part_at",
    "remove_small_parts",
    "shrink",
    "smooth",
    "split_parts",
]
