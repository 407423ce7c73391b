"""The journal: unsaved work, recorded as it is done, so that it survives a crash. Append-only, one JSON line per change.

Each line holds a complete state (the prompts of an object; a mask on a slice), so that a journal that was cut or damaged is worth
everything before it. Masks are bits, packed and compressed. A session's journal begins with all there is when the first change comes, and
goes away when its scene is saved or its session ends in order. Every host holds one lock in the folder, which the system releases with
its process: so others know whether it still lives.
"""

import atexit
import base64
import functools
import json
import re
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core import disk
from NeuroSAM2Core.decoding import DecodingError, Rules, decoded, parse_json
from NeuroSAM2Core.errors import DataError, NeuroSAM2Error
from NeuroSAM2Core.legacy import current_names
from NeuroSAM2Core.prompts import ObjectPrompts
from NeuroSAM2Core.remote.framing import mask_from_bits
from NeuroSAM2Core.version import __version__
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume, pack_mask
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.volume_nodes import Fingerprint
from NeuroSAM2Lib.segmentation.objects.scene_objects import SegmentedObjects
from NeuroSAM2Lib.segmentation.segment_slice_io import SegmentSliceIO
from NeuroSAM2Lib.view_state import SliceQuality

if TYPE_CHECKING:
    from filelock import BaseFileLock

SUFFIX = ".jsonl"
LOCK_SUFFIX = ".lock"
NOBODY = "nobody"
"""The host of a journal that names none."""
SURE = SliceQuality(predicted_iou=1.0, object_score=1.0)
LATER = Rules(skips_unknown=True)
"""What a later version adds is passed over."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JournalHead:
    """The header of a journal."""

    volume_name: str
    fingerprint: Fingerprint
    """Of the volume."""
    shape: tuple[int, int, int]
    """(K, J, I)."""
    owner: str = NOBODY
    """The host that writes it: see `owner_of`."""
    version: str = __version__


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptsLine:
    """An object from here on, without its masks."""

    object_id: int
    segment_name: str
    prompts: ObjectPrompts
    colour: tuple[float, float, float] | None = None
    """Red, green, blue, 0 to 1; None in journals of versions that did not write it."""
    unanswered: frozenset[SlicePlane] = frozenset()
    """Prompted slices without an answer yet."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MaskLine:
    """An object on a slice from here on."""

    object_id: int
    plane: SlicePlane
    mask: NDArray[np.bool_]
    """(H, W)."""
    quality: SliceQuality | None = SURE
    """None where nothing is known of the slice any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StaleLine:
    """Slices of an object that are out of date from here on, but for those that are prompted."""

    object_id: int
    axis: Axis
    first: int
    last: int


Line = PromptsLine | MaskLine | StaleLine


class Journal:
    """Writes one.

    Args:
        path: A file that is not there yet.
        head: What it is about.
    """

    def __init__(self, path: Path, head: JournalHead) -> None:
        self.path, self.head = path, head
        self._has_begun = False

    def note(self, line: Line) -> None:
        """Writes a line.

        Raises:
            DataError: The disk is full, or the folder is gone.
        """
        try:
            if not self._has_begun:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._append({"head": asdict(self.head)})
                self._has_begun = True
            self._append(_to_json(line))
        except OSError as error:
            raise _cannot_write(error) from error

    def discard(self) -> None:
        """Deletes the journal; the work is saved elsewhere."""
        disk.delete(self.path)

    def _append(self, payload: dict[str, Any]) -> None:
        with self.path.open("ab") as file:
            file.write(json.dumps(payload).encode() + b"\n")


@dataclass(frozen=True, slots=True)
class Unsaved:
    """A journal that a crashed host has left."""

    path: Path
    head: JournalHead

    def lines(self) -> Iterator[Line]:
        """Its lines, up to where it was cut or damaged.

        Raises:
            DataError: A later version wrote what this one does not know.
        """
        for payload in _whole_lines(self.path):
            if "head" in payload:
                continue
            try:
                line = _from_json(payload)
            except (ValueError, NeuroSAM2Error) as error:  # what a class or its maker refuses
                if _numbers(self.head.version) <= _numbers(__version__):
                    return
                raise DataError(
                    _("the unsaved work was written down by NeuroSAM2 {version}; this is {own_version}").format(
                        version=self.head.version, own_version=__version__
                    ),
                    hint=_("open it with a newer NeuroSAM2"),
                ) from error
            yield line

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Locks the journal against recovery by other hosts while the body runs.

        Raises:
            DataError: Another one does, or has done so.
        """
        lock = _new_lock(self.path.with_suffix(LOCK_SUFFIX))
        if lock is not None and not _has_taken(lock):
            raise DataError(_("that work is being recovered in another window"), hint=_("wait for that"))
        try:
            if not self.path.exists():
                raise DataError(_("that work was recovered in another window already"))
            yield
        finally:
            if lock is not None:
                lock.release()
            self.path.with_suffix(LOCK_SUFFIX).unlink(missing_ok=True)


