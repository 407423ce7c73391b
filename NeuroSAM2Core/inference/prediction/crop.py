"""The part of a slice that the model sees: where it is, which intensities it spans, and how it follows an object.

A structure of 40 x 20 pixels on a slice of 256 fills ten cells of the model's output. Seen through a crop of about twice its size, under
that crop's own intensity window, it fills a quarter of it. Large objects are seen on the whole slice. The logits of an answer belong to its
crop; `logits_in_crop` and `mask_on_slice` carry them elsewhere.

Source: adaptive zoom as in Isensee et al., "nnInteractive", 2025 (arXiv 2503.08373).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from NeuroSAM2Core.components.cpu import bounding_box
from NeuroSAM2Core.model.layers import resized
from NeuroSAM2Core.prompts import PointPrompt
from NeuroSAM2Core.volume import IntensityWindow, SliceStack, crop_window

MIN_SIDE_MM = 20.0
"""Of a crop."""
MARGIN = 0.1
"""An object closer to a border of its crop than this share of the crop's side makes the crop move."""
MAX_RATIO = 3.5
"""A crop more times wider than its object makes way for a closer one."""
WIDENING = 1.5
"""How much wider a crop becomes when a mask touches its border."""
MIN_CROP_RATIO = 0.6
"""A crop that follows an object never becomes narrower than this share of the crop around its prompt."""
MAX_WIDENINGS = 2
"""How often a slice is seen again in a wider crop."""
FAR_LOGIT = 32.0
MAX_INTENSITY = 1e37
"""Sums of larger ones are beyond float32."""

Logits = Float[Tensor, "1 1 s4 s4"]
Bounds = tuple[float, float, float, float]
"""Outermost rows and columns of something on a slice of the stack: top, left, bottom, right; pixel centres at integers."""


@dataclass(frozen=True, slots=True)
class Crop:
    """A rectangle of a slice of the stack, pixels, and the intensities that become black and white in it."""

    top: int
    left: int
    height: int
    width: int
    window: IntensityWindow

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    def of(self, picture: NDArray[Any]) -> NDArray[Any]:
        """This part of a slice (H, W); a view."""
        return picture[self.top : self.top + self.height, self.left : self.left + self.width]

    def picture(self, voxels: NDArray[Any], size: int) -> NDArray[np.float32]:
        """The intensities of this part of a slice (H, W) in the volume's units, resized to a square of so many cells.

        What is no number is black; what lies far beyond the crop's window, infinity too, is brought near to it.
        """
        low, high = self.window.low, self.window.high
        least, most = max(2 * low - high, -MAX_INTENSITY), min(2 * high - low, MAX_INTENSITY)
        seen = self.of(voxels).astype(np.float32)
        seen = np.where(np.isnan(seen), np.float32(max(low, least)), seen).clip(np.float32(least), np.float32(most))
        return resized(torch.from_numpy(seen)[None, None], size, size)[0, 0].numpy()

    def contains(self, row: float, col: float) -> bool:
        """A place on the slice is inside."""
        in_rows = self.top - 0.5 <= row <= self.top + self.height - 0.5
        return in_rows and self.left - 0.5 <= col <= self.left + self.width - 0.5

    def points_inside(self, points: Sequence[PointPrompt]) -> list[PointPrompt]:
        """The points of a slice that are inside, in pixels of the crop."""
        inside = [p for p in points if self.contains(p.row, p.col)]
        return [PointPrompt(p.row - self.top, p.col - self.left, p.positive) for p in inside]

    def cell_of(self, point: PointPrompt, shape: tuple[int, int]) -> tuple[int, int]:
        """Row and column, on a grid of some shape, of a point in pixels of the crop."""
        row, col = (
            min(int((at + 0.5) * cells / pixels), cells - 1)
            for at, cells, pixels in zip((point.row, point.col), shape, self.shape, strict=True)
        )
        return row, col

    def bounds_of(self, logits: Logits) -> Bounds | None:
        """Where on the slice the mask of some logits lies; None where it is empty."""
        mask = (logits[0, 0] > 0).cpu().numpy()
        box = bounding_box(mask)
        if box is None:
            return None
        rows, cols = box
        row_px, col_px = self.height / mask.shape[0], self.width / mask.shape[1]
        return (
            self.top + rows.start * row_px,
            self.left + cols.start * col_px,
            self.top + rows.stop * row_px - 1,
            self.left + cols.stop * col_px - 1,
        )


