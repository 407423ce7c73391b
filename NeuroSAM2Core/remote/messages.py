"""The messages between client and worker: requests one way, events the other, all frozen.

A request gets a number from the client, and every event that belongs to it carries that number. Each request ends with exactly one final
event: the one its docstring names, or `Failed`, or, where a newer request made it pointless, `Superseded`. How messages become bytes is
the business of `codec` and `framing`.
"""

from dataclasses import dataclass

from NeuroSAM2Core import errors
from NeuroSAM2Core.errors import NeuroSAM2Error, WorkerError
from NeuroSAM2Core.prompts import PromptSet
from NeuroSAM2Core.volume import DEFAULT_CLEANUP, Axis, Direction, IntensityWindow, MaskCleanup, SliceMask


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSwitches:
    """Inference options that users may set for one volume, fields of `inference.options.EngineOptions`; None leaves each to the model."""

    crops: bool | None = None
    """Small objects are seen in crops that follow them."""
    carries_boxes: bool | None = None
    """The box of the mask before is a prompt on the next slice."""
    ends_by_shape: bool | None = None
    """An object ends also where its expected IoU, its area or its overlap with the slice before becomes small."""
    use_appearance_model: bool | None = None
    """Propagated masks are kept to what looks like the object on its prompted slices."""


AUTOMATIC = EngineSwitches()
"""All is left to the model."""


UNSOLICITED = 0
"""The request number of events that answer no request."""
REVIEW_IOU_THRESHOLD = 0.8
"""Of models for which nothing else was measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hello:
    """The client's first message. Answered with `Welcome`, or `Refused` and the end of the connection."""

    token: str
    client: str
    """Who speaks, for the log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadModel:
    """The model for all volumes that are opened from now on. Final event: `ModelLoaded`.

    Volumes that are open under another model are closed, each with an unsolicited `VolumeClosed`.
    """

    model: str
    """Catalog name, or a model file on the worker's machine."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    image_size: int | None = None
    """Side of the model's input if not its own; a multiple of 32."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenVolume:
    """A volume to work on. Final event: `VolumeOpened`; before it `VoxelsWanted` where the worker does not hold them yet.

    Opening a volume that is open with the same window and switches changes nothing; with others its session starts anew.
    """

    volume_id: str
    """SHA-256 of the content; see `upload.volume_id`."""
    shape: tuple[int, int, int]
    """(K, J, I)."""
    dtype: str
    """NumPy's name of the voxel type, little-endian: one of `upload.DTYPES`."""
    ijk_to_ras: tuple[float, ...]
    """The 16 numbers of the matrix, row by row, mm."""
    window: IntensityWindow | None = None
    """The intensities that become black and white; the 0.5 to 99.5 percentiles if None."""
    switches: EngineSwitches = AUTOMATIC
    """What the engine does for this volume."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VoxelChunk:
    """Some voxels of a volume that were wanted. No event of its own; when all are there, `OpenVolume` gets its final event."""

    volume_id: str
    start: int
    """Offset of the first byte in the volume's C-ordered bytes. Chunks come in order, without gaps."""
    is_compressed: bool
    """`data` is packed with zlib."""
    data: bytes
    """At most `upload.CHUNK_BYTES` when unpacked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VoxelFile:
    """All voxels of a volume that were wanted, in a file that the worker maps. Only for a worker that named a folder for it."""

    volume_id: str
    name: str
    """Of the file in that folder: nothing but the volume's C-ordered bytes. It may be deleted once the volume is open."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CloseVolume:
    """The volume is not worked on any more; its objects are forgotten. Final event: `VolumeClosed`."""

    volume_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictSlice:
    """All prompts of an object on a slice. Final event: `SliceAnswered`.

    An unanswered older one for the same object and slice is `Superseded`. An empty set takes the slice's confirmation back.
    """

    volume_id: str
    prompts: PromptSet
    cleanup: MaskCleanup = DEFAULT_CLEANUP


