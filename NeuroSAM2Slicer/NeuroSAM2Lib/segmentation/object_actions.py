"""Actions on whole objects, as the list of objects offers them, and objects from elsewhere. Each that changes data is one undo step.

Prompts and propagation are `SessionController`'s; how segments are shown is `SegmentDisplay`'s.

A label map becomes objects: each value one, named and coloured as its table says, with confirmed masks that the model goes on from.
Objects of an earlier scan of the same person become prompts on few slices, which the model answers anew. What takes long, `read_objects`
and `carry_objects`, touches no scene and may run beside it; `add_objects` and `add_carried` put the result there.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import slicer
from numpy.typing import NDArray

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.labels import LabelEntry, LabelTable, labels_on_grid, table_for
from NeuroSAM2Core.measures import ObjectMask
from NeuroSAM2Core.prompts import ObjectPrompts
from NeuroSAM2Core.registration import Registration, carried_labels, prompts_of
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume, pack_mask, resolve_axis
from NeuroSAM2Lib.beside import Work
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.arrays import set_voxels, to_vtk
from NeuroSAM2Lib.scene.segments.segment_display import SegmentDisplay
from NeuroSAM2Lib.scene.segments.segment_masks import SegmentationSnapshot
from NeuroSAM2Lib.scene.segments.segment_writer import EditPolicy
from NeuroSAM2Lib.scene.volume_nodes import local_matrix
from NeuroSAM2Lib.segmentation.background_run import FEW_SLICES
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.document import SegmentationDocument
from NeuroSAM2Lib.segmentation.objects.scene_objects import (
    MAX_NAME_LENGTH,
    DisplayProperties,
    ObjectRecord,
    checked_name,
)
from NeuroSAM2Lib.view_state import Activity, SliceQuality

Mask = NDArray[np.bool_]


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
            if self._is_quick(target, number):
                self._document.merge(number, target)
            else:
                self._session.background.begin(self._combining(target, number, adds=True), Activity.REPAIRING)

    def subtract(self, segment_id: str, other: str) -> None:
        """Takes another object's voxels from an object; the other stays. Slices that change count as confirmed.

        Raises:
            DataError: They are the same, or the first is locked.
        """
        with self._session.action():
            number, taken = self._pair(segment_id, other)
            self._objects.check_unlocked(number)
            self._session.abandon(number)
            if self._is_quick(number, taken):
                self._document.subtract(number, taken)
            else:
                self._session.background.begin(self._combining(number, taken, adds=False), Activity.REPAIRING)

    def _is_quick(self, number: int, other: int) -> bool:
        """Whether two objects are combined at once: small ones, and those that slices of the image do not hold."""
        io, axis = self._document.slice_io, self._axis_of(number, other)
        if self._session.background.beside is None or axis is None:
            return True
        is_small = max(io.reach(one)[axis.array_axis] for one in (number, other)) <= FEW_SLICES
        return is_small or not (io.is_on_image_grid(number) and io.is_on_image_grid(other))

    def _axis_of(self, number: int, other: int) -> Axis | None:
        return self._document.axis_of(number) or self._document.axis_of(other)

    def _combining(self, number: int, other: int, *, adds: bool) -> Work[None]:
        """Adds another object to an object and removes it, or takes it from the object, a few slices at a time."""
        volume, axis, run = self._document.volume, self._axis_of(number, other), self._session.background
        assert axis is not None, "`_is_quick` sees to it"
        taken = yield from self._session.reading(other)
        if taken.is_empty and not adds:
            return
        yield from self._session.check_unchanged(other, volume, taken)
        slices = self._combined(number, taken, axis, adds=adds)
        name, deleted = (_("Merge"), other) if adds else (_("Subtract"), None)
        steps = self._document.redrawing(number, slices, name, deleted=deleted, policy=EditPolicy())
        with self._session.action():
            self._objects.check_unlocked(number)
            self._session.abandon(number, *([other] if adds else []))
            next(steps, None)
            if adds:
                self._document.node.active_object = number
        total = 0 if taken.is_empty else taken.voxels.shape[axis.array_axis]
        for done in steps:
            run.progress = done, total
            yield None

    def _combined(self, number: int, taken: ObjectMask, axis: Axis, *, adds: bool) -> Iterator[tuple[SlicePlane, Mask]]:
        """The slices of an object that change, and what it is on them."""
        if taken.is_empty:
            return
        (k, j, i), others = taken.block, [a for a in range(3) if a != axis.array_axis]
        block = (k, j, i)
        for index in range(block[axis.array_axis].start, block[axis.array_axis].stop):
            plane = SlicePlane(axis, index)
            before = self._document.slice_io.read(number, plane)
            covered = np.zeros_like(before)
            covered[block[others[0]], block[others[1]]] = SlicePlane(axis, index - block[axis.array_axis].start).of(
                taken.voxels
            )
            after = before | covered if adds else before & ~covered
            if not np.array_equal(before, after):
                yield plane, after

    def _unlocked(self, segment_id: str) -> int:
        number = self._objects.number_of(segment_id)
        self._objects.check_unlocked(number)
        return number

    def _pair(self, segment_id: str, other: str) -> tuple[int, int]:
        if segment_id == other:
            raise DataError(_("that is the same object"), hint=_("choose another one"))
        return self._objects.number_of(segment_id), self._objects.number_of(other)


MAX_OBJECTS = 300
"""That one label map may become: the list of objects shows them all."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelObject:
    """One value of a label map, as an object."""

    entry: LabelEntry
    digests: dict[int, int]
    """Of its mask on every slice that it is on; see `SegmentSliceIO.digest`."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelObjects:
    """What a label map becomes on the grid of an image."""

    image: Volume
    axis: Axis
    objects: tuple[LabelObject, ...]
    labels: NDArray[np.unsignedinteger]
    """(K, J, I) of the part of the grid that holds them: 1 for the first object, and so on."""
    first_ijk: tuple[int, int, int]
    """The voxel at which that part begins."""
    sentence: str = ""
    """What was done to bring it there; empty where it was there already."""


def read_objects(image: Volume, label: Volume, table: LabelTable | None = None) -> LabelObjects:
    """The objects of a label map.

    Args:
        image: That they are outlined on.
        label: Whole numbers, on any grid.
        table: What its values mean; FreeSurfer's or none if None.

    Raises:
        DataError: It is empty, holds no labels, lies outside the image or has too many values.
    """
    from scipy import ndimage

    found = labels_on_grid(label, image)
    values = [value for value in np.unique(found.labels).tolist() if value > 0]
    if len(values) > MAX_OBJECTS:
        raise DataError(
            _("{name} has {count} labels; at most {most} become objects").format(
                name=label.name, count=len(values), most=MAX_OBJECTS
            ),
            hint=_("is it an image? Open it as one, or keep the labels that you need in a file of their own"),
        )
    entries = (table_for(values) if table is None else table.restricted(values)).entries
    axis = slice_axis(image)
    (place,) = ndimage.find_objects((found.labels > 0).view(np.uint8))
    part = found.labels[place]
    labels = np.where(part > 0, np.searchsorted(values, part) + 1, 0).astype(np.min_scalar_type(len(values)))
    objects = tuple(
        LabelObject(entry, _digests(labels == number, place, image.shape, axis))
        for number, entry in enumerate(entries, start=1)
    )
    k, j, i = (one.start for one in place)
    return LabelObjects(image, axis, objects, labels, (i, j, k), found.sentence)


def slice_axis(image: Volume) -> Axis:
    """The axis that objects without prompts are segmented along: that of the thickest slices, else the axial one."""
    spacing = np.array(image.spacing_mm)
    axial = resolve_axis(image, "axial")
    thickest = int(spacing.argmax())
    if spacing[thickest] <= 1.2 * spacing["ijk".index(axial)]:
        return axial
    return (Axis.I, Axis.J, Axis.K)[thickest]


def add_objects(session: SessionController, labels: LabelObjects) -> list[int]:
    """Adds the objects of a label map as one undo step; the last one is active. Returns their numbers.

    Raises:
        DataError: The image is another one by now.
    """
    document = session.document
    with session.action():
        if document.volume.shape != labels.image.shape:
            raise DataError(_("the image is another one by now"), hint=_("open the label map again"))
        labelmap = _labelmap(document, labels.labels, labels.first_ijk)
        with document.step(_("Open label map")):
            numbers = document.add_objects(labelmap, [_known(one, labels.axis) for one in labels.objects])
        document.journal.note_all()
    if labels.sentence:
        session.notice = labels.sentence
    return numbers


def _labelmap(
    document: SegmentationDocument, labels: NDArray[np.integer], first_ijk: tuple[int, int, int] = (0, 0, 0)
) -> slicer.vtkOrientedImageData:
    """Labels (K, J, I) where they lie in the image."""
    labelmap = slicer.vtkOrientedImageData()
    set_voxels(labelmap, labels, first_ijk)
    labelmap.SetImageToWorldMatrix(to_vtk(local_matrix(document.volume_node)))
    return labelmap


def _known(one: LabelObject, axis: Axis) -> tuple[DisplayProperties, ObjectRecord]:
    """How an object is shown, and what is known of it: all slices that it is on are confirmed."""
    red, green, blue = (part / 255 for part in one.entry.colour)
    record = ObjectRecord(prompts=ObjectPrompts(axis=axis, kept=frozenset(one.digests)))
    qualities = {
        plane: SliceQuality(predicted_iou=1.0, object_score=1.0, digest=one.digests[plane.index])
        for plane in record.prompts.planes
    }
    return DisplayProperties(one.entry.name[:MAX_NAME_LENGTH], (red, green, blue)), record.with_qualities(qualities)


def _digests(
    mask: NDArray[np.bool_], place: Sequence[slice], shape: tuple[int, int, int], axis: Axis
) -> dict[int, int]:
    """Of the slices of a mask that lies at a place of a grid, those that are not empty."""
    along = axis.array_axis
    across = [n for n in range(3) if n != along]
    whole = np.zeros([shape[n] for n in across], bool)
    window = whole[place[across[0]], place[across[1]]]
    digests = {}
    for index in np.flatnonzero(mask.any(axis=tuple(across))).tolist():
        window[...] = mask.take(index, axis=along)
        digests[place[along].start + index] = digest_of(whole)
    return digests


def digest_of(mask: NDArray[np.bool_]) -> int:
    """Of a mask on a slice, (H, W), as `SegmentSliceIO.digest` gives it."""
    return zlib.crc32(pack_mask(mask))


@dataclass(frozen=True, slots=True, eq=False)
class CarriedObjects:
    """What the objects of an earlier scan become on the later one."""

    image: Volume
    shown: tuple[DisplayProperties, ...]
    prompts: tuple[ObjectPrompts, ...]
    labels: NDArray[np.unsignedinteger]
    """(K, J, I): the slices on which a mask is the prompt; 1 for the first object, and so on."""
    lost: tuple[str, ...]
    """The names of the objects of which nothing lies in the later scan."""


def carry_objects(earlier: SegmentationSnapshot, later: Volume, registration: Registration) -> CarriedObjects:
    """The objects of an earlier scan on a later one.

    Raises:
        DataError: Nothing of any of them lies there.
    """
    carried = carried_labels(earlier.labels(), later, registration)
    axis = slice_axis(later)
    shown, prompts, lost = [], [], []
    labels = np.zeros(later.shape, np.min_scalar_type(len(earlier.segments)))
    for value, segment in enumerate(earlier.segments, start=1):
        mask = carried == value
        if not mask.any():
            lost.append(segment.name)
            continue
        found = prompts_of(mask, axis)
        shown.append(DisplayProperties(segment.name, segment.colour))
        prompts.append(found.prompts)
        for plane, prompt in found.masks.items():
            plane.of(labels)[prompt.mask] = len(shown)
    return CarriedObjects(later, tuple(shown), tuple(prompts), labels, tuple(lost))


def add_carried(session: SessionController, carried: CarriedObjects) -> list[int]:
    """Adds the objects with their prompts as one undo step, and carries the model's answers through all slices.

    Raises:
        DataError: The image is another one by now.
    """
    document = session.document
    with session.action():
        if document.volume.shape != carried.image.shape:
            raise DataError(_("the image is another one by now"), hint=_("register the scans again"))
        labelmap = _labelmap(document, carried.labels)
        known = [
            (shown, _record(prompts, carried.labels == label))
            for label, (shown, prompts) in enumerate(zip(carried.shown, carried.prompts, strict=True), start=1)
        ]
        with document.step(_("Carry over from the earlier scan")):
            numbers = document.add_objects(labelmap, known)
        document.journal.note_all()
    session.warm_up()
    session.propagate_new(tuple(numbers))
    if carried.lost:
        session.notice = _("nothing of {names} lies in this scan").format(names=", ".join(carried.lost))
    return numbers


def _record(prompts: ObjectPrompts, mask: NDArray[np.bool_]) -> ObjectRecord:
    """Boxes wait for an answer; masks are confirmed as they are."""
    kept = {plane: plane.of(mask) for plane in prompts.planes if plane.index in prompts.kept}
    qualities = {
        plane: SliceQuality(predicted_iou=1.0, object_score=1.0, digest=digest_of(part)) for plane, part in kept.items()
    }
    record = ObjectRecord(prompts=prompts).with_qualities(qualities)
    return record.with_unanswered(frozenset(set(prompts.planes) - set(kept)))
