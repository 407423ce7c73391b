"""A person's prompts, simulated for evaluation: the tight box of the truth, and a click or a scribble on the largest error.

Nothing here is random. The prompts of training, drawn for a whole batch at once, are in `training.step.prompts`.

Source: Ravi et al. 2024, appendix F.1; Sofiiuk et al., "Reviving Iterative Training with Mask Guidance", 2022 (centre clicks).

Which prompt suits an object's shape, and one prompt for each of its parts.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.prompts.prompts import BoxPrompt, LassoPrompt, PointPrompt, ScribblePrompt

Mask = NDArray[np.bool_]
HALF = 0.5
"""From a pixel's centre to its border."""


def box_from_mask(mask: Mask) -> BoxPrompt | None:
    """The tight box of a mask (H, W); None for an empty one."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return BoxPrompt(float(rows[0]), float(cols[0]), float(rows[-1]), float(cols[-1]))


def click_from_error(target: Mask, predicted: Mask) -> PointPrompt | None:
    """The click that a person would add: positive where the object was missed, negative where too much was taken.

    Args:
        target: The truth, (H, W).
        predicted: The answer, (H, W).

    Returns:
        The click in the middle of the largest error; None where there is nothing to correct.
    """
    missed, excess = target & ~predicted, predicted & ~target
    (inner, place), (outer, other) = _middle(missed), _middle(excess)
    if max(inner, outer) == 0:
        return None
    row, col = place if inner >= outer else other
    return PointPrompt(float(row), float(col), inner >= outer)


def scribble_from_error(target: Mask, predicted: Mask) -> ScribblePrompt | None:
    """The scribble that a person would draw: along the middle of the largest error, from one end to the other.

    Args:
        target: The truth, (H, W).
        predicted: The answer, (H, W).

    Returns:
        Positive where the object was missed, negative where too much was taken; None where there is nothing to correct.
    """
    click = click_from_error(target, predicted)
    if click is None:
        return None
    from scipy import ndimage

    error = target & ~predicted if click.positive else predicted & ~target
    labels, _ = ndimage.label(error)
    depth = ndimage.distance_transform_edt(np.pad(labels == labels[int(click.row), int(click.col)], 1))[1:-1, 1:-1]
    across = int(
        np.ptp(np.nonzero(depth)[1]) < np.ptp(np.nonzero(depth)[0])
    )  # columns of a wide error, rows of a tall one
    lines = np.flatnonzero((depth >= depth.max() / 2).any(axis=across))
    deepest = depth.argmax(axis=across)
    path = [(float(deepest[n]), float(n)) if across == 0 else (float(n), float(deepest[n])) for n in lines]
    return ScribblePrompt.drawn(path, positive=click.positive)


def lasso_from_mask(mask: Mask) -> LassoPrompt | None:
    """The lasso that a person would draw around the largest part of a mask (H, W); None where it is empty or a speck.

    It runs from the left end of each row down, and up by the right ends, so that hollows of the outline are drawn over.
    """
    _, (row, col) = _middle(mask)
    if not mask.any():
        return None
    from scipy import ndimage

    labels, _ = ndimage.label(mask)
    part = labels == labels[row, col]
    rows = np.flatnonzero(part.any(axis=1))
    left, right = part.argmax(axis=1)[rows], part.shape[1] - 1 - part[:, ::-1].argmax(axis=1)[rows]
    down = [(float(row), float(col) - HALF) for row, col in zip(rows, left, strict=True)]
    up = [(float(row), float(col) + HALF) for row, col in zip(rows, right, strict=True)][::-1]
    outline = [(down[0][0] - HALF, down[0][1]), *down, (down[-1][0] + HALF, down[-1][1])]
    outline += [(up[0][0] + HALF, up[0][1]), *up, (up[-1][0] - HALF, up[-1][1])]
    return LassoPrompt.drawn(outline)


def _middle(mask: Mask) -> tuple[float, tuple[int, int]]:
    """How far the pixel farthest from the mask's border is from it, and where it is; 0 for an empty mask."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0.0, (0, 0)
    top, left = int(rows[0]), int(cols[0])
    crop = np.pad(mask[top : rows[-1] + 1, left : cols[-1] + 1], 1)
    from scipy import ndimage  # here, so that prompts can be made where SciPy is not

    distance = ndimage.distance_transform_edt(crop)
    row, col = np.unravel_index(int(distance.argmax()), distance.shape)
    return float(distance[row, col]), (int(row) - 1 + top, int(col) - 1 + left)


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
