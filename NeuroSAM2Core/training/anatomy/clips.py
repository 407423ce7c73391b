"""Training clips cut from a bank of heads: whole slices and crops, slices beyond an object's ends, any contrast.

A clip is T slices along one axis, a stride apart, seen through a field of view of so many mm and drawn at the model's input size: whole
slices under the window of the whole head or of what is in the object's box, and crops of a multiple of the object under their own
window. These are the ways in which the engine can show a slice to the model.

Lesions, drawn into a label map where a clip is cut from: a core, maybe a rim, maybe oedema around.
The batch of every step of a run on anatomy; it follows from the seed, the step and the bank alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from NeuroSAM2Core.synth import render as render_formulas
from NeuroSAM2Core.synth import sample_anatomy
from NeuroSAM2Core.synth.anatomy.contrast import draw_contrast, render, seen_window, volume_window, windowed
from NeuroSAM2Core.synth.anatomy.grid import draw_noise, refined, torch_generator
from NeuroSAM2Core.synth.anatomy.heads import Head, load_training_heads
from NeuroSAM2Core.synth.anatomy.labels import BRAIN, ID, OBJECT_NAMES, is_in, object_weights
from NeuroSAM2Core.synth.frame import blur
from NeuroSAM2Core.training.anatomy.view import (
    LONG_CLIP,
    Target,
    View,
    choose_lesion,
    choose_objects,
    choose_target,
    choose_view,
    cut,
)
from NeuroSAM2Core.training.config.pretraining import AnatomyConfig, ClipConfig, Stage
from NeuroSAM2Core.training.data.clip import ClipBatch
from NeuroSAM2Core.training.data.loading import loaded
from NeuroSAM2Core.training.data.synthetic_clips import draw_clip
from NeuroSAM2Core.training.step.prompts import PromptPlan, plan_generator

LARGE_MM = 8.0
"""From this radius on a lesion is always also drawn into grey matter."""


def add_lesion(
    labels: UInt8[np.ndarray, "t h w"], centre: Float[np.ndarray, "3"], radius_mm: float, rng: np.random.Generator
) -> None:
    """Adds a blob with a rough surface to the brain in a part of a label map; in place.

    Args:
        labels: At 1 mm.
        centre: In voxels; it may lie outside of the part.
        radius_mm: Mean radius.
        rng: Draws shape and composition.
    """
    reach = int(radius_mm * 2.4) + 3
    box = tuple(
        slice(max(0, int(c) - reach), max(0, min(n, int(c) + reach + 1)))
        for c, n in zip(centre, labels.shape, strict=True)
    )
    part = labels[box]
    if 0 in part.shape:
        return
    lines = [np.arange(s.start, s.stop, dtype=np.float32) - c for s, c in zip(box, centre, strict=True)]
    grid = np.meshgrid(*lines, indexing="ij", sparse=True)
    stretch = rng.uniform(0.75, 1.3, 3)
    radius = np.sqrt(sum((g / f) ** 2 for g, f in zip(grid, stretch, strict=True))) / radius_mm
    shape = (part.shape[0], part.shape[1], part.shape[2])
    radius = radius + rng.uniform(0.1, 0.45) * draw_noise(rng, max(2.0, 0.7 * radius_mm), shape)
    white = is_in(part, "white matter", "corpus callosum")
    where = is_in(part, *BRAIN) if rng.random() < 0.5 or radius_mm > LARGE_MM else white
    if rng.random() < 0.35:
        part[(radius < 1 + rng.uniform(0.3, 1.0)) & white] = ID["oedema"]
    has_rim = rng.random() < 0.4
    part[(radius < 1) & where] = ID["lesion rim"] if has_rim else ID["lesion core"]
    if has_rim:
        part[(radius < rng.uniform(0.5, 0.85)) & where] = ID["lesion core"]


MIN_PIXELS = 12
"""Every object of a clip has this many where the clip begins."""
REFINED_BELOW_MM = 80
"""Views of fewer mm are drawn from labels at twice the resolution, whose borders are smooth."""
REFINEMENT = 2
SMOOTHING_MM = 0.6
"""Blur of an object's mask in such views before it is interpolated and thresholded."""
MORE_LESIONS = 0.15
"""Probability that a clip which is not about a lesion shows some."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipRequest:
    """The common settings of the clips of a step."""

    image_size: int
    """Pixels."""
    slices: int
    objects: int
    crop_range: tuple[float, float]
    """Of a crop's side, as a multiple of the object's."""
    even_sizes: bool
    """Ask for objects of all sizes alike; see `object_weights`."""


@dataclass(frozen=True, slots=True)
class AnatomyClips:
    """Draws clips from heads."""

    heads: Sequence[Head]
    config: ClipConfig

    def batch(self, rng: np.random.Generator, request: ClipRequest, *, clips: int) -> ClipBatch:
        """Clips whose objects can all be seen on their first slice."""
        drawn: list[ClipBatch] = []
        while len(drawn) < clips:
            is_formula = rng.random() < self.config.formulas
            clip = formula_clip(rng, request) if is_formula else self.draw(rng, request)
            if clip is not None:
                drawn.append(clip)
        return ClipBatch.stack(drawn)

    def draw(self, rng: np.random.Generator, request: ClipRequest) -> ClipBatch | None:
        """One clip; None where what was drawn cannot be seen."""
        head = self.heads[int(rng.integers(len(self.heads)))]
        axis = int(rng.integers(3))
        first = None if rng.random() < self.config.lesion else self._choose_first(head, rng, request)
        is_long = request.slices >= LONG_CLIP
        begins_at_end = bool(1 < request.slices < LONG_CLIP and rng.random() < self.config.from_end)
        target = (
            choose_lesion(head, axis, rng)
            if first is None
            else choose_target(head, axis, first, rng, begins_at_end=begins_at_end, is_long=is_long)
        )
        if target is None:
            return None
        view = choose_view(
            head, axis, target, rng, self.config, num_slices=request.slices, crop_range=request.crop_range
        )
        found = cut(head, view)
        if found is None:
            return None
        slab, before = found
        _add_lesions(slab, before, view, target, rng)
        factor = REFINEMENT if view.extent.max() < REFINED_BELOW_MM else 1
        slab = refined(slab, factor)
        seen = slab[view.numbers - before]
        images = self._picture(head, slab, view, before, target, rng, request, pixels_per_mm=factor)
        tables = choose_objects(
            seen,
            head,
            first,
            rng,
            self.config,
            num_objects=request.objects,
            image_size=request.image_size,
            is_crop=view.is_crop,
            even_sizes=request.even_sizes,
        )
        if tables is None:
            return None
        masks = _masks(seen, tables, request.image_size, smoothing_px=SMOOTHING_MM * factor if factor > 1 else 0.0)
        if int(masks[:, 0].flatten(1).sum(1).min()) < MIN_PIXELS:
            return None
        return _oriented(ClipBatch(images[None], masks[None]), rng)

    def _choose_first(self, head: Head, rng: np.random.Generator, request: ClipRequest) -> int:
        if rng.random() < self.config.brain:
            return OBJECT_NAMES.index("brain")
        weights = object_weights(head.volumes, even_sizes=request.even_sizes)
        return int(rng.choice(len(weights), p=weights / weights.sum()))

    def _picture(
        self,
        head: Head,
        slab: UInt8[np.ndarray, "n h w"],
        view: View,
        before: int,
        target: Target,
        rng: np.random.Generator,
        request: ClipRequest,
        *,
        pixels_per_mm: int,
    ) -> Float[Tensor, "t s s"]:
        """The slices of a clip at the model's input size, 0 to 1."""
        contrast = draw_contrast(rng)
        stride = view.stride or int(rng.integers(1, 4))
        slice_sigma = (
            rng.uniform(0.3, 0.5) * stride if rng.random() < 0.35 else 0.0
        )  # slices as thick as they are apart
        image = render(slab, contrast, rng, slice_sigma_mm=slice_sigma, pixels_per_mm=pixels_per_mm)
        size = (request.image_size, request.image_size)
        shrinks = bool(max(image.shape[1:]) > request.image_size)
        image = F.interpolate(
            image[torch.from_numpy(view.numbers - before)][None], size=size, mode="bilinear", antialias=shrinks
        )[0]
        if view.is_crop and rng.random() < self.config.own_window:
            return windowed(image, seen_window(image[0]), rng)
        if not view.is_crop and rng.random() < self.config.box_window:
            part = _in_box(image[0], view, target)
            if part.numel() >= 64:
                return windowed(image, seen_window(part), rng)
        if rng.random() < 0.2:
            return windowed(image, seen_window(image[0]), rng)
        low, high = volume_window(contrast, head.volumes)
        return windowed(image, (low, low + (high - low) * rng.uniform(0.9, 1.15)), rng)


