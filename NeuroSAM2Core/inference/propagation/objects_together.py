"""Objects that are propagated together: one slice of each at a time, as many objects as a device is good for."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

from NeuroSAM2Core.errors import Cancelled, is_out_of_memory
from NeuroSAM2Core.inference.propagation.axis_context import AxisContext
from NeuroSAM2Core.inference.propagation.passes import Pass
from NeuroSAM2Core.inference.propagation.propagation_pass import PassTracker, track_slices
from NeuroSAM2Core.inference.propagation.track import ObjectTrack, SliceState

logger = logging.getLogger(__name__)


class ObjectPasses:
    """The passes of one object, one after another.

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
        self._tracker: PassTracker | None = None

    def tracker(self) -> PassTracker | None:
        """The tracker of the pass whose slice is next; None where all passes are done."""
        while self._tracker is None or self._tracker.number is None:
            if not self._passes:
                return None
            run = self._passes.pop(0)
            self._prepare(self.track, run)
            self._tracker = PassTracker(self.context, self.track, run)
        return self._tracker


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
    while left:
        turns: list[tuple[ObjectPasses, PassTracker]] = []
        for one in [*left]:
            if len(turns) == context.features.at_once:
                break
            check_cancelled(is_cancelled)
            tracker = one.tracker()
            if tracker is None:
                left.remove(one)
            else:
                turns.append((one, tracker))
        states = _states(context, [tracker for _, tracker in turns])
        for (one, tracker), state in zip(turns, states, strict=True):
            if isinstance(state, Exception):
                logger.warning("object %d is left out: %s", one.object_id, state)
                first_error = first_error or state
                left.remove(one)
                continue
            check_cancelled(is_cancelled)
            number = tracker.number
            assert number is not None
            tracker.take(number, state)
            yield one.object_id, number
    if first_error is not None:
        raise first_error


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
