"""Propagation passes: from a confirmed slice outwards, each slice conditioned on the memories of those before it.

Slices of several objects are tracked together, one of each object: the model sees them as one batch. A batch of one is a slice of one
object.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from NeuroSAM2Core.checkpoint.load import bundled_refiner
from NeuroSAM2Core.inference.options import EngineOptions
from NeuroSAM2Core.inference.precision import computing
from NeuroSAM2Core.inference.prediction.appearance import AppearanceModel, fit_appearance_model
from NeuroSAM2Core.inference.prediction.crop import MAX_WIDENINGS, Crop, logits_in_crop
from NeuroSAM2Core.inference.prediction.feature_cache import LOOK_AHEAD
from NeuroSAM2Core.inference.prediction.mask_refinement import (
    IntensityContrast,
    PropagatedMask,
    RefinedMask,
    RefinerPicture,
    refine_propagated_masks,
    shows_surroundings,
)
from NeuroSAM2Core.inference.prediction.mask_transfer import (
    box_of_mask,
    dice,
    interpolated,
    keeping,
    overlap_over_union,
)
from NeuroSAM2Core.inference.prediction.slice_answer import as_absent
from NeuroSAM2Core.inference.propagation.axis_context import AxisContext, CropMemories
from NeuroSAM2Core.inference.propagation.grouping import in_groups
from NeuroSAM2Core.inference.propagation.memory_bank import MemoryBank, SelectedMemories
from NeuroSAM2Core.inference.propagation.passes import Pass
from NeuroSAM2Core.inference.propagation.track import (
    Ending,
    ObjectTrack,
    Shrinkage,
    SliceEvidence,
    SliceState,
    ending_of,
)
from NeuroSAM2Core.model import ImageFeatures, MaskPrediction, Points
from NeuroSAM2Core.model.mask_refiner import SIDE

MIN_ALIKE = 0.5
"""Dice of the masks of two slices that shapes between them can be expected from."""
MAX_EXAMPLES = 8
"""Confirmed slices that an appearance is learned from."""

Logits = Float[Tensor, "1 1 s4 s4"]


class PassTracker:
    """Tracks an object through the slices of one pass that are not done yet.

    Args:
        context: The axis.
        track: The object.
        run: The pass.
    """

    def __init__(self, context: AxisContext, track: ObjectTrack, run: Pass) -> None:
        self.context, self.track_of_object, self.run = context, track, run
        options = context.options
        self._done = done_of(track, run, options)
        seen = track.tracked if options.bidirectional_sweep else run.slices[: self._done]
        self.recent = {n: track.tracked[n] for n in seen if n in track.tracked}
        """Slices of the pass that are done."""
        self._num_absent = track.num_absent_before(run, self._done)
        self.first = track.confirmed[run.start]
        beyond = [n for n, state in track.confirmed.items() if (n - run.start) * run.step > 0 and state.area > 0]
        self.ahead = min(beyond, key=lambda n: abs(n - run.start), default=None) if options.interpolates else None
        self.is_between = self.ahead is not None or any(track.has_ended_on(n) for n in run.slices[self._done :])
        """The object is known to go on for as long as the pass: to a confirmed slice, or to where it has ended."""
        self.largest_area = max(state.area for state in (*track.confirmed.values(), *self.recent.values()))
        behind = [n for n in track.confirmed if (n - run.start) * run.step <= 0]
        self.origin = max(behind, key=lambda n: (track.confirmed[n].area, n == run.start))
        """Where the object's extent is measured from: a correction close to its end does not make it longer."""
        done = [self.recent[n] for n in run.slices if n in self.recent]
        self.shrinkage = Shrinkage.of(state.area for state in (self.first, *done))
        self.contrast = intensity_contrast_of(context, track, run.start, track.confirmed)
        self.refines = options.refines_masks and all(
            shows_surroundings(state.logits) for state in track.confirmed.values()
        )
        self._crop: Crop | None = None
        self._bank: MemoryBank
        self._picture: tuple[int, Crop, RefinerPicture] | None = None
        self.appearance: AppearanceModel | None = None

    @property
    def number(self) -> int | None:
        """The slice that is next; None at the end."""
        track, ends = self.track_of_object, self.context.options.stop_after_absent is not None
        while self._done < len(self.run.slices):
            number = self.run.slices[self._done]
            has_ended = ends and track.has_ended_on(number)  # before a correction, which leaves it so
            if number not in track.confirmed and not has_ended:
                return number
            self._done = len(self.run.slices) if has_ended else self._done + 1  # confirmed: in bidirectional passes
            track.progress[self.run] = self._done
        return None

    @property
    def upcoming(self) -> range:
        """Some slices after the next one."""
        return self.run.slices[self._done + 1 : self._done + LOOK_AHEAD]

    def take(self, number: int, state: SliceState) -> None:
        """Puts the state of the next slice into the track."""
        track = self.track_of_object
        self.recent[number] = track.tracked[number] = state
        area = state.area
        self.largest_area = max(self.largest_area, area)
        self.shrinkage.add(area)
        self._num_absent = 0 if state.object_score_logits > 0 else self._num_absent + 1
        has_ended = self._num_absent == self.context.options.stop_after_absent
        self._done = len(self.run.slices) if has_ended else self._done + 1
        track.progress[self.run] = self._done

    def crop_for(self, number: int) -> Crop:
        """The crop that a slice is first seen in."""
        place = number - self.run.step
        before = self.track_of_object.state(place)
        if before is None:
            return self.first.crop
        bounds = before.crop.bounds_of(before.logits)
        return self.context.crops.following(before.crop, self.first.crop, place, bounds)

    def picture(self, number: int, crop: Crop) -> RefinerPicture:
        """A slice in a crop; the last one that was asked for is at hand."""
        if self._picture is None or self._picture[:2] != (number, crop):
            seen = RefinerPicture.of(crop.picture(self.context.stack.voxels[number], SIDE))
            self._picture = number, crop, seen
        return self._picture[2]

    def look(self, number: int, crop: Crop, features: ImageFeatures) -> "Look":
        """The slice in a crop, with what memory and the slice before say of it."""
        options, model = self.context.options, self.context.model
        before = self.track_of_object.state(number - self.run.step)
        self._look_through(crop)
        memories = self._bank.select(model, features, number, reverse=self.run.step < 0)
        logits = None if before is None else logits_in_crop(before.logits.float(), before.crop, crop)
        mask = None if logits is None or not (logits > 0).any() else logits > 0
        if mask is not None and (expected := self._expected(mask, number, crop)) is not None:
            logits, mask = expected, expected > 0
        box = None
        if options.carries_boxes and mask is not None:
            box = box_of_mask(mask, model.config.image_size, options.box_margin_px)
        return Look(self, number, crop, features, memories, logits, mask, box)

    def _expected(self, mask: Bool[Tensor, "1 1 s4 s4"], number: int, crop: Crop) -> Logits | None:
        """The shape between the slice before and the next confirmed one; None where there is none, or they differ much."""
        if self.ahead is None:
            return None
        state = self.track_of_object.confirmed[self.ahead]
        ahead = logits_in_crop(state.logits.float(), state.crop, crop) > 0
        if dice(mask, ahead).item() < MIN_ALIKE:
            return None
        expected = interpolated(mask, ahead, abs(self.ahead - number))
        return expected if (expected > 0).any() else None

    def _look_through(self, crop: Crop) -> None:
        """Conditions a crop on the memories and the appearance model."""
        if crop == self._crop:
            return
        context, track = self.context, self.track_of_object
        self._crop = crop
        self._bank = MemoryBank(context.memory_config, context.num_slices, keys={})
        self._bank.conditioning = CropMemories(context, present_slices(track.confirmed), crop, is_prompted=True)
        self._bank.recent = CropMemories(context, self.recent, crop, is_prompted=False)
        self.appearance = appearance_model_of(context, track, self.run.start, track.confirmed, crop)


