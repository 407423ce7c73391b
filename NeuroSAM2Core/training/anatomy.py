"""Training clips cut from a bank of heads: whole slices and crops, slices beyond an object's ends, any contrast.

A clip is T slices along one axis, a stride apart, seen through a field of view of so many mm and drawn at the model's input size: whole
slices under the window of the whole head or of what is in the object's box, and crops of a multiple of the object under their own
window. These are the ways in which the engine can show a slice to the model. A clip has a target (an object on a slice, a direction and a
stride), and others that are visible on its first slice.

Lesions are drawn into a label map where a clip is cut from: a core, maybe a rim, maybe oedema around. The batch of every step of a run
follows from the seed, the step and the bank alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage
from torch import Tensor
from torch.utils.data import Dataset

from NeuroSAM2Core.synth import render as render_formulas
from NeuroSAM2Core.synth import sample_anatomy
from NeuroSAM2Core.synth.anatomy.contrast import draw_contrast, render, seen_window, volume_window, windowed
from NeuroSAM2Core.synth.anatomy.grid import draw_noise, refined, torch_generator
from NeuroSAM2Core.synth.anatomy.heads import Head, load_training_heads
from NeuroSAM2Core.synth.anatomy.labels import (
    BRAIN,
    ID,
    LESION,
    NUM_LABELS,
    OBJECT_LABELS,
    OBJECT_NAMES,
    ids,
    is_in,
    object_weights,
    table_of,
)
from NeuroSAM2Core.synth.frame import blur
from NeuroSAM2Core.training.config.pretraining import AnatomyConfig, ClipConfig, Stage
from NeuroSAM2Core.training.data.clip import ClipBatch
from NeuroSAM2Core.training.data.loading import loaded
from NeuroSAM2Core.training.data.synthetic_clips import draw_clip
from NeuroSAM2Core.training.step.prompts import PromptPlan, plan_generator

MIN_TARGET_PIXELS = 16
MAX_AREA_RATIO = 0.85
"""Objects that fill more of the picture are not asked for, unless the clip is about them."""
NEVER_JOINED = (0, ID["CSF"], ID["air cavity"])


def choose_objects(
    seen: UInt8[np.ndarray, "t h w"],
    head: Head,
    first: int | None,
    rng: np.random.Generator,
    config: ClipConfig,
    *,
    num_objects: int,
    image_size: int,
    is_crop: bool,
    even_sizes: bool,
) -> Bool[np.ndarray, "o labels"] | None:
    """The label tables of a clip's objects; None where its first one can hardly be seen. Some may be there twice.

    Args:
        seen: The labels of the clip's slices.
        head: Where they are from.
        first: What the clip is about, a row of `OBJECT_LABELS`; None for a lesion.
        rng: Draws the others.
        config: How clips are drawn.
        num_objects: How many are wanted.
        image_size: Side of the picture, pixels.
        is_crop: The clip shows a crop.
        even_sizes: See `object_weights`.
    """
    pixels = image_size**2 / seen[0].size * np.bincount(seen[0].ravel(), minlength=NUM_LABELS)
    chosen = [_lesion(rng) if first is None else OBJECT_LABELS[first]]
    if chosen[0] @ pixels < MIN_TARGET_PIXELS:
        return None
    areas = OBJECT_LABELS @ pixels
    least = config.min_others * image_size**2 * (4 if is_crop else 1)
    ends = OBJECT_LABELS @ np.bincount(seen[-1].ravel(), minlength=NUM_LABELS) == 0
    weights = object_weights(head.volumes, even_sizes=even_sizes) * np.where(ends, 2.0, 1.0)
    weights *= (areas >= least) & (areas < MAX_AREA_RATIO * image_size**2)
    count = int((weights > 0).sum())
    order: list[int] = (
        rng.choice(len(weights), count, replace=False, p=weights / weights.sum()).tolist() if count else []
    )
    for n in order:
        if len(chosen) == num_objects:
            break
        if all(pixels[table ^ OBJECT_LABELS[n]].any() for table in chosen):  # not the same pixels
            chosen.append(OBJECT_LABELS[n])
    tables = [chosen[n % len(chosen)].copy() for n in range(num_objects)]
    for table in tables:
        if first is not None and rng.random() < config.joined:
            join(table, seen[0], rng)
    return np.stack(tables)


def _lesion(rng: np.random.Generator) -> Bool[np.ndarray, "labels"]:
    """Everything of a lesion, what enhances, or its core."""
    return table_of(*LESION[: 3 - int(rng.integers(3))])


def join(table: Bool[np.ndarray, "labels"], plane: UInt8[np.ndarray, "h w"], rng: np.random.Generator) -> None:
    """Adds one or two of the labels that touch an object on a slice to its table; in place."""
    for _ in range(int(rng.integers(1, 3))):
        mask = table[plane]
        touching = np.unique(plane[ndimage.binary_dilation(mask, iterations=2) & ~mask])
        fitting = [n for n in touching if n not in NEVER_JOINED and (plane == n).sum() < 4 * mask.sum()]
        if not fitting:
            return
        table[int(rng.choice(fitting))] = True


MIN_AREA_MM2 = 12
"""A clip begins on a slice where its object has this much."""
MAX_AREA_MM2 = 20
"""An object that reaches this on no slice is passed over."""
LONG_CLIP = 9
"""Clips of so many slices go through their object from one part to the farther end."""
END_FRACTION = 0.15
"""A clip that begins near an object's end begins in this last part of its slices."""
LESION_RADIUS_MM = (2.0, 16.0)
WHOLE_SLICE_MM = (185.0, 255.0)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Target:
    """The target of a clip."""

    slice: int
    """Where the clip begins."""
    ends: tuple[int, int]
    """First and last slice of the object."""
    low: Float[np.ndarray, "2"]
    """First row and column of its box on that slice, mm."""
    high: Float[np.ndarray, "2"]
    """Last row and column."""
    upwards: bool
    """Towards higher slice numbers."""
    begins_at_end: bool = False
    """It begins near the object's end and leaves it."""
    lesion_radius: float = 0.0
    """Of a lesion that is still to be drawn, mm; 0 for an object of the head."""

    @property
    def middle(self) -> Float[np.ndarray, "2"]:
        """Of the box, mm."""
        return (self.low + self.high) / 2

    @property
    def sides(self) -> Float[np.ndarray, "2"]:
        """Rows and columns of the box, mm."""
        return self.high - self.low + 1


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class View:
    """The field of view of a clip."""

    axis: int
    numbers: Int[np.ndarray, "t"]
    """Slices of the head; they may lie outside of its map."""
    start: Int[np.ndarray, "2"]
    """First row and column, mm."""
    extent: Int[np.ndarray, "2"]
    """Rows and columns, mm."""
    is_crop: bool

    @property
    def stride(self) -> int:
        """Distance between neighbouring slices, mm; 0 for a single slice."""
        return abs(int(self.numbers[1] - self.numbers[0])) if len(self.numbers) > 1 else 0


