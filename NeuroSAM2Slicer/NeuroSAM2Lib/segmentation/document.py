"""The segmentation document: the prompts, masks and undo stack of one volume in the scene. Independent of the engine.

Methods return what must be sent to the engine; `SessionController` sends it.
"""

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import slicer
from numpy.typing import NDArray

from NeuroSAM2Core.prompts import ObjectPrompts
from NeuroSAM2Core.remote import REVIEW_IOU_THRESHOLD
from NeuroSAM2Core.volume import Axis, SliceMask, SlicePlane
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.nodes import batch_of_changes
from NeuroSAM2Lib.scene.segments.segment_display import SegmentDisplay, SurfaceUpdater
from NeuroSAM2Lib.scene.segments.segment_masks import Mask, add_mask, read_mask, take_mask
from NeuroSAM2Lib.scene.segments.segment_writer import EditPolicy
from NeuroSAM2Lib.scene.volume_nodes import read_volume, stamp_of
from NeuroSAM2Lib.segmentation.host import Host
from NeuroSAM2Lib.segmentation.journal import SessionJournal
from NeuroSAM2Lib.segmentation.objects.prompt_nodes import PromptNodes, check_inside
from NeuroSAM2Lib.segmentation.objects.scene_objects import (
    NOTHING,
    DisplayProperties,
    LockedMasks,
    ObjectRecord,
    SegmentedObjects,
)
from NeuroSAM2Lib.segmentation.objects.session_node import SessionNode
from NeuroSAM2Lib.segmentation.segment_slice_io import SegmentSliceIO, digest_of
from NeuroSAM2Lib.segmentation.undo import UndoStack
from NeuroSAM2Lib.view_state import SliceQuality

if TYPE_CHECKING:
    from NeuroSAM2Core.measures import SliceCounts

SliceMasks = Mapping[SlicePlane, NDArray[np.bool_]]
"""An object on several slices, (H, W) each."""
DrawnSlices = Iterable[tuple[SlicePlane, NDArray[np.bool_]]]
"""The same, one after the other."""
SLICES_AT_ONCE = 4
"""Are written between two looks at the person's input."""


