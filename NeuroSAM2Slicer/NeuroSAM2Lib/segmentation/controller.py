"""The session controller: all actions of a user on one volume and one segmentation.

MRML is the only truth. An action changes the scene at once, as one undo step, and tells the engine; `EngineSync` puts the
answers where they belong. Nothing here waits: whoever runs the session calls `poll` when the engine has something to say.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import slicer

from NeuroSAM2Core.errors import DataError, NeuroSAM2Error, PromptError
from NeuroSAM2Core.measures import ObjectMask
from NeuroSAM2Core.prompts import BoxPrompt, ObjectPrompts, PointPrompt
from NeuroSAM2Core.remote import EngineSwitches
from NeuroSAM2Core.volume import Direction, SlicePlane, Volume
from NeuroSAM2Lib.beside import Work
from NeuroSAM2Lib.engine.link import EngineLink
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.arrays import Matrix
from NeuroSAM2Lib.scene.segments.whole_masks import reading_mask
from NeuroSAM2Lib.scene.views.slice_views import PickedPixel, best_axis, box_between, clipped, pick_pixel, shown_slice
from NeuroSAM2Lib.segmentation.background_run import BackgroundRun
from NeuroSAM2Lib.segmentation.document import SegmentationDocument
from NeuroSAM2Lib.segmentation.host import Host
from NeuroSAM2Lib.segmentation.objects.scene_objects import next_doubtful
from NeuroSAM2Lib.segmentation.objects.session_node import WorkingTime
from NeuroSAM2Lib.segmentation.sync.engine_sync import EngineSync, PropagationRequest
from NeuroSAM2Lib.segmentation.sync.preview import Preview
from NeuroSAM2Lib.view_state import Activity

GIVEN_UP = {
    Activity.REPAIRING: _("the repair was given up: the object is as it was"),
    Activity.EXPORTING: _("the export was given up; files that were written stay"),
}
NEW_IMAGE = _("the image has changed: masks stay as they are, and further answers are for the image as it is now")


class SessionController:
    """One volume, one segmentation, one engine.

    Args:
        host: Runs the session.
        link: The engine; nobody else polls it during the session.
        volume_node: The image.
        segmentation_node: What the objects are segments of.

    Raises:
        DataError: The volume cannot be worked on.
        GeometryError: A non-linear transform is above it.
    """

    def __init__(
        self,
        host: Host,
        link: EngineLink,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
        segmentation_node: slicer.vtkMRMLSegmentationNode,
    ) -> None:
        self.document = SegmentationDocument(host, volume_node, segmentation_node)
        self.link = link
        self.engine_sync = EngineSync(link, self.document)
        self.preview = Preview(self.document, self.engine_sync)
        """What a click would give; say `preview.point` while the pointer moves, and `preview.leave` when it leaves."""
        self.background = BackgroundRun()
        """The repair or the export that is under way. Repairs are done at once unless whoever made the session gives it another one."""
        self._notice, self._is_error = "", False
        self.working_time = WorkingTime(self.document.node)
        self.ended = ""
        """Why the session is over; empty while it is not."""
        self.stopped: PropagationRequest | None = None
        """The propagation that was stopped last, if it may go on."""

    @property
    def notice(self) -> str:
        """The last sentence for the person; the next action ends it, and one on a trouble with the engine the next mask, too."""
        return self._notice

    @notice.setter
    def notice(self, notice: str) -> None:
        self._notice, self._is_error = notice, False

    def undo(self) -> bool:
        """Undoes the last step, whoever made it; a running propagation is cancelled first."""
        return self._move_in_history(self.document.undo_stack.undo)

    def redo(self) -> bool:
        """Redoes the last undone step."""
        return self._move_in_history(self.document.undo_stack.redo)

    def warm_up(self) -> None:
        """Starts the engine, sends the volume, and asks what the scene holds without an answer."""
        self._try(self.engine_sync.sync)

    def warm_up_if_due(self) -> None:
        """The same, if the scene holds prompts without an answer."""
        if any(self.engine_sync.unanswered.values()):
            self.warm_up()

    def switch(self, switches: EngineSwitches) -> None:
        """The engine does these things from now on. Masks stay as they are; it is told all of them, and goes on with what it was at."""
        self.notice = ""
        if self.engine_sync.switch(switches):
            self.preview.leave()
            self.warm_up()

    def hold(self, *, is_held: bool) -> None:
        """Several prompts may be placed before the engine answers; what waits is answered when that is over, or by a propagation."""
        self.engine_sync.is_held = is_held
        if not is_held:
            self.warm_up_if_due()

    def retry(self) -> None:
        """Tries again with an engine that was given up on."""
        self.notice = ""
        self.link.retry()
        self.warm_up()

    def sync_prompts(self) -> None:
        """Takes over changes of the prompt nodes by others: moved, deleted, pasted."""
        if self.document.is_writing or self.ended:
            return
        self._follow_image()
        for number in self.document.objects.segments:
            before = self.document.objects.record(number).prompts
            prompts = self.document.nodes.read(number, self.document.volume).keeping_readings_since(before)
            if prompts != before and self.document.objects.is_locked(number):
                self.document.restore_nodes(number)
                self.notice = _("{name} is locked: its prompts stay").format(name=self.document.objects.name(number))
                continue
            more = prompts.count - before.count
            self.set_prompts(
                number,
                prompts,
                _("Place point") if more > 0 else _("Delete prompts") if more < 0 else _("Move prompts"),
            )

    @property
    def has_more(self) -> bool:
        """The last `poll` has left something for the next one, which is due at once."""
        return self.engine_sync.has_more or self.background.is_writing

    def poll(self) -> None:
        """Handles the engine's events, for a bounded time. Never waits; recoverable errors are reported in `notice`, not raised."""
        events = self.link.poll()
        if self.ended:
            return
        try:
            self.background.poll()
        except NeuroSAM2Error as error:
            self.notice = str(error)
        self._try(self._follow_history)
        self._guard_locked()
        for notice in self.engine_sync.handle(events, self.preview.take):
            if notice.is_mask and self._is_error:
                self.notice = ""
            if notice.sentence:
                self._notice, self._is_error = notice.sentence, notice.is_error
        self.preview.resume()
        self.document.surfaces.follow(
            is_resting=self.engine_sync.propagation.request is None and not self.engine_sync.is_waiting
        )

    def end(self, reason: str) -> None:
        """Ends the session. Prompts, masks and the journal stay."""
        if not self.ended:
            self.background.cancel()
            self.preview.leave()
            self._try(self.engine_sync.propagation.abandon)
            self.ended = self.notice = reason

    @property
    def can_continue(self) -> bool:
        """A propagation was stopped, or a correction has made slices of the active object out of date."""
        if self.engine_sync.propagation.request is not None:
            return False
        return self.stopped is not None or any(q.is_stale for q in self.document.active_record.quality.values())

    def place_point(
        self, object_id: int, ras: Matrix, *, positive: bool = True, view: slicer.vtkMRMLSliceNode | None = None
    ) -> None:
        """Takes over a point that was placed in the Markups list of an object, as `SessionObserver` has seen.

        Args:
            object_id: The object; one that is not there begins with this point.
            ras: Where, (3,) in mm.
            positive: It belongs to the object.
            view: The slice view that was clicked in; says along which axis a new object is segmented.

        Raises:
            PromptError: The place is outside the volume.
        """
        with self.action():
            number = object_id if object_id in self.document.objects.segments else None
            self.document.objects.check_unlocked(number)
            picked = self._pick(number, ras, view)
            point = PointPrompt(picked.row, picked.col, positive)
            prompts = self.document.objects.record(number).prompts.with_point(picked.plane, point)
            self.set_prompts(number, prompts, _("Point") if positive else _("Negative point"))

    def drag_box(self, start: Matrix, end: Matrix, *, view: slicer.vtkMRMLSliceNode | None = None) -> None:
        """A box around the active object between two world positions of a slice view, cut off at the volume's edge; see `place_point`."""
        with self.action():
            self.document.objects.check_unlocked(self.document.active)
            axis = self.document.axis_of(self.document.active)
            if axis is None and view is not None:
                axis = shown_slice(self.document.volume, view).plane.axis
            start, end = clipped(self.document.volume, start, end, axis or best_axis(self.document.volume))
            picked = self.pick_drawn(start, view)
            self._box(picked.plane, box_between(self.document.volume, picked.plane, start, end))

    def pick_drawn(self, ras: Matrix, view: slicer.vtkMRMLSliceNode | None) -> PickedPixel:
        """Where something that is drawn for the active object begins; see `place_point`. Part of an `action`.

        Raises:
            PromptError: The view is not along the object's slices, or the place is outside the volume.
            DataError: The object is locked.
        """
        self.document.objects.check_unlocked(self.document.active)
        picked = self._pick(self.document.active, ras, view)
        if view is not None and picked.is_across:
            raise PromptError(
                _("this object is segmented along {axis}; it was drawn in another view").format(axis=picked.plane.axis),
                hint=_("draw in that view, or start another object"),
            )
        return picked

    def add_box(self, plane: SlicePlane, box: BoxPrompt) -> None:
        """A box around the active object, in place of the one on that slice; see `place_point`."""
        with self.action():
            self.document.objects.check_unlocked(self.document.active)
            self._box(plane, box)

    def next_reading(self, plane: SlicePlane) -> None:
        """Takes the next of the masks that the click on a slice can mean; after the last one the most likely again.

        Raises:
            PromptError: There is nothing to choose on that slice.
        """
        with self.action():
            record = self.document.active_record
            chosen = record.open_reading(plane)
            if chosen is None:
                raise PromptError(
                    _("there is no other reading on slice {index}").format(index=plane.index),
                    hint=_(
                        "a single click on a slice without an outline can have several; correct others with one more click"
                    ),
                )
            reading, count = chosen
            self.set_prompts(
                self._active(), record.prompts.with_reading(plane, (reading + 1) % count), _("Next reading")
            )

    def remove_last_prompt(self, plane: SlicePlane) -> None:
        """Removes all prompts of the active object on a slice."""
        with self.action():
            self.set_prompts(
                self._active(), self.document.active_record.prompts.without(plane.index), _("Remove prompts")
            )

    def confirm(self, plane: SlicePlane) -> None:
        """Accepts the active object's mask on a slice as it is; it is never overwritten from then on."""
        with self.action():
            number = self._active()
            if plane in self.document.active_record.prompts.planes and not self.document.is_edited(number, plane):
                is_kept = plane.index in self.document.active_record.prompts.kept
                told = (
                    _("slice {index} is confirmed already")
                    if is_kept
                    else _("slice {index} has your prompts: it stays as it is")
                )
                self.notice = told.format(index=plane.index)
                return
            plane.check_inside(self.document.volume)
            with self.document.step(_("Confirm slice")):
                self.document.keep(number, [plane])
            self.engine_sync.forget(number)

    def propagate(
        self,
        *,
        first: int | None = None,
        last: int | None = None,
        direction: Direction = Direction.BOTH,
        object_ids: tuple[int, ...] | None = None,
    ) -> None:
        """Propagates objects through the slices; masks arrive one by one. Slices painted by hand are kept as they are.

        Args:
            first: First slice along the object's axis; from the first one if None.
            last: Last slice; to the last one if None.
            direction: Which way from the prompted slices.
            object_ids: The active object if None.

        Raises:
            PromptError: The object has no prompts.
        """
        with self.action():
            asked = object_ids or (() if self.document.active is None else (self.document.active,))
            numbers = tuple(n for n in asked if self.document.objects.record(n).prompts.indices)
            for number in asked:
                self.document.objects.check_unlocked(number)
            if not numbers:
                raise PromptError(_("there is nothing to propagate"), hint=_("place a point or a box first"))
            self._start_propagation(
                _("Propagate"), PropagationRequest(object_ids=numbers, first=first, last=last, direction=direction)
            )

    def propagate_new(self, object_ids: tuple[int, ...]) -> None:
        """Propagates objects through all slices that were made just now, as part of the step that made them."""
        self.engine_sync.propagation.abandon()
        self.stopped = None
        self._try(lambda: self.engine_sync.propagate(PropagationRequest(object_ids=object_ids)))

    def extend(self, *, direction: Direction = Direction.BOTH) -> None:
        """Carries the active object one slice beyond the slices where it has ended.

        Args:
            direction: Only upwards or downwards, as the stored index counts.

        Raises:
            PromptError: It has not ended there.
        """
        with self.action():
            number = self._active()
            ends = [p for p in self.document.active_record.ends(direction) if not self.document.is_edited(number, p)]
            if not ends:
                raise PromptError(
                    _("there is no end to go on from"), hint=_("propagate first, or choose the other direction")
                )
            beyond = tuple(plane.index for plane in ends)
            self._start_propagation(_("One more slice"), PropagationRequest(object_ids=(number,), beyond=beyond))

    def stop(self) -> None:
        """Stops the propagation within a slice, and what is done stays; without one, gives up the repair or the export."""
        if self.engine_sync.propagation.request is not None:
            self.stopped = self.engine_sync.propagation.request
            self._try(self.engine_sync.propagation.stop)
        elif self.background.is_running and not self.background.is_writing:
            self.background.cancel()
            self.notice = GIVEN_UP[self.background.activity]

    def resume(self) -> None:
        """Continues where a propagation was stopped, or does again what a correction has made out of date."""
        if self.stopped is None:
            self.propagate()
        elif self.stopped.beyond:
            self.extend()
        else:
            prompts = self.stopped
            self.propagate(
                first=prompts.first, last=prompts.last, direction=prompts.direction, object_ids=prompts.object_ids
            )

    def next_object(self, name: str = "") -> int:
        """A new object with an empty segment; prompts go to it from now on."""
        with self.action():
            return self.document.new_object(name)

    def choose(self, segment_id: str) -> int:
        """Prompts go to this segment from now on; one of the person's own becomes an object."""
        with self.action():
            return self.document.choose(segment_id)

    def clear(self) -> None:
        """Takes everything about the active object back: prompts and voxels."""
        with self.action():
            number = self._active()
            self.engine_sync.propagation.abandon()
            self.document.clear(number)
            self.engine_sync.forget(number)

    def set_visible_plane(self, view: slicer.vtkMRMLSliceNode) -> None:
        """The person looks at this view: the engine may prepare its slices."""
        if not self.ended:
            self._try(lambda: self.engine_sync.set_visible_plane(shown_slice(self.document.volume, view).plane))

    def next_doubtful(self, plane: SlicePlane) -> SlicePlane | None:
        """The next slice of the active object that a person should look at."""
        return next_doubtful(self.document.active_record, plane)

    def abandon(self, *numbers: int) -> None:
        """Ends a propagation of these objects; answers under way about them are void, and the engine is told of them anew."""
        request = self.engine_sync.propagation.request
        if request is not None and not set(numbers).isdisjoint(request.object_ids):
            self.engine_sync.propagation.abandon()
        if self.stopped is not None and not set(numbers).isdisjoint(self.stopped.object_ids):
            self.stopped = None
        for number in numbers:
            self.engine_sync.forget(number)

    def reading(self, number: int) -> Work[ObjectMask]:
        """The voxels of an object, in short steps."""
        document = self.document
        segment_id = document.objects.segment_id(number)
        return (yield from reading_mask(document.segmentation_node, segment_id, document.volume))

    def check_unchanged(self, number: int, volume: Volume, before: ObjectMask) -> Work[None]:
        """Checks that an object still is what `reading` has given.

        Args:
            number: The object.
            volume: The image at that time.
            before: The object at that time.

        Raises:
            DataError: It is not.
        """
        is_same = self.document.volume is volume and number in self.document.objects.segments
        if is_same:
            now = yield from self.reading(number)
            is_same = now.first == before.first and now.voxels.shape == before.voxels.shape
            for one, other in zip(now.voxels, before.voxels, strict=False) if is_same else ():
                is_same = is_same and np.array_equal(one, other)
                yield None
        if not is_same:
            raise DataError(
                _("the object was changed meanwhile, and the repair was dropped"), hint=_("repair it again")
            )

    @contextmanager
    def action(self) -> Iterator[None]:
        """Runs an action after synchronising volume, history and prompt nodes with the scene."""
        if self.ended:
            raise DataError(self.ended, hint=_("choose a volume and a segmentation to go on"))
        self.background.settle()
        self.notice = ""
        self._follow_image()
        self._follow_history()
        self._guard_locked()
        self.sync_prompts()
        yield
        self.working_time.note(self.document.active)
        if self.document.journal.problem:
            self.notice = self.document.journal.problem

    def set_prompts(self, number: int | None, prompts: ObjectPrompts, name: str) -> None:
        """An object has these prompts now, as one undo step; a new object if None. Part of an `action`."""
        changed = self.document.set_prompts(number, prompts, name)
        if changed is not None:
            number, planes = changed
            self.preview.leave()
            for plane in planes:
                self.engine_sync.invalidate_slice(number, plane)
            self.warm_up()

    def _follow_image(self) -> None:
        if self.document.notice_new_image():
            self.engine_sync.invalidate_volume()
            self.notice = NEW_IMAGE

    def _guard_locked(self) -> None:
        """Locked objects stay as they are, whoever paints: an effect of the Segment Editor on one is put down."""
        editor, objects = self.document.host.editor_node(), self.document.objects
        changed = self.document.restore_locked()
        names = [objects.name(number) for number in changed]
        if (
            editor is not None
            and editor.GetActiveEffectName()
            and editor.GetSegmentationNode() is self.document.segmentation_node
        ):
            chosen = [number for number, known in objects.segments.items() if known == editor.GetSelectedSegmentID()]
            if chosen and objects.is_locked(chosen[0]):
                editor.SetActiveEffectName("")
                names = [objects.name(chosen[0])]
        if names:
            self.notice = _("{name} is locked: it stays as it is (unlock it in the list of objects)").format(
                name=names[0]
            )

    def _move_in_history(self, go: Callable[[], bool]) -> bool:
        if self.ended:
            return False
        self.background.settle()
        self.notice = ""
        self.preview.leave()
        self.engine_sync.propagation.abandon()
        self.stopped = None
        with self.document.writing():
            has_moved = go()
        self.working_time.note(self.document.active)
        self._follow_history(has_moved=has_moved)
        return has_moved

    def _follow_history(self, *, has_moved: bool = False) -> None:
        if not (has_moved or self.document.has_moved):
            return
        self._follow_image()
        changed = self.document.follow_history(has_moved=has_moved)
        for number in changed:
            self.engine_sync.forget(number)
        if changed:
            self.engine_sync.propagation.abandon()
            self.warm_up()

    def _try(self, act: Callable[[], None]) -> None:
        """Does something with the engine; errors become the notice, and unsent requests stay pending."""
        try:
            act()
        except NeuroSAM2Error as error:
            self._notice, self._is_error = str(error), True

    def _start_propagation(self, name: str, propagation_request: PropagationRequest) -> None:
        """Begins a propagation, in place of the one under way, as a step of that name."""
        self.engine_sync.propagation.abandon()
        with self.document.step(name):
            for number in propagation_request.object_ids:
                self._confirm_edited(number)
        self.stopped = None
        self._try(lambda: self.engine_sync.propagate(propagation_request))

    def _pick(self, number: int | None, ras: Matrix, view: slicer.vtkMRMLSliceNode | None) -> PickedPixel:
        picked = pick_pixel(self.document.volume, ras, axis=self.document.axis_of(number), view=view)
        self.notice = picked.notice or self.notice
        return picked

    def _box(self, plane: SlicePlane, box: BoxPrompt) -> None:
        self.set_prompts(self.document.active, self.document.active_record.prompts.with_box(plane, box), _("Box"))

    def _active(self) -> int:
        if self.document.active is None:
            raise PromptError(_("there is no object yet"), hint=_("place a point or a box first"))
        self.document.objects.check_unlocked(self.document.active)
        return self.document.active

    def _confirm_edited(self, number: int) -> None:
        edited = list(self.document.slice_io.edited_by_hand(number))
        if edited:
            self.document.keep(number, edited)
            self.engine_sync.forget(number)
            self.notice = _("{num_painted} slices that were painted by hand are kept as they are").format(
                num_painted=len(edited)
            )