def choose_target(
    head: Head, axis: int, number: int, rng: np.random.Generator, *, begins_at_end: bool, is_long: bool = False
) -> Target | None:
    """A slice on which an object can be seen; None if there is none along this axis.

    Args:
        head: Where the object is.
        axis: Along which slices are taken.
        number: The object, a row of `OBJECT_LABELS`.
        rng: Draws slice and direction.
        begins_at_end: Choose a slice near the end that the clip goes towards.
        is_long: Go towards the farther end.
    """
    areas = head.counts[axis] @ OBJECT_LABELS[number]
    if areas.max() < MAX_AREA_MM2:
        return None
    upwards = bool(rng.random() < 0.5)
    visible = np.flatnonzero(areas >= MIN_AREA_MM2)
    if begins_at_end:
        last = max(1, round(END_FRACTION * len(visible)))
        index = int(rng.choice(visible[-last:] if upwards else visible[:last]))
    else:
        weights = areas[visible].astype(float) ** 0.6
        index = int(rng.choice(visible, p=weights / weights.sum()))
    rows, cols = np.nonzero(OBJECT_LABELS[number][np.asarray(np.moveaxis(head.labels, axis, 0)[index])])
    present = np.flatnonzero(areas)
    if is_long:
        upwards = bool(present[-1] - index > index - present[0])
    return Target(
        slice=index,
        ends=(int(present[0]), int(present[-1])),
        low=np.array([rows.min(), cols.min()], float),
        high=np.array([rows.max(), cols.max()], float),
        upwards=upwards,
        begins_at_end=begins_at_end,
    )


