"""One client as the listening thread sees it: its socket, what it may say, and what it waits for."""

import time
from dataclasses import dataclass, field

from NeuroSAM2Core.protocol.codec import encode_event
from NeuroSAM2Core.protocol.messages import FromWorker
from NeuroSAM2Core.protocol.stream import FrameStream
from NeuroSAM2Core.worker.schedule import Job
from NeuroSAM2Core.worker.volume_store import IncomingVolume


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
    """A client, or a stranger that has not shown the token yet."""

    number: int
    stream: FrameStream
    address: str
    is_welcome: bool = False
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
        """It is a client, and stays one."""
        return self.is_welcome and not self.is_leaving

    def send(self, event: FromWorker) -> None:
        """Puts an event in the queue."""
        self.stream.send(encode_event(event))

    def leave(self) -> None:
        """Begins the end: what is queued is sent still."""
        self.is_leaving, self.since = True, time.monotonic()
