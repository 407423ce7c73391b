"""One propagation pass: from a confirmed slice outwards, each slice conditioned on the memories of those before it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from jaxtyping import Bool, Float
from torch import Tensor

from NeuroSAM2Core.checkpoint.mask_refiner import bundled_refiner
from NeuroSAM2Core.inference.options import EngineOptions
from NeuroSAM2Core.inference.precision import computing
from NeuroSAM2Core.inference.prediction.appearance import AppearanceModel, fit_appearance_model
from NeuroSAM2Core.inference.prediction.crop import MAX_WIDENINGS, Crop, logits_in_crop
from NeuroSAM2Core.inference.prediction.mask_refinement import (
    IntensityContrast,
    refine_propagated_mask,
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
from NeuroSAM2Core.inference.propagation.ending import Shrinkage, SliceEvidence, ending_of
from NeuroSAM2Core.inference.propagation.memory_bank import MemoryBank
from NeuroSAM2Core.inference.propagation.passes import Pass
from NeuroSAM2Core.inference.propagation.track import ObjectTrack, SliceState
from NeuroSAM2Core.model import ImageFeatures, MaskPrediction
from NeuroSAM2Core.model.mask_refiner import SIDE

MIN_ALIKE = 0.5
"""Dice of the masks of two slices that shapes between them can be expected from."""
MAX_EXAMPLES = 8
"""Confirmed slices that an appearance is learned from."""


def run_pass(context: AxisContext, track: ObjectTrack, run: Pass) -> Iterator[int]:
    """Does the slices of a pass that are not done yet, and yields each one's number once its state is in the track.

    The generator may be dropped between slices: what is done stays, and the same pass goes on from there.
    """
    options = context.options
    done = done_of(track, run, options)
    seen = track.tracked if options.bidirectional_sweep else run.slices[:done]
    recent = {n: track.tracked[n] for n in seen if n in track.tracked}
    tracker = SliceTracker(context, track, run, recent)
    absent = track.num_absent_before(run, done)
    for count, number in enumerate(run.slices[done:], start=done + 1):
        if number in track.confirmed:  # only where bidirectional passes run over them
            track.progress[run] = count
            continue
        if options.stop_after_absent is not None and track.has_ended_on(number):  # before a correction, which leaves it
            track.progress[run] = len(run.slices)
            return
        with computing(
            context.model, is_exact=options.is_exact
        ):  # not around the yield: it would hold for whoever asks
            state = tracker.track(number, upcoming=run.slices[count:])
        recent[number] = track.tracked[number] = state
        absent = 0 if state.object_score_logits > 0 else absent + 1
        has_ended = absent == options.stop_after_absent
        track.progress[run] = len(run.slices) if has_ended else count
        yield number
        if has_ended:
            return


class SliceTracker:
    """Tracks the object through the slices of one pass.

    Args:
        context: The axis.
        track: The object.
        run: The pass.
        recent: Slices of the pass that are done; the caller adds to it.
    """

    def __init__(self, context: AxisContext, track: ObjectTrack, run: Pass, recent: dict[int, SliceState]) -> None:
        self.context, self.track_of_object, self.run, self.recent = context, track, run, recent
        self.first = track.confirmed[run.start]
        beyond = [n for n, state in track.confirmed.items() if (n - run.start) * run.step > 0 and state.area > 0]
        self.ahead = (
            min(beyond, key=lambda n: abs(n - run.start), default=None) if context.options.interpolates else None
        )
        self.largest_area = max(state.area for state in (*track.confirmed.values(), *recent.values()))
        behind = [n for n in track.confirmed if (n - run.start) * run.step <= 0]
        self.origin = max(behind, key=lambda n: (track.confirmed[n].area, n == run.start))
        """Where the object's extent is measured from: a correction close to its end does not make it longer."""
        done = [recent[n] for n in run.slices if n in recent]
        self.shrinkage = Shrinkage.of(state.area for state in (self.first, *done))
        self.contrast = intensity_contrast_of(context, track, run.start, track.confirmed)
        self.refines = context.options.refines_masks and all(
            shows_surroundings(state.logits) for state in track.confirmed.values()
        )
        self._crop: Crop | None = None
        self._bank: MemoryBank
        self._appearance: AppearanceModel | None

    def track(self, number: int, upcoming: range) -> SliceState:
        """Predicts a slice without prompts."""
        crops, place = self.context.crops, number - self.run.step
        before = self.track_of_object.state(place)
        if before is None:
            crop = self.first.crop
        else:
            crop = crops.following(before.crop, self.first.crop, place, before.crop.bounds_of(before.logits))
        state = self._track_in(crop, number, before, upcoming)
        for _ in range(MAX_WIDENINGS if self.context.options.crops else 0):
            wider = crops.widened(crop, number, crop.bounds_of(state.logits))
            if wider is None:
                break
            crop = wider
            state = self._track_in(crop, number, before, range(0))
        self.largest_area = max(self.largest_area, state.area)
        self.shrinkage.add(state.area)
        return state

    def _track_in(self, crop: Crop, number: int, before: SliceState | None, upcoming: range) -> SliceState:
        context, options = self.context, self.context.options
        model = context.model
        self._look_through(crop)
        features = context.features.get(number, crop, upcoming)
        coarse = self._bank.condition(model, features, number, reverse=self.run.step < 0)
        logits = None if before is None else logits_in_crop(before.logits.float(), before.crop, crop)
        mask = None if logits is None or not (logits > 0).any() else logits > 0
        if mask is not None and (expected := self._expected(mask, number, crop)) is not None:
            logits, mask = expected, expected > 0
        box, chooser = None, None
        if options.carries_boxes and mask is not None:
            box = box_of_mask(mask, model.config.image_size, options.box_margin_px)
            chooser = keeping(mask, options.overlap_weight)
        answer = model.decode(
            coarse,
            features,
            points=box,
            mask_logits=logits if model.config.rasterize_prompts else None,
            multimask=True,
            choose=chooser,
        )
        if self._appearance is not None:
            answer = self._appearance.suppress_background(answer, features)
        own_iou = float(answer.iou)
        if self.refines and mask is not None:
            picture, neighbour = (crop.picture(context.stack.voxels[n], SIDE) for n in (number, number - self.run.step))
            refined = refine_propagated_mask(
                answer, mask, picture, neighbour, self.contrast, bundled_refiner(model.device)
            )
            if options.ends_by_shape or (refined.logits > 0).any():  # a person who asks for one more slice gets a mask
                answer = refined
        return self._ended(answer, mask, crop, features, number, own_iou)

    def _expected(self, mask: Bool[Tensor, "1 1 s4 s4"], number: int, crop: Crop) -> Float[Tensor, "1 1 s4 s4"] | None:
        """The shape between the slice before and the next confirmed one; None where there is none, or they differ much."""
        if self.ahead is None:
            return None
        state = self.track_of_object.confirmed[self.ahead]
        ahead = logits_in_crop(state.logits.float(), state.crop, crop) > 0
        if dice(mask, ahead).item() < MIN_ALIKE:
            return None
        expected = interpolated(mask, ahead, abs(self.ahead - number))
        return expected if (expected > 0).any() else None

    def _ended(
        self,
        answer: MaskPrediction,
        mask: Bool[Tensor, "1 1 s4 s4"] | None,
        crop: Crop,
        features: ImageFeatures,
        number: int,
        own_iou: float,
    ) -> SliceState:
        """The state of a slice, absent where the object has ended.

        Args:
            answer: What was found.
            mask: Of the slice before.
            crop: What was seen.
            features: Of the crop.
            number: The slice.
            own_iou: What the model expected of its own mask.
        """
        context = self.context
        state = context.encode_memory(features, answer, crop, is_prompted=False)
        overlap = 1.0 if mask is None else overlap_over_union(answer.logits > 0, mask)
        is_whole = context.crops.is_whole(crop)
        evidence = SliceEvidence(
            object_score_logits=state.object_score_logits,
            expected_iou=own_iou,
            area=state.area,
            overlap=overlap,
            distance=0.0 if is_whole else context.diameters_between(self.origin, number, self.largest_area),
            has_shrunk_to=self.shrinkage.has_shrunk_to,
        )
        ending = ending_of(evidence, self.largest_area, context.options, is_between=self.ahead is not None)
        if ending is None or state.object_score_logits <= 0:
            return replace(state, ending=ending)
        return replace(context.encode_memory(features, as_absent(answer), crop, is_prompted=False), ending=ending)

    def _look_through(self, crop: Crop) -> None:
        """Conditions a crop on the memories and the appearance model."""
        if crop == self._crop:
            return
        context, track = self.context, self.track_of_object
        self._crop = crop
        self._bank = MemoryBank(context.memory_config, context.num_slices, keys={})
        self._bank.conditioning = CropMemories(context, present_slices(track.confirmed), crop, is_prompted=True)
        self._bank.recent = CropMemories(context, self.recent, crop, is_prompted=False)
        self._appearance = appearance_model_of(context, track, self.run.start, track.confirmed, crop)


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