def unsaved_in(folder: Path) -> list[Unsaved]:
    """Journals of hosts that are gone, the newest first; one that cannot be read hides no other."""
    found = []
    for path in folder.glob(f"*{SUFFIX}"):
        with suppress(OSError, DataError):  # it may be gone by now, or in a folder that cannot be written to
            head = next((_head(payload["head"]) for payload in _whole_lines(path) if "head" in payload), None)
            if head is not None and not _is_running(folder / f"{head.owner}{LOCK_SUFFIX}"):
                found.append((path.stat().st_mtime, Unsaved(path, head)))
    return [one for _, one in sorted(found, key=lambda pair: pair[0], reverse=True)]


def _head(payload: object) -> JournalHead | None:
    """What a later version adds is passed over; None for one that another version wrote in another way."""
    try:
        head = decoded(JournalHead, payload, "head", LATER)
    except DecodingError:
        return None
    if len(head.fingerprint.ijk_to_ras) != 16:
        return None
    return head if head.owner.isalnum() else replace(head, owner=NOBODY)


def owner_of(folder: Path) -> str:
    """This host among all that keep journals in a folder, which is made where it is missing.

    Raises:
        DataError: The folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        owner, lock = _held_lock(folder.resolve())
        if lock is not None and not Path(lock.lock_file).exists():  # somebody has emptied the folder
            _held_lock.cache_clear()
            owner, _ = _held_lock(folder.resolve())
    except (OSError, NotImplementedError) as error:
        raise _cannot_write(error) from error
    return owner


@functools.cache
def _held_lock(folder: Path) -> "tuple[str, BaseFileLock | None]":
    """This host and its lock, held as long as the process lives: work of a session that has ended may still be in the scene."""
    owner = uuid.uuid4().hex
    lock = _new_lock(folder / f"{owner}{LOCK_SUFFIX}")
    if lock is not None:
        lock.acquire()
        atexit.register(lock.release)
    return owner, lock


def _is_running(lock_file: Path) -> bool:
    """The host of that lock; false for those that could hold none."""
    if lock_file.stem == owner_of(lock_file.parent):
        return True
    if not lock_file.exists():
        return False
    lock = _new_lock(lock_file)
    if lock is None or not _has_taken(lock):
        return True
    lock.release()
    lock_file.unlink(missing_ok=True)  # it never comes back
    return False


def _new_lock(path: Path) -> "BaseFileLock | None":
    """A lock that is taken at once or not at all; None where filelock is missing: Slicer works before its packages are installed."""
    try:
        from filelock import FileLock
    except ModuleNotFoundError:
        return None
    return FileLock(path, timeout=0)


def _has_taken(lock: "BaseFileLock") -> bool:
    try:
        lock.acquire()
    except (OSError, NotImplementedError):  # a timeout is an OSError, too
        return False
    return True


def _cannot_write(error: Exception) -> DataError:
    reason = error.strerror if isinstance(error, OSError) else None
    return DataError(
        _("unsaved work cannot be written down: {reason}").format(reason=reason or error),
        hint=_("free some space, and save the scene"),
    )


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Up to where the file was cut or damaged."""
    try:
        for line in path.read_bytes().splitlines():
            payload = parse_json(line.decode())
            if not isinstance(payload, dict):
                return
            yield payload
    except (OSError, ValueError):
        return


def _without_digest(quality: SliceQuality) -> dict[str, object]:
    """The digest follows from the mask."""
    return {one.name: getattr(quality, one.name) for one in fields(quality) if one.name != "digest"}


def _to_json(line: Line) -> dict[str, object]:
    if isinstance(line, MaskLine):
        bits = base64.b85encode(zlib.compress(pack_mask(line.mask), 1)).decode()
        return {
            "object": line.object_id,
            "axis": line.plane.axis,
            "index": line.plane.index,
            "shape": line.mask.shape,
            "mask": bits,
            "quality": None if line.quality is None else _without_digest(line.quality),
        }
    if isinstance(line, StaleLine):
        return {"object": line.object_id, "axis": line.axis, "stale": [line.first, line.last]}
    return {
        "object": line.object_id,
        "name": line.segment_name,
        **line.prompts.to_json(),
        "colour": line.colour,
        "unanswered": sorted([plane.axis, plane.index] for plane in line.unanswered),
    }


def _from_json(payload: dict[str, object]) -> Line:
    payload = current_names(payload)
    if "mask" in payload:
        return decoded(_StoredMask, payload, "line", LATER).to_line()
    if "stale" in payload:
        return decoded(_StoredStale, payload, "line", LATER).to_line()
    return decoded(_StoredObject, payload, "line", LATER).to_line(ObjectPrompts.from_json(payload))


