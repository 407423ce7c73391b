"""Base of all session actions: synchronise with the scene, act, record one undo step.

MRML is the only truth. An action changes the scene at once, as one undo step, and tells the engine; `SessionEvents` puts the
answers where they belong. Nothing here waits: whoever runs the session calls `poll` when the engine has something to say.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import slicer

from NeuroSAM2Core.errors import DataError, NeuroSAM2Error
from NeuroSAM2Core.remote import EngineSwitches
from NeuroSAM2Lib.engine.link import EngineLink
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.segmentation.document import SegmentationDocument
from NeuroSAM2Lib.segmentation.host import Host
from NeuroSAM2Lib.segmentation.objects.object_prompts import ObjectPrompts
from NeuroSAM2Lib.segmentation.sync.engine_events import SessionEvents
from NeuroSAM2Lib.segmentation.sync.engine_results import PropagationRequest
from NeuroSAM2Lib.segmentation.sync.engine_sync import EngineSync
from NeuroSAM2Lib.segmentation.sync.preview import Preview

NEW_IMAGE = _("the image has changed: masks stay as they are, and further answers are for the image as it is now")


class SessionBase:
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
        self.engine_sync = EngineSync(link, lambda object_id, plane: self.document.slice_io.read(object_id, plane))
        self.engine_sync.revision = self.document.node.revision
        self.preview = Preview(self.document, self.engine_sync)
        """What a click would give; say `preview.point` while the pointer moves, and `preview.leave` when it leaves."""
        self._events = SessionEvents(self.document, self.engine_sync, self.preview)
        self._notice, self._is_error = "", False
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
        self._try(lambda: self.engine_sync.sync(self.document.volume, self.document.records))

    def switch(self, switches: EngineSwitches) -> None:
        """The engine does these things from now on. Masks stay as they are; it is told all of them, and goes on with what it was at."""
        self.notice = ""
        if self.engine_sync.switch(switches):
            self.preview.leave()
            self.warm_up()

    def retry(self) -> None:
        """Tries again with an engine that was given up on."""
        self.notice = ""
        self.link.retry()
        self.warm_up()

    def sync_prompts(self) -> None:
        """Takes over changes of the prompt nodes by others: moved, deleted, pasted."""
        if self.document.is_writing or self.ended:
            return
        for number in self.document.objects.segments:
            before = self.document.objects.record(number).prompts
            prompts = self.document.nodes.read(number, self.document.volume).keeping_readings_since(before)
            more = len(prompts.points) - len(before.points)
            self._set_prompts(
                number,
                prompts,
                _("Place point") if more > 0 else _("Delete prompts") if more < 0 else _("Move prompts"),
            )

    @property
    def has_more(self) -> bool:
        """The last `poll` has left something for the next one, which is due at once."""
        return self._events.has_more

    def poll(self) -> None:
        """Handles the engine's events, for a bounded time. Never waits; recoverable errors are reported in `notice`, not raised."""
        events = self.link.poll()
        if self.ended:
            return
        self._follow_history()
        for notice in self._events.handle(events):
            if notice.is_mask and self._is_error:
                self.notice = ""
            if notice.sentence:
                self._notice, self._is_error = notice.sentence, notice.is_error
        self.preview.resume()
        self.document.surfaces.follow(
            is_resting=self.engine_sync.propagation_request is None and not self.engine_sync.is_waiting
        )

    def end(self, reason: str) -> None:
        """Ends the session. Prompts, masks and the journal stay."""
        if not self.ended:
            self.preview.leave()
            self._try(self.engine_sync.abandon)
            self.ended = self.notice = reason

    @contextmanager
    def _action(self) -> Iterator[None]:
        """Runs an action after synchronising volume, history and prompt nodes with the scene."""
        if self.ended:
            raise DataError(self.ended, hint=_("choose a volume and a segmentation to go on"))
        self.notice = ""
        if self.document.notice_new_image():
            self.engine_sync.invalidate_volume()
            self.notice = NEW_IMAGE
        self._follow_history()
        self.sync_prompts()
        yield
        self.notice = self.document.journal.problem or self.notice

    def _set_prompts(self, number: int | None, prompts: ObjectPrompts, name: str) -> None:
        notice = self.document.set_prompts(number, prompts, name)
        if notice is not None:
            self.preview.leave()
            for plane in notice[1]:
                self.engine_sync.invalidate_slice(notice[0], plane)
            self.warm_up()

    def _move_in_history(self, go: Callable[[], bool]) -> bool:
        if self.ended:
            return False
        self.notice = ""
        self.preview.leave()
        self.engine_sync.abandon()
        self.stopped = None
        with self.document.writing():
            has_moved = go()
        self._follow_history(has_moved=has_moved)
        return has_moved

    def _follow_history(self, *, has_moved: bool = False) -> None:
        changed = self.document.follow_history(has_moved=has_moved)
        for number in changed:
            self.engine_sync.forget(number)
        if changed:
            self.engine_sync.abandon()
            self.warm_up()

    def _try(self, act: Callable[[], None]) -> None:
        """Does something with the engine; errors become the notice, and unsent requests stay pending."""
        try:
            act()
        except NeuroSAM2Error as error:
            self._notice, self._is_error = str(error), True
