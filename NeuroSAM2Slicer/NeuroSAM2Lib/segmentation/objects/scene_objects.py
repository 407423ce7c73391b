"""The objects of a segmentation: segments that bear an object number, each with its record.

The segmentation says which objects there are, so that they come and go with undo, with the person's own deletions, and with the scene.
Records of segments that are gone are kept in case they come back. A record is a value: the prompts of an object, and how confident the
model is on each of its slices; undo goes back to it.

The Segment Editor knows no locks: its effects and other modules write into any segment. So the voxels of locked objects are kept, and
what others paint over them is taken back.
"""

import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from NeuroSAM2Core.decoding import parse_count
from NeuroSAM2Core.errors import DataError, NeuroSAM2Error
from NeuroSAM2Core.prompts import ObjectPrompts
from NeuroSAM2Core.volume import Axis, Direction, SlicePlane
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.arrays import voxels_of
from NeuroSAM2Lib.scene.segments.layers import LABELMAP, SegmentWatch
from NeuroSAM2Lib.scene.segments.segment_masks import Mask, read_mask, replace_mask
from NeuroSAM2Lib.view_state import SliceQuality


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectRecord:
    """One object."""

    prompts: ObjectPrompts = field(default_factory=ObjectPrompts)
    quality: MappingProxyType[SlicePlane, SliceQuality] = field(default_factory=lambda: MappingProxyType({}))
    """All slices that have been answered, tracked or kept."""
    unanswered: frozenset[SlicePlane] = frozenset()
    """Slices whose prompts were changed or removed and have no answer yet."""

    def with_quality(self, plane: SlicePlane, quality: SliceQuality | None) -> "ObjectRecord":
        """One slice done, or not done any more."""
        known = self.quality | {}  # a copy; `dict` would ask every slice for its hash
        known.pop(plane, None)
        if quality is not None:
            known[plane] = quality
        return replace(self, quality=MappingProxyType(known), unanswered=self.unanswered - {plane})

    def with_qualities(self, qualities: Mapping[SlicePlane, SliceQuality]) -> "ObjectRecord":
        """Many slices done; quicker than one after the other."""
        return replace(self, quality=MappingProxyType({**self.quality, **qualities}))

    def with_unanswered(self, planes: frozenset[SlicePlane]) -> "ObjectRecord":
        """With these slices waiting for an answer."""
        return replace(self, unanswered=planes)

    def with_stale(self, axis: Axis, first: int, last: int) -> "ObjectRecord":
        """What was tracked from one slice to another is out of date; their prompts stay."""
        prompted = set(self.prompts.planes)
        known = {
            plane: replace(quality, is_stale=True)
            if plane.axis == axis and first <= plane.index <= last and plane not in prompted
            else quality
            for plane, quality in self.quality.items()
        }
        return replace(self, quality=MappingProxyType(known))

    def doubtful(self, axis: Axis | None) -> frozenset[SlicePlane]:
        """The slices along an axis that a person should look at; those that were confirmed are none."""
        prompted = set(self.prompts.planes)
        return frozenset(
            plane
            for plane, quality in self.quality.items()
            if plane.axis == axis and plane not in prompted and quality.is_doubtful
        )

    def open_reading(self, plane: SlicePlane) -> tuple[int, int] | None:
        """Which reading of the click on a slice is chosen, from 0, and how many there are; None where nothing is to be chosen."""
        quality = self.quality.get(plane)
        if quality is None or plane.axis != self.prompts.axis or not self.prompts.is_single_click(plane.index):
            return None
        if quality.num_readings < 2:
            return None
        return self.prompts.reading_on(plane.index) % quality.num_readings, quality.num_readings

    def ends(self, direction: Direction = Direction.BOTH) -> tuple[SlicePlane, ...]:
        """The slices next to the outermost ones with the object, where propagation has found that it is not there any more.

        Args:
            direction: Only the end above or below, as the stored index counts.
        """
        axis, prompted = self.prompts.axis, set(self.prompts.planes)
        known = {p.index: q for p, q in self.quality.items() if p.axis == axis and not q.is_stale}
        present = [index for index, quality in known.items() if quality.is_present]
        if axis is None or not present:
            return ()
        beyond = {Direction.DOWN: (min(present) - 1,), Direction.UP: (max(present) + 1,)}
        indices = beyond.get(direction, (min(present) - 1, max(present) + 1))
        planes = (SlicePlane(axis, index) for index in indices if index in known)
        return tuple(plane for plane in planes if plane not in prompted)

    def around(self, plane: SlicePlane) -> tuple[int, int]:
        """First and last slice that depend on a slice: up to the next prompted ones on both sides.

        Where there is none on a side, and another prompted slice shows the object, up to where the object has ended.
        """
        others = [p.index for p in self.prompts.planes if p.axis == plane.axis and p != plane]
        known = {p.index: q for p, q in self.quality.items() if p.axis == plane.axis}
        is_shown = any(known[n].is_present for n in others if n in known)
        ended = [n for n, q in known.items() if q.ending and not q.is_stale and n not in others] if is_shown else []
        below = max(
            (n for n in others if n < plane.index),
            default=max((n for n in ended if n < plane.index), default=min(known, default=plane.index) - 1),
        )
        above = min(
            (n for n in others if n > plane.index),
            default=min((n for n in ended if n > plane.index), default=max(known, default=plane.index) + 1),
        )
        return below + 1, above - 1


