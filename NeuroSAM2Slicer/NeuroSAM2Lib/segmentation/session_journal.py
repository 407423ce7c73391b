"""The journal of one session: begun with all there is when the first change comes, ended when the scene is saved."""

import time
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume
from NeuroSAM2Lib.scene.volume_nodes import Fingerprint
from NeuroSAM2Lib.segmentation.journal import SUFFIX, Journal, JournalHead, MaskLine, PromptsLine, StaleLine, owner_of
from NeuroSAM2Lib.segmentation.objects.scene_objects import SegmentedObjects
from NeuroSAM2Lib.segmentation.segment_slice_io import SegmentSliceIO


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
