"""A batch of clips: runs of consecutive slices with the objects to find in them, in a batch dimension where none sees another.

Samples the slices and objects of a clip: integers only, from a passed generator.
Cuts clips at the model's size from a prepared volume.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from NeuroSAM2Core.inference.prediction.crop import Bounds, Crop, CropPlanner
from NeuroSAM2Core.model import to_square
from NeuroSAM2Core.training.config.data import SamplingConfig, SliceAxis
from NeuroSAM2Core.training.data.dataset import ObjectMap, areas_by_slice
from NeuroSAM2Core.volume import Axis, IntensityWindow, SliceStack, Volume, resolve_axis

UNIT_WINDOW = IntensityWindow(0.0, 1.0)
"""Of a prepared volume."""
CROP_SHIFT = 0.1
"""How far a crop's centre is from the object's at most, as a share of the object's longer side."""


@dataclass(frozen=True, slots=True)
class ClipBatch:
    """B clips of T slices with O objects each; clips with fewer objects are filled up with ones that are not real."""

    images: Float[Tensor, "b t h w"]
    """Grey slices, 0 to 1."""
    masks: Bool[Tensor, "b o t h w"]
    """The truth."""
    is_real: Bool[Tensor, "b o"] = field(default=cast(Tensor, None))
    """False for an object that only fills the batch and counts nowhere; all True unless given."""

    def __post_init__(self) -> None:
        if self.is_real is None:
            every = torch.ones(self.masks.shape[:2], dtype=torch.bool, device=self.masks.device)
            object.__setattr__(self, "is_real", every)

    @classmethod
    def stack(cls, clips: list["ClipBatch"]) -> "ClipBatch":
        """Several batches of clips of one length and size as one; those with fewer objects are filled up."""
        most = max(clip.masks.shape[1] for clip in clips)
        filled = [clip.padded_to(most) for clip in clips]
        return cls(
            torch.cat([c.images for c in filled]),
            torch.cat([c.masks for c in filled]),
            torch.cat([c.is_real for c in filled]),
        )

    def padded_to(self, num_objects: int) -> "ClipBatch":
        """The same clips with empty objects that are not real added, up to the given number."""
        missing = num_objects - self.masks.shape[1]
        if missing <= 0:
            return self
        return ClipBatch(
            self.images, F.pad(self.masks, (0, 0) * 3 + (0, missing)), F.pad(self.is_real, (0, missing), value=False)
        )

    def to(self, device: torch.device) -> "ClipBatch":
        """The same batch on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "ClipBatch":
        """The same batch in memory that a GPU reads by itself; a data loader asks for it."""
        return self._each(lambda tensor: tensor.pin_memory())

    def share_memory(self) -> None:
        """Moves the tensors to where other processes can have them."""
        for tensor in (self.images, self.masks, self.is_real):
            tensor.share_memory_()

    def _each(self, change: Callable[[Tensor], Tensor]) -> "ClipBatch":
        return ClipBatch(change(self.images), change(self.masks), change(self.is_real))


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


@dataclass(frozen=True, slots=True, eq=False)
class TrainingVolume:
    """The prepared volume of one case."""

    image: Volume
    """float32, 0 to 1, in RAS."""
    objects: ObjectMap
    areas: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
    """Pixels of each object on each slice, by array axis."""

    @classmethod
    def of(cls, image: Volume, objects: ObjectMap) -> "TrainingVolume":
        """Counts the pixels."""
        return cls(image, objects, areas_by_slice(objects))

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self.image.voxels.nbytes + self.objects.numbers.nbytes + sum(areas.nbytes for areas in self.areas)


@dataclass(frozen=True, slots=True, eq=False)
class DrawnClip:
    """A clip and where it comes from."""

    axis: Axis
    plan: ClipPlan
    clip: ClipBatch
    """One clip; all its objects are real."""


def draw_clip(
    volume: TrainingVolume, axis: SliceAxis, sampling: SamplingConfig, image_size: int, rng: np.random.Generator
) -> DrawnClip:
    """One clip: its axis, slices, objects and the part of the slices that it shows are drawn."""
    stored = list(Axis)[int(rng.integers(3))] if axis == "random" else resolve_axis(volume.image, axis)
    stack = SliceStack.of(volume.image, stored)
    areas = volume.areas[stored.array_axis]
    plan = plan_clip(areas[:, ::-1] if stack.flipped[0] else areas, sampling, rng)
    crop = draw_crop(volume, stored, plan, sampling, rng) if sampling.crop and rng.random() < sampling.crop else None
    if crop is not None:
        plan = replace(plan, objects=_objects_in(volume, stored, plan, crop))
    return DrawnClip(stored, plan, cut_clip(volume, stored, plan, image_size, crop))


def draw_crop(
    volume: TrainingVolume, axis: Axis, plan: ClipPlan, sampling: SamplingConfig, rng: np.random.Generator
) -> Crop:
    """A crop around the first object of a clip, chosen as the engine chooses it around a box; whole slices where that is large."""
    numbers = _numbers(volume, axis)
    seen = (numbers.voxels[list(plan.slices)] == plan.objects[0]).any(axis=0)
    rows, cols = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    box = float(rows[0]), float(cols[0]), float(rows[-1]), float(cols[-1])
    reach = CROP_SHIFT * max(box[2] - box[0], box[3] - box[1])
    down, right = rng.uniform(-reach, reach, 2)
    scale = float(np.exp(rng.uniform(*np.log(sampling.crop_range))))
    planner = CropPlanner.of(
        SliceStack.of(volume.image, axis), volume.image.spacing_mm, UNIT_WINDOW, scale=scale, is_window_fixed=False
    )
    bounds: Bounds = (box[0] + down, box[1] + right, box[2] + down, box[3] + right)
    return planner.around(plan.slices[0], bounds)


def cut_clip(
    volume: TrainingVolume, axis: Axis, plan: ClipPlan, image_size: int, crop: Crop | None = None
) -> ClipBatch:
    """The clip of a plan, the way up that the engine shows slices to a model; of a crop under the crop's own intensity window."""
    stack, numbers = SliceStack.of(volume.image, axis), _numbers(volume, axis)
    slices, seen = stack.voxels[list(plan.slices)], numbers.voxels[list(plan.slices)]
    if crop is not None:
        slices = crop.window.normalise(np.stack([crop.of(one) for one in slices]))
        seen = np.stack([crop.of(one) for one in seen])
    images = to_square(torch.from_numpy(slices), image_size)
    masks = torch.stack([squared_masks(torch.from_numpy(seen == number), image_size) for number in plan.objects])
    return ClipBatch(images[None], masks[None])


def _numbers(volume: TrainingVolume, axis: Axis) -> SliceStack:
    """The object numbers of a volume's slices."""
    return SliceStack.of(volume.image.with_voxels(volume.objects.numbers), axis)


def _objects_in(volume: TrainingVolume, axis: Axis, plan: ClipPlan, crop: Crop) -> tuple[int, ...]:
    """The objects of a plan that its first slice still shows in a crop."""
    seen = crop.of(_numbers(volume, axis).voxels[plan.slices[0]])
    return tuple(number for number in plan.objects if (seen == number).any())


def squared_masks(masks: Bool[Tensor, "t h w"], size: int) -> Bool[Tensor, "t S S"]:
    """Masks at the model's size: pixels that are at least half covered, or where none is, the most covered one.

    So the smallest object is still there in the coarsest input.
    """
    if masks.shape[-2:] == (size, size):
        return masks
    covered = F.interpolate(masks[:, None].float(), size=(size, size), mode="bilinear", antialias=True)[:, 0]
    most = covered.flatten(1).amax(dim=1)[:, None, None]
    return (covered >= 0.5) | ((covered == most) & (most > 0) & (most < 0.5))