NOTHING = ObjectRecord()
"""Of an object that nothing is known of."""


def next_doubtful(record: ObjectRecord, plane: SlicePlane) -> SlicePlane | None:
    """The next slice upwards, around the end, that a person should look at; None if there is none."""
    doubtful = sorted(p.index for p in record.doubtful(plane.axis))
    index = next((n for n in doubtful if n > plane.index), doubtful[0] if doubtful else None)
    return None if index is None else SlicePlane(plane.axis, index)


OBJECT_TAG = "NeuroSAM2.Object"
LOCKED_TAG = "NeuroSAM2.Locked"
MAX_NAME_LENGTH = 200
NO_TEXT = ("Cc", "Cs", "Zl", "Zp")
"""The Unicode categories of line breaks, control characters and halves of characters, which no name has."""
COLOURS = (
    (0.25, 0.60, 1.00),
    (0.95, 0.50, 0.15),
    (0.85, 0.35, 0.85),
    (0.15, 0.80, 0.85),
    (0.60, 0.45, 1.00),
    (0.70, 0.80, 0.20),
    (1.00, 0.60, 0.75),
    (0.75, 0.55, 0.40),
)
"""Of new objects, in turn: told apart from each other, from grey images, and from the colours of prompts."""


@dataclass(frozen=True, slots=True)
class DisplayProperties:
    """How an object is shown."""

    name: str
    colour: tuple[float, float, float]
    """Red, green, blue, 0 to 1."""


def checked_name(text: str) -> str:
    """The name that a person has typed, without line breaks and without blanks around it.

    Raises:
        DataError: Nothing is left, or it is too long.
    """
    name = "".join(" " if unicodedata.category(one) in NO_TEXT else one for one in text).strip()
    if not name:
        raise DataError(_("an object needs a name"), hint=_("type one, or press Esc to keep the one it has"))
    if len(name) > MAX_NAME_LENGTH:
        raise DataError(
            _("that name has {length} characters").format(length=len(name)),
            hint=_("use {most} at most").format(most=MAX_NAME_LENGTH),
        )
    return name


