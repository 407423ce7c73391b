"""Cuts clips at the model's size from a prepared volume."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import Tensor

from NeuroSAM2Core.model import to_square
from NeuroSAM2Core.training.config.data import SamplingConfig, SliceAxis
from NeuroSAM2Core.training.data.clip import ClipBatch
from NeuroSAM2Core.training.data.clip_plan import ClipPlan, plan_clip
from NeuroSAM2Core.training.data.objects import ObjectMap, areas_by_slice
from NeuroSAM2Core.volume import Axis, SliceStack, Volume, resolve_axis


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
    """One clip: its axis, slices and objects are drawn."""
    stored = list(Axis)[int(rng.integers(3))] if axis == "random" else resolve_axis(volume.image, axis)
    stack = SliceStack.of(volume.image, stored)
    areas = volume.areas[stored.array_axis]
    plan = plan_clip(areas[:, ::-1] if stack.flipped[0] else areas, sampling, rng)
    return DrawnClip(stored, plan, cut_clip(volume, stored, plan, image_size))


def cut_clip(volume: TrainingVolume, axis: Axis, plan: ClipPlan, image_size: int) -> ClipBatch:
    """The clip of a plan, the way up that the engine shows slices to a model."""
    stack = SliceStack.of(volume.image, axis)
    numbers = SliceStack.of(volume.image.with_voxels(volume.objects.numbers), axis)
    rows = list(plan.slices)
    images = to_square(torch.from_numpy(stack.voxels[rows]), image_size)
    seen = numbers.voxels[rows]
    masks = torch.stack([squared_masks(torch.from_numpy(seen == number), image_size) for number in plan.objects])
    return ClipBatch(images[None], masks[None])


def squared_masks(masks: Bool[Tensor, "t h w"], size: int) -> Bool[Tensor, "t S S"]:
    """Masks at the model's size: pixels that are at least half covered, or where none is, the most covered one.

    So the smallest object is still there in the coarsest input.
    """
    if masks.shape[-2:] == (size, size):
        return masks
    covered = F.interpolate(masks[:, None].float(), size=(size, size), mode="bilinear", antialias=True)[:, 0]
    most = covered.flatten(1).amax(dim=1)[:, None, None]
    return (covered >= 0.5) | ((covered == most) & (most > 0) & (most < 0.5))
