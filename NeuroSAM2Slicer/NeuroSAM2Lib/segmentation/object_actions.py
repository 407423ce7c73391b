"""Actions on whole objects, as the list of objects offers them. Each that changes data is one undo step.

Prompts and propagation are `SessionController`'s; how segments are shown is `SegmentDisplay`'s.
"""

from dataclasses import replace

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.segments.segment_display import SegmentDisplay
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.objects.scene_objects import checked_name


class ObjectActions:
    """What can be done to the objects of a session. Objects are named by their segments.

    Every action raises `DataError` where the object is gone.

    Args:
        session: The session.
    """

    def __init__(self, session: SessionController) -> None:
        self._session, self._document = session, session.document
        self._objects = session.document.objects
        self.display = SegmentDisplay(session.document.segmentation_node)
        """What is shown, and how; no steps to undo, as in Slicer's own modules."""

    def set_name(self, segment_id: str, text: str) -> None:
        """Gives an object another name; one that another segment has gets a number.

        Raises:
            DataError: It is empty or too long.
        """
        with self._session.action():
            number, name = self._objects.number_of(segment_id), checked_name(text)
            before, free = self._objects.display_properties(number), self._objects.free_name(name, number)
            if free != before.name:
                self._document.set_display_properties(number, replace(before, name=free), _("Rename"))
            if free != name:
                self._session.notice = _("{name} is taken: this object is called {free}").format(name=name, free=free)

    def recolour(self, segment_id: str, colour: tuple[float, float, float]) -> None:
        """Gives an object another colour: red, green and blue, 0 to 1.

        Raises:
            DataError: A part of the colour is outside that.
        """
        with self._session.action():
            number = self._objects.number_of(segment_id)
            if not all(0 <= part <= 1 for part in colour):
                raise DataError(_("that is no colour"), hint=_("give red, green and blue from 0 to 1"))
            before = self._objects.display_properties(number)
            wanted = replace(before, colour=colour)
            if wanted != before:
                self._document.set_display_properties(number, wanted, _("Colour"))

    def lock(self, segment_id: str, *, is_locked: bool) -> None:
        """A locked object takes no prompts, no masks of the engine and no voxels of others until it is unlocked."""
        with self._session.action():
            number = self._objects.number_of(segment_id)
            if is_locked == self._objects.is_locked(number):
                return
            self._session.abandon(number)
            self._document.lock(number, is_locked=is_locked)
            self._session.warm_up_if_due()

    def move(self, segment_id: str, offset: int) -> None:
        """Moves an object up (-1) or down (1) in the list."""
        with self._session.action():
            self._document.move(self._objects.number_of(segment_id), offset)

    def delete(self, segment_id: str) -> None:
        """Removes an object with its prompts.

        Raises:
            DataError: It is locked.
        """
        with self._session.action():
            number = self._unlocked(segment_id)
            self._session.abandon(number)
            self._document.delete(number)

    def duplicate(self, segment_id: str) -> int:
        """A new object with the same prompts and voxels; prompts go to it from now on."""
        with self._session.action():
            return self._document.duplicate(self._objects.number_of(segment_id))

    def merge(self, segment_id: str, into: str) -> None:
        """Adds an object to another one and removes it. Slices of the other one that change count as confirmed.

        Raises:
            DataError: They are the same, or one is locked.
        """
        with self._session.action():
            number, target = self._pair(segment_id, into)
            self._objects.check_unlocked(target)
            self._objects.check_unlocked(number)
            self._session.abandon(number, target)
            self._document.merge(number, target)

    def subtract(self, segment_id: str, other: str) -> None:
        """Takes another object's voxels from an object; the other stays. Slices that change count as confirmed.

        Raises:
            DataError: They are the same, or the first is locked.
        """
        with self._session.action():
            number, taken = self._pair(segment_id, other)
            self._objects.check_unlocked(number)
            self._session.abandon(number)
            self._document.subtract(number, taken)

    def _unlocked(self, segment_id: str) -> int:
        number = self._objects.number_of(segment_id)
        self._objects.check_unlocked(number)
        return number

    def _pair(self, segment_id: str, other: str) -> tuple[int, int]:
        if segment_id == other:
            raise DataError(_("that is the same object"), hint=_("choose another one"))
        return self._objects.number_of(segment_id), self._objects.number_of(other)