@dataclass(frozen=True, slots=True)
class CropPlanner:
    """Chooses crops on the slices of a stack.

    Attributes:
        stack: The slices.
        pixel_mm: Size of a pixel (row, column), mm.
        whole: The whole slice under the volume's window.
        scale: Side of a crop as a multiple of the longer side of the object's box; None to always see the whole slice.
        is_window_fixed: The person chose the window: crops keep it.
    """

    stack: SliceStack
    pixel_mm: tuple[float, float]
    whole: Crop
    scale: float | None
    is_window_fixed: bool

    @classmethod
    def of(
        cls,
        stack: SliceStack,
        spacing_mm: tuple[float, float, float],
        window: IntensityWindow,
        *,
        scale: float | None,
        is_window_fixed: bool,
    ) -> "CropPlanner":
        """A planner for a stack of a volume with voxels of so many mm along i, j, k."""
        height, width = stack.slice_shape
        pixel_mm = spacing_mm[2 - stack.order[1]], spacing_mm[2 - stack.order[2]]
        return cls(stack, pixel_mm, Crop(0, 0, height, width, window), scale, is_window_fixed)

    def around(self, number: int, bounds: Bounds, *, min_side_mm: float = 0.0) -> Crop:
        """The crop around something on slice `number`; the whole slice where that is large.

        Args:
            number: The slice, whose intensities decide the window.
            bounds: Of the object, or of its prompts.
            min_side_mm: The crop is at least this wide.
        """
        if self.scale is None:
            return self.whole
        crop = self.square(number, bounds, max(min_side_mm, self.scale * self._extent_mm(bounds)))
        return self._with_window_of(number, crop, bounds) if self.is_whole(crop) else crop

    def is_whole(self, crop: Crop) -> bool:
        """A crop shows all of the slice, under whatever window."""
        return crop.shape == self.whole.shape

    def square(self, number: int, bounds: Bounds, side_mm: float) -> Crop:
        """A crop of a given size in the middle of some bounds, moved into the slice; the whole slice where it is no smaller."""
        side_mm = max(side_mm, MIN_SIDE_MM)
        ends: list[int] = []
        for low, high, mm, size in zip(bounds[:2], bounds[2:], self.pixel_mm, self.whole.shape, strict=True):
            length = min(size, max(2, math.ceil(side_mm / mm)))
            start = min(max(0, round((low + high + 1 - length) / 2)), size - length)
            ends += [start, length]
        top, height, left, width = ends
        if (height, width) == self.whole.shape:
            return self.whole
        return self._with_own_window(number, Crop(top, left, height, width, self.whole.window))

    def around_click(self, number: int, point: PointPrompt, fields_mm: Sequence[float]) -> list[Crop]:
        """Crops of several sizes around a click, the whole slice last."""
        bounds = point.row, point.col, point.row, point.col
        crops = [] if self.scale is None else [self.square(number, bounds, side) for side in fields_mm]
        return [crop for crop in dict.fromkeys(crops) if crop != self.whole] + [self.whole]

    def following(self, crop: Crop, first: Crop, number: int, bounds: Bounds | None) -> Crop:
        """The crop for the slice after one on which the object lies within `bounds`: the same one as long as it fits.

        Args:
            crop: Of the slice before.
            first: Of the prompted slice that the object is followed from.
            number: The slice before.
            bounds: Of the object there; None where it is absent.
        """
        if self.scale is None or bounds is None or self.is_whole(crop):
            return crop
        ratio = self.side_mm(crop) / max(self._extent_mm(bounds), 1e-6)
        smallest = MIN_CROP_RATIO * self.side_mm(first)
        is_too_wide = ratio > MAX_RATIO and self.side_mm(crop) > 1.2 * max(smallest, MIN_SIDE_MM)
        if self._margin(crop, bounds) >= MARGIN and not is_too_wide:
            return crop
        return self.around(number, bounds, min_side_mm=smallest)

    def widened(self, crop: Crop, number: int, bounds: Bounds | None) -> Crop | None:
        """A wider crop where a mask touches a border beyond which the slice goes on; None where it does not."""
        if bounds is None or self.is_whole(crop):
            return None
        one_px = 1.5 / min(crop.shape)
        if self._margin(crop, bounds) > one_px:
            return None
        return self.square(number, bounds, WIDENING * self.side_mm(crop))

    def including(self, crop: Crop, number: int, points: Sequence[PointPrompt]) -> Crop:
        """The crop, or one that is wide enough for some points as well."""
        if all(crop.contains(p.row, p.col) for p in points):
            return crop
        rows = [crop.top, crop.top + crop.height - 1, *(p.row for p in points)]
        cols = [crop.left, crop.left + crop.width - 1, *(p.col for p in points)]
        bounds = min(rows), min(cols), max(rows), max(cols)
        return self.square(number, bounds, 1.2 * self._extent_mm(bounds))

    def side_mm(self, crop: Crop) -> float:
        """The longer side of a crop."""
        return max(crop.height * self.pixel_mm[0], crop.width * self.pixel_mm[1])

    def _extent_mm(self, bounds: Bounds) -> float:
        top, left, bottom, right = bounds
        return max((bottom - top + 1) * self.pixel_mm[0], (right - left + 1) * self.pixel_mm[1])

    def _margin(self, crop: Crop, bounds: Bounds) -> float:
        """The smallest distance to a border beyond which the slice goes on, as a share of the crop's side."""
        height, width = self.whole.shape
        top, left, bottom, right = bounds
        below, beside = crop.top + crop.height, crop.left + crop.width
        margins = [
            (top - crop.top) / crop.height if crop.top > 0 else 1.0,
            (below - 1 - bottom) / crop.height if below < height else 1.0,
            (left - crop.left) / crop.width if crop.left > 0 else 1.0,
            (beside - 1 - right) / crop.width if beside < width else 1.0,
        ]
        return min(margins)

    def _with_own_window(self, number: int, crop: Crop) -> Crop:
        bounds = crop.top, crop.left, crop.top + crop.height - 1, crop.left + crop.width - 1
        return self._with_window_of(number, crop, bounds)

    def _with_window_of(self, number: int, crop: Crop, bounds: Bounds) -> Crop:
        """A crop under the window of what lies within some bounds; its own where that is nearly constant or was chosen by the person."""
        if self.is_window_fixed:
            return crop
        top, left, bottom, right = (round(bound) for bound in bounds)
        part = self.stack.voxels[number][max(0, top) : bottom + 1, max(0, left) : right + 1]
        window = crop_window(part)
        return crop if window is None else replace(crop, window=window)


def logits_in_crop(logits: Logits, was: Crop, now: Crop) -> Logits:
    """The logits of one crop resampled to another; background where the first has no pixels."""
    if (was.top, was.left, was.shape) == (now.top, now.left, now.shape):
        return logits
    rows = _grid_places(now.top, now.height, was.top, was.height, logits.shape[-2])
    cols = _grid_places(now.left, now.width, was.left, was.width, logits.shape[-1])
    seen = logits.float().clamp(-FAR_LOGIT, FAR_LOGIT) + FAR_LOGIT
    grid = torch.stack(torch.broadcast_tensors(cols[None, :], rows[:, None]), dim=-1)[None].to(logits.device)
    return F.grid_sample(seen, grid, mode="bilinear", padding_mode="zeros", align_corners=False) - FAR_LOGIT


def _grid_places(start: int, length: int, from_start: int, from_length: int, count: int) -> Float[Tensor, " n"]:
    """Where the cells of one crop lie in another, from -1 to 1 between its borders, along one axis."""
    places = start + (torch.arange(count) + 0.5) * (length / count)
    return 2 * (places - from_start) / from_length - 1
