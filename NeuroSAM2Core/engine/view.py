"""The volume along one axis, with what belongs to that: the features of its slices, answers on them, passes through them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from NeuroSAM2Core.engine.cleaning import on_slices
from NeuroSAM2Core.engine.feature_cache import FeatureCache
from NeuroSAM2Core.engine.given import GivenMask
from NeuroSAM2Core.engine.memory_selection import select_memory
from NeuroSAM2Core.engine.options import EngineOptions
from NeuroSAM2Core.engine.passes import Pass, plan_passes, plan_sweeps
from NeuroSAM2Core.engine.postprocess import finish
from NeuroSAM2Core.engine.precision import computing
from NeuroSAM2Core.engine.propagation import appearance_of, begin_memory, done_of, memory_rules, remember, run_pass
from NeuroSAM2Core.engine.slice_predictor import Replay, SlicePredictor
from NeuroSAM2Core.engine.track import ObjectTrack, SliceState
from NeuroSAM2Core.errors import Cancelled, PromptError
from NeuroSAM2Core.model import SAM2, ImageFeatures, MaskPrediction
from NeuroSAM2Core.prompts import MaskPrompt, PromptSet
from NeuroSAM2Core.volume import Axis, Cleaning, Direction, IntensityWindow, SlicePlane, SliceStack, Volume


class View:
    """One axis of a volume under a model.

    Args:
        model: Answers.
        volume: The image.
        axis: Of the stored grid.
        window: The intensities that become black and white.
        options: The engine's choices.
    """

    def __init__(
        self, model: SAM2, volume: Volume, axis: Axis, window: IntensityWindow, options: EngineOptions
    ) -> None:
        self.model, self.volume, self.options = model, volume, options
        self.stack = SliceStack.of(volume, axis)
        self.features = FeatureCache(
            model, self.stack, window, max_bytes=options.feature_cache_bytes, is_exact=options.is_exact
        )
        self.predictor = SlicePredictor(model, self.stack, options)
        self.finishing = options
        """How masks are cleaned."""

    def clean_by(self, cleaning: Cleaning) -> None:
        """Masks are cleaned like this from now on."""
        self.finishing = on_slices(self.options, cleaning, self.volume.spacing_mm, self.stack.axis)

    def answer(self, track: ObjectTrack, prompts: PromptSet, number: int) -> SliceState:
        """The answer to a prompt set: on a slice that has a mask it corrects what is there, elsewhere it starts anew."""
        answer = self.predict(track, prompts, number)
        return remember(self.model, self.features.get(number), answer, self.options, is_prompted=True)

    def predict(self, track: ObjectTrack, prompts: PromptSet, number: int) -> MaskPrediction:
        """The model's part of an answer, of which nothing is remembered yet."""
        features = self.features.get(number)
        if number not in track.replays:
            track.replays[number] = self._begin(track, number, features)
        return self.predictor.answer(prompts, features, track.replays[number])

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
        passes = (plan_sweeps if self.options.sweeps else plan_passes)(track.confirmed, low, high)
        if direction is not Direction.BOTH:
            step = 1 if (direction is Direction.UP) != self.stack.flipped[0] else -1
            passes = [run for run in passes if run.step == step]
        return [run for run in passes if done_of(track, run, self.options) < len(run.slices)]

    def run(self, track: ObjectTrack, passes: Sequence[Pass], is_cancelled: Callable[[], bool]) -> Iterator[int]:
        """Runs passes and yields the number of every slice that was done."""
        for run in passes:
            done = done_of(track, run, self.options)
            self.take_up(track, run.slices[max(0, done - self.reach) : done], is_cancelled)
            slices = run_pass(self.model, self.features, track, run, self.options, num_slices=len(self.stack))
            while True:
                _check_cancelled(is_cancelled)
                number = next(slices, None)
                if number is None:
                    break
                yield number

    @property
    def reach(self) -> int:
        """How many slices back a slice can look."""
        rules = memory_rules(self.model, self.options)
        return max(rules.num_slots * rules.stride, rules.max_pointers)

    def take_up(
        self, track: ObjectTrack, numbers: Iterable[int], is_cancelled: Callable[[], bool] = lambda: False
    ) -> None:
        """Gives those of some slices that have only a given mask a state to be remembered."""
        for number in numbers:
            if number in track.given and track.state(number) is None:
                _check_cancelled(is_cancelled)
                with computing(self.model, is_exact=self.options.is_exact):
                    track.tracked[number] = self.adopt(track.given[number], number, is_prompted=False)

    def mask_of(self, answer: SliceState | MaskPrediction) -> NDArray[np.bool_]:
        """The mask (H, W) of the stored plane that a person gets."""
        seen = finish(answer.logits, self.stack.slice_shape, self.finishing)
        return np.ascontiguousarray(self.stack.mask_from_stack(seen))

    def adopt(self, given: GivenMask, number: int, *, is_prompted: bool) -> SliceState:
        """A given mask as if it had been answered."""
        features = self.features.get(number)
        answer = self.predictor.adopt(MaskPrompt(given.mask), features)
        state = remember(self.model, features, answer, self.options, is_prompted=is_prompted)
        return replace(state, iou=given.iou, presence_logit=given.presence_logit)

    def _begin(self, track: ObjectTrack, number: int, features: ImageFeatures) -> Replay:
        """A slice about to be prompted: blank, or with a mask that is there already and is to be corrected."""
        self.take_up(track, [number])
        there = track.state(number)
        if there is None:
            return self.predictor.begin(self.model.without_memory(features.coarse), None)
        others = [n for n in track.confirmed if n != number]
        conditioned = self._condition(track, number, others, features)
        appearance = appearance_of(self.model, self.features, track, self.options, number, others)
        if number in track.confirmed:  # from before this session, with what was said there
            answer = self.predictor.adopt(MaskPrompt(track.given[number].mask), features)
            return self.predictor.resume(conditioned, answer, track.prompts[number], appearance)
        return self.predictor.begin(conditioned, there.logits, appearance)

    def _condition(self, track: ObjectTrack, number: int, others: list[int], features: ImageFeatures) -> Tensor:
        """The slice's coarse features after they have seen what is remembered of the other confirmed ones."""
        if not others:
            return self.model.without_memory(features.coarse)
        reverse = number < min(others, key=lambda n: abs(n - number))
        rules, recent = memory_rules(self.model, self.options), track.known - {number, *others}
        selection = select_memory(number, others, recent, rules, num_slices=len(self.stack), reverse=reverse)
        self.take_up(track, [n for n, _ in selection.slices + selection.pointers])
        bank = begin_memory(self.model, track, self.options, num_slices=len(self.stack))
        bank.conditioning.pop(number, None)
        bank.recent = {n: state.memory for n, state in track.tracked.items() if n != number}
        return bank.condition(self.model, features, number, reverse=reverse)


def _check_cancelled(is_cancelled: Callable[[], bool]) -> None:
    if is_cancelled():
        raise Cancelled("stopped; what is done stays")