@dataclass(frozen=True, kw_only=True, slots=True)
class _StoredObject:
    """What a `PromptsLine` holds in JSON beside the prompts."""

    object: int
    name: str
    colour: tuple[float, float, float] | None = None
    unanswered: tuple[tuple[Axis, int], ...] = ()

    def to_line(self, prompts: ObjectPrompts) -> PromptsLine:
        return PromptsLine(
            object_id=self.object,
            segment_name=self.name,
            prompts=prompts,
            colour=self.colour,
            unanswered=frozenset(SlicePlane(*one) for one in self.unanswered),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _StoredMask:
    """A `MaskLine` in JSON."""

    object: int
    axis: Axis
    index: int
    shape: tuple[int, int]
    mask: str
    quality: SliceQuality | None = SURE

    def to_line(self) -> MaskLine:
        return MaskLine(
            object_id=self.object,
            plane=SlicePlane(self.axis, self.index),
            mask=mask_from_bits(base64.b85decode(self.mask), self.shape, "mask", is_packed=True),
            quality=self.quality,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _StoredStale:
    """A `StaleLine` in JSON."""

    object: int
    axis: Axis
    stale: tuple[int, int]

    def to_line(self) -> StaleLine:
        first, last = self.stale
        return StaleLine(object_id=self.object, axis=self.axis, first=first, last=last)


class SessionJournal:
    """Writes what changes in a session.

    Args:
        folder: For journals.
        volume: The image.
        objects: The objects.
        slice_io: Their masks.
    """

    def __init__(self, folder: Path, volume: Volume, objects: SegmentedObjects, slice_io: SegmentSliceIO) -> None:
        self._folder, self._objects = folder, objects
        self._volume, self._slice_io = volume, slice_io
        self._journal: Journal | None = None
        self._replaced: list[Journal] = []
        """They go away once another one says all that they say."""
        self._display_properties = {object_id: objects.display_properties(object_id) for object_id in objects.segments}
        self.problem = ""
        """Why the work is not written down; empty while it is."""

    def use(self, volume: Volume, slice_io: SegmentSliceIO) -> None:
        """The image is another now."""
        self._volume, self._slice_io = volume, slice_io
        self.discard()

    def note_prompts(self, object_id: int) -> None:
        """An object's prompts have changed."""
        self._note(lambda journal: journal.note(self._prompts_line(object_id)))

    def note_mask(self, object_id: int, plane: SlicePlane, mask: NDArray[np.bool_]) -> None:
        """A slice has changed: what the object is on it now, (H, W)."""
        self._note(lambda journal: journal.note(self._mask_line(object_id, plane, mask)))

    def note_stale(self, object_id: int, axis: Axis, first: int, last: int) -> None:
        """Slices have become out of date."""
        line = StaleLine(object_id=object_id, axis=axis, first=first, last=last)
        self._note(lambda journal: journal.note(line))

    def note_display_properties(self) -> None:
        """A person may have given objects other names or colours."""
        for object_id in self._objects.segments:
            display_properties = self._objects.display_properties(object_id)
            if self._display_properties.setdefault(object_id, display_properties) != display_properties:
                self.note_prompts(object_id)

    def note_all(self) -> None:
        """Anything may have changed: what was written so far is replaced."""
        self._give_up()
        self._note(lambda journal: None)

    def discard(self) -> None:
        """Deletes the journal; the work is saved elsewhere."""
        self._give_up()
        self._discard_replaced()

    def _give_up(self) -> None:
        """The next change begins another journal."""
        if self._journal is not None:
            self._replaced.append(self._journal)
            self._journal = None

    def _discard_replaced(self) -> None:
        while self._replaced:
            self._replaced.pop().discard()

    @property
    def position(self) -> tuple[Path | None, int]:
        """How far it is written: the file and its size, which change with whatever is noted."""
        path = self.path
        return path, path.stat().st_size if path is not None and path.is_file() else 0

    @property
    def path(self) -> Path | None:
        """The file; None while there is none."""
        return None if self._journal is None else self._journal.path

    def _note(self, write: Callable[[Journal], None]) -> None:
        """Writes; if that fails, the problem is kept for the notice, and the next change begins anew with all there is."""
        try:
            if self._journal is None:
                self._begin()
            else:
                write(self._journal)
            self.problem = ""
        except DataError as error:
            self._give_up()
            self.problem = str(error)

    def _begin(self) -> None:
        head = JournalHead(
            volume_name=self._volume.name,
            fingerprint=Fingerprint.of(self._volume),
            shape=self._volume.shape,
            owner=owner_of(self._folder),
        )
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}{SUFFIX}"
        journal = Journal(self._folder / name, head)
        try:
            for object_id in self._objects.segments:
                journal.note(self._prompts_line(object_id))
                for plane in self._objects.record(object_id).quality:
                    journal.note(self._mask_line(object_id, plane, self._slice_io.read(object_id, plane)))
        except DataError:
            journal.discard()
            raise
        self._journal = journal
        self._discard_replaced()

    def _prompts_line(self, object_id: int) -> PromptsLine:
        record, display_properties = self._objects.record(object_id), self._objects.display_properties(object_id)
        self._display_properties[object_id] = display_properties
        return PromptsLine(
            object_id=object_id,
            segment_name=display_properties.name,
            prompts=record.prompts,
            colour=display_properties.colour,
            unanswered=record.unanswered,
        )

    def _mask_line(self, object_id: int, plane: SlicePlane, mask: NDArray[np.bool_]) -> MaskLine:
        quality = self._objects.record(object_id).quality.get(plane)
        return MaskLine(object_id=object_id, plane=plane, mask=mask, quality=quality)