def choose_lesion(head: Head, axis: int, rng: np.random.Generator) -> Target | None:
    """Where a lesion is about to be, somewhere in white matter; None if the head has none."""
    white = head.counts[axis][:, ids("white matter")].sum(1).astype(float)
    if not white.any():
        return None
    index = int(rng.choice(len(white), p=white / white.sum()))
    spots = np.argwhere(is_in(np.asarray(np.moveaxis(head.labels, axis, 0)[index]), "white matter"))
    spot = spots[int(rng.integers(len(spots)))].astype(float)
    radius = float(np.exp(rng.uniform(*np.log(LESION_RADIUS_MM))))
    return Target(
        slice=index,
        ends=(round(index - radius), round(index + radius)),
        low=spot - radius,
        high=spot + radius,
        upwards=bool(rng.random() < 0.5),
        lesion_radius=radius,
    )


def choose_view(
    head: Head,
    axis: int,
    target: Target,
    rng: np.random.Generator,
    config: ClipConfig,
    *,
    num_slices: int,
    crop_range: tuple[float, float],
) -> View:
    """Stride and field of view of a clip."""
    stride = _choose_stride(target, rng, config, num_slices)
    numbers = target.slice + (stride if target.upwards else -stride) * np.arange(num_slices)
    whole = rng.uniform(*WHOLE_SLICE_MM)
    factor = float(np.exp(rng.uniform(*np.log(crop_range))))
    side = max(config.min_crop_mm, float(target.sides.max()) * factor)
    is_crop = bool(rng.random() < config.crop and side < whole)
    extent = (side if is_crop else whole) * rng.uniform(0.87, 1.15, 2)
    extent = np.maximum(extent, 1.08 * target.sides)
    if is_crop:
        middle = target.middle + rng.uniform(-0.3, 0.3, 2) * (extent - target.sides)
    else:
        shape = np.array([n for a, n in enumerate(head.labels.shape) if a != axis])
        middle = 0.75 * (shape / 2 + rng.uniform(-15, 15, 2)) + 0.25 * target.middle
    return View(
        axis=axis,
        numbers=numbers,
        start=np.floor(middle - extent / 2).astype(int),
        extent=np.maximum(np.ceil(extent).astype(int), 8),
        is_crop=is_crop,
    )


def _choose_stride(target: Target, rng: np.random.Generator, config: ClipConfig, num_slices: int) -> int:
    """Distance between neighbouring slices, mm: any, or one with which the object ends within the clip."""
    if target.begins_at_end:
        return int(rng.integers(min(2, config.max_stride), config.max_stride + 1))
    if num_slices > 1 and rng.random() < config.past_end:
        to_end = (target.ends[1] - target.slice if target.upwards else target.slice - target.ends[0]) + 1
        ends_after = rng.uniform(0.6, 1.0) if num_slices >= LONG_CLIP else rng.uniform(0.25, 0.8)
        wanted = round(to_end / (num_slices * ends_after))
        return int(np.clip(wanted, 1, config.max_stride))
    return int(rng.integers(1, min(2 if num_slices >= LONG_CLIP else 3, config.max_stride) + 1))


def cut(head: Head, view: View) -> tuple[UInt8[np.ndarray, "t h w"], int] | None:
    """The part of a head's map that a view needs, with a slice more at each end, and the slice that it begins with.

    Background lies outside of the map; None where the view sees nothing else.
    """
    low, high = int(view.numbers.min()) - 1, int(view.numbers.max()) + 2
    slab = np.zeros((high - low, *view.extent), np.uint8)
    source = np.moveaxis(head.labels, view.axis, 0)
    first = (low, int(view.start[0]), int(view.start[1]))
    inside = tuple(
        slice(max(0, s), max(0, min(n, s + e))) for s, e, n in zip(first, slab.shape, source.shape, strict=True)
    )
    if any(part.stop <= part.start for part in inside):
        return None
    place = tuple(slice(part.start - s, part.stop - s) for part, s in zip(inside, first, strict=True))
    slab[place] = source[inside]
    return slab, low


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