class SegmentedObjects:
    """Objects by number.

    Args:
        segmentation_node: Whose segments they are.
    """

    def __init__(self, segmentation_node: slicer.vtkMRMLSegmentationNode) -> None:
        self.node = segmentation_node
        self.records: dict[int, ObjectRecord] = {}
        self.watch = SegmentWatch(segmentation_node)

    @property
    def segments(self) -> Mapping[int, str]:
        """Segment ids by object."""
        return self.watch.kept("segments", self._read_segments)

    @property
    def locked(self) -> tuple[int, ...]:
        """The objects whose voxels and prompts nothing may change."""
        return self.watch.kept("locked", self._read_locked)

    def _read_segments(self) -> Mapping[int, str]:
        segmentation, found = self.node.GetSegmentation(), {}
        for segment_id in segmentation.GetSegmentIDs():
            number = object_number(segmentation.GetSegment(segment_id))
            if number is not None:
                found[number] = segment_id
        return MappingProxyType(found)

    def _read_locked(self) -> tuple[int, ...]:
        segmentation, text = self.node.GetSegmentation(), vtk.mutable("")
        segments = self.segments.items()
        return tuple(number for number, name in segments if segmentation.GetSegment(name).GetTag(LOCKED_TAG, text))

    def segment_id(self, object_id: int) -> str:
        """The segment of an object.

        Raises:
            DataError: It is gone.
        """
        segment_id = self.segments.get(object_id)
        if segment_id is None:
            raise DataError(
                _("the segment of object {object_id} was deleted").format(object_id=object_id),
                hint=_("undo the deletion, or start another object"),
            )
        return segment_id

    def name(self, object_id: int) -> str:
        """What the person calls it."""
        return str(self.node.GetSegmentation().GetSegment(self.segment_id(object_id)).GetName())

    def display_properties(self, object_id: int) -> DisplayProperties:
        """What the person calls it, and its colour."""
        red, green, blue = self.node.GetSegmentation().GetSegment(self.segment_id(object_id)).GetColor()
        return DisplayProperties(self.name(object_id), (red, green, blue))

    def show(self, object_id: int, display_properties: DisplayProperties) -> None:
        """Gives it a name and a colour."""
        segment = self.node.GetSegmentation().GetSegment(self.segment_id(object_id))
        if display_properties.name != segment.GetName():
            segment.SetName(self.free_name(display_properties.name, object_id))
        segment.SetColor(*display_properties.colour)

    def free_name(self, name: str, object_id: int | None = None) -> str:
        """The name, with a number if another segment has it, and not longer than names may be.

        Args:
            name: As wanted.
            object_id: The object that it is for; a new one if None.
        """
        segmentation, own = self.node.GetSegmentation(), self.segments.get(object_id or 0)
        ids = [segment_id for segment_id in segmentation.GetSegmentIDs() if segment_id != own]
        taken = {segmentation.GetSegment(segment_id).GetName() for segment_id in ids}
        endings = ("", *(f" ({number})" for number in range(2, 3 + len(taken))))
        names = (name[: MAX_NAME_LENGTH - len(ending)].rstrip() + ending for ending in endings)
        return next(free for free in names if free not in taken)

    def is_locked(self, object_id: int | None) -> bool:
        """Nothing may change the voxels and the prompts of the object."""
        return object_id in self.locked

    def lock(self, object_id: int, *, is_locked: bool) -> None:
        """Locks or unlocks an object; kept in its segment, so that it is saved with the scene."""
        segment = self.node.GetSegmentation().GetSegment(self.segment_id(object_id))
        if is_locked:
            segment.SetTag(LOCKED_TAG, "1")
        else:
            segment.RemoveTag(LOCKED_TAG)

    def check_unlocked(self, object_id: int | None) -> None:
        """Checks that an object may be changed.

        Raises:
            DataError: It is locked.
        """
        if object_id is not None and self.is_locked(object_id):
            raise DataError(
                _("{name} is locked").format(name=self.name(object_id)), hint=_("unlock it in the list of objects")
            )

    def record(self, object_id: int | None) -> ObjectRecord:
        """What is known of it; nothing of one that is still to be made, None."""
        return NOTHING if object_id is None else self.records.get(object_id, NOTHING)

    @property
    def next_number(self) -> int:
        """Of an object that is not there yet."""
        return self.next_number_without(frozenset())

    def next_number_without(self, left: Collection[int]) -> int:
        """The same, where these objects will never come back."""
        return 1 + max((*self.segments, *(self.records.keys() - set(left))), default=0)

    def add(
        self,
        name: str = "",
        colour: tuple[float, float, float] | None = None,
        labelmap: slicer.vtkOrientedImageData | None = None,
        label: int = 1,
    ) -> int:
        """A new object with an empty segment.

        Args:
            name: Gets a number if another segment has it; the next free one if empty.
            colour: The next of ours if None.
            labelmap: What its segment lives in, together with others; it is not empty then.
            label: Its value there.
        """
        number = self.next_number
        segmentation = self.node.GetSegmentation()
        name = self.free_name(name or self._next_name())
        if labelmap is None:
            segment = segmentation.GetSegment(segmentation.AddEmptySegment("", name))
            segment.SetTag(OBJECT_TAG, str(number))
        else:
            segment = slicer.vtkSegment()
            segment.SetName(name)
            segment.SetTag(OBJECT_TAG, str(number))
            segment.SetLabelValue(label)
            segment.AddRepresentation(LABELMAP, labelmap)
            segmentation.AddSegment(segment)
        segment.SetColor(*(colour or COLOURS[(number - 1) % len(COLOURS)]))
        self.records[number] = ObjectRecord()
        return number

    def forget(self, object_id: int) -> None:
        """An object that was undone and cannot come back: the next new one takes its number, and with it its colour."""
        self.records.pop(object_id, None)

    def _next_name(self) -> str:
        """One more than the highest that is in use; numbers of objects that undo took away are not, to a person."""
        named = [re.fullmatch(r"object (\d+)", self.name(number)) for number in self.segments]
        return f"object {1 + max((int(match[1]) for match in named if match), default=0)}"

    def number_of(self, segment_id: str) -> int:
        """The object of a segment.

        Raises:
            DataError: It is gone, or is none.
        """
        number = next((number for number, known in self.segments.items() if known == segment_id), None)
        if number is None:
            raise DataError(_("that object was deleted"), hint=_("undo the deletion, or choose another"))
        return number

    def register_segment(self, segment_id: str) -> int:
        """The object of a segment; a segment of the person's own becomes one.

        Raises:
            DataError: There is no such segment.
        """
        segment = self.node.GetSegmentation().GetSegment(segment_id)
        if segment is None:
            raise DataError(_("that segment was deleted"), hint=_("choose another"))
        number = object_number(segment)
        if number is None:
            number = self.next_number
            segment.SetTag(OBJECT_TAG, str(number))
            self.records[number] = ObjectRecord()
        return number


