"""A person's prompts, simulated: boxes and clicks from the truth and from the error of an answer.

Training and evaluation share them, so that what is taught is what is measured. All randomness comes from a passed generator.

Source: Ravi et al. 2024, appendix D.2 and F.1; Sofiiuk et al., "Reviving Iterative Training with Mask Guidance", 2022 (centre clicks).
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.prompts.prompts import BoxPrompt, PointPrompt

Mask = NDArray[np.bool_]


def box_from_mask(
    mask: Mask, rng: np.random.Generator | None = None, *, jitter: float = 0.1, max_shift_px: float = 20.0
) -> BoxPrompt | None:
    """The tight box of a mask, each side shifted a little where a generator is given; None for an empty mask.

    Args:
        mask: The object, (H, W).
        rng: Draws the shifts; None for none.
        jitter: Largest shift, as a share of the box's own side.
        max_shift_px: Largest shift in pixels.
    """
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    corners = np.array([rows[0], cols[0], rows[-1], cols[-1]], dtype=float)
    if rng is not None:
        sides = np.tile(corners[2:] - corners[:2] + 1, 2)
        corners += rng.uniform(-1, 1, 4) * np.minimum(jitter * sides, max_shift_px)
        corners = np.clip(corners, 0, np.tile(np.array(mask.shape) - 1, 2))
    row0, row1 = sorted((corners[0], corners[2]))
    col0, col1 = sorted((corners[1], corners[3]))
    return BoxPrompt(float(row0), float(col0), float(row1), float(col1))


def click_from_mask(mask: Mask, rng: np.random.Generator) -> PointPrompt | None:
    """A positive click anywhere in the mask; None for an empty one."""
    return _anywhere(mask, rng, positive=True)


def click_from_error(
    target: Mask,
    predicted: Mask,
    *,
    rng: np.random.Generator | None = None,
    method: Literal["center", "uniform"] = "center",
) -> PointPrompt | None:
    """The click that a person would add: positive where the object was missed, negative where too much was taken.

    Args:
        target: The truth, (H, W).
        predicted: The answer, (H, W).
        rng: Draws the place for `uniform`.
        method: `center` clicks the middle of the largest error; `uniform` anywhere in the error, and where there is none,
            negatively in the background.

    Returns:
        The click; None where there is nothing to correct (`center`) or nowhere to click (`uniform`).
    """
    missed, excess = target & ~predicted, predicted & ~target
    if method == "center":
        (inner, place), (outer, other) = _middle(missed), _middle(excess)
        if max(inner, outer) == 0:
            return None
        row, col = place if inner >= outer else other
        return PointPrompt(float(row), float(col), inner >= outer)
    assert rng is not None, "uniform clicks need a generator"
    if not (missed | excess).any():
        return _anywhere(~target, rng, positive=False)
    click = _anywhere(missed | excess, rng, positive=True)
    assert click is not None
    return PointPrompt(click.row, click.col, bool(missed[int(click.row), int(click.col)]))


def _anywhere(mask: Mask, rng: np.random.Generator, *, positive: bool) -> PointPrompt | None:
    places = np.flatnonzero(mask)
    if not len(places):
        return None
    row, col = divmod(int(rng.choice(places)), mask.shape[1])
    return PointPrompt(float(row), float(col), positive)


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