def formula_clip(rng: np.random.Generator, request: ClipRequest) -> ClipBatch | None:
    """A clip from the generator that needs no label maps."""
    generator = torch_generator(rng)
    gap = int(rng.integers(1, 4))
    size = request.image_size
    anatomy = sample_anatomy((max(8, gap * request.slices), size, size), generator)
    stage = Stage(image_size=size, steps=1, clips=1, slices=request.slices, objects=request.objects, max_gap=gap)
    return draw_clip(render_formulas(anatomy, generator), stage, rng)


def _add_lesions(
    slab: UInt8[np.ndarray, "n h w"], before: int, view: View, target: Target, rng: np.random.Generator
) -> None:
    """Draws the lesion that a clip is about, or now and then a few others; in place."""
    if target.lesion_radius:
        centre = np.array([target.slice - before, *(target.middle - view.start)])
        add_lesion(slab, centre, target.lesion_radius, rng)
    elif rng.random() < MORE_LESIONS:
        spots = np.argwhere(is_in(slab, "white matter"))
        for _ in range(int(rng.integers(1, 4)) if len(spots) else 0):
            centre = spots[int(rng.integers(len(spots)))].astype(float)
            add_lesion(slab, centre, float(np.exp(rng.uniform(0.4, 2.1))), rng)