def object_number(segment: slicer.vtkSegment) -> int | None:
    """The object that a segment is; None for one of the person's own."""
    text = vtk.mutable("")
    return parse_count(str(text)) if segment.GetTag(OBJECT_TAG, text) else None


@dataclass(frozen=True, slots=True)
class LockedMask:
    """An object's voxels as they were locked."""

    image_time: int
    """Of the labelmap, when it was known to hold them."""
    mask: Mask | None


class LockedMasks:
    """The voxels of all locked objects of one segmentation.

    Args:
        objects: The objects.
    """

    def __init__(self, objects: SegmentedObjects) -> None:
        self._objects = objects
        self._known: dict[int, LockedMask] = {}

    def keep(self) -> None:
        """The objects that are locked now are right as they are."""
        self._known = {}
        for number in self._objects.locked:
            try:
                mask = read_mask(self._objects.node, self._objects.segment_id(number))
            except NeuroSAM2Error:  # it is stored as a surface, which nobody paints on
                continue
            self._known[number] = LockedMask(self._image_time(number), mask)

    def unchanged(self) -> tuple[int, ...]:
        """The objects whose labelmap nobody has touched since it was looked at."""
        return tuple(
            n for n in self._objects.locked if n in self._known and self._known[n].image_time == self._image_time(n)
        )

    def trust(self, numbers: tuple[int, ...]) -> None:
        """What was done to the labelmaps of these objects has left their voxels alone."""
        for number in set(numbers).intersection(self._objects.locked):
            self._known[number] = LockedMask(self._image_time(number), self._known[number].mask)

    def changed(self) -> tuple[int, ...]:
        """The objects whose voxels are not what they were."""
        unchanged, changed = self.unchanged(), []
        for number in self._objects.locked:
            if number in self._known and number not in unchanged:
                now = read_mask(self._objects.node, self._objects.segment_id(number))
                if _is_same(self._known[number].mask, now):
                    self.trust((number,))
                else:
                    changed.append(number)
        return tuple(changed)

    def restore(self, number: int) -> None:
        """Puts the voxels of an object back; those that others have gained stay theirs."""
        replace_mask(self._objects.node, self._objects.segment_id(number), self._known[number].mask)
        self.trust((number,))

    def _image_time(self, number: int) -> int:
        segment = self._objects.node.GetSegmentation().GetSegment(self._objects.segment_id(number))
        image = segment.GetRepresentation(LABELMAP)
        return 0 if image is None else int(image.GetMTime())


def _is_same(one: Mask | None, other: Mask | None) -> bool:
    """Two masks have the same voxels, whatever part of the grid they cover."""
    first, second = _inside(one), _inside(other)
    if first is None or second is None:
        return first is second
    return first[0] == second[0] and np.array_equal(first[1], second[1])


def _inside(mask: Mask | None) -> tuple[tuple[int, ...], NDArray[Any]] | None:
    """Where the part of a mask with voxels inside begins, and that part; None without any."""
    if mask is None or mask.IsEmpty():
        return None
    extent = [0] * 6
    if not slicer.vtkOrientedImageDataResample.CalculateEffectiveExtent(mask, extent):
        return None
    first = mask.GetExtent()[::2]
    i, j, k = (slice(extent[2 * a] - first[a], extent[2 * a + 1] - first[a] + 1) for a in range(3))
    return tuple(extent), voxels_of(mask)[k, j, i]
