"""How long a person has worked on each object: for a paper, and to see what a better model saves."""

import time
from collections.abc import Callable

from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.segmentation.objects.session_node import SessionNode

MAX_PAUSE_S = 60.0
HOW_IT_IS_COUNTED = _(
    "Time runs from one action on the objects to the next, and counts for the object that prompts went to; a pause of more than a minute "
    "does not count."
)


class WorkingTime:
    """The time that is spent in one session, kept in the scene.

    Args:
        node: Keeps it.
        now: In seconds.
    """

    def __init__(self, node: SessionNode, now: Callable[[], float] = time.monotonic) -> None:
        self._node, self._now = node, now
        self._last: float | None = None

    def note(self, object_id: int | None) -> None:
        """A person has done something.

        Args:
            object_id: The object that prompts go to; None where there is none.
        """
        now = self._now()
        pause = None if self._last is None else now - self._last
        self._last = now
        if object_id is not None and pause is not None and 0 < pause <= MAX_PAUSE_S:
            self._node.add_seconds(object_id, pause)