class SegmentationDocument:
    """The objects of one volume and one segmentation in a scene.

    Args:
        host: Runs the session.
        volume_node: The image.
        segmentation_node: What the objects are segments of. What it and the scene remember of an earlier session is taken up.

    Raises:
        DataError: The volume cannot be worked on.
        GeometryError: A non-linear transform is above it.
    """

    def __init__(
        self,
        host: Host,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
        segmentation_node: slicer.vtkMRMLSegmentationNode,
    ) -> None:
        self.host, self.volume_node, self.segmentation_node = host, volume_node, segmentation_node
        self.volume = read_volume(volume_node)
        self.nodes = PromptNodes(host.scene, volume_node, segmentation_node)
        self.nodes.follow_volume()
        self.nodes.keep_colours()
        self.objects = SegmentedObjects(segmentation_node)
        self.locked_masks = LockedMasks(self.objects)
        self.surfaces = SurfaceUpdater(segmentation_node)
        self.slice_io = SegmentSliceIO(host, self.objects, volume_node, self.volume, self.surfaces)
        history = host.edit_history(segmentation_node)
        history.forget()  # what states of an earlier session mean for the prompts is not known in this one
        self.undo_stack = UndoStack(self.objects, history)
        self.node = SessionNode.of(host.scene, volume_node, segmentation_node)
        self.journal = SessionJournal(host.journal_folder, self.volume, self.objects, self.slice_io)
        self.is_writing = False
        """The session itself is changing the scene."""
        self._stamp = stamp_of(volume_node)
        for number in self.objects.segments:
            self.objects.records[number] = self._remembered(number)
        self.locked_masks.keep()
        self._mark("")

    @property
    def active(self) -> int | None:
        """The object that prompts go to."""
        number = self.node.active_object
        return number if number in self.objects.segments else None

    @property
    def records(self) -> dict[int, ObjectRecord]:
        """Of the objects that are there."""
        known = self.objects.records
        return {number: known.get(number, NOTHING) for number in self.objects.segments}

    @property
    def active_record(self) -> ObjectRecord:
        """Of the active object; an empty one where there is none."""
        return self.objects.record(self.active)

    @property
    def next_number(self) -> int:
        """Of the object that a click would begin."""
        return self.objects.next_number_without(self.undo_stack.has_been_left())

    @property
    def has_new_image(self) -> bool:
        """The voxels or the place of the volume have changed since it was read.

        Raises:
            GeometryError: A non-linear transform is above it now.
        """
        return stamp_of(self.volume_node) != self._stamp

    def notice_new_image(self) -> bool:
        """Reads the volume again if its voxels or its place have changed, and says whether they have.

        Raises:
            DataError: It cannot be worked on any more.
            GeometryError: A non-linear transform is above it now.
        """
        if not self.has_new_image:
            return False
        self.volume = read_volume(self.volume_node)
        self._stamp = stamp_of(self.volume_node)
        self.nodes.follow_volume()
        self.slice_io = SegmentSliceIO(self.host, self.objects, self.volume_node, self.volume, self.surfaces)
        self.journal.use(self.volume, self.slice_io)
        return True

    def set_prompts(
        self, object_id: int | None, prompts: ObjectPrompts, name: str
    ) -> tuple[int, tuple[SlicePlane, ...]] | None:
        """Sets the prompts of an object, as one undo step. Returns the object and the slices that must be stated; None if nothing is new.

        Args:
            object_id: The object; a new one if None.
            prompts: All prompts of it now.
            name: Of the step.

        Raises:
            PromptError: Something lies outside the volume.
        """
        check_inside(prompts, self.volume)
        before = self.objects.record(object_id)
        changed = prompts.changed_since(before.prompts)
        if not changed:
            return None
        self._begin()
        number = self._add_object("") if object_id is None else object_id
        self._record(number, replace(before, prompts=prompts).with_unanswered(before.unanswered | set(changed)))
        self._mark(name)
        self.journal.note_prompts(number)
        return number, changed

    def slice_counts(self, number: int) -> "SliceCounts":
        """How many slices of an object were prompted, corrected and confirmed, and the time spent on it."""
        from NeuroSAM2Core.measures import counts_of

        prompts = self.objects.record(number).prompts
        return counts_of(
            self.objects.name(number),
            prompts.prompted_slices,
            prompts.kept,
            seconds=self.node.seconds(number),
        )

    def keep(self, number: int, planes: Collection[SlicePlane]) -> None:
        """Confirms slices with their current masks; the caller begins and marks the step."""
        record = self.objects.record(number)
        stale: list[tuple[Axis, int, int]] = []
        masks = {plane: self.slice_io.read(number, plane) for plane in planes}
        for plane, mask in masks.items():
            known = record.quality.get(plane)
            digest = digest_of(mask)
            is_edited = known is None or known.digest != digest
            if not record.prompts.confirms(plane):
                record = replace(record, prompts=record.prompts.with_confirmed(plane))
            quality = SliceQuality(predicted_iou=1.0, object_score=float(mask.any()), digest=digest)
            record = record.with_quality(plane, quality)
            if is_edited:
                stale.append((plane.axis, *record.around(plane)))
                record = record.with_stale(*stale[-1])
        self._record(number, record)
        self.journal.note_prompts(number)
        for plane, mask in masks.items():
            self.journal.note_mask(number, plane, mask)
        for axis, first, last in stale:
            self.journal.note_stale(number, axis, first, last)

    def is_edited(self, number: int, plane: SlicePlane) -> bool:
        """True if a slice was edited since its mask was written."""
        quality = self.objects.record(number).quality.get(plane)
        return quality is None or quality.digest != self.slice_io.digest(number, plane)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Groups changes into one undo step."""
        self._begin()
        yield
        self._mark(name)

    def start_step(self, name: str) -> None:
        """Starts a new undo step."""
        with self.step(name):
            pass

    def new_object(self, name: str) -> int:
        """A new object with an empty segment, as a step of its own."""
        with self.step(_("New object")):
            number = self._add_object(name)
        self.journal.note_prompts(number)
        return number

    def choose(self, segment_id: str) -> int:
        """Makes a segment the active object."""
        is_new = segment_id not in self.objects.segments.values()
        number = self.objects.register_segment(segment_id)
        if is_new:
            self._drop_old_prompts(number)
            self._mark(self.undo_stack.current_name())
        self.node.active_object = number
        return number

    def set_display_properties(self, number: int, display_properties: DisplayProperties, name: str) -> None:
        """Gives an object another name or colour, as one undo step.

        Args:
            number: The object.
            display_properties: Its name and colour from now on.
            name: Of the step.
        """
        with self.step(name):
            self.restore_appearance(number, display_properties)
        self.journal.note_prompts(number)

    def lock(self, number: int, *, is_locked: bool) -> None:
        """Locks or unlocks an object, as one undo step."""
        with self.step(_("Lock") if is_locked else _("Unlock")), self.writing():
            self.objects.lock(number, is_locked=is_locked)
        self.locked_masks.keep()

    def restore_locked(self) -> tuple[int, ...]:
        """Takes back what others have painted over locked objects; these objects."""
        changed = self.locked_masks.changed()
        if changed:
            self.undo_stack.notice_edits()
            with self.writing():
                for number in changed:
                    self.locked_masks.restore(number)
            self.surfaces.note([self.objects.segment_id(number) for number in changed])
            self.undo_stack.ignore_edits()
        return changed

    def move(self, number: int, offset: int) -> None:
        """Moves an object up (-1) or down (1) in the list, as one undo step; at the end of the list nothing happens."""
        order = list(self.objects.segments.values())
        segment_id = self.objects.segment_id(number)
        place = order.index(segment_id) + offset
        if 0 <= place < len(order):
            segmentation = self.segmentation_node.GetSegmentation()
            with self.step(_("Reorder")), self.writing():
                segmentation.SetSegmentIndex(segment_id, segmentation.GetSegmentIndex(order[place]))

    def delete(self, number: int) -> None:
        """Removes an object with its prompts, as one undo step; if it is the active one, its neighbour in the list is that now."""
        order = list(self.objects.segments)
        place = order.index(number)
        neighbour = next(iter(order[place + 1 : place + 2] or order[max(0, place - 1) : place]), 0)
        is_active = number == self.active
        with self.step(_("Delete object")):
            self._delete(number)
            if is_active:
                self.node.active_object = neighbour
        self.journal.note_all()

    def duplicate(self, number: int) -> int:
        """A new object with the same prompts and voxels, as one undo step."""
        record, mask = self.objects.record(number), self._mask(number)
        with self.step(_("Duplicate")):
            copy = self._add_object(_("{name} copy").format(name=self.objects.name(number)))
            if mask is not None:
                with self.writing():
                    add_mask(self.segmentation_node, self.objects.segment_id(copy), mask)
            self._record(copy, record)
        self.surfaces.note([self.objects.segment_id(copy)])
        self.journal.note_all()
        return copy

    def add_objects(self, labelmap: Mask, known: Sequence[tuple[DisplayProperties, ObjectRecord]]) -> list[int]:
        """New objects that are known already; part of a step that has begun. The last one is active.

        Args:
            labelmap: In the coordinates of the segmentation: 1 for the first of them, and so on.
            known: Name, which gets a number if another segment has it, and colour; prompts, and slices with the digests of the masks.
        """
        numbers = []
        with batch_of_changes(self.host.scene):
            for label, (shown, record) in enumerate(known, start=1):
                with self.writing():
                    numbers.append(self.objects.add(shown.name, shown.colour, labelmap, label))
                self._drop_old_prompts(numbers[-1])
                self._record(numbers[-1], record)
        self.node.active_object = numbers[-1]
        self.surfaces.note([self.objects.segment_id(number) for number in numbers])
        return numbers

    def own_nodes(self) -> list[slicer.vtkMRMLNode]:
        """What it keeps in the scene beside the image and the segmentation."""
        return [*self.nodes.all_nodes(), self.node.node]

    def merge(self, number: int, target: int) -> None:
        """Adds an object's voxels to another one and deletes it, as one undo step. Slices that change are confirmed."""
        mask = self._mask(number)
        axis = self.axis_of(target) or self.axis_of(number)
        with self.step(_("Merge")):
            with self._keeping_changes(target, axis), self.writing():
                self._delete(number)
                if mask is not None:
                    add_mask(self.segmentation_node, self.objects.segment_id(target), mask)
            self.node.active_object = target
        self.journal.note_all()

    def subtract(self, number: int, other: int) -> None:
        """Takes another object's voxels from an object, as one undo step. Slices that change are confirmed."""
        mask = self._mask(other)
        if mask is None or self._mask(number) is None:
            return
        with self.step(_("Subtract")), self._keeping_changes(number, self.axis_of(number)), self.writing():
            take_mask(self.segmentation_node, self.objects.segment_id(number), mask)
        self.journal.note_all()

    def redraw(self, number: int, masks: SliceMasks, name: str) -> None:
        """Makes an object look otherwise on slices, as one undo step. These slices are confirmed.

        Args:
            number: The object.
            masks: What it is on each of the slices.
            name: Of the step.
        """
        for _count in self.redrawing(number, masks.items(), name):
            pass

    def redrawing(
        self,
        number: int,
        masks: DrawnSlices,
        name: str,
        *,
        parts: Sequence[DrawnSlices] = (),
        deleted: int | None = None,
        policy: EditPolicy | None = None,
    ) -> Iterator[int]:
        """The same, a few slices at a time; yields how many are done. It ends early where somebody undoes it meanwhile.

        Args:
            number: See `redraw`, as the rest.
            masks: Each slice and what the object is on it.
            name: Of the step.
            parts: What becomes an object of its own, each; it is not the active one.
            deleted: An object that goes away with it.
            policy: Where may be painted; the editor's own settings if None.
        """
        title, active, done = self.objects.name(number), self.active, 0
        with self.step(name):
            numbers = [number, *(self._add_object(title) for _part in parts)]
            if deleted is not None:
                self._delete(deleted)
            self.node.active_object = number if active in (None, deleted) else active
        for one, drawn in zip(numbers, (masks, *parts), strict=True):
            remaining = iter(drawn)
            while some := dict(itertools.islice(remaining, SLICES_AT_ONCE)):
                self._draw(one, some, policy)
                done += len(some)
                yield done
                if self.has_moved:
                    return
        if parts or deleted is not None:
            self.journal.note_all()

    def clear(self, number: int) -> None:
        """Removes prompts and masks of an object, as one undo step."""
        with self.step(_("Clear")):
            with self.writing():
                self.slice_io.clear(number)
            self._record(number, ObjectRecord())
        self.journal.note_all()

    def put(
        self,
        mask: SliceMask,
        stale: tuple[int, int] | None = None,
        *,
        review_iou_threshold: float = REVIEW_IOU_THRESHOLD,
    ) -> None:
        """Writes a mask into the scene, as part of the current undo step.

        Args:
            mask: The answer.
            stale: First and last slice that it has made out of date.
            review_iou_threshold: From this expected overlap on the model is sure.

        Raises:
            DataError: The segment is gone or cannot hold it.
        """
        number, plane = mask.object_id, mask.plane
        self.undo_stack.notice_edits()
        was_unchanged_since_restore = self.undo_stack.is_unchanged_since_restore
        with self.writing():
            written = self.slice_io.write(number, mask)
        quality = replace(written.quality, review_iou_threshold=review_iou_threshold)
        record = self.objects.record(number)
        is_taken_back = stale is not None and plane not in record.prompts.planes
        record = record.with_quality(plane, None if is_taken_back else quality)
        if stale is not None:
            record = record.with_stale(plane.axis, *stale)
        self.objects.records[number] = record
        self.undo_stack.amend(
            self.records,
            {(number, plane): written.digest_before},
            was_unchanged_since_restore=was_unchanged_since_restore,
        )
        self._position = self.undo_stack.position()
        self.journal.note_mask(number, plane, written.mask)
        if stale is not None:
            self.journal.note_stale(number, plane.axis, *stale)

    def restore_object(self, number: int, name: str) -> int:
        """Restores an object by number and name, or creates a new one. Part of a step that has begun."""
        if number in self.objects.segments and self.objects.name(number) == name:
            return number
        return self._add_object(name)

    def restore_prompts(self, number: int, prompts: ObjectPrompts, unanswered: frozenset[SlicePlane]) -> None:
        """The prompts of an object, without asking for an answer; part of a step that has begun."""
        record = replace(self.objects.record(number), prompts=prompts)
        self._record(number, record.with_unanswered(unanswered | (set(prompts.planes) - set(record.quality))))

    def restore_mask(
        self, number: int, plane: SlicePlane, mask: NDArray[np.bool_], quality: SliceQuality | None
    ) -> None:
        """What an object was like on a slice, and how sure the model was of it; part of a step that has begun."""
        known = quality or SliceQuality(predicted_iou=1.0, object_score=1.0)
        with self.writing():
            written = self.slice_io.write(number, known.as_answer(number, plane, mask))
        again = None if quality is None else replace(quality, digest=written.quality.digest)
        self.objects.records[number] = self.objects.record(number).with_quality(plane, again)

    def restore_nodes(self, number: int) -> None:
        """Makes the prompt nodes of an object say what is known of it, after others have changed them."""
        with self.writing():
            self.nodes.write(number, self.objects.record(number).prompts, self.volume)

    def restore_stale(self, number: int, axis: Axis, first: int, last: int) -> None:
        """Slices that were out of date; part of a step that has begun."""
        self.objects.records[number] = self.objects.record(number).with_stale(axis, first, last)

    def restore_appearance(self, number: int, display_properties: DisplayProperties) -> None:
        """The name and colour of an object; part of a step that has begun."""
        with self.writing():
            self.objects.show(number, display_properties)

    def remember(self, revision: int) -> None:
        """Stores the session's revision and qualities in the scene."""
        self.node.revision = revision
        for number, record in self.records.items():
            self.node.write_quality(number, record)

    @property
    def has_moved(self) -> bool:
        """Others have undone or redone something, and prompts and records do not follow yet."""
        return self.undo_stack.position() != self._position

    def follow_history(self, *, has_moved: bool = False) -> set[int]:
        """Synchronises prompts and records with the segments after undo or redo.

        Args:
            has_moved: The session itself has undone or redone.

        Returns:
            The objects concerned.
        """
        position = self.undo_stack.position()
        if not has_moved:  # others have, and the states that the history keeps may hold surfaces that are out of date
            self.surfaces.note(self.segmentation_node.GetSegmentation().GetSegmentIDs())
        known = dict(self.undo_stack.records())
        for number, plane in self.undo_stack.missing(self.slice_io.digest):
            record = known[number].with_quality(plane, None)
            has_prompts = plane in record.prompts.planes
            known[number] = record.with_unanswered(record.unanswered | {plane}) if has_prompts else record
        there = position[1]
        concerned = set(self.objects.records) | there
        for number in concerned:
            self._record(number, known.get(number, ObjectRecord()) if number in there else ObjectRecord())
        self._position = position
        self.locked_masks.keep()
        self.undo_stack.arrive()
        self.journal.note_all()
        return concerned

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Marks changes in the scene meanwhile as the session's own."""
        was, self.is_writing = self.is_writing, True
        unchanged = self.locked_masks.unchanged()
        try:
            with self.surfaces.kept():
                yield
        finally:
            self.locked_masks.trust(unchanged)
            self.is_writing = was

    def axis_of(self, number: int | None) -> Axis | None:
        """The axis that an object is segmented along; None while there are no prompts."""
        return self.objects.record(number).prompts.axis

    def _remembered(self, number: int) -> ObjectRecord:
        """The record of an object as stored in the scene."""
        prompts = self.nodes.read(number, self.volume)
        record = ObjectRecord(prompts=prompts)
        for plane, quality in self.node.read_quality(number).items():
            if plane.index not in range(self.volume.shape[plane.axis.array_axis]):
                continue
            record = record.with_quality(plane, replace(quality, digest=self.slice_io.digest(number, plane)))
        return record.with_unanswered(frozenset(set(prompts.planes) - set(record.quality)))

    def _mask(self, number: int) -> Mask | None:
        return read_mask(self.segmentation_node, self.objects.segment_id(number))

    def _delete(self, number: int) -> None:
        SegmentDisplay(self.segmentation_node).keep_deleted()
        with self.writing():
            self.segmentation_node.GetSegmentation().RemoveSegment(self.objects.segment_id(number))
            self.nodes.remove(number)
        self.objects.records[number] = ObjectRecord()

    @contextmanager
    def _keeping_changes(self, number: int, axis: Axis | None) -> Iterator[None]:
        """Confirms the slices of an object that are changed meanwhile, so that no answer or propagation overwrites them."""
        planes = (
            [] if axis is None else [SlicePlane(axis, index) for index in range(self.volume.shape[axis.array_axis])]
        )
        before = {plane: self.slice_io.digest(number, plane) for plane in planes}
        yield
        self.surfaces.note([self.objects.segment_id(number)])
        self.keep(number, [plane for plane in planes if self.slice_io.digest(number, plane) != before[plane]])

    def _draw(self, number: int, masks: SliceMasks, policy: EditPolicy | None) -> None:
        """Makes an object look otherwise on slices and confirms them, as part of the current undo step."""
        self.undo_stack.notice_edits()
        was_unchanged_since_restore = self.undo_stack.is_unchanged_since_restore
        digests_before = {}
        with self.writing(), self.slice_io.together():
            for plane, mask in masks.items():
                written = self.slice_io.write(number, SliceMask.drawn(number, plane, mask), policy)
                digests_before[number, plane] = written.digest_before
        self.keep(number, list(masks))
        self.undo_stack.amend(self.records, digests_before, was_unchanged_since_restore=was_unchanged_since_restore)
        self._position = self.undo_stack.position()

    def _add_object(self, name: str) -> int:
        with self.writing():
            number = self.objects.add(name)
        self._drop_old_prompts(number)
        self.node.active_object = number
        return number

    def _drop_old_prompts(self, number: int) -> None:
        """An object that was deleted in an earlier session had the number, and its prompts may still be in the scene."""
        if self.nodes.all_nodes(number):
            self._record(number, ObjectRecord())

    def _record(self, number: int, record: ObjectRecord) -> None:
        """Updates the record and the prompt nodes together."""
        self.objects.records[number] = record
        with self.writing():
            self.nodes.write(number, record.prompts, self.volume)

    def _begin(self) -> None:
        for number in self.undo_stack.has_been_left():
            self.objects.forget(number)
        with self.writing():
            self.undo_stack.begin(self.records)

    def _mark(self, name: str) -> None:
        with self.writing():
            self.undo_stack.mark(name, self.records)
        self._position = self.undo_stack.position()