@dataclass(frozen=True, kw_only=True, slots=True)
class PreviewSlice:
    """What `PredictSlice` would be answered with; nothing of it is kept. Final event: `SlicePreviewed`.

    It comes after all clicks. A newer one replaces it, and so does a click (`Superseded`).
    """

    volume_id: str
    prompts: PromptSet
    cleanup: MaskCleanup = DEFAULT_CLEANUP


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoreSlice:
    """What is known of an object on a slice from before: after a crash, from a scene, or after an undo. Final event: `Finished`.

    With prompts the slice is confirmed; without it is as if propagation had reached it.
    """

    volume_id: str
    mask: SliceMask
    prompts: PromptSet | None = None
    """The prompts there; of the same object and slice."""
    cleanup: MaskCleanup = DEFAULT_CLEANUP
    """How the mask was cleaned, so that it is known again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoveObject:
    """Forgets an object and all its prompts. Final event: `Finished`."""

    volume_id: str
    object_id: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Propagate:
    """Propagates objects through the slices that are not done. Events: `SliceTracked` and `Progress` for each; final: `Finished`.

    Clicks are answered in between, and what they change is done again as part of it.
    """

    volume_id: str
    object_ids: tuple[int, ...]
    first: int | None = None
    """First slice of the range, an index along the object's stored axis; from the first one if None."""
    last: int | None = None
    """Last slice of the range; to the last one if None."""
    direction: Direction = Direction.BOTH
    beyond: tuple[int, ...] = ()
    """In place of a range: slices on which the objects have ended, each to be answered as if they went on there."""
    cleanup: MaskCleanup = DEFAULT_CLEANUP


@dataclass(frozen=True, kw_only=True, slots=True)
class CleanObject:
    """Looks for holes and islands in an object as a whole. Events: a `SliceCleaned` for each slice that would change; final: `Finished`.

    Confirmed slices are left alone, and what the worker knows of the object stays: restore what is taken.
    """

    volume_id: str
    object_id: int
    cleanup: MaskCleanup = DEFAULT_CLEANUP


