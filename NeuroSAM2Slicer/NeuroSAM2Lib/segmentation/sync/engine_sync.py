"""Synchronises a document with the engine: its volume, its objects, propagation and previews.

The scene is the only truth and the engine a cache: `sync` tells it whatever it does not know yet, everything if it is new,
or if undo has changed what it knew. Answers to anything older than the last prompt set are dropped here.
"""

from NeuroSAM2Core.prompts import PromptSet
from NeuroSAM2Core.remote import (
    AUTOMATIC,
    EngineSwitches,
    Event,
    Failed,
    Precompute,
    PreviewSlice,
    SliceAnswered,
    SlicePreviewed,
    VolumeClosed,
    VolumeOpened,
)
from NeuroSAM2Core.remote.state_sync import StateSync
from NeuroSAM2Core.volume import DEFAULT_CLEANUP, SlicePlane
from NeuroSAM2Lib.engine.link import EngineLink
from NeuroSAM2Lib.segmentation.document import SegmentationDocument
from NeuroSAM2Lib.segmentation.sync.engine_results import (
    Answered,
    Cleaned,
    EngineResult,
    Previewed,
    Problem,
    PropagationRequest,
    VolumeLost,
)
from NeuroSAM2Lib.segmentation.sync.propagation_sync import PropagationSync
from NeuroSAM2Lib.segmentation.sync.scene_state import SceneState

MAX_PREVIEW_SLICES = 32
"""At most this many slices of an object are restored for a preview; more would take a while."""


class EngineSync:
    """Synchronises one volume with the engine.

    Args:
        link: The connection to the engine.
        document: The volume and its objects.
    """

    def __init__(self, link: EngineLink, document: SegmentationDocument) -> None:
        self.link = link
        self.cleanup = DEFAULT_CLEANUP
        """How masks are cleaned from the next answer on."""
        self.switches = AUTOMATIC
        """What the engine does for the volume; see `switch`."""
        self._document = document
        self._state = SceneState(document)
        self._objects = StateSync(link.submit)
        self._propagation = PropagationSync(link)
        self._is_open = False
        self._generation = -1
        self._preview_number = 0
        self._visible_plane: SlicePlane | None = None

    @property
    def revision(self) -> int:
        """Of the last prompt set; only ever grows."""
        return self._state.revision

    @property
    def volume_id(self) -> str:
        """The volume, as the engine knows it; empty while it was not told of it."""
        return self._objects.volume_id

    @property
    def propagation_request(self) -> PropagationRequest | None:
        """The current propagation."""
        return self._propagation.propagation_request

    @property
    def progress(self) -> tuple[int, int]:
        """Slices of it that are done, and slices at most."""
        return self._propagation.progress

    @property
    def is_stopping(self) -> bool:
        """It is about to stop."""
        return self._propagation.is_stopping

    @property
    def is_starting(self) -> bool:
        """The volume is not open yet."""
        return self.link.engine is not None and not self._is_open

    @property
    def is_waiting(self) -> bool:
        """Some click has no answer yet."""
        return self._objects.is_waiting

    @property
    def _is_current(self) -> bool:
        """The engine that runs was told of the volume, under the model that it has."""
        is_sent = bool(self.volume_id) and self._generation == self.link.generation
        return is_sent and self.link.engine is not None

    def invalidate_volume(self) -> None:
        """Invalidates everything that the engine knows, including the volume."""
        self._begin("")

    def switch(self, switches: EngineSwitches) -> bool:
        """The engine does these things from now on; says whether it must be told of everything anew for that."""
        is_other = switches != self.switches
        self.switches = switches
        if is_other and self._is_current:
            self.invalidate_volume()
            return True
        return False

    def forget(self, object_id: int) -> None:
        """Invalidates an object on the engine; answers under way about it are void."""
        self._objects.forget(object_id)

    def invalidate_slice(self, object_id: int, plane: SlicePlane) -> None:
        """The prompts of a slice have changed: an answer under way is void."""
        self._objects.forget_slice(object_id, plane)

    def sync(self) -> None:
        """Sends all requests that are pending, on a new engine with the volume if there is none.

        Raises:
            WorkerError: The engine cannot be started.
        """
        if not self._is_current:
            volume_id = self.link.open(self._document.volume, self.switches)
            self._generation = self.link.generation
            self._begin(volume_id)
        self._objects.sync(self._state, self.cleanup)
        if self._propagation.is_due:
            self._start_propagation()

    def propagate(self, propagation_request: PropagationRequest) -> None:
        """Starts a propagation; see `sync` for what is raised."""
        self._propagation.ask(propagation_request)
        self.sync()

    def stop(self) -> None:
        """Asks the engine to stop the propagation; what it still sends until then counts."""
        self._propagation.stop()

    def abandon(self) -> None:
        """Ends the propagation at once: what the engine still sends does not count."""
        self._propagation.abandon()

    def set_visible_plane(self, plane: SlicePlane) -> None:
        """Sets the visible slice, whose features may be precomputed."""
        if self._is_current and plane != self._visible_plane:
            self._visible_plane = plane
            self.link.submit(Precompute(volume_id=self.volume_id, axis=plane.axis, index=plane.index))

    def preview(self, prompts: PromptSet) -> bool:
        """Requests a preview without keeping it; false while the engine is busy or not ready.

        Args:
            prompts: All prompts that an object would have on a slice.
        """
        record = self._document.objects.record(prompts.object_id)
        is_quiet = not self.is_waiting and self.propagation_request is None and not self._preview_number
        is_free = self._is_current and self._is_open and is_quiet
        is_known = self._objects.knows(prompts.object_id) or len(record.quality) <= MAX_PREVIEW_SLICES
        if not is_free or not is_known or record.unanswered:
            return False
        self._objects.restore(self._state, prompts.object_id, self.cleanup)
        request = PreviewSlice(volume_id=self.volume_id, prompts=prompts, cleanup=self.cleanup)
        self._preview_number = self.link.submit(request)
        return True

    def read(self, event: Event) -> EngineResult | None:
        """The result of an event for the scene; None if it has none."""
        if self._preview_number and getattr(event, "request_id", 0) == self._preview_number:
            self._preview_number = 0
            return Previewed(event.mask if isinstance(event, SlicePreviewed) else None)
        if self._propagation.is_about(event):
            return self._read_propagation(event)
        prompts = self._objects.settle(event)
        match event:
            case VolumeOpened() if event.volume_id == self.volume_id:
                self._is_open = True
            case SliceAnswered() if prompts is not None:
                return Answered(event.mask, event.stale_first, event.stale_last)
            case Failed():
                if self.link.is_setup(event.request_id):
                    self.invalidate_volume()
                return Problem(str(event.to_error()))
            case VolumeClosed() if event.volume_id == self.volume_id and self._is_open and self._is_current:
                self.invalidate_volume()
                return VolumeLost(event.reason)
            case _:
                pass
        return None

    def _begin(self, volume_id: str) -> None:
        self._objects.begin(volume_id)
        self._is_open = False
        self._preview_number = 0
        self._propagation.forget()
        self._visible_plane = None

    def _start_propagation(self) -> None:
        asked = () if self.propagation_request is None else self.propagation_request.object_ids
        records = self._document.records
        there = tuple(one for one in asked if one in records and records[one].prompts.indices)
        for object_id in there:
            self._objects.restore(self._state, object_id, self.cleanup)
        self._propagation.start(self.volume_id, there, self.cleanup)

    def _read_propagation(self, event: Event) -> EngineResult | None:
        result = self._propagation.read(event)
        if isinstance(result, Cleaned):
            self._objects.restore_later(result.mask.object_id)
        return result
