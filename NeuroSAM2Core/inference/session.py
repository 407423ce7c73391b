"""A volume, a model and the objects that a person outlines in it: the public face of the engine."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import PromptError
from NeuroSAM2Core.inference.axis_session import AxisSession
from NeuroSAM2Core.inference.precision import computing
from NeuroSAM2Core.inference.propagation.passes import Pass
from NeuroSAM2Core.inference.propagation.track import ImportedMask, ObjectTrack, probability
from NeuroSAM2Core.inference.segmented_volume import SegmentedVolume
from NeuroSAM2Core.prompts import BoxPrompt, MaskPrompt, PointPrompt, PromptSet
from NeuroSAM2Core.volume import Axis, Direction, SliceMask, SlicePlane, resolve_axis

Places = Sequence[float]
_END = object()


class Session(SegmentedVolume):
    """Interactive segmentation of one volume.

    Every prompt is answered at once with the mask of its slice; `propagate` carries the object through the others. A slice with
    prompts is confirmed: it is never overwritten, and a correction makes only what lies between it and the nearest confirmed
    slices be done again.

    Args:
        model: From `load_model`.
        volume: The image. It is not changed.
        window: The intensities that become black and white; the 0.5 to 99.5 percentiles by default.
        options: The engine's choices.
        budget: Memory for features that other sessions share; `options.feature_cache_bytes` for this one alone if None.
    """

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
        return self.set_prompts(self._prompt_set(object_id, axis, index).with_point(prompt))

    def add_box(self, object_id: int, axis: str, index: int, box: Places) -> SliceMask:
        """A box (row0, col0, row1, col1) of outermost pixels, in place of the one before; see `add_point`."""
        if len(box) != 4:
            raise PromptError(f"a box is (row0, col0, row1, col1); got {tuple(box)}")
        return self.set_prompts(self._prompt_set(object_id, axis, index).with_box(BoxPrompt(*map(float, box))))

    def add_mask(self, object_id: int, axis: str, index: int, mask: NDArray[np.bool_]) -> SliceMask:
        """The object's outline on the slice as a mask (H, W), in place of all other prompts there; see `add_point`."""
        return self.set_prompts(self._prompt_set(object_id, axis, index).with_mask(MaskPrompt(np.array(mask))))

    def set_prompts(self, prompts: PromptSet) -> SliceMask:
        """All prompts of an object on a slice, in place of the earlier prompts.

        An empty set takes the slice's confirmation back.
        """
        view, track = self._check(prompts)
        number = view.stack.number_of(prompts.plane.index)
        low, high = track.changed_by(number, len(view.stack))
        if prompts.is_empty:
            track.forget(number)
            track.forget_between(low, high)
            return replace(self._as_mask(prompts.object_id, number, None), revision=prompts.revision)
        with computing(self.model, is_exact=self.options.is_exact):
            state = view.answer(track, prompts, number)
        track.prompts[number] = prompts
        track.confirmed[number] = state
        track.forget_between(low, high)
        return self._as_mask(prompts.object_id, number, state)

    def set_prompts_stepwise(self, prompts: PromptSet) -> Iterator[None]:
        """Answers the prompts of an object on a slice step by step, for callers that do other things between the steps.

        Nothing is confirmed by it; afterwards `set_prompts` has little left to do.
        """
        if prompts.is_empty:
            return
        view, track = self._check(prompts)
        yield from self._stepwise(view.predict_stepwise(track, prompts, view.stack.number_of(prompts.plane.index)))

    def preview_stepwise(self, prompts: PromptSet) -> Iterator[None]:
        """The same for `preview`."""
        if not prompts.is_empty:
            view, scratch_copy = self._scratch_answer(prompts)
            yield from self._stepwise(
                view.predict_stepwise(scratch_copy, prompts, view.stack.number_of(prompts.plane.index))
            )

    def _stepwise(self, steps: Iterator[None]) -> Iterator[None]:
        """The steps, each computed as the model should be; not around the yields, which would hold for whoever asks."""
        while True:
            with computing(self.model, is_exact=self.options.is_exact):
                if next(steps, _END) is _END:
                    return
            yield

    def preview(self, prompts: PromptSet) -> SliceMask:
        """What `set_prompts` would answer. No prompt and no mask changes; only features of the slice are kept.

        Raises:
            GeometryError: There is no such slice.
            PromptError: The prompts are empty, or do not fit the slice or the object.
        """
        if prompts.is_empty:
            raise PromptError("there is nothing to preview", hint="name at least one prompt")
        view, scratch_copy = self._scratch_answer(prompts)
        number = view.stack.number_of(prompts.plane.index)
        with computing(self.model, is_exact=self.options.is_exact):
            answer = view.predict(scratch_copy, prompts, number)
        return SliceMask(
            object_id=prompts.object_id,
            plane=prompts.plane,
            mask=view.mask_of(answer),
            predicted_iou=float(answer.prediction.iou),
            object_score=probability(float(answer.prediction.object_score_logits)),
            revision=prompts.revision,
            num_readings=view.num_readings(scratch_copy, number),
        )

    def _scratch_answer(self, prompts: PromptSet) -> tuple[AxisSession, ObjectTrack]:
        """The object to try prompts on: a copy that is kept as long as the same slice is previewed."""
        view, _, track = self._fitting(prompts)
        place = prompts.object_id, prompts.plane
        if self._scratch_tracks is None or self._scratch_tracks[0] != place:
            self._scratch_tracks = place, track.scratch_copy()
        return view, self._scratch_tracks[1]

    def readings(self, object_id: int, axis: str, index: int) -> list[SliceMask]:
        """What the one click on a slice can mean, the most likely first; see `choose_reading`. Empty where that was not left open."""
        view, track = self._object(object_id)
        plane = SlicePlane(resolve_axis(self.volume, axis), index)
        plane.check_inside(self.volume)
        if plane.axis != view.stack.axis:
            return []
        number = view.stack.number_of(index)
        revision = track.prompts[number].revision if number in track.prompts else 0
        return [
            SliceMask(
                object_id=object_id,
                plane=plane,
                mask=view.mask_of(answer),
                predicted_iou=float(answer.prediction.iou),
                object_score=probability(float(answer.prediction.object_score_logits)),
                revision=revision,
                num_readings=view.num_readings(track, number),
            )
            for answer in view.readings(track, number)
        ]

    def choose_reading(self, object_id: int, axis: str, index: int, reading: int) -> SliceMask:
        """Answers the click on a slice with another of its readings; they are counted from 0 and begin again after the last one."""
        return self.set_prompts(self._prompt_set(object_id, axis, index).with_reading(reading))

    def restore(self, known: SliceMask, prompts: PromptSet | None = None) -> None:
        """Takes up what is known of an object on a slice from before this session; other slices stay as they are.

        Args:
            known: What it looks like. It is shown exactly so until a new prompt is set there.
            prompts: The prompts there, which confirm the slice; without, it is as if `propagate` had reached it. Where these
                prompts alone give that very mask, nothing is lost; elsewhere the mask is remembered in place of the answer.

        Raises:
            GeometryError: There is no such slice.
            PromptError: The mask or the prompts do not fit the slice or each other.
        """
        for _ in self.restore_stepwise(known, prompts):
            pass

    def restore_stepwise(self, known: SliceMask, prompts: PromptSet | None = None) -> Iterator[None]:
        """`restore` step by step, for callers that do other things between the steps; done after the last one."""
        prompt_set = PromptSet(object_id=known.object_id, plane=known.plane, mask=MaskPrompt(known.mask))
        if prompts is not None and (prompts.object_id, prompts.plane) != (known.object_id, known.plane):
            raise PromptError("the prompts to restore are of another object or slice than the mask")
        if prompts is not None:
            self._check(prompts)
        view, track = self._check(prompt_set)
        number, imported = view.stack.number_of(known.plane.index), ImportedMask.of(known)
        if prompts is None or prompts.is_empty:
            track.forget(number)
            track.imported[number] = imported
            return
        alone = ObjectTrack()
        yield from self._stepwise(view.predict_stepwise(alone, prompts, number))
        with computing(self.model, is_exact=self.options.is_exact):
            state = view.answer(alone, prompts, number)
            is_exact = np.array_equal(view.mask_of(state), known.mask)
            if not is_exact:
                state = view.use_imported_mask(imported, number, is_prompted=True)
        track.forget(number)
        track.prompts[number] = prompts
        track.confirmed[number] = state
        if is_exact:
            track.prompt_histories[number] = alone.prompt_histories[number]
        else:
            track.imported[number] = imported

    def propagate(
        self,
        object_id: int | Sequence[int] | None = None,
        *,
        first: int | None = None,
        last: int | None = None,
        direction: Direction = Direction.BOTH,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[SliceMask]:
        """Propagates objects through the slices, outwards from the confirmed ones, and yields each slice when it is done.

        Several objects go through the slices together: one slice of each, as many objects at a time as the device is good for; a single
        one goes in both directions side by side. Only what is not done yet is done: the first time everything, after a correction what it
        touches, after a stop the rest.

        Args:
            object_id: The object, or several; all of them if None.
            first: First slice of the range, an index along the object's stored axis.
            last: Last slice of the range.
            direction: Only the passes that go up or down, as the stored index counts.
            is_cancelled: Asked before every slice.

        Raises:
            PromptError: There is no such object, or it has no prompts; nothing is done then.
            Cancelled: `is_cancelled` returned true; what is done stays.
        """
        wanted = self.object_ids if object_id is None else [object_id] if isinstance(object_id, int) else object_id
        along: dict[Axis, dict[int, tuple[ObjectTrack, list[Pass]]]] = {}
        for one in wanted:
            view, track = self._object(one)
            along.setdefault(view.stack.axis, {})[one] = track, view.plan(track, first, last, direction)
        for axis, objects in along.items():
            for one, number in self._view(axis).run(objects, is_cancelled):
                self._scratch_tracks = None
                yield self._as_mask(one, number, objects[one][0].tracked[number])

    def extend(self, object_id: int, axis: str, index: int) -> SliceMask:
        """Answers the slice on which the object has ended as if it went on there: one slice more, whatever its shape says.

        The slices beyond it stay as they are. Where the model does not see the object at all, the mask is empty still.

        Args:
            object_id: The object.
            axis: As for `add_point`.
            index: The slice, next to one that is done.

        Returns:
            The object on that slice.

        Raises:
            GeometryError: There is no such axis or slice.
            PromptError: There is no such object, the slice is confirmed, or propagation has not come there.
        """
        view, track = self._object(object_id)
        plane = SlicePlane(resolve_axis(self.volume, axis), index)
        plane.check_inside(self.volume)
        if plane.axis != view.stack.axis:
            raise PromptError(f"object {object_id} is segmented along {view.stack.axis}, not along {plane.axis}")
        number = view.stack.number_of(index)
        view.extend(track, number)
        self._scratch_tracks = None
        return self._as_mask(object_id, number, track.tracked[number])

    def warm(self, plane: SlicePlane) -> bool:
        """Computes the features of a slice before they are asked for. Returns False, and does nothing, where they would push out others.

        Raises:
            GeometryError: There is no such slice.
        """
        plane.check_inside(self.volume)
        view = self._view(plane.axis)
        return view.warm(view.stack.number_of(plane.index))

    def remove(self, object_id: int) -> None:
        """Forgets an object."""
        self._object(object_id)
        del self._objects[object_id]
        self._scratch_tracks = None

    def _prompt_set(self, object_id: int, axis: str, index: int) -> PromptSet:
        plane = SlicePlane(resolve_axis(self.volume, axis), index)
        plane.check_inside(self.volume)
        if object_id in self._objects:
            view, track = self._object(object_id)
            if view.stack.axis == plane.axis and (prompt_set := track.prompts.get(view.stack.number_of(index))):
                return prompt_set
        return PromptSet(object_id=object_id, plane=plane)

    def _check(self, prompts: PromptSet) -> tuple[AxisSession, ObjectTrack]:
        """Where something new about an object goes."""
        view, axis, track = self._fitting(prompts)
        self._objects[prompts.object_id] = axis, track
        self._scratch_tracks = None
        return view, track

    def _fitting(self, prompts: PromptSet) -> tuple[AxisSession, Axis, ObjectTrack]:
        prompts.plane.check_inside(self.volume)
        view = self._view(prompts.plane.axis)
        height, width = view.stack.slice_shape
        prompts.check_inside(*((width, height) if view.stack.is_transposed else (height, width)))
        axis, track = self._objects.get(prompts.object_id, (prompts.plane.axis, ObjectTrack()))
        if not track.known:  # also where all prompts were removed
            axis, track = prompts.plane.axis, ObjectTrack()
        if axis != prompts.plane.axis:
            raise PromptError(
                f"object {prompts.object_id} is segmented along {axis}; a prompt along {prompts.plane.axis} was given",
                hint="use another object id, or prompt along the same axis",
            )
        return view, axis, track