def _in_box(image: Float[Tensor, "s s"], view: View, target: Target) -> Float[Tensor, "h w"]:
    """What is seen in the box of a clip's object on its first slice."""
    scale = image.shape[-1] / view.extent
    top, left = np.maximum(((target.low - view.start) * scale).round().astype(int), 0)
    bottom, right = np.maximum(((target.high + 1 - view.start) * scale).round().astype(int), 0)
    return image[top : bottom + 1, left : right + 1]


def _masks(
    seen: UInt8[np.ndarray, "t h w"], tables: Bool[np.ndarray, "o labels"], image_size: int, *, smoothing_px: float
) -> Bool[Tensor, "o t s s"]:
    """Where each object is, at the model's input size; borders are rounded by as much as a picture's are blurred."""
    is_object = torch.from_numpy(tables)[:, torch.from_numpy(seen.astype(np.int64))].float()
    if smoothing_px:
        is_object = torch.stack([blur(one, (0.0, smoothing_px, smoothing_px)) for one in is_object])
    return F.interpolate(is_object, size=(image_size, image_size), mode="bilinear") >= 0.5


def _oriented(clip: ClipBatch, rng: np.random.Generator) -> ClipBatch:
    """Superior or anterior at the top, sometimes turned, flipped half of the time."""
    turns, flips = (int(rng.integers(4)) if rng.random() < 0.35 else 0), bool(rng.integers(2))

    def oriented(x: Tensor) -> Tensor:
        x = torch.rot90(x.flip(-2), turns, dims=(-2, -1))
        return (x.flip(-1) if flips else x).contiguous()

    return ClipBatch(oriented(clip.images), oriented(clip.masks))


STREAM = 7
"""Tells these draws from those of `update`, which follow from the same seed and step."""


class AnatomyBatches(Dataset[ClipBatch]):
    """The batch of every step.

    Args:
        config: The run.
        bank: The folder of heads; it is opened when the first batch is asked for, in the process that asks.
    """

    def __init__(self, config: AnatomyConfig, bank: Path) -> None:
        self.config, self.bank = config, bank

    @cached_property
    def clips(self) -> AnatomyClips:
        """The bank's heads, opened.

        Raises:
            DataError: A head is missing, or made of a donor that is kept for development.
        """
        return AnatomyClips(load_training_heads(self.bank, self.config.heads), self.config.clip)

    def __len__(self) -> int:
        return self.config.total_steps

    def __getitem__(self, step: int) -> ClipBatch:
        rng = np.random.default_rng((self.config.seed, step, STREAM))
        request, count = request_of(self.config, step, rng)
        return self.clips.batch(rng, request, clips=count)


def request_of(config: AnatomyConfig, step: int, rng: np.random.Generator) -> tuple[ClipRequest, int]:
    """What the clips of a step have in common, and how many there are.

    Steps that will be prompted by clicks ask for objects of all sizes alike, and show more of their surroundings.
    """
    is_single = is_single_step(config, step)
    num_slices = 1 if is_single else int(rng.integers(config.slices[0], config.slices[1] + 1))
    plan = PromptPlan.draw(config.prompts, num_slices, plan_generator(config.seed, step))
    is_click = plan.kind == "click"
    request = ClipRequest(
        image_size=config.image_size,
        slices=num_slices,
        objects=config.objects,
        crop_range=config.clip.click_crop_range if is_click else config.clip.crop_range,
        even_sizes=bool(rng.random() < config.clip.even_sizes) or is_click,
    )
    return request, config.clips * (3 if is_single else 1)


def is_single_step(config: AnatomyConfig, step: int) -> bool:
    """Whether a step is trained on single slices."""
    return config.single_every > 0 and step % config.single_every == config.single_every - 1


def batches(
    config: AnatomyConfig, bank: Path, *, start: int, device: torch.device, workers: int
) -> Iterator[ClipBatch]:
    """The batches of the steps from `start` on, prepared ahead by worker processes; without any, when they are asked for."""
    steps = range(start, config.total_steps)
    return loaded(AnatomyBatches(config, bank), steps, workers=workers, prefetch=4, pins=device.type == "cuda")
