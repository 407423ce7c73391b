"""What a click would give, while the pointer rests or moves over a slice: shown at once, and nowhere recorded.

One preview is under way at a time; of the places that the pointer reaches meanwhile only the last one counts. Nothing here changes
what is said, known or saved.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import slicer

from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Core.prompts import PointPrompt
from NeuroSAM2Core.volume import SliceMask, SlicePlane
from NeuroSAM2MRML.scene.arrays import Matrix
from NeuroSAM2MRML.scene.placing import place
from NeuroSAM2MRML.scene.preview_outline import PreviewOutline
from NeuroSAM2MRML.session.desk import SessionDesk
from NeuroSAM2MRML.session.engine_talk import EngineTalk
from NeuroSAM2MRML.session.preview_pace import PreviewPace


@dataclass(frozen=True, slots=True)
class Pointed:
    """Where a click would go."""

    object_id: int
    plane: SlicePlane
    point: PointPrompt


class Preview:
    """The preview of one session.

    Args:
        desk: The scene's side.
        talk: The engine's side.
        clock: Seconds.
    """

    def __init__(self, desk: SessionDesk, talk: EngineTalk, clock: Callable[[], float] = time.monotonic) -> None:
        self.outline = PreviewOutline(desk.host.scene)
        self._desk, self._talk, self._clock = desk, talk, clock
        self._pace = PreviewPace()
        self._last: Pointed | None = None
        self._wanted: Pointed | None = None
        self._asked_s = 0.0
        self._is_void = False

    def point(self, ras: Matrix, *, positive: bool = True, view: slicer.vtkMRMLSliceNode | None = None) -> None:
        """The pointer is here with a point tool in hand; see `SessionController.click`. Outside the volume nothing is shown."""
        pointed = self._pointed(ras, positive, view)
        if pointed is None:
            self.leave()
        elif pointed != self._last:
            self._last = self._wanted = pointed
            self.go_on()

    def leave(self) -> None:
        """The pointer has left, or a click has landed: nothing is shown, and an answer under way does not count."""
        self._last = self._wanted = None
        self._is_void = True
        self.outline.hide()

    def go_on(self) -> None:
        """Asks for what the pointer is at, if it is time and the engine is free."""
        pointed = self._wanted
        if pointed is None or not self._pace.may_ask(self._clock()):
            return
        record = self._desk.objects.record(pointed.object_id)
        prompts = record.prompts.with_point(pointed.plane, pointed.point)
        said = prompts.statement(pointed.object_id, pointed.plane, revision=0, mask=None)
        try:
            is_asked = self._talk.preview(said, record)
        except NeuroSAM2Error:  # whoever acts next hears of it
            return
        if is_asked:
            self._wanted, self._asked_s, self._is_void = None, self._clock(), False

    def take(self, mask: SliceMask | None) -> None:
        """An answer has come; None where there will be none."""
        self._pace = self._pace.after(self._asked_s, self._clock())
        if mask is not None and not self._is_void:
            self.outline.show(self._desk.volume, mask.plane, mask.mask)
            if self._pace.may_ask(self._clock()):  # a quick model has time for the slices around
                self._talk.look_at(mask.plane)
        self.go_on()

    def _pointed(self, ras: Matrix, positive: bool, view: slicer.vtkMRMLSliceNode | None) -> Pointed | None:
        desk = self._desk
        try:
            if desk.has_new_image:
                return None
            placed = place(desk.volume, ras, axis=desk.axis_of(desk.active), view=view)
        except NeuroSAM2Error:
            return None
        if placed.is_across:
            return None
        number = desk.active or desk.objects.next_number
        return Pointed(number, placed.plane, PointPrompt(placed.row, placed.col, positive))
