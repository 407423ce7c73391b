"""The read-only part of a session: a volume and the current masks of its objects. `Session` adds prompts and propagation.

Assembles an object's slices into a volume, and finds the slices that a volume clean-up would change.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import PromptError
from NeuroSAM2Core.inference.axis_session import AxisSession
from NeuroSAM2Core.inference.options import EngineOptions
from NeuroSAM2Core.inference.prediction.feature_cache import FeatureBudget
from NeuroSAM2Core.inference.prediction.postprocess import at_slice, finish_volume, volume_options
from NeuroSAM2Core.inference.propagation.propagation_pass import done_of
from NeuroSAM2Core.inference.propagation.track import ObjectTrack, SliceState, probability
from NeuroSAM2Core.model import SAM2
from NeuroSAM2Core.model.sam2 import ABSENT_LOGIT, MASK_PROMPT_LOGIT
from NeuroSAM2Core.prompts import PromptSet
from NeuroSAM2Core.volume import (
    DEFAULT_CLEANUP,
    Axis,
    Direction,
    IntensityWindow,
    MaskCleanup,
    SliceMask,
    SlicePlane,
    Volume,
    is_constant,
    percentile_window,
    resolve_axis,
)

logger = logging.getLogger(__name__)
Voxels = NDArray[np.bool_]


def assemble_volume(slices: Iterable[SliceMask], shape: tuple[int, int, int]) -> Voxels:
    """The mask of the object, (K, J, I); empty where there is no slice."""
    voxels = np.zeros(shape, dtype=bool)
    for one in slices:
        one.plane.of(voxels)[...] = one.mask
    return voxels


def changed(slices: Iterable[SliceMask], cleaned: Voxels) -> Iterator[SliceMask]:
    """The slices that differ in a cleaned object (K, J, I), with their cleaned masks."""
    for one in slices:
        mask = one.plane.of(cleaned)
        if not np.array_equal(mask, one.mask):
            yield replace(one, mask=np.ascontiguousarray(mask), revision=0)


def logits_of(view: AxisSession, track: ObjectTrack) -> NDArray[np.float32]:
    """The logits of an object, (K, J, I); far below 0 on slices that were not done."""
    voxels = np.full(view.volume.shape, ABSENT_LOGIT, dtype=np.float32)
    for number in track.known:
        view.stack.plane(number).of(voxels)[...] = slice_logits(view, track, number)
    return voxels


def slice_logits(view: AxisSession, track: ObjectTrack, number: int) -> NDArray[np.float32]:
    """The logits of an object on a slice that is known, (H, W) of the stored plane."""
    state = track.state(number)
    if state is None:  # a given mask that nothing was asked of yet
        return np.where(track.imported[number].mask, np.float32(MASK_PROMPT_LOGIT), np.float32(-MASK_PROMPT_LOGIT))
    full = at_slice(state.logits, state.crop, view.stack.slice_shape, view.options)
    return view.stack.mask_from_stack(full.cpu().numpy())


class SegmentedVolume:
    """One volume, a model, and the objects that were segmented.

    Args:
        model: From `load_model`.
        volume: The image. It is not changed.
        window: The intensities that become black and white; the 0.5 to 99.5 percentiles by default.
        options: The engine's choices.
        budget: Memory for features that other volumes share; `options.feature_cache_bytes` for this one alone if None.
    """

    def __init__(
        self,
        model: SAM2,
        volume: Volume,
        *,
        window: IntensityWindow | None = None,
        options: EngineOptions | None = None,
        budget: FeatureBudget | None = None,
    ) -> None:
        self.model, self.volume = model.eval(), volume
        self.options = (options or EngineOptions()).resolved(model.config)
        if window is None and is_constant(volume.voxels):
            logger.warning(
                "the image is the same everywhere: there may be nothing to outline; another window (--window) may help"
            )
        self.window = window or percentile_window(volume.voxels)
        self._is_window_fixed = window is not None
        self.budget = budget or FeatureBudget(self.options.feature_cache_bytes)
        """Memory for features, along all axes together."""
        self.cleanup = DEFAULT_CLEANUP
        """How masks are cleaned; see `set_cleanup`."""
        self._views: dict[Axis, AxisSession] = {}
        self._objects: dict[int, tuple[Axis, ObjectTrack]] = {}
        self._scratch_tracks: tuple[tuple[int, SlicePlane], ObjectTrack] | None = None
        """Where previews of an object on a slice go on from; there until something changes."""

    def set_cleanup(self, cleanup: MaskCleanup) -> None:
        """Masks are cleaned like this from now on; what is known of slices stays."""
        self.cleanup = cleanup
        for view in self._views.values():
            view.set_cleanup(cleanup)

    @property
    def object_ids(self) -> list[int]:
        """The objects so far."""
        return sorted(self._objects)

    def num_slices_to_do(
        self,
        object_id: int,
        *,
        first: int | None = None,
        last: int | None = None,
        direction: Direction = Direction.BOTH,
    ) -> int:
        """How many slices `propagate` has before it at most; fewer where the object ends."""
        view, track = self._object(object_id)
        passes = view.plan(track, first, last, direction)
        return sum(len(run.slices) - done_of(track, run, self.options) for run in passes)

    def span(self, object_id: int, plane: SlicePlane) -> tuple[int, int]:
        """First and last slice, by their stored index, between the confirmed ones nearest to a slice: what a change there makes stale."""
        view, track = self._object(object_id)
        low, high = track.changed_by(view.stack.number_of(plane.index), len(view.stack))
        ends = sorted((view.stack.number_of(low + 1), view.stack.number_of(high - 1)))
        return ends[0], ends[1]

    @property
    def nbytes(self) -> int:
        """Memory held beside the model and the volume, bytes."""
        features = sum(view.features.nbytes for view in self._views.values())
        tracks = [track for _, track in self._objects.values()]
        sketched = self._scratch_tracks[1].nbytes_of_histories if self._scratch_tracks else 0
        return features + sketched + sum(track.nbytes for track in tracks)

    def forget_features(self) -> None:
        """Lets go of the features of slices; they are computed again when they are needed."""
        for view in self._views.values():
            view.features.forget()

    def encode_singly(self) -> None:
        """Encodes one slice at a time from now on: the device has less memory than expected."""
        for view in self._views.values():
            view.features.encode_singly()

    def slice_mask(self, object_id: int, axis: str, index: int) -> SliceMask:
        """The object on a slice as it stands; empty where nothing was done yet."""
        view, track = self._object(object_id)
        plane = SlicePlane(resolve_axis(self.volume, axis), index)
        plane.check_inside(self.volume)
        if plane.axis != view.stack.axis:
            raise PromptError(f"object {object_id} is segmented along {view.stack.axis}, not along {plane.axis}")
        number = view.stack.number_of(index)
        return self._as_mask(object_id, number, track.state(number))

    def mask(self, object_id: int) -> NDArray[np.bool_]:
        """The object so far, (K, J, I), cleaned as a whole if the options say so."""
        _, track = self._object(object_id)
        options = (
            volume_options(self.options, self.cleanup, self.volume.spacing_mm)
            if self.cleanup.is_whole
            else self.options
        )
        voxels = assemble_volume(self._slices(object_id, track.known), self.volume.shape)
        return finish_volume(voxels, options, self.model.device)

    def cleaned(self, object_id: int) -> Iterator[SliceMask]:
        """The slices that cleaning the object as a whole would change, as they would be; confirmed ones are left alone.

        Nothing changes here: whoever takes these masks restores them.
        """
        _, track = self._object(object_id)
        options = volume_options(self.options, self.cleanup, self.volume.spacing_mm)
        voxels = assemble_volume(self._slices(object_id, track.known), self.volume.shape)
        jitter = self._slices(object_id, track.known - track.confirmed.keys())
        return changed(jitter, finish_volume(voxels, options, self.model.device))

    def logits(self, object_id: int) -> NDArray[np.float32]:
        """What the object's masks are cut from at 0, before holes and islands are seen to, (K, J, I); -1024 where nothing was done."""
        return logits_of(*self._object(object_id))

    def labels(self) -> Volume:
        """All objects as one label volume on the image's own grid; where some overlap, the one that is surest there has the voxel."""
        largest = max(self.object_ids, default=0)
        voxels = np.zeros(self.volume.shape, dtype=np.uint8 if largest < 256 else np.uint16)
        for object_id in self.object_ids:
            for plane, mask in self._planes(object_id):
                region = plane.of(voxels)
                wins = mask.copy()
                for owner in np.unique(region[mask & (region != 0)]).tolist():
                    is_shared = mask & (region == owner)
                    ours, theirs = (self._logits_on(one, plane, is_shared) for one in (object_id, owner))
                    wins[is_shared & (ours <= theirs)] = False
                region[wins] = object_id
        return self.volume.with_voxels(voxels, name=f"{self.volume.name}_labels")

    def _planes(self, object_id: int) -> Iterator[tuple[SlicePlane, NDArray[np.bool_]]]:
        """The planes that may hold the object, with its final masks; one at a time unless it is cleaned as a whole."""
        view, track = self._object(object_id)
        if self.options.cleans_volume or self.cleanup.is_whole:
            voxels = self.mask(object_id)
            planes = (view.stack.plane(number) for number in range(len(view.stack)))
            yield from ((plane, plane.of(voxels)) for plane in planes)
        else:
            yield from ((one.plane, one.mask) for one in self._slices(object_id, track.known))

    def _logits_on(self, object_id: int, plane: SlicePlane, is_asked: Voxels) -> NDArray[np.float32]:
        """The logits of an object on a plane, right at the pixels that are asked for; far below 0 where nothing was done.

        Of an object along another axis, each slice gives one line of the plane: its logits in the whole volume may not fit into memory.
        """
        view, track = self._object(object_id)
        found = np.full(is_asked.shape, ABSENT_LOGIT, np.float32)
        if view.stack.axis == plane.axis:
            number = view.stack.number_of(plane.index)
            return slice_logits(view, track, number) if number in track.known else found
        place = plane.axis.array_axis
        along = view.stack.axis.array_axis
        for number in track.known:
            index = view.stack.number_of(number)
            line = np.moveaxis(found, along - (along > place), 0)[index]
            if np.moveaxis(is_asked, along - (along > place), 0)[index].any():
                line[...] = np.moveaxis(slice_logits(view, track, number), place - (place > along), 0)[plane.index]
        return found

    def prompts(self, object_id: int) -> list[PromptSet]:
        """The prompt sets of an object, in the order in which the slices were first prompted."""
        return list(self._object(object_id)[1].prompts.values())

    def _slices(self, object_id: int, numbers: Iterable[int]) -> Iterator[SliceMask]:
        _, track = self._object(object_id)
        return (self._as_mask(object_id, number, track.state(number)) for number in sorted(numbers))

    def _as_mask(self, object_id: int, number: int, state: SliceState | None) -> SliceMask:
        view, track = self._object(object_id)
        shape, imported = view.stack.slice_shape, track.imported.get(number)
        if imported is not None:
            mask, iou, object_score, ending = imported.mask, imported.iou, imported.object_score, imported.ending
        elif state is not None:
            mask = view.mask_of(state)
            iou, object_score, ending = state.iou, probability(state.object_score_logits), state.ending or ""
        else:
            mask, iou, object_score, ending = (
                view.stack.mask_from_stack(np.zeros(shape, dtype=bool)).copy(),
                0.0,
                0.0,
                "",
            )
        prompts = track.prompts.get(number)
        return SliceMask(
            object_id=object_id,
            plane=view.stack.plane(number),
            mask=mask,
            predicted_iou=iou,
            object_score=object_score,
            revision=0 if prompts is None else prompts.revision,
            num_readings=view.num_readings(track, number),
            ending=str(ending),
        )

    def _object(self, object_id: int) -> tuple[AxisSession, ObjectTrack]:
        if object_id not in self._objects:
            known = ", ".join(map(str, self.object_ids)) or "none yet"
            raise PromptError(f"there is no object {object_id}; objects: {known}", hint="add a box or a point first")
        axis, track = self._objects[object_id]
        return self._view(axis), track

    def _view(self, axis: Axis) -> AxisSession:
        if axis not in self._views:
            self._views[axis] = AxisSession(
                self.model,
                self.volume,
                axis,
                self.window,
                self.options,
                is_window_fixed=self._is_window_fixed,
                budget=self.budget,
            )
            self._views[axis].set_cleanup(self.cleanup)
        return self._views[axis]