@dataclass(frozen=True, slots=True)
class Look:
    """A slice in a crop, as one object's memory sees it, and what the slice before says of it."""

    tracker: PassTracker
    number: int
    crop: Crop
    features: ImageFeatures
    memories: SelectedMemories
    logits: Logits | None
    """Of the slice before, or what is expected between it and the next confirmed one; None where there is no slice before."""
    mask: Bool[Tensor, "1 1 s4 s4"] | None
    """Likewise; None where it is empty."""
    box: Points | None
    """Of the mask, where boxes are carried."""


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a look; absent where the object has ended."""

    look: Look
    answer: MaskPrediction
    ending: Ending | None

    def wider_crop(self) -> Crop | None:
        """A wider crop where the mask touches the border of this one."""
        look = self.look
        return look.tracker.context.crops.widened(look.crop, look.number, look.crop.bounds_of(self.answer.logits))


def track_slices(context: AxisContext, trackers: Sequence[PassTracker]) -> list[SliceState]:
    """The states of the slices that are next for some objects; the objects do not change."""
    numbers = [tracker.number for tracker in trackers]
    assert None not in numbers
    slices = [number for number in numbers if number is not None]
    with computing(context.model, is_exact=context.options.is_exact):
        crops = [tracker.crop_for(number) for tracker, number in zip(trackers, slices, strict=True)]
        upcoming = [(n, crop) for tracker, crop in zip(trackers, crops, strict=True) for n in tracker.upcoming]
        found = _find(context, trackers, slices, crops, upcoming)
        for _ in range(MAX_WIDENINGS if context.options.crops else 0):
            wider = {row: crop for row, one in enumerate(found) if (crop := one.wider_crop()) is not None}
            if not wider:
                break
            again = _find(
                context, [trackers[row] for row in wider], [slices[row] for row in wider], list(wider.values())
            )
            found = [*(dict(enumerate(found)) | dict(zip(wider, again, strict=True))).values()]
        states = context.states_with_memory(
            [one.look.features for one in found],
            [one.answer for one in found],
            [one.look.crop for one in found],
        )
    return [replace(state, ending=one.ending) for state, one in zip(states, found, strict=True)]


def _find(
    context: AxisContext,
    trackers: Sequence[PassTracker],
    numbers: Sequence[int],
    crops: Sequence[Crop],
    upcoming: Sequence[tuple[int, Crop]] = (),
) -> list[Found]:
    """The answers on one slice of each object in some crops."""
    features = context.features.get_all(list(zip(numbers, crops, strict=True)), upcoming)
    looks = [
        tracker.look(number, crop, seen)
        for tracker, number, crop, seen in zip(trackers, numbers, crops, features, strict=True)
    ]
    conditioned = in_groups(looks, lambda look: look.memories.layout, partial(_condition, context))
    answers = in_groups(
        list(zip(looks, conditioned, strict=True)),
        lambda pair: (pair[0].box is None, pair[0].mask is None, pair[0].logits is None),
        partial(_decode, context),
    )
    answers = [
        answer
        if look.tracker.appearance is None
        else look.tracker.appearance.suppress_background(answer, look.features)
        for look, answer in zip(looks, answers, strict=True)
    ]
    refined = _refine(context, looks, answers)
    return [
        _ended(context, look, one, own_iou=float(own.iou))
        for look, one, own in zip(looks, refined, answers, strict=True)
    ]


def _condition(context: AxisContext, looks: Sequence[Look]) -> Sequence[Float[Tensor, "1 c s s"]]:
    """The coarse features of each look, conditioned on its memories."""
    memories = SelectedMemories.joined([look.memories for look in looks])
    coarse = ImageFeatures.joined([look.features for look in looks]).coarse
    conditioned = memories.condition(context.model, coarse)
    return conditioned.expand(len(looks), -1, -1, -1).split(1)


def _decode(context: AxisContext, pairs: Sequence[tuple[Look, Float[Tensor, "1 c s s"]]]) -> Sequence[MaskPrediction]:
    """The answers to looks that have the same kinds of prompts."""
    model, options = context.model, context.options
    looks = [look for look, _ in pairs]
    boxes = [look.box for look in looks if look.box is not None]
    masks = [look.mask for look in looks if look.mask is not None]
    logits = [look.logits for look in looks if look.logits is not None]
    together = model.decode(
        torch.cat([conditioned for _, conditioned in pairs]),
        ImageFeatures.joined([look.features for look in looks]),
        points=Points(torch.cat([b.coords for b in boxes]), torch.cat([b.labels for b in boxes])) if boxes else None,
        mask_logits=torch.cat(logits) if logits and model.config.rasterize_prompts else None,
        multimask=True,
        choose=keeping(torch.cat(masks), options.overlap_weight) if options.carries_boxes and masks else None,
    )
    return [together[row : row + 1] for row in range(len(looks))]


def _refine(context: AxisContext, looks: Sequence[Look], answers: Sequence[MaskPrediction]) -> list[RefinedMask]:
    """The answers with the masks that the mask refiner finds, where it is asked."""
    refined = [RefinedMask(answer) for answer in answers]
    rows = [row for row, look in enumerate(looks) if look.tracker.refines and look.mask is not None]
    if not rows:
        return refined
    known = [_propagated(looks[row], answers[row]) for row in rows]
    found = refine_propagated_masks(known, bundled_refiner(context.model.device))
    for row, one in zip(rows, found, strict=True):
        if context.options.ends_by_shape or (one.answer.logits > 0).any():  # who asks for one more slice gets a mask
            refined[row] = one
    return refined


def _propagated(look: Look, answer: MaskPrediction) -> PropagatedMask:
    assert look.mask is not None
    tracker, number = look.tracker, look.number
    neighbour, picture = (tracker.picture(n, look.crop) for n in (number - tracker.run.step, number))
    return PropagatedMask(answer, look.mask, picture, neighbour, tracker.contrast)


def _ended(context: AxisContext, look: Look, refined: RefinedMask, *, own_iou: float) -> Found:
    """An answer, absent where the object has ended.

    Args:
        context: The axis.
        look: What was seen.
        refined: What was found.
        own_iou: What the model expected of its own mask.
    """
    answer = refined.answer
    tracker, state = look.tracker, context.state_of(answer, look.crop)
    is_whole = context.crops.is_whole(look.crop)
    before = tracker.track_of_object.state(look.number - tracker.run.step) or tracker.first
    evidence = SliceEvidence(
        object_score_logits=state.object_score_logits,
        expected_iou=own_iou,
        area=state.area,
        overlap=1.0 if look.mask is None else overlap_over_union(answer.logits > 0, look.mask),
        distance=0.0 if is_whole else context.diameters_between(tracker.origin, look.number, tracker.largest_area),
        has_shrunk_to=tracker.shrinkage.has_shrunk_to,
        area_before=before.area,
        certainty=refined.certainty,
        is_whole=is_whole,
    )
    ending = ending_of(evidence, tracker.largest_area, context.options, is_between=tracker.is_between)
    is_absent = ending is not None and state.object_score_logits > 0
    return Found(look, as_absent(answer) if is_absent else answer, ending)


def present_slices(confirmed: Mapping[int, SliceState]) -> Mapping[int, SliceState]:
    """The confirmed slices that the object is on, to be remembered by others; all of them where it is on none."""
    present = {n: state for n, state in confirmed.items() if state.area > 0}
    return present or confirmed


def done_of(track: ObjectTrack, run: Pass, options: EngineOptions) -> int:
    """How many slices of a pass need not be done; bidirectional passes over each other's slices know only what they noted."""
    if options.bidirectional_sweep:
        return track.progress.get(run, 0)
    return track.done_of(run, stop_after_absent=options.stop_after_absent)