@dataclass(frozen=True, kw_only=True, slots=True)
class Precompute:
    """Prepares the shown slice and those around it, nearest first, while nothing else is to do. Final event: `Finished`.

    A newer one replaces it (`Superseded`).
    """

    volume_id: str
    axis: Axis
    index: int
    """The slice that is shown."""
    radius: int = 8
    """Slices on each side."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cancel:
    """Ends another request within one slice step; what is done stays. Final event: `Finished`, after the other one's."""

    target: int
    """The number of that request; one that has ended already is no mistake."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """How the worker is. Final event: `WorkerStatus`, at once, whatever is being computed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Welcome:
    """The worker takes the client."""

    version: str
    """The worker's NeuroSAM2."""
    pid: int
    voxel_folder: str
    """Where a client on the same machine may put a `VoxelFile`; empty where files are not taken."""
    heartbeat_s: float
    """The worker says something at least this often."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """The worker does not take the client, and says why."""

    message: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Heartbeat:
    """The worker is alive."""

    busy_with: int
    """The request of this client that is being computed; 0 for none."""
    busy_s: float
    """For how long, in seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VoxelsWanted:
    """The worker does not hold this volume's voxels; they are to be sent."""

    request_id: int
    volume_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelLoaded:
    """Final event of `LoadModel`."""

    request_id: int
    model: str
    device: str
    image_size: int
    num_weights: int
    has_kernels: bool
    """Masks are cleaned on a GPU by the compiled kernels of `cuda_ext`."""
    review_iou_threshold: float = REVIEW_IOU_THRESHOLD
    """From this predicted overlap on this model's masks need no second look."""
    sha256: str = ""
    """Of the bytes that were read from the model file; whatever happens to the file later, these answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumeOpened:
    """Final event of `OpenVolume`."""

    request_id: int
    volume_id: str
    is_new: bool
    """Its session begins now: nothing is known of any object. False where it was open already."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumeClosed:
    """Final event of `CloseVolume`; unsolicited where the worker closed it of its own accord."""

    request_id: int
    volume_id: str
    reason: str
    """A sentence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceAnswered:
    """Final event of `PredictSlice`: the object on the prompted slice. `mask.revision` is that of the prompts."""

    request_id: int
    volume_id: str
    mask: SliceMask
    stale_first: int
    """First slice, by its stored index, of those between the nearest confirmed ones: what was tracked there is out of date now, and
    is done again by the next `Propagate`."""
    stale_last: int
    """Last one of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlicePreviewed:
    """Final event of `PreviewSlice`: the object as it would be. `mask.revision` is that of the prompts."""

    request_id: int
    volume_id: str
    mask: SliceMask


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceTracked:
    """The object on one slice that `Propagate` has reached."""

    request_id: int
    volume_id: str
    mask: SliceMask


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceCleaned:
    """The object on one slice as `CleanObject` would have it."""

    request_id: int
    volume_id: str
    mask: SliceMask


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far `Propagate` is."""

    request_id: int
    done: int
    total: int
    """Slices at most: an object may end earlier, a click may add some."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """Final event of what has no answer of its own."""

    request_id: int
    was_cancelled: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Superseded:
    """Final event of a request that a newer one made pointless."""

    request_id: int
    by: int
    """The newer request."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """Final event of a request that could not be done; unsolicited where it is about no request."""

    request_id: int
    kind: str
    """Name of a class of `errors`."""
    message: str
    hint: str = ""

    @classmethod
    def of(cls, error: NeuroSAM2Error, request_id: int) -> "Failed":
        """The event that brings an error to the client."""
        return cls(request_id=request_id, kind=type(error).__name__, message=error.message, hint=error.hint)

    def to_error(self) -> NeuroSAM2Error:
        """The error as the worker raised it."""
        kind = getattr(errors, self.kind, WorkerError)
        if not (isinstance(kind, type) and issubclass(kind, NeuroSAM2Error)):
            kind = WorkerError
        return kind(self.message, hint=self.hint)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerStatus:
    """Final event of `Status`: the worker as a whole, and what belongs to this client."""

    request_id: int
    version: str
    pid: int
    uptime_s: float
    num_clients: int
    memory_bytes: int
    """Volumes, features and masks of all clients."""
    max_memory_bytes: int
    model: str
    """This client's; empty before `LoadModel`."""
    device: str
    volume_ids: tuple[str, ...]
    """This client's open volumes."""
    num_waiting: int
    """This client's requests that are not ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LogLine:
    """A line of the worker's log about this client's work. No patient data at INFO and above."""

    level: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Disconnected:
    """The connection has ended: the last event of a client, made on the client's side. It never travels."""

    reason: str
    """A sentence."""
    hint: str = ""


ComputeRequest = (
    LoadModel
    | OpenVolume
    | CloseVolume
    | PredictSlice
    | PreviewSlice
    | RestoreSlice
    | RemoveObject
    | Propagate
    | CleanObject
    | Precompute
)
"""What waits for the model."""
Request = ComputeRequest | Cancel | Status
"""What a client may ask."""

ClientMessage = Request | Hello | VoxelChunk | VoxelFile
"""All that a client sends."""

FinalEvent = (
    ModelLoaded
    | VolumeOpened
    | VolumeClosed
    | SliceAnswered
    | SlicePreviewed
    | Finished
    | Superseded
    | Failed
    | WorkerStatus
)
"""What ends a request, if it carries its number."""

WorkerMessage = (
    FinalEvent | Welcome | Refused | Heartbeat | VoxelsWanted | SliceTracked | SliceCleaned | Progress | LogLine
)
"""All that a worker sends."""

Event = FinalEvent | Welcome | Heartbeat | SliceTracked | SliceCleaned | Progress | LogLine | Disconnected
"""What a client's `poll` returns."""
