"""A session along one axis of a volume: image features, predictions on slices, and propagation passes."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import PromptError
from NeuroSAM2Core.inference.options import EngineOptions
from NeuroSAM2Core.inference.precision import computing
from NeuroSAM2Core.inference.prediction.crop import Crop, CropPlanner
from NeuroSAM2Core.inference.prediction.feature_cache import FeatureBudget, FeatureCache
from NeuroSAM2Core.inference.prediction.postprocess import finish, slice_options
from NeuroSAM2Core.inference.prediction.slice_answer import CropMemory, CropView, SliceAnswer
from NeuroSAM2Core.inference.prediction.slice_predictor import PromptHistory, SliceContext, SlicePredictor
from NeuroSAM2Core.inference.propagation.axis_context import AxisContext, CropMemories
from NeuroSAM2Core.inference.propagation.memory_bank import MemoryBank, select_memory
from NeuroSAM2Core.inference.propagation.objects_together import ObjectPasses, check_cancelled, propagate_together
from NeuroSAM2Core.inference.propagation.passes import Pass, plan_bidirectional_sweep, plan_passes
from NeuroSAM2Core.inference.propagation.propagation_pass import (
    PassTracker,
    appearance_model_of,
    done_of,
    intensity_contrast_of,
    present_slices,
    track_slices,
)
from NeuroSAM2Core.inference.propagation.track import ImportedMask, ObjectTrack, SliceState
from NeuroSAM2Core.model import SAM2, MaskPrediction
from NeuroSAM2Core.prompts import BoxPrompt, MaskPrompt, PointPrompt, PromptSet
from NeuroSAM2Core.volume import Axis, Direction, IntensityWindow, MaskCleanup, SlicePlane, SliceStack, Volume

CLOSE_RATIO = 0.25
"""So far from a confirmed slice, as a share of the object's width there, an object has not ended."""