def appearance_model_of(
    context: AxisContext, track: ObjectTrack, number: int, confirmed: Iterable[int], crop: Crop
) -> AppearanceModel | None:
    """What the object looks like on the confirmed slices closest to one; None where that is not asked for or is unknown."""
    if not context.options.use_appearance_model:
        return None
    examples = []
    for n in closest_slices(confirmed, number):
        state = track.confirmed[n]
        examples.append((context.features.get(n, crop), logits_in_crop(state.logits, state.crop, crop)))
    with computing(context.model, is_exact=True):
        return fit_appearance_model(examples)


def intensity_contrast_of(
    context: AxisContext, track: ObjectTrack, number: int, confirmed: Iterable[int]
) -> IntensityContrast | None:
    """How the object's intensities differ from those around it on the confirmed slices closest to one.

    None where that is not asked for or is unknown.
    """
    if not context.options.refines_masks:
        return None
    examples = []
    for n in closest_slices((n for n in confirmed if track.confirmed[n].area > 0), number):
        state = track.confirmed[n]
        mask = (state.logits[0, 0] > 0).cpu().numpy()
        examples.append((state.crop.picture(context.stack.voxels[n], mask.shape[-1]), mask))
    return IntensityContrast.of(examples)


def closest_slices(confirmed: Iterable[int], number: int) -> list[int]:
    """The confirmed slices closest to one that an object's looks are learned from."""
    return sorted(confirmed, key=lambda n: (abs(n - number), n))[:MAX_EXAMPLES]
