"""A person outlines objects in a volume: what every action means."""

import slicer

from NeuroSAM2Core.errors import PromptError
from NeuroSAM2Core.prompts import BoxPrompt, PointPrompt
from NeuroSAM2Core.volume import Direction, SlicePlane
from NeuroSAM2MRML.i18n import tr as _
from NeuroSAM2MRML.objects.record import next_doubtful
from NeuroSAM2MRML.scene.arrays import Matrix
from NeuroSAM2MRML.scene.placing import Placed, box_between, place
from NeuroSAM2MRML.scene.slice_views import shown_slice
from NeuroSAM2MRML.session.frame import SessionFrame
from NeuroSAM2MRML.session.outcomes import Journey


class SessionController(SessionFrame):
    """The actions on one volume and one segmentation; see `SessionFrame` for how to make one."""

    @property
    def can_continue(self) -> bool:
        """A propagation was stopped, or a correction has made slices of the active object out of date."""
        if self.talk.journey is not None:
            return False
        return self.stopped is not None or any(q.is_stale for q in self.desk.active_record.quality.values())

    def click(self, ras: Matrix, *, positive: bool = True, view: slicer.vtkMRMLSliceNode | None = None) -> None:
        """A point of the active object at a world position, (3,) in mm; the first one starts an object.

        Args:
            ras: Where.
            positive: It belongs to the object.
            view: The slice view that was clicked in; says along which axis a new object is outlined.

        Raises:
            PromptError: The place is outside the volume.
        """
        with self._acting():
            placed = self._place(ras, view)
            self._point(placed.plane, PointPrompt(placed.row, placed.col, positive))

    def add_point(self, plane: SlicePlane, row: float, col: float, *, positive: bool = True) -> None:
        """A point of the active object at a pixel of a stored slice; see `click`."""
        with self._acting():
            self._point(plane, PointPrompt(row, col, positive))

    def drag_box(self, start: Matrix, end: Matrix, *, view: slicer.vtkMRMLSliceNode | None = None) -> None:
        """A box between two world positions of a slice view; see `click`."""
        with self._acting():
            placed = self._place(start, view)
            if view is not None and placed.is_across:
                raise PromptError(
                    _("this object is outlined along {axis}; a box in another view was drawn").format(
                        axis=placed.plane.axis
                    ),
                    hint=_("draw the box in that view, or start another object"),
                )
            self._box(placed.plane, box_between(self.desk.volume, placed.plane, start, end))

    def add_box(self, plane: SlicePlane, box: BoxPrompt) -> None:
        """A box around the active object, in place of the one on that slice; see `click`."""
        with self._acting():
            self._box(plane, box)

    def next_reading(self, plane: SlicePlane) -> None:
        """Takes the next of the masks that the click on a slice can mean; after the last one the most likely again.

        Raises:
            PromptError: There is nothing to choose on that slice.
        """
        with self._acting():
            record = self.desk.active_record
            chosen = record.open_reading(plane)
            if chosen is None:
                raise PromptError(
                    _("there is no other reading on slice {index}").format(index=plane.index),
                    hint=_(
                        "a single click on a slice without an outline can have several; correct others with one more click"
                    ),
                )
            reading, count = chosen
            self._say(self._active(), record.prompts.with_reading(plane, (reading + 1) % count), _("Next reading"))

    def take_back(self, plane: SlicePlane) -> None:
        """Removes everything that was said about the active object on a slice."""
        with self._acting():
            self._say(self._active(), self.desk.active_record.prompts.without(plane.index), _("Remove prompts"))

    def confirm(self, plane: SlicePlane) -> None:
        """Accepts the active object's mask on a slice as it is; it is never overwritten from then on."""
        with self._acting():
            number = self._active()
            if plane in self.desk.active_record.prompts.planes and not self.desk.is_edited(number, plane):
                self.notice = _("slice {index} is confirmed already").format(index=plane.index)
                return
            plane.check_inside(self.desk.volume)
            with self.desk.step(_("Confirm slice")):
                self.desk.keep(number, [plane])
            self.talk.forget(number)

    def propagate(
        self,
        *,
        first: int | None = None,
        last: int | None = None,
        direction: Direction = Direction.BOTH,
        object_ids: tuple[int, ...] | None = None,
    ) -> None:
        """Carries objects through the slices; masks arrive one by one. Slices painted by hand are kept as they are.

        Args:
            first: First slice along the object's axis; from the first one if None.
            last: Last slice; to the last one if None.
            direction: Which way from the prompted slices.
            object_ids: The active object if None.

        Raises:
            PromptError: Nothing was said about the object.
        """
        with self._acting():
            asked = object_ids or (() if self.desk.active is None else (self.desk.active,))
            numbers = tuple(n for n in asked if self.desk.objects.record(n).prompts.indices)
            if not numbers:
                raise PromptError(_("there is nothing to propagate"), hint=_("place a point or a box first"))
            self._set_out(_("Propagate"), Journey(object_ids=numbers, first=first, last=last, direction=direction))

    def extend(self, *, direction: Direction = Direction.BOTH) -> None:
        """Carries the active object one slice beyond the slices where it has ended.

        Args:
            direction: Only upwards or downwards, as the stored index counts.

        Raises:
            PromptError: It has not ended there.
        """
        with self._acting():
            number = self._active()
            ends = [p for p in self.desk.active_record.ends(direction) if not self.desk.is_edited(number, p)]
            if not ends:
                raise PromptError(
                    _("there is no end to go on from"), hint=_("propagate first, or choose the other direction")
                )
            beyond = tuple(plane.index for plane in ends)
            self._set_out(_("One more slice"), Journey(object_ids=(number,), beyond=beyond))

    def stop(self) -> None:
        """Stops the propagation within a slice; what is done stays."""
        if self.talk.journey is not None:
            self.stopped = self.talk.journey
            self._try(self.talk.stop)

    def go_on(self) -> None:
        """Continues where a propagation was stopped, or does again what a correction has made out of date."""
        if self.stopped is None:
            self.propagate()
        elif self.stopped.beyond:
            self.extend()
        else:
            said = self.stopped
            self.propagate(first=said.first, last=said.last, direction=said.direction, object_ids=said.object_ids)

    def next_object(self, name: str = "") -> int:
        """A new object with an empty segment; prompts go to it from now on."""
        with self._acting():
            return self.desk.new_object(name)

    def choose(self, segment_id: str) -> int:
        """Prompts go to this segment from now on; one of the person's own becomes an object."""
        with self._acting():
            return self.desk.choose(segment_id)

    def clear(self) -> None:
        """Takes everything about the active object back: prompts and voxels."""
        with self._acting():
            number = self._active()
            self.talk.abandon()
            self.desk.clear(number)
            self.talk.forget(number)

    def look_at(self, view: slicer.vtkMRMLSliceNode) -> None:
        """The person looks at this view: the engine may prepare its slices."""
        if not self.ended:
            self._try(lambda: self.talk.look_at(shown_slice(self.desk.volume, view).plane))

    def next_doubtful(self, plane: SlicePlane) -> SlicePlane | None:
        """The next slice of the active object that a person should look at."""
        return next_doubtful(self.desk.active_record, plane)

    def _set_out(self, name: str, journey: Journey) -> None:
        """Begins a propagation, in place of the one under way, as a step of that name."""
        self.talk.abandon()
        with self.desk.step(name):
            for number in journey.object_ids:
                self._keep_painted(number)
        self.stopped = None
        self._try(lambda: self.talk.propagate(self.desk.volume, self.desk.records, journey))

    def _place(self, ras: Matrix, view: slicer.vtkMRMLSliceNode | None) -> Placed:
        placed = place(self.desk.volume, ras, axis=self.desk.axis_of(self.desk.active), view=view)
        self.notice = placed.notice or self.notice
        return placed

    def _point(self, plane: SlicePlane, point: PointPrompt) -> None:
        said = self.desk.active_record.prompts.with_point(plane, point)
        self._say(self.desk.active, said, _("Point") if point.positive else _("Negative point"))

    def _box(self, plane: SlicePlane, box: BoxPrompt) -> None:
        self._say(self.desk.active, self.desk.active_record.prompts.with_box(plane, box), _("Box"))

    def _active(self) -> int:
        if self.desk.active is None:
            raise PromptError(_("there is no object yet"), hint=_("place a point or a box first"))
        return self.desk.active

    def _keep_painted(self, number: int) -> None:
        painted = list(self.desk.keeper.painted_by_hand(number))
        if painted:
            self.desk.keep(number, painted)
            self.talk.forget(number)
            self.notice = _("{num_painted} slices that were painted by hand are kept as they are").format(
                num_painted=len(painted)
            )
