"""Which prompt suits an object's shape, and one prompt for each of its parts."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
CORNERS = np.ones((3, 3), dtype=bool)
FILLED_ENOUGH = 0.5


def suggested_kind(mask: Mask, *, filled_enough: float = FILLED_ENOUGH) -> Literal["box", "click"]:
    """A box for an object that fills it, a click for one that does not.

    A box around a compact object says where it ends on all four sides. Around a slanted, branching, hollow or scattered one most of
    the box is something else, and a click at least names a place that belongs to it.

    Args:
        mask: The object on a slice, (H, W).
        filled_enough: Share of its tight box that a compact object fills; a disc fills 0.79 of it, a thin diagonal nearly nothing.
    """
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return "click"
    area = (rows[-1] - rows[0] + 1) * (cols[-1] - cols[0] + 1)
    return "box" if mask.sum() >= filled_enough * area else "click"


def parts_of(mask: Mask, *, max_parts: int) -> list[Mask]:
    """The connected parts (8 neighbours) of a mask on a slice, the largest first and no more than asked for."""
    from scipy import ndimage

    labels, count = ndimage.label(mask, structure=CORNERS)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-sizes, kind="stable")[:max_parts]
    return [np.asarray(labels == number + 1) for number in order]