class AxisSession:
    """One axis of a volume under a model.

    Args:
        model: Answers.
        volume: The image.
        axis: Of the stored grid.
        window: The intensities that become black and white on whole slices.
        is_window_fixed: Crops keep that window, too.
        options: The engine's choices, every open one made.
        budget: Memory for features, shared with other axes and volumes.
    """

    def __init__(
        self,
        model: SAM2,
        volume: Volume,
        axis: Axis,
        window: IntensityWindow,
        options: EngineOptions,
        *,
        is_window_fixed: bool = False,
        budget: FeatureBudget,
    ) -> None:
        self.model, self.volume, self.options = model, volume, options
        self.stack = SliceStack.of(volume, axis)
        self.features = FeatureCache(model, self.stack, max_bytes=budget, is_exact=options.is_exact)
        self.crops = CropPlanner.of(
            self.stack,
            volume.spacing_mm,
            window,
            scale=options.crop_scale if options.crops else None,
            is_window_fixed=is_window_fixed,
        )
        slice_mm = volume.spacing_mm[2 - self.stack.order[0]]
        self.context = AxisContext(model, self.stack, self.features, self.crops, options, slice_mm)
        self.predictor = SlicePredictor(model, self.crops, options)
        self.cleanup_options = options
        """How masks are cleaned."""

    def set_cleanup(self, cleanup: MaskCleanup) -> None:
        """Sets how masks are cleaned from now on."""
        self.cleanup_options = slice_options(self.options, cleanup, self.volume.spacing_mm, self.stack.axis)

    def answer(self, track: ObjectTrack, prompts: PromptSet, number: int) -> SliceState:
        """Predicts the mask for a prompt set: corrects the slice's mask where there is one, else starts from the image alone."""
        answer = self.predict(track, prompts, number)
        return self.context.state_of(answer.prediction, answer.crop)

    def predict(self, track: ObjectTrack, prompts: PromptSet, number: int) -> SliceAnswer:
        """The prediction for a prompt set, before its memory is encoded."""
        return self.predictor.answer(prompts, number, self._history_of(track, prompts, number))

    def predict_stepwise(self, track: ObjectTrack, prompts: PromptSet, number: int) -> Iterator[None]:
        """Predicts after each box and click of a slice, with a yield after each; `predict` then only returns the last result."""
        yield from self.predictor.answer_stepwise(prompts, number, self._history_of(track, prompts, number))

    def _history_of(self, track: ObjectTrack, prompts: PromptSet, number: int) -> PromptHistory:
        if number not in track.prompt_histories:
            track.prompt_histories[number] = self._begin(track, number)
        history = track.prompt_histories[number]
        if history.prompts and not _begins_with(prompts, history.prompts[0]):
            history.readings = []  # they were of another click
        return history

    def readings(self, track: ObjectTrack, number: int) -> list[SliceAnswer]:
        """The candidate masks of the first click on a slice, the most likely first; empty where the prompts are unambiguous."""
        history = track.prompt_histories.get(number)
        return list(history.readings) if history is not None and len(history.prompts) == 1 else []

    def num_readings(self, track: ObjectTrack, number: int) -> int:
        """How many masks the prompts of a slice can mean, at least 1; see `readings`."""
        return max(1, len(self.readings(track, number)))

    def warm(self, number: int) -> bool:
        """Encodes a slice in advance; False where that would evict other features."""
        if not self.features.has_space:
            return False
        self.features.get(number, self.crops.whole)
        return True

    def plan(self, track: ObjectTrack, first: int | None, last: int | None, direction: Direction) -> list[Pass]:
        """The passes through a range of stored slices that are not finished."""
        if not track.confirmed:
            raise PromptError("there is nothing to propagate", hint="add a box or a point first")
        ends = [0 if first is None else first, len(self.stack) - 1 if last is None else last]
        for index in ends:
            SlicePlane(self.stack.axis, index).check_inside(self.volume)
        if ends[0] > ends[1]:
            raise PromptError(f"the range {ends[0]}:{ends[1]} ends before it begins; expected first <= last")
        low, high = sorted(self.stack.number_of(index) for index in ends)
        if self.options.bidirectional_sweep:
            passes = plan_bidirectional_sweep(track.confirmed, low, high)
        else:
            empty = [n for n, state in track.confirmed.items() if self.options.clears_denied and state.area == 0]
            passes = plan_passes(track.confirmed, low, high, empty=empty)
        if direction is not Direction.BOTH:
            step = 1 if (direction is Direction.UP) != self.stack.flipped[0] else -1
            passes = [run for run in passes if run.step == step]
        return [run for run in passes if done_of(track, run, self.options) < len(run.slices)]

    def run(
        self, objects: Mapping[int, tuple[ObjectTrack, Sequence[Pass]]], is_cancelled: Callable[[], bool]
    ) -> Iterator[tuple[int, int]]:
        """Runs the passes of objects, and yields the object and the number of every slice that was done."""

        def prepare(track: ObjectTrack, run: Pass) -> None:
            done = done_of(track, run, self.options)
            self.materialize(track, run.slices[max(0, done - self.reach) : done], is_cancelled)

        passes = [ObjectPasses(self.context, one, track, runs, prepare) for one, (track, runs) in objects.items()]
        return propagate_together(self.context, passes, is_cancelled)

    def extend(self, track: ObjectTrack, number: int) -> None:
        """Answers one slice, which passes have reached, as if the object went on there; the slices beyond it stay as they are.

        Raises:
            PromptError: The slice is confirmed, or not all slices up to it are done.
        """
        index = self.stack.plane(number).index
        if number in track.confirmed:
            raise PromptError(f"slice {index} is confirmed; it stays as it is", hint="choose the slice beyond it")
        start = min(track.confirmed, key=lambda n: (abs(n - number), n), default=None)
        run = None if start is None else Pass(start, number)
        if run is None or not track.known.issuperset(run.slices[:-1]):
            raise PromptError(f"slice {index} cannot be reached yet", hint="propagate up to there first")
        scratch_copy = track.scratch_copy()
        scratch_copy.tracked.pop(number, None)
        scratch_copy.imported.pop(number, None)
        scratch_copy.progress.clear()
        self.materialize(scratch_copy, run.slices[:-1][-self.reach :])
        options = replace(self.options, ends_by_shape=False, stop_after_absent=None, bidirectional_sweep=False)
        context = replace(self.context, options=options)
        tracker = PassTracker(context, scratch_copy, run)
        (state,) = track_slices(context, [tracker])
        track.imported.pop(number, None)
        track.tracked[number] = state

    @property
    def reach(self) -> int:
        """The number of previous slices that memory attention may use."""
        config = self.context.memory_config
        return max(config.num_slots * config.stride, config.max_pointers)

    def materialize(
        self, track: ObjectTrack, numbers: Iterable[int], is_cancelled: Callable[[], bool] = lambda: False
    ) -> None:
        """Encodes the memory of those slices that have only an imported mask."""
        for number in numbers:
            if number in track.imported and track.state(number) is None:
                check_cancelled(is_cancelled)
                with computing(self.model, is_exact=self.options.is_exact):
                    track.tracked[number] = self.use_imported_mask(track.imported[number], number, is_prompted=False)

    def mask_of(self, answer: SliceState | SliceAnswer) -> NDArray[np.bool_]:
        """The final mask (H, W) of the stored plane."""
        logits = answer.logits if isinstance(answer, SliceState) else answer.prediction.logits
        seen = finish(logits, answer.crop, self.stack.slice_shape, self.cleanup_options)
        return np.ascontiguousarray(self.stack.mask_from_stack(seen))

    def use_imported_mask(self, imported: ImportedMask, number: int, *, is_prompted: bool) -> SliceState:
        """The state of a slice whose mask is imported, as if it had been predicted."""
        answer = self._use_mask(imported, number)
        state = self.context.state_of(answer.prediction, answer.crop)
        self.context.memory_of(state, number, answer.crop, is_prompted=is_prompted)
        return replace(state, iou=imported.iou, object_score_logits=imported.object_score_logits)

    def _use_mask(self, imported: ImportedMask, number: int) -> SliceAnswer:
        mask = MaskPrompt(imported.mask)
        crop = self.predictor.crop_of_mask(mask, number)
        return SliceAnswer(self.predictor.use_mask(mask, crop, self.features.get(number, crop)), crop)

    def _begin(self, track: ObjectTrack, number: int) -> PromptHistory:
        """Begins the prompt history of a slice: blank, or with an existing mask that is to be corrected."""
        self.materialize(track, [number])
        there = track.state(number)
        if there is None:
            areas = [state.area for state in track.confirmed.values() if state.area > 0]
            return PromptHistory(
                self._look(lambda crop: self._without_memory(number, crop), number),
                None,
                largest_area=max(areas, default=math.inf),
            )
        others = [n for n in track.confirmed if n != number]
        look = self._look(lambda crop: self._with_memory(track, number, others, crop), number)
        contrast = intensity_contrast_of(self.context, track, number, others)
        if number in track.confirmed:  # from before this session, with its prompts
            answer = self._use_mask(track.imported[number], number)
            return self.predictor.resume(look, answer, track.prompts[number], contrast)
        if there.area == 0 and self.options.crops and (near := self._nearest_present(track, number)) is not None:
            there = near
        is_close = self._is_close(track, number)
        start = SliceAnswer(_as_prediction(there), there.crop)
        return PromptHistory(look, start, contrast=contrast, is_close=is_close)

    def _is_close(self, track: ObjectTrack, number: int) -> bool:
        """A slice lies within a part of the object's width of a confirmed one that shows it: the object goes on there."""
        showing_it = [n for n, state in track.confirmed.items() if state.area > 0]
        if not showing_it:
            return False
        near = min(showing_it, key=lambda n: abs(n - number))
        return self.context.diameters_between(near, number, track.confirmed[near].area) <= CLOSE_RATIO

    def _nearest_present(self, track: ObjectTrack, number: int) -> SliceState | None:
        """The state of the slice closest to one that the object is on: what a click where it ended most likely means."""
        states = {**track.tracked, **track.confirmed}
        showing_it = [n for n, state in states.items() if state.area > 0]
        return states[min(showing_it, key=lambda n: abs(n - number))] if showing_it else None

    def _look(self, look: Callable[[Crop], CropView], number: int) -> SliceContext:
        return SliceContext(
            look,
            lambda crops: self.features.get_all([(number, crop) for crop in crops]),
            lambda crop: self.features.get(number, crop),
        )

    def _without_memory(self, number: int, crop: Crop) -> CropView:
        features = self.features.get(number, crop)
        return CropView(features, CropMemory(self.model.without_memory(features.coarse)))

    def _with_memory(self, track: ObjectTrack, number: int, others: list[int], crop: Crop) -> CropView:
        """A crop's features conditioned on the memories of the other confirmed slices."""
        others = list(present_slices({n: track.confirmed[n] for n in others if n in track.confirmed}))
        if not others:
            return self._without_memory(number, crop)
        features = self.features.get(number, crop)
        reverse = number < min(others, key=lambda n: abs(n - number))
        context, recent = self.context, track.known - {number, *others}
        selection = select_memory(
            number, others, recent, context.memory_config, num_slices=len(self.stack), reverse=reverse
        )
        self.materialize(track, [n for n, _ in selection.slices + selection.pointers])
        bank = MemoryBank(context.memory_config, len(self.stack))
        confirmed = {n: track.confirmed[n] for n in others}
        tracked = {n: state for n, state in track.tracked.items() if n != number}
        bank.conditioning = CropMemories(context, confirmed, crop, is_prompted=True)
        bank.recent = CropMemories(context, tracked, crop, is_prompted=False)
        conditioned = bank.condition(self.model, features, number, reverse=reverse)
        return CropView(features, CropMemory(conditioned, appearance_model_of(context, track, number, others, crop)))


def _begins_with(prompts: PromptSet, first: BoxPrompt | PointPrompt) -> bool:
    """True if a prompt set begins with the given prompt."""
    if prompts.mask is not None or prompts.is_empty:
        return False
    return first == (prompts.box or prompts.points[0])


def _as_prediction(state: SliceState) -> MaskPrediction:
    """The prediction that a slice state was made of."""
    iou, object_score = (state.logits.new_tensor([[value]]) for value in (state.iou, state.object_score_logits))
    pointer = state.pointer
    return MaskPrediction(state.logits, iou, pointer, object_score, state.logits, iou, pointer[:, None])
