"""The slices that are propagated together, as many at a time as a device is good for.

They are one slice of each object, or where there is a single object one of each of two passes, mostly one upwards and one downwards.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

from NeuroSAM2Core.errors import Cancelled, is_out_of_memory
from NeuroSAM2Core.inference.propagation.axis_context import AxisContext
from NeuroSAM2Core.inference.propagation.passes import Pass
from NeuroSAM2Core.inference.propagation.propagation_pass import PassTracker, track_slices
from NeuroSAM2Core.inference.propagation.track import ObjectTrack, SliceState

logger = logging.getLogger(__name__)


class ObjectPasses:
    """The passes of one object: no pass reads what another one finds, so that several can go on side by side.

    Args:
        context: The axis.
        object_id: The object.
        track: What is known of it.
        passes: Those that are not finished.
        prepare: Called before a pass begins.
    """

    def __init__(
        self,
        context: AxisContext,
        object_id: int,
        track: ObjectTrack,
        passes: Iterable[Pass],
        prepare: Callable[[ObjectTrack, Pass], None],
    ) -> None:
        self.context, self.object_id, self.track = context, object_id, track
        self._passes, self._prepare = list(passes), prepare
        self._begun: list[PassTracker] = []

    def tracker(self, place: int) -> PassTracker | None:
        """The tracker of one of the passes that go on side by side, by its place among them from 0; None where there are not so many.

        In a bidirectional sweep passes read each other's slices: there is one at a time.
        """
        if place and self.context.options.bidirectional_sweep:
            return None
        self._begun = [tracker for tracker in self._begun if tracker.number is not None]
        while self._passes and len(self._begun) <= place:
            run = self._passes.pop(0)
            self._prepare(self.track, run)
            tracker = PassTracker(self.context, self.track, run)
            if tracker.number is not None:
                self._begun.append(tracker)
        return self._begun[place] if place < len(self._begun) else None


Turn = tuple[ObjectPasses, PassTracker]
"""A slice that is next."""


def propagate_together(
    context: AxisContext, objects: Iterable[ObjectPasses], is_cancelled: Callable[[], bool] = lambda: False
) -> Iterator[tuple[int, int]]:
    """Propagates objects and yields (object, number of the slice) once the state of a slice is in the object's track.

    The generator may be dropped between slices: what was yielded stays, nothing else is done, and the same passes go on from there. A
    defect of one object leaves the others as they are: its error is raised when they are done.

    Raises:
        Cancelled: `is_cancelled` returned true.
    """
    left, first_error = list(objects), None
    while turns := _next_turns(left, context.features.at_once, is_cancelled):
        states = _states(context, [tracker for _, tracker in turns])
        for (one, tracker), state in zip(turns, states, strict=True):
            if isinstance(state, Exception):
                logger.warning("object %d is left out: %s", one.object_id, state)
                first_error = first_error or state
                left = [other for other in left if other is not one]
                continue
            check_cancelled(is_cancelled)
            number = tracker.number
            assert number is not None
            tracker.take(number, state)
            yield one.object_id, number
    if first_error is not None:
        raise first_error


def _next_turns(objects: Iterable[ObjectPasses], count: int, is_cancelled: Callable[[], bool]) -> list[Turn]:
    """The slices that are done next, together: one of each object, which may share a slice, or one of each pass of a single object."""
    turns: list[Turn] = []
    for one in objects:
        check_cancelled(is_cancelled)
        if len(turns) < count and (tracker := one.tracker(0)) is not None:
            turns.append((one, tracker))
    if len(turns) == 1 < count and (tracker := turns[0][0].tracker(1)) is not None:
        turns.append((turns[0][0], tracker))
    return turns


def check_cancelled(is_cancelled: Callable[[], bool]) -> None:
    """Ends what was cancelled.

    Raises:
        Cancelled: It was.
    """
    if is_cancelled():
        raise Cancelled("stopped; what is done stays")


def _states(context: AxisContext, trackers: Sequence[PassTracker]) -> list[SliceState | Exception]:
    """The state of the next slice of each object, or what went wrong with it alone."""
    if not trackers:
        return []
    try:
        return [*track_slices(context, trackers)]
    except Exception as error:
        if len(trackers) == 1:
            if is_out_of_memory(error):
                raise
            return [error]
    half = len(trackers) // 2
    return _states(context, trackers[:half]) + _states(context, trackers[half:])
