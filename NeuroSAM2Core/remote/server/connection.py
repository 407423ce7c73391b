"""The server's state of one client: its socket, frame limits, and open requests."""

import time
from dataclasses import dataclass, field

from NeuroSAM2Core.remote.codec import encode_event
from NeuroSAM2Core.remote.messages import WorkerMessage
from NeuroSAM2Core.remote.server.schedule import Job
from NeuroSAM2Core.remote.server.volume_store import IncomingVolume
from NeuroSAM2Core.remote.stream import FrameStream


@dataclass(slots=True)
class Upload:
    """A volume whose voxels are on their way, and what waits for it."""

    opening: Job
    incoming: IncomingVolume
    waiting: list[Job] = field(default_factory=list)
    latest: float = field(default_factory=time.monotonic)
    """When voxels came last."""


@dataclass(slots=True, eq=False)
class Connection:
    """A connection; `is_authenticated` is false until its token is verified."""

    number: int
    stream: FrameStream
    address: str
    is_authenticated: bool = False
    is_leaving: bool = False
    is_held: bool = False
    """Nothing is computed for it until it has read more of what it was sent."""
    """Nothing more is read from it; it is closed when what is still to be sent is sent."""
    open_requests: set[int] = field(default_factory=set)
    """Requests that have not ended."""
    uploads: dict[str, Upload] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)
    """When it came; once it leaves, when it began to leave."""
    last_request: float = field(default_factory=time.monotonic)

    @property
    def is_served(self) -> bool:
        """True for an authenticated client that is not being closed."""
        return self.is_authenticated and not self.is_leaving

    def send(self, event: WorkerMessage) -> None:
        """Puts an event in the queue."""
        self.stream.send(encode_event(event))

    def leave(self) -> None:
        """Begins to close the connection; queued frames are still sent."""
        self.is_leaving, self.since = True, time.monotonic()
