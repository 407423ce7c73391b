"""A volume, a model and the objects that a person outlines in it: the public face of the engine."""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.engine.feature_cache import FeatureCache
from NeuroSAM2Core.engine.options import EngineOptions
from NeuroSAM2Core.engine.passes import Pass, neighbours, plan_passes, plan_sweeps
from NeuroSAM2Core.engine.postprocess import at_slice, finish, finish_volume
from NeuroSAM2Core.engine.precision import computing
from NeuroSAM2Core.engine.propagation import begin_memory, remember, run_pass
from NeuroSAM2Core.engine.slice_predictor import Replay, SlicePredictor
from NeuroSAM2Core.engine.track import ObjectTrack, SliceState
from NeuroSAM2Core.errors import Cancelled, PromptError
from NeuroSAM2Core.model import SAM2
from NeuroSAM2Core.prompts import BoxPrompt, MaskPrompt, PointPrompt, PromptSet
from NeuroSAM2Core.volume import (
    Axis,
    IntensityWindow,
    SliceMask,
    SlicePlane,
    SliceStack,
    Volume,
    percentile_window,
    resolve_axis,
)

Places = Sequence[float]


class Session:
    """Interactive segmentation of one volume.

    Every prompt is answered at once with the mask of its slice; `propagate` carries the object through the others. A slice with
    prompts is confirmed: it is never overwritten, and a correction makes only what lies between it and the nearest confirmed
    slices be done again.

    Args:
        model: From `load_model`.
        volume: The image. It is not changed.
        window: The intensities that become black and white; the 0.5 to 99.5 percentiles by default.
        options: The engine's choices.
    """

    def __init__(
        self,
        model: SAM2,
        volume: Volume,
        *,
        window: IntensityWindow | None = None,
        options: EngineOptions | None = None,
    ) -> None:
        self.model, self.volume = model.eval(), volume
        self.options = options or EngineOptions()
        self.window = window or percentile_window(volume.voxels)
        self._views: dict[Axis, _View] = {}
        self._objects: dict[int, tuple[Axis, ObjectTrack]] = {}
        self._replays: dict[tuple[int, int], Replay] = {}

    @property
    def object_ids(self) -> list[int]:
        """The objects so far."""
        return sorted(self._objects)

    def add_point(self, object_id: int, axis: str, index: int, point: Places, *, positive: bool = True) -> SliceMask:
        """One click: `point` is (row, col) on slice `index` along `axis`.

        Args:
            object_id: From 1.
            axis: axial, coronal, sagittal (the stored axis nearest to it), or i, j, k.
            index: Slice of the stored grid.
            point: Voxel indices of the in-plane axes in (k, j, i) order.
            positive: The pixel belongs to the object.

        Returns:
            The object on that slice.

        Raises:
            GeometryError: There is no such axis or slice.
            PromptError: The point is outside the slice.
        """
        if len(point) != 2:
            raise PromptError(f"a point is (row, col); got {tuple(point)}")
        row, col = point
        prompt = PointPrompt(float(row), float(col), positive)
        return self.set_prompts(self._said(object_id, axis, index).with_point(prompt))

    def add_box(self, object_id: int, axis: str, index: int, box: Places) -> SliceMask:
        """A box (row0, col0, row1, col1) of outermost pixels, in place of the one before; see `add_point`."""
        if len(box) != 4:
            raise PromptError(f"a box is (row0, col0, row1, col1); got {tuple(box)}")
        return self.set_prompts(self._said(object_id, axis, index).with_box(BoxPrompt(*map(float, box))))

    def add_mask(self, object_id: int, axis: str, index: int, mask: NDArray[np.bool_]) -> SliceMask:
        """The object's outline on the slice as a mask (H, W), in place of all other prompts there; see `add_point`."""
        return self.set_prompts(self._said(object_id, axis, index).with_mask(MaskPrompt(np.array(mask))))

    def set_prompts(self, prompts: PromptSet) -> SliceMask:
        """All that is said about an object on a slice, in place of what was said before.

        An empty set takes the slice's confirmation back.
        """
        view, track = self._check(prompts)
        number = view.stack.number_of(prompts.plane.index)
        low, high = neighbours(track.confirmed, number, len(view.stack))
        if prompts.is_empty:
            track.prompts.pop(number, None)
            track.confirmed.pop(number, None)
            self._replays.pop((prompts.object_id, number), None)
            track.forget_between(low, high)
            return self._as_mask(prompts.object_id, number, None)
        with computing(self.model, is_exact=self.options.is_exact):
            state = self._answer(view, track, prompts, number)
        track.prompts[number] = prompts
        track.confirmed[number] = state
        track.forget_between(low, high)
        return self._as_mask(prompts.object_id, number, state)

    def propagate(
        self,
        object_id: int | None = None,
        *,
        first: int | None = None,
        last: int | None = None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[SliceMask]:
        """Carries objects through the slices, outwards from the confirmed ones, and yields each slice when it is done.

        Only what is not done yet is done: the first time everything, after a correction what it touches, after a stop the rest.

        Args:
            object_id: The object; all of them if None.
            first: First slice of the range, an index along the object's stored axis.
            last: Last slice of the range.
            is_cancelled: Asked before every slice.

        Raises:
            PromptError: There is no such object, or nothing was said about it.
            Cancelled: `is_cancelled` said so; what is done stays.
        """
        for one in self.object_ids if object_id is None else [object_id]:
            view, track = self._object(one)
            for number in view.run(track, first, last, is_cancelled):
                yield self._as_mask(one, number, track.tracked[number])

    def num_slices_to_do(self, object_id: int, *, first: int | None = None, last: int | None = None) -> int:
        """How many slices `propagate` has before it at most; fewer where the object ends."""
        view, track = self._object(object_id)
        return sum(len(run.slices) - track.progress.get(run, 0) for run in view.plan(track, first, last))

    def slice_mask(self, object_id: int, axis: str, index: int) -> SliceMask:
        """The object on a slice as it stands; empty where nothing was done yet."""
        view, track = self._object(object_id)
        plane = SlicePlane(resolve_axis(self.volume, axis), index)
        plane.check_inside(self.volume)
        if plane.axis != view.stack.axis:
            raise PromptError(f"object {object_id} is outlined along {view.stack.axis}, not along {plane.axis}")
        number = view.stack.number_of(index)
        return self._as_mask(object_id, number, track.state(number))

    def mask(self, object_id: int) -> NDArray[np.bool_]:
        """The object so far, (K, J, I), cleaned as a whole if the options say so."""
        _, track = self._object(object_id)
        voxels = np.zeros(self.volume.shape, dtype=bool)
        for number in {**track.tracked, **track.confirmed}:
            one = self._as_mask(object_id, number, track.state(number))
            one.plane.of(voxels)[...] = one.mask
        return finish_volume(voxels, self.options, self.model.device)

    def labels(self) -> Volume:
        """All objects as one label volume on the image's own grid; where some overlap, the one that is surest there has the voxel."""
        largest = max(self.object_ids, default=0)
        voxels = np.zeros(self.volume.shape, dtype=np.uint8 if largest < 256 else np.uint16)
        surest = np.full(self.volume.shape, -np.inf, dtype=np.float32)
        for object_id in self.object_ids:
            view, track = self._object(object_id)
            whole = self.mask(object_id)
            for number in {**track.tracked, **track.confirmed}:
                state = track.state(number)
                assert state is not None
                plane = view.stack.plane(number)
                logits = view.stack.mask_from_stack(at_slice(state.logits, view.stack.slice_shape))
                wins = plane.of(whole) & (logits > plane.of(surest))
                plane.of(voxels)[wins] = object_id
                plane.of(surest)[wins] = logits[wins]
        return self.volume.with_voxels(voxels, name=f"{self.volume.name}_labels")

    def prompts(self, object_id: int) -> list[PromptSet]:
        """What was said about an object, slice by slice in the order of first mention."""
        return list(self._object(object_id)[1].prompts.values())

    def remove(self, object_id: int) -> None:
        """Forgets an object."""
        self._object(object_id)
        del self._objects[object_id]
        for key in [k for k in self._replays if k[0] == object_id]:
            del self._replays[key]

    def _said(self, object_id: int, axis: str, index: int) -> PromptSet:
        plane = SlicePlane(resolve_axis(self.volume, axis), index)
        plane.check_inside(self.volume)
        if object_id in self._objects:
            view, track = self._object(object_id)
            if view.stack.axis == plane.axis and (said := track.prompts.get(view.stack.number_of(index))):
                return said
        return PromptSet(object_id=object_id, plane=plane)

    def _check(self, prompts: PromptSet) -> tuple["_View", ObjectTrack]:
        prompts.plane.check_inside(self.volume)
        view = self._view(prompts.plane.axis)
        height, width = view.stack.slice_shape
        prompts.check_inside(*((width, height) if view.stack.is_transposed else (height, width)))
        axis, track = self._objects.setdefault(prompts.object_id, (prompts.plane.axis, ObjectTrack()))
        if axis != prompts.plane.axis:
            raise PromptError(
                f"object {prompts.object_id} is outlined along {axis}; a prompt along {prompts.plane.axis} was given",
                hint="use another object id, or prompt along the same axis",
            )
        return view, track

    def _answer(self, view: "_View", track: ObjectTrack, prompts: PromptSet, number: int) -> SliceState:
        """The answer to a prompt set: on a slice that was tracked it corrects what is there, elsewhere it starts anew."""
        features = view.features.get(number)
        key = (prompts.object_id, number)
        if key not in self._replays:
            there = track.tracked.get(number)
            coarse = self.model.without_memory(features.coarse)
            if there is not None:
                bank = begin_memory(self.model, track, self.options, num_slices=len(view.stack))
                bank.recent = {n: state.memory for n, state in track.tracked.items() if n != number}
                reverse = number < min(track.confirmed, key=lambda n: abs(n - number))
                coarse = bank.condition(self.model, features, number, reverse=reverse)
            self._replays[key] = view.predictor.begin(coarse, None if there is None else there.logits)
        answer = view.predictor.answer(prompts, features, self._replays[key])
        return remember(self.model, features, answer, self.options, is_prompted=True)

    def _as_mask(self, object_id: int, number: int, state: SliceState | None) -> SliceMask:
        view, track = self._object(object_id)
        shape = view.stack.slice_shape
        seen = np.zeros(shape, dtype=bool) if state is None else finish(state.logits, shape, self.options)
        said = track.prompts.get(number)
        return SliceMask(
            object_id=object_id,
            plane=view.stack.plane(number),
            mask=np.ascontiguousarray(view.stack.mask_from_stack(seen)),
            predicted_iou=0.0 if state is None else state.iou,
            presence=0.0 if state is None else 1 / (1 + math.exp(-max(-700.0, min(700.0, state.presence_logit)))),
            revision=0 if said is None else said.revision,
        )

    def _object(self, object_id: int) -> tuple["_View", ObjectTrack]:
        if object_id not in self._objects:
            known = ", ".join(map(str, self.object_ids)) or "none yet"
            raise PromptError(f"there is no object {object_id}; objects: {known}", hint="add a box or a point first")
        axis, track = self._objects[object_id]
        return self._view(axis), track

    def _view(self, axis: Axis) -> "_View":
        if axis not in self._views:
            self._views[axis] = _View(self, SliceStack.of(self.volume, axis))
        return self._views[axis]


class _View:
    """The volume along one axis with what belongs to that: its features and its predictor."""

    def __init__(self, session: Session, stack: SliceStack) -> None:
        self.model, self.volume, self.stack = session.model, session.volume, stack
        self.options = session.options
        self.features = FeatureCache(
            session.model,
            stack,
            session.window,
            max_bytes=session.options.feature_cache_bytes,
            is_exact=session.options.is_exact,
        )
        self.predictor = SlicePredictor(session.model, stack, session.options)

    def plan(self, track: ObjectTrack, first: int | None, last: int | None) -> list[Pass]:
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
        return [run for run in passes if track.progress.get(run, 0) < len(run.slices)]

    def run(
        self,
        track: ObjectTrack,
        first: int | None,
        last: int | None,
        is_cancelled: Callable[[], bool],
    ) -> Iterator[int]:
        """Runs the passes and yields the number of every slice that was done."""
        for run in self.plan(track, first, last):
            slices = run_pass(self.model, self.features, track, run, self.options, num_slices=len(self.stack))
            while True:
                if is_cancelled():
                    raise Cancelled("stopped; what is done stays")
                number = next(slices, None)
                if number is None:
                    break
                yield number
